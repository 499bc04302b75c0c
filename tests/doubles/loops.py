"""Loop devices: the block devices that stand for attached volumes."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import struct
import subprocess
import time
from pathlib import Path

CLR_FD, SET_STATUS64, GET_STATUS64, SET_CAPACITY = 0x4C01, 0x4C04, 0x4C05, 0x4C07
INFO_SIZE, FLAGS_AT, AUTOCLEAR = 232, 52, 4


class Loop:
    """A loop device of *image*. The kernel takes it away when this process is gone and nobody else uses it."""

    def __init__(self, image: Path) -> None:
        self.path = _bind(image)
        self.fd = os.open(self.path, os.O_RDONLY)
        info = bytearray(fcntl.ioctl(self.fd, GET_STATUS64, bytes(INFO_SIZE)))
        self.file = bytes(info[:16])  # the device and the inode of the image
        flags = struct.unpack_from("I", info, FLAGS_AT)[0]
        struct.pack_into("I", info, FLAGS_AT, flags | AUTOCLEAR)
        fcntl.ioctl(self.fd, SET_STATUS64, bytes(info))
        self.number = os.fstat(self.fd).st_rdev

    @property
    def major_minor(self) -> str:
        return f"{os.major(self.number)}:{os.minor(self.number)}"

    def in_use(self) -> bool:
        """Tell whether it is mounted, in any mount namespace, or held exclusively, as mkfs and fsck do."""
        try:
            os.close(os.open(self.path, os.O_RDONLY | os.O_EXCL))
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise
            return True
        return False

    def wait_free(self, timeout: float = 5) -> None:
        """Wait for the kernel to be done: after umount returned it can go on writing for seconds."""
        give_up = time.monotonic() + timeout
        while self.in_use() and time.monotonic() < give_up:
            time.sleep(0.005)

    def refresh(self) -> None:
        """Take up the size that the image has now."""
        fcntl.ioctl(self.fd, SET_CAPACITY, 0)

    def clear(self) -> bool:
        """Let go of the image; False when somebody still uses the device, which then goes when the last one closes."""
        if self.fd < 0:
            return not self._bound()
        used = self.in_use()
        fcntl.ioctl(self.fd, CLR_FD, 0)
        os.close(self.fd)
        self.fd = -1
        give_up = time.monotonic() + (0 if used else 1)  # udev and blkid look only for a moment
        while self._bound():
            if time.monotonic() > give_up:
                return False
            time.sleep(0.005)
        return True

    def _bound(self) -> bool:
        try:
            fd = os.open(self.path, os.O_RDONLY)
        except OSError:
            return False
        try:
            return fcntl.ioctl(fd, GET_STATUS64, bytes(INFO_SIZE))[:16] == self.file
        except OSError:
            return False  # nothing is bound to it
        finally:
            os.close(fd)


def _bind(image: Path) -> str:
    for attempt in range(20):
        # Between finding a free one and taking it, another process can have taken it.
        done = subprocess.run(["losetup", "--find", "--show", image], capture_output=True, text=True, check=False)
        if done.returncode == 0:
            return done.stdout.strip()
        time.sleep(0.01 * (attempt + 1))
    raise OSError(f"losetup: {done.stderr.strip()}")


def copy(source: Path, target: Path) -> None:
    subprocess.run(["cp", "--sparse=always", "--reflink=auto", source, target], check=True)


def write(path: Path, text: str) -> None:
    """Write a file of a fake sysfs, all at once."""
    new = path.with_name(f".{path.name}")
    new.write_text(text)
    new.rename(path)


def unmount_all(number: str) -> bool:
    """Unmount a device everywhere in this mount namespace, the last mount first; False when one had to be lazy."""
    eager = True
    rows = [line.split() for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    for row in reversed([row for row in rows if row[2] == number]):
        place = re.sub(rb"\\([0-7]{3})", lambda code: bytes([int(code[1], 8)]), os.fsencode(row[4]))
        if subprocess.run(["umount", place], capture_output=True, check=False).returncode:
            eager = False
            subprocess.run(["umount", "-l", place], capture_output=True, check=False)
    return eager
