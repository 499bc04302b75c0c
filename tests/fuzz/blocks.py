"""What is on a device: blkid's output, or with a first byte of `s` the superblock that we read ourselves."""

from __future__ import annotations

import os
from pathlib import Path

from dvdcli.clock import Deadline
from dvdcli.linux import blank, filesystems
from tests.fuzz.watch import World, check_text, refused, target, unwatched

_EXT4 = bytearray(4096)
_EXT4[1024 + 0x38 : 1024 + 0x3C] = b"\x53\xef\x01\x00"
SEEDS = [
    b"bDEVNAME=/dev/loop0\nLABEL=a b\nUUID=7dd08535-4910-469b-93ca-7a258a38d9f2\nVERSION=1.0\nBLOCK_SIZE=1024\nTYPE=ext4\n"
    b"USAGE=filesystem\n",
    b"bDEVNAME=/dev/loop0\nPTUUID=1\nPTTYPE=gpt\n", b"bDEVNAME=x\nUUID=1\nTYPE=LVM2_member\nUSAGE=raid\n",
    b"s" + bytes(_EXT4), b"sXFSB" + bytes(200),
]  # fmt: skip


class _File:
    """A file where a device is expected."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def open(self) -> int:
        return os.open(self.path, os.O_RDONLY)

    def size(self) -> int:
        return os.stat(self.path).st_size


@target
def one_input(world: World, data: bytes) -> None:
    if data[:1] != b"s":
        told = blank.content_in(data[1:].decode("utf-8", "replace"))
        assert not told.blank
        for text in (told.what, told.type, told.uuid):
            assert isinstance(text, str)
            assert "\n" not in text
        if "\nPTTYPE=" in f"\n{data[1:].decode('utf-8', 'replace')}":
            assert told.type == "", "a disk with a partition table is no file system"
        return
    with unwatched():
        device = _File(world.root / "device")
        Path(device.path).write_bytes(data[1:])
    for kind in filesystems.FILE_SYSTEMS.values():
        with refused():
            assert filesystems.was_mounted(kind, device) in (True, False)
        with refused():
            assert filesystems.needs_repair(kind, device) in (True, False)
    with refused():
        assert blank._is_zero(device, Deadline(5.0)) == (not any(data[1:]))
    check_text(device.path)
