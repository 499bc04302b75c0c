"""Mounting a device at a place of ours and unmounting it: nothing is mounted over, and nothing in use is let go of."""

from __future__ import annotations

import os

from dvdcli import clock
from dvdcli.errors import DvdcliError, InUseError, TryAgainError
from dvdcli.linux import blockdev, holders, mountinfo, process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from dvdcli.clock import Deadline
    from dvdcli.linux.blockdev import Device
    from dvdcli.linux.filesystems import FileSystem

BUSY = 10.0  # seconds that a busy mount is tried again: a task that is ending, a scan that looked in
_MOST = 64  # mounts on top of each other


class RefusedError(DvdcliError):
    """The kernel does not mount what is on the device."""


def mount(
    device: Device, kind: FileSystem, path: str, options: list[str], deadline: Deadline, guard: int
) -> None:
    """Mount *device* at the directory *path*, where nothing is mounted, and prove that this is what is there then.

    Raises RefusedError, DvdcliError where something else is mounted there, TryAgainError at the *deadline*.
    """
    wanted = ",".join([*([kind.always] if kind.always else []), *options]) or "defaults"
    argv = ["mount", "-n", "-i", "-t", kind.name, "-o", wanted, "--", device.path, path]
    done = process.run(argv, deadline, guard)
    there = mountinfo.at(path, mountinfo.read())
    if done.code == 0 and there is not None and there.is_of(device.number):
        return
    if there is not None and not there.is_of(device.number):
        process.run(["umount", "-n", "-i", "-c", "--", path], deadline, guard)
        raise DvdcliError(f"{there.source} was mounted at {path} instead of {device}", "see what has the same UUID")
    raise RefusedError(f"{device} could not be mounted as {kind.name}: {done.said}", "the kernel's log says more")


def unmount(path: str, numbers: list[str], deadline: Deadline, guard: int) -> None:
    """Unmount whatever of the devices *numbers* is mounted at *path*; nothing mounted there is fine.

    Raises InUseError, with the users, where it stays busy; DvdcliError where something else is mounted there;
    TryAgainError where the kernel does not answer.
    """
    patience = deadline.sooner(min(BUSY, deadline.left() / 2))  # so that there is time left to say by whom
    pause = 0.01
    for _ in range(_MOST * 1000):
        there = mountinfo.at(path, mountinfo.read())
        if there is None:
            return
        number = next((number for number in numbers if there.is_of(number)), "")
        if not number:
            raise DvdcliError(
                f"{there.source or there.device} is mounted at {path}, which is none of ours", "unmount it by hand"
            )
        done = process.run(["umount", "-n", "-i", "-c", "--", path], deadline, guard)
        if done.code == 0:
            continue
        after = mountinfo.at(path, mountinfo.read())
        if after is None or after.id != there.id:
            continue
        if not patience.left():
            users = holders.of(number, path)
            raise InUseError(f"{path} is busy: {users or done.said}", "it is unmounted when they are done")
        clock.sleep(pause)
        pause = min(pause * 2, 0.5)
    raise TryAgainError(f"there is no end of mounts at {path}", "see /proc/self/mountinfo")


def make_read_only(path: str, deadline: Deadline, guard: int) -> None:
    """Make the mount at *path* a read-only one, as whoever mounted it has not; its file system stays as it is.

    Raises DvdcliError where the kernel does not, TryAgainError at the *deadline*.
    """
    there = mountinfo.at(path, mountinfo.read())
    flags = there.options.split(",") if there is not None else []
    if "ro" in flags:
        return
    kept = [flag for flag in flags if flag not in ("", "rw")]
    done = process.run(["mount", "-n", "-i", "-o", ",".join(["remount", "bind", "ro", *kept]), path], deadline, guard)
    if done.code != 0:
        raise DvdcliError(f"{path} could not be made read-only: {done.said}", "the kernel's log says more")


def is_dead(number: str) -> bool:
    """Return whether the device under a mount has gone: taken away by another host, or pulled."""
    return not blockdev.exists(number)


def await_free(device: Device, deadline: Deadline, patience_seconds: float = BUSY) -> None:
    """Return when nobody uses *device* any more. The kernel can write back for a while after an unmount.

    Raises InUseError, with the users, where somebody has it mounted or open for longer than *patience_seconds*;
    TryAgainError at the *deadline*.
    """
    patience = deadline.sooner(min(patience_seconds, deadline.left() / 2))
    pause = 0.01
    while not device.is_free():
        users = holders.of(device.number) if not patience.left() else ""
        if users:
            raise InUseError(f"{device} is in use: {users}", "try again when they are done")
        if not deadline.left():
            raise TryAgainError(f"{device} is busy: the kernel still writes to it", "try again later")
        clock.sleep(min(pause, deadline.left()))
        pause = min(pause * 2, 0.5)


def make_mountpoint(path: str) -> None:
    """Make the directory *path*, with what is missing above it: root's alone, passable for tasks. Raises OSError."""
    missing = []
    while not os.path.isdir(path):
        missing.append(path)
        path = os.path.dirname(path)
    for directory in reversed(missing):
        try:
            os.mkdir(directory, 0o711)
            os.chmod(directory, 0o711)  # nosec B103 # noqa: S103 - tasks without a container path read below
        except FileExistsError:
            continue
