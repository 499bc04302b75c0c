"""A mount namespace for containers that has no copies of what other tests have mounted: they would find it in use."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

# A slave: what is mounted and unmounted on the host from now on is so in here, too.
_SCRIPT = """
cut -d' ' -f5 /proc/self/mountinfo | grep "^$ALL/" | grep -v "^$OWN/" | grep -vx "$OWN" | tac |
while read -r there; do umount -l "$there" 2>/dev/null; done
echo
exec cat
"""


class Elsewhere:
    """The namespace, kept by a process; below the directory *own* everything stays."""

    def __init__(self, own: Path) -> None:
        env = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "ALL": tempfile.gettempdir(), "OWN": str(own)}
        self.keeper = subprocess.Popen(
            ["unshare", "--mount", "--propagation=slave", "/bin/sh", "-c", _SCRIPT],
            env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        assert self.keeper.stdout is not None
        assert self.keeper.stdout.readline() == b"\n"

    def enter(self) -> list[str]:
        """Return what runs a command in there."""
        return ["nsenter", f"--mount=/proc/{self.keeper.pid}/ns/mnt"]

    def close(self) -> None:
        self.keeper.communicate(timeout=60)
