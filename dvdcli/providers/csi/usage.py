"""Who uses a published volume, in any mount namespace: the driver's own mounts of it are no use."""

from __future__ import annotations

import os
import stat

from dvdcli import clock
from dvdcli.errors import DvdcliError, InUseError
from dvdcli.linux import holders, mountinfo
from dvdcli.linux.blockdev import Device
from dvdcli.linux.mounting import BUSY

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from dvdcli.clock import Deadline
    from dvdcli.linux.mountinfo import Mount, User

_MOST = 5  # that are named
_SETTLING = 1.0  # seconds that a mount is given to be gone, of a driver that says it is


def block_at(path: str) -> Device | None:
    """Return the block device whose node is at *path*, None for none. A mounted directory is not looked into.

    Raises OSError where the device cannot be told.
    """
    there = mountinfo.at(path, mountinfo.read())
    if there is not None and there.can_hang:
        return None
    try:
        is_block = stat.S_ISBLK(os.lstat(path).st_mode)
    except OSError:  # a file system that has shut down says so of its own directory
        return None
    try:
        return Device(path) if is_block else None
    except DvdcliError:  # it has gone
        return None


def copies(path: str, servers: tuple[int, ...], own: Sequence[str]) -> list[User]:
    """Return who has what is mounted at *path* mounted elsewhere, but for the driver: at its *own* places."""
    return [user for user in mountinfo.users(path, servers) if user.path not in own]


def users(path: str, servers: tuple[int, ...], own: Sequence[str]) -> list[str]:
    """Return who uses what is mounted at *path*: who has it mounted elsewhere, or open, there or at an *own* place."""
    device = block_at(path)
    if device is None:
        return [*map(str, copies(path, servers, own)), *_opening(path, servers, own)]
    mounted = [use for use in holders.all_of(device.number) if use.pid not in servers]
    opened = holders.opening([path, *own, device.path], servers)
    return [*map(str, copies(path, servers, own)), *map(str, mounted), *map(str, opened)]


def _opening(path: str, servers: tuple[int, ...], own: Sequence[str]) -> list[str]:
    """Return who has something of what is mounted at *path* open: in any mount namespace, where it is all of a device.

    Of a part of a file system others have other parts open: there our own mount namespace is looked at alone, and what
    is below *path* or an *own* place.
    """
    there = mountinfo.at(path, mountinfo.read())
    if there is None or there.root != "/" or not there.has_device:
        found = holders.below(path, *filter(None, own))
    else:
        found = [use for use in holders.all_of(there.device, path) if not use.is_mount]
    return [str(use) for use in found if use.pid not in servers]


def await_unused(
    path: str, servers: tuple[int, ...], own: Sequence[str], deadline: Deadline, mounts_alone: bool = False
) -> None:
    """Return when nobody uses what is mounted at *path*; with *mounts_alone* open files are not looked for.

    Raises InUseError, with the users, where that lasts.
    """
    patience, pause = deadline.sooner(min(BUSY, deadline.left() / 2)), 0.01
    while found := [*map(str, copies(path, servers, own))] if mounts_alone else users(path, servers, own):
        if not patience.left():
            more = [f"and {len(found) - _MOST} more"] if len(found) > _MOST else []
            raise InUseError(f"{path} is in use: {', '.join([*found[:_MOST], *more])}", "try again when they are done")
        clock.sleep(min(pause, patience.left()))
        pause = min(pause * 2, 0.5)


def is_gone(path: str, namespace: str, deadline: Deadline) -> bool:
    """Return whether nothing is mounted at *path* in the mount namespace *namespace*, or soon nothing is."""
    patience = deadline.sooner(_SETTLING)
    while mountinfo.at(path, mountinfo.read_in(namespace)) is not None:
        if not patience.left():
            return False
        clock.sleep(0.02)
    return True


def check_gone(path: str, namespace: str, said: str) -> None:
    """Raise DvdcliError where something is mounted at *path*, whatever the driver has *said*."""
    there = mountinfo.at(path, mountinfo.read_in(namespace))
    if there is not None:
        raise DvdcliError(
            f"{there.source or there.device} is mounted at {path} still, though the driver says that {said}",
            "see the driver's log; nothing more is undone before it is gone",
        )


def proof(path: str, block: bool, namespace: str) -> dict[str, Any]:
    """Return what is published at *path*, enough to know it again: nothing where nothing is."""
    there = mountinfo.at(path, mountinfo.read_in(namespace))
    mount = {"device": _device_of(there), "inside": there.root} if there else {}
    if not block:
        return mount
    device = block_at(path)
    return {**mount, "block": device.to_json()} if device is not None else {}


def _device_of(mount: Mount) -> dict[str, str]:
    """Return what the *mount* is of: with its sequence, where that is a block device that has a node by that name."""
    found = {"path": mount.source, "number": mount.device}
    try:
        device = Device(mount.source) if mount.has_device else None
    except DvdcliError:
        device = None
    return device.to_json() if device is not None and mount.is_of(device.number) else found


def is_proven(path: str, handle: Mapping[str, Any]) -> bool:
    """Return whether what is published at *path* is what the *handle* has noted of it."""
    found = proof(path, "block" in handle, str(handle.get("namespace", "")))
    return bool(found) and all(_same(handle.get(key), found[key]) for key in found)


def _same(noted: Any, found: Any) -> bool:
    if isinstance(noted, dict) and isinstance(found, dict):
        return all(noted.get(key, "") == found.get(key, "") for key in ("number", "sequence"))
    return bool(noted == found)
