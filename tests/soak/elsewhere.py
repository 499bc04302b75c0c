"""A mount namespace for containers that has no copies of what other tests have mounted: they would find it in use."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

# In a namespace of one's own: unmount what others have there, and keep what is below $OWN.
ALONE = """
cut -d' ' -f5 /proc/self/mountinfo | grep "^$ALL/" | grep -v "^$OWN/" | grep -vx "$OWN" | tac |
while read -r there; do umount -l "$there" 2>/dev/null; done
"""
ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "ALL": tempfile.gettempdir()}
# A slave: what is mounted and unmounted on the host from now on is so in here, too.
_SCRIPT = f"{ALONE}echo\nexec cat"


class Elsewhere:
    """The namespace, kept by a process; below the directory *own* everything stays."""

    def __init__(self, own: Path) -> None:
        self.keeper = subprocess.Popen(
            ["unshare", "--mount", "--propagation=slave", "/bin/sh", "-c", _SCRIPT],
            env={**ENVIRONMENT, "OWN": str(own)}, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        assert self.keeper.stdout is not None
        assert self.keeper.stdout.readline() == b"\n"

    def enter(self) -> list[str]:
        """Return what runs a command in there."""
        return ["nsenter", f"--mount=/proc/{self.keeper.pid}/ns/mnt"]

    def close(self) -> None:
        self.keeper.communicate(timeout=60)
