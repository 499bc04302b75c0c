"""What this host still shows of a Mesos container: evidence of life that needs no agent's word.

An agent lists no orphan that it is still destroying, and no container that the one who asks may not see.
Source: docs/configuration/agent.md, the flags cgroups_hierarchy, cgroups_root, runtime_dir.
"""

from __future__ import annotations

import os

from dvdcli.names import decode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping


def of(root: str, flags: Mapping[str, str]) -> str:
    """Return what is left of the container whose id starts with *root*, as holds encode it; "" for nothing.

    *flags* are the agent's, by name.
    """
    name = decode(root)
    if not name or "/" in name or name in (".", ".."):
        return ""
    hierarchy = flags.get("cgroups_hierarchy", "/sys/fs/cgroup")
    pid = _pid_in(f"{hierarchy}/freezer/{flags.get('cgroups_root', 'mesos')}/{name}")
    if pid:
        return f"pid {pid} is still in its cgroup"
    runtime = f"{flags.get('runtime_dir', '/var/run/mesos')}/containers/{name}"
    return f"{runtime} is still there" if os.path.lexists(runtime) else ""


def _pid_in(cgroup: str) -> str:
    """Return a process in *cgroup* or below it, "" for none."""
    for directory, _, _ in os.walk(cgroup):
        try:
            with open(f"{directory}/cgroup.procs", encoding="ascii") as file:
                pid = file.readline().strip()
        except (OSError, ValueError):
            continue
        if pid:
            return pid
    return ""
