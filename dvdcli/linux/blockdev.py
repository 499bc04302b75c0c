"""Block devices: which one it is, how large, whether anybody uses it. Nothing here writes to a device."""

from __future__ import annotations

import errno
import os
import stat

from dvdcli.errors import DvdcliError
from dvdcli.linux import files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_BLKROGET = 0x125E
_SYSFS = "/sys/dev/block"  # by number: what a name of a device means can change, the number of a mount does not


class Device:
    """The block device at *path*.

    *number* is "major:minor". *sequence* is the kernel's diskseq, which no two devices of one boot share, "" before
    Linux 5.15: with it, a number that was given to another device is told apart. Raises DvdcliError for what is no
    block device.
    """

    __slots__ = ("number", "path", "sequence")

    def __init__(self, path: str) -> None:
        try:
            status = os.stat(path)
        except OSError as error:
            raise DvdcliError(f"{path}: {error.strerror}", "see that the device is there") from error
        if not stat.S_ISBLK(status.st_mode):
            raise DvdcliError(f"{path} is no block device")
        self.path = path
        self.number = f"{os.major(status.st_rdev)}:{os.minor(status.st_rdev)}"
        self.sequence = (files.read(f"{_SYSFS}/{self.number}/diskseq") or b"").decode("ascii", "replace").strip()

    def __str__(self) -> str:
        return self.path

    def to_json(self) -> dict[str, str]:
        """Return what the handle keeps, to know this very device again."""
        return {"path": self.path, "number": self.number, "sequence": self.sequence}

    def is_that_of(self, data: Any) -> bool:
        """Return whether *data*, made by to_json, is of this very device, in this boot."""
        return isinstance(data, dict) and (data.get("number"), data.get("sequence")) == (self.number, self.sequence)

    def size(self) -> int:
        """Return the size in bytes. Raises OSError."""
        descriptor = self.open()
        try:
            return os.lseek(descriptor, 0, os.SEEK_END)
        finally:
            os.close(descriptor)

    def is_read_only(self) -> bool:
        """Return whether the kernel refuses to write to the device. Raises OSError."""
        import fcntl

        descriptor = self.open()
        try:
            answer = fcntl.ioctl(descriptor, _BLKROGET, bytes(4))
        finally:
            os.close(descriptor)
        return any(answer)

    def is_free(self) -> bool:
        """Return whether nobody uses the device: no mount in any namespace, no mkfs, no write-back of an unmount.

        The mount table cannot tell: a container's copy of a mount is not in it. Raises OSError.
        """
        try:
            os.close(self.open(os.O_EXCL))
        except OSError as error:
            if error.errno == errno.EBUSY:
                return False
            raise
        return True

    def open(self, flags: int = 0) -> int:
        """Return a descriptor for reading, which the caller closes. Raises OSError."""
        return os.open(self.path, os.O_RDONLY | os.O_CLOEXEC | flags)


def exists(number: str) -> bool:
    """Return whether there is a block device "major:minor" *number* at this moment: that of a dead mount has gone."""
    return os.path.exists(f"{_SYSFS}/{number}")
