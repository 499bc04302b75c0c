"""Whether a device is proven blank, and what is on one that is not. Never writes."""

from __future__ import annotations

import os

from dvdcli.errors import DvdcliError, TryAgainError
from dvdcli.linux import process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from dvdcli.clock import Deadline
    from dvdcli.linux.blockdev import Device

_EDGE = 4 << 20  # bytes at each end: every signature there is, RAID's and GPT's at the end among them
_SAMPLES = 1024  # pieces between them
_PIECE = 64 << 10
_WHOLE = 256 << 20  # a device of this size is read from end to end


class Content:
    """What is on a device, as `blkid -p` and our own reading say.

    *type* and *uuid* are those of a file system, "" for none. *blank* means that nothing is known to be on it and that
    all of it that was read is zero. *what* says it for people.
    """

    __slots__ = ("blank", "type", "uuid", "what")

    def __init__(self, what: str, blank: bool = False, fs_type: str = "", uuid: str = "") -> None:
        self.what = what
        self.blank = blank
        self.type = fs_type
        self.uuid = uuid

    @property
    def is_unknown(self) -> bool:
        """Whether it is not blank, and yet nothing that blkid knows."""
        return not self.blank and self.what == _UNKNOWN


_UNKNOWN = "data of an unknown kind"


def probe(device: Device, deadline: Deadline) -> Content:
    """Return what is on *device*. Raises DvdcliError where that cannot be read, TryAgainError at the *deadline*.

    Source: blkid(8). Exit 2 is "nothing found", but also "cannot be read": so the device is read as well.
    """
    done = process.run(["blkid", "-p", "-o", "export", device.path], deadline)
    if done.code == 2:
        if _is_zero(device, deadline):
            return Content("nothing", blank=True)
        return Content(_UNKNOWN)
    if done.code == 8:
        return Content("more than one signature")
    if done.code != 0:
        raise DvdcliError(f"blkid cannot tell what is on {device}: {done.said}", "see what is on it")
    return content_in(done.output)


def content_in(told: str) -> Content:
    """Return what *told*, blkid's output in the form `export`, says is on a device that is not blank.

    Only a line feed ends a line: who could write to the device chose its label, and other characters can be in that.
    """
    tags = dict(line.partition("=")[::2] for line in told.split("\n"))
    if tags.get("USAGE") == "filesystem" and "PTTYPE" not in tags:
        return Content(f"a file system of type {tags.get('TYPE')}", False, tags.get("TYPE", ""), tags.get("UUID", ""))
    if "PTTYPE" in tags:
        return Content(f"a partition table ({tags['PTTYPE']})")
    return Content(f"{tags.get('TYPE') or 'something'} ({tags.get('USAGE') or 'of no known use'})")


def _is_zero(device: Device, deadline: Deadline) -> bool:
    """Return whether *device* is zero: all of a small one; of a large one both ends and pieces all over it."""
    zeros = bytes(1 << 20)
    try:
        size = device.size()
        descriptor = device.open()
    except OSError as error:
        raise _unreadable(device, error) from error
    try:
        if not size:  # a loop device without a file, a drive without a medium
            raise DvdcliError(f"{device} has a size of 0 bytes", "see what it is attached to")
        for start, length in _places(size):
            end = start + length
            while start < end:
                if not deadline.left():
                    raise TryAgainError(f"{device} could not be read in time", "try again later")
                piece = os.pread(descriptor, min(end - start, len(zeros)), start)
                if not piece:
                    raise DvdcliError(f"{device} ends at byte {start}, before its size of {size}")
                if piece != zeros[: len(piece)]:
                    return False
                start += len(piece)
    except OSError as error:
        raise _unreadable(device, error) from error
    finally:
        os.close(descriptor)
    return True


def _places(size: int) -> list[tuple[int, int]]:
    """Return (offset, length), in bytes, of what is read of a device of *size* bytes."""
    if size <= _WHOLE:
        return [(0, size)]
    step = (size - 2 * _EDGE) // _SAMPLES
    between = [(_EDGE + number * step, _PIECE) for number in range(_SAMPLES)]
    return [(0, _EDGE), (size - _EDGE, _EDGE), *between]


def _unreadable(device: Device, error: OSError) -> DvdcliError:
    return DvdcliError(f"{device} cannot be read: {error.strerror}", "nothing was written to it; see the kernel's log")
