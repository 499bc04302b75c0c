"""The flags of mount(2), as <sys/mount.h> has them."""

from __future__ import annotations

import os

from dvdcli.linux import mountinfo

MS_RDONLY = 0x1
MS_NOSUID = 0x2
MS_NODEV = 0x4
MS_NOEXEC = 0x8
MS_REMOUNT = 0x20
MS_NOATIME = 0x400
MS_NODIRATIME = 0x800
MS_BIND = 0x1000
MS_REC = 0x4000
MS_SLAVE = 0x80000
MS_RELATIME = 0x200000
CLONE_NEWNS = 0x20000


_WORDS = {
    "nosuid": MS_NOSUID, "nodev": MS_NODEV, "noexec": MS_NOEXEC, "noatime": MS_NOATIME, "nodiratime": MS_NODIRATIME,
    "relatime": MS_RELATIME,
}  # fmt: skip


def kept_by_remount(descriptor: int) -> int:
    """Return the flags that a remount of what *descriptor* is in has to repeat, or it would drop them.

    The mount table has them: the file system, which may be stuck, is asked only where a chroot hides its mount.
    """
    number = mountinfo.id_of(descriptor)
    mount = next((mount for mount in mountinfo.read() if mount.id == number), None)
    if mount is not None:
        return sum(_WORDS.get(word, 0) for word in mount.options.split(","))
    status = os.fstatvfs(descriptor).f_flag
    pairs = (
        (os.ST_NOSUID, MS_NOSUID), (os.ST_NODEV, MS_NODEV), (os.ST_NOEXEC, MS_NOEXEC),
        (os.ST_NOATIME, MS_NOATIME), (os.ST_NODIRATIME, MS_NODIRATIME), (os.ST_RELATIME, MS_RELATIME),
    )  # fmt: skip
    return sum(flag for bit, flag in pairs if status & bit)
