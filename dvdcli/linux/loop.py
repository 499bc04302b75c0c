"""Loop devices: an image file as a block device, known by the file's device and inode, never by a name.

Source: <linux/loop.h>, loop(4), losetup(8).
"""

from __future__ import annotations

import errno
import fcntl
import os

from dvdcli.errors import DvdcliError, untold
from dvdcli.linux import files, process
from dvdcli.linux.blockdev import Device

TYPE_CHECKING = False
if TYPE_CHECKING:
    from dvdcli.clock import Deadline

_LOOP_CLR_FD = 0x4C01
_LOOP_GET_STATUS64 = 0x4C05
_LOOP_SET_CAPACITY = 0x4C07
_STATUS_SIZE = 232  # struct loop_info64; lo_device and lo_inode come first, then lo_rdevice and lo_offset
_SYSFS = "/sys/block"
_DEVICES = "/dev"
# Of a device that has no file, or none any more, that is no loop device, or not ours to see.
_NONE = (errno.ENOENT, errno.ENXIO, errno.ENODEV, errno.ENOTTY, errno.EBUSY, errno.EACCES, errno.EPERM)


def find(image: str) -> Device | None:
    """Return the loop device that the file *image* is on, None where it is on none.

    Raises OSError, and TryAgainError where a device does not tell what it is on.
    """
    try:
        wanted = os.stat(image)
    except FileNotFoundError:
        return None
    for name in files.names_in(_SYSFS):
        if name.startswith("loop") and os.path.exists(f"{_SYSFS}/{name}/loop"):
            path = f"{_DEVICES}/{name}"
            if _backing(path) == (wanted.st_dev, wanted.st_ino, 0):
                return Device(path)
    return None


def others(image: str, device: Device) -> list[str]:
    """Return the other loop devices, at any offset, that the file *image* is on. Raises as find."""
    wanted = os.stat(image)
    paths = [f"{_DEVICES}/{name}" for name in files.names_in(_SYSFS) if name.startswith("loop")]
    backing = {path: _backing(path) for path in paths if path != device.path}
    return [path for path, found in backing.items() if found and found[:2] == (wanted.st_dev, wanted.st_ino)]


def _backing(path: str) -> tuple[int, int, int] | None:
    """Return the device number, the inode and the offset of what the loop device at *path* is on; None for nothing."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            return _backing_of(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        if error.errno in _NONE:
            return None
        raise untold(f"{path} does not tell what it is on", error) from error


def _backing_of(descriptor: int) -> tuple[int, int, int]:
    status = fcntl.ioctl(descriptor, _LOOP_GET_STATUS64, bytes(_STATUS_SIZE))
    device, inode, offset = (int.from_bytes(status[at : at + 8], "little") for at in (0, 8, 24))
    return _decode(device), inode, offset


def _decode(number: int) -> int:
    """Return a kernel's huge_encode_dev as os.stat has it: for the numbers in use, the same."""
    return os.makedev((number >> 8) & 0xFFF, (number & 0xFF) | ((number >> 12) & 0xFFF00))


def attach(image: str, deadline: Deadline, guard: int) -> Device:
    """Put the file *image* on a free loop device; one that is on one already is fine. Raises DvdcliError, OSError."""
    there = find(image)
    if there is not None:
        return there
    done = process.run(["losetup", "--find", "--", image], deadline, guard)
    there = find(image)
    if there is None:
        hint = "run dvdcli as root" if os.geteuid() else "see losetup -a, /dev/loop-control"
        raise DvdcliError(f"{image} cannot be put on a loop device: {done.said}", hint)
    return there


def detach(image: str, device: Device) -> None:
    """Take the file *image* off *device*, which nobody uses; one that has another file by now is left.

    Raises OSError. An open descriptor keeps the device from being given another file while we look.
    """
    wanted = os.stat(image)
    descriptor = device.open()
    try:
        if _backing_of(descriptor) == (wanted.st_dev, wanted.st_ino, 0):
            fcntl.ioctl(descriptor, _LOOP_CLR_FD)
    except OSError as error:
        if error.errno != errno.ENXIO:  # it has been freed since we looked
            raise
    finally:
        os.close(descriptor)


def refresh(device: Device) -> None:
    """Let *device* have its file's size of today. Raises OSError."""
    descriptor = device.open()
    try:
        fcntl.ioctl(descriptor, _LOOP_SET_CAPACITY)
    finally:
        os.close(descriptor)
