"""Volumes of `local` with a size: an image file on a loop device, the smallest block provider there is.

    <root>/<volume>/name     the volume's full name
    <root>/<volume>/image    its blocks, sparse
    <root>/<volume>/data     where it is mounted
"""

from __future__ import annotations

import os

from dvdcli import clock
from dvdcli.errors import InUseError, UsageError
from dvdcli.linux import loop, mounting
from dvdcli.names import encode
from dvdcli.providers.block import Attached, BlockProvider, Disk

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from dvdcli.clock import Deadline
    from dvdcli.linux.blockdev import Device
    from dvdcli.providers.base import Note, Option


class ImageProvider(BlockProvider):
    """The volumes below *root* that have an image; *options* are those of `local`, whose own provider makes them."""

    def __init__(self, driver: str, root: str, options: Mapping[str, Option], deadline: Deadline) -> None:
        super().__init__(driver, {"path": root}, deadline, 0.0)
        self.options = options  # type: ignore[misc,assignment]
        self._root = root

    def image(self, name: str) -> str:
        """Return the path of the image of the volume *name*."""
        return f"{os.path.realpath(self._root)}/{encode(name)}/image"

    def mountpoint(self, name: str) -> str:
        """Return the directory that the volume *name* is mounted at."""
        return f"{os.path.dirname(self.image(name))}/data"

    def find(self, name: str) -> Disk | None:
        """Return the image of the volume *name*, or the image that *name* is the path of."""
        path = name if name.startswith("/") and name.endswith("/image") else self.image(name)
        try:
            return Disk(path, os.stat(path).st_size)
        except FileNotFoundError:
            return None

    def attach(self, disk: Disk, options: Mapping[str, str], handle: dict[str, Any], note: Note) -> Attached:
        """Put the image on a loop device. No other host can have it: the attachment lasts as long as the file."""
        device = loop.attach(disk.id, self.deadline, self.guard)
        others = loop.others(disk.id, device)
        if others:
            raise InUseError(f"{disk.id} is on {', '.join(others)} as well as on {device}", "detach it there first")
        return Attached(device, self.attachment({"id": disk.id}))

    def attachment(self, handle: Mapping[str, Any]) -> str:
        """Return the image's inode."""
        return f"inode {os.stat(str(handle['id'])).st_ino}"

    def locate(self, handle: Mapping[str, Any]) -> Device | None:
        """Return the loop device that the image is on."""
        return loop.find(str(handle["id"]))

    def detach(self, handle: Mapping[str, Any], note: Note) -> None:
        """Take the image off its loop device."""
        device = self.locate(handle)
        if device is None:
            return
        loop.detach(str(handle["id"]), device)
        patience = self.deadline.sooner(mounting.BUSY)
        while self.locate(handle) is not None:  # it goes with its last opener: one that only looks is done soon
            if not patience.left():
                raise InUseError(f"{device} is open elsewhere", "it goes when it is closed there")
            clock.sleep(0.02)

    def resize(self, name: str, options: Mapping[str, str]) -> None:
        """Make the image, which is there, larger, and the file system with it where it is mounted."""
        size = self.option(options, "size")
        disk = self.find(name)
        assert disk is not None
        if size < disk.size:
            raise UsageError(f"the volume {name!r} has {disk.size} bytes", "a volume is not made smaller")
        descriptor = os.open(disk.id, os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            os.ftruncate(descriptor, size)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        device = loop.find(disk.id)
        if device is None:
            return
        loop.refresh(device)
        self.fill(name, device, disk.id)
