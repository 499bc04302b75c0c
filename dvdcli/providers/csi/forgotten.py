"""Mounts of ours that a driver has forgotten: one that was killed and started again may say that nothing is there.

Such a mount is unmounted by us, never lazily, and only where it is proven to be the record's own, in our mount
namespace; nobody uses it by then.
"""

from __future__ import annotations

from dvdcli import output
from dvdcli.errors import DvdcliError, InUseError
from dvdcli.linux import mountinfo, process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from dvdcli.clock import Deadline
    from dvdcli.linux.mountinfo import Mount

_MOST = 64  # mounts on top of each other


def layers(path: str, namespace: str) -> int:
    """Return how many mounts are on top of each other at *path* in the mount namespace *namespace*."""
    return sum(mount.path == path for mount in mountinfo.read_in(namespace))


def unmount(path: str, noted: Mapping[str, Any], keep: int, deadline: Deadline, guard: int) -> None:
    """Unmount what is at *path*, but for the *keep* lowest mounts, each of which is what was *noted* of it.

    *noted* has what usage.proof() said when it was published. Raises DvdcliError where anything else is mounted there,
    InUseError where it is busy.
    """
    for _ in range(_MOST):
        there = mountinfo.at(path, mountinfo.read())
        if there is None or layers(path, "") <= keep:
            return
        if not _is(there, noted):
            raise DvdcliError(
                f"{there.source or there.device} is mounted at {path}, which is none of ours", "unmount it by hand"
            )
        done = process.run(["umount", "-n", "-i", "-c", "--", path], deadline, guard)
        if done.code != 0:
            raise InUseError(f"{path} cannot be unmounted: {done.said}", "try again when nobody uses it")
        output.warn(f"{there.source} was mounted at {path}, and its driver did not know: it is unmounted")


def _is(mount: Mount, noted: Mapping[str, Any]) -> bool:
    device = noted.get("device")
    return isinstance(device, dict) and (mount.device, mount.root) == (device.get("number"), noted.get("inside"))
