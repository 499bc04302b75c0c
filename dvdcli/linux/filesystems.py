"""What we know of each file system: how it is made, checked, mounted and grown; and mount options a task may give.

Sources: mke2fs(8), e2fsck(8), mkfs.xfs(8), xfs(5), mkfs.btrfs(8), btrfs(5), mount(8).
"""

from __future__ import annotations

import os

from dvdcli.errors import DvdcliError, UsageError
from dvdcli.linux import process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from dvdcli.clock import Deadline
    from dvdcli.linux.blockdev import Device

DEFAULT = "ext4"

# No option here names another device, a file or a program: a task chooses them, and root mounts.
_GENERAL = (
    "rw ro noatime atime nodiratime diratime relatime norelatime strictatime nostrictatime lazytime nolazytime "
    "sync async dirsync nodev dev nosuid suid noexec exec discard nodiscard "
    "context= fscontext= defcontext= rootcontext= defaults"
)
_OF_EXT = (
    "data= commit= barrier= barrier nobarrier errors=continue errors=remount-ro acl noacl user_xattr nouser_xattr "
    "delalloc nodelalloc "
    "stripe= inode_readahead_blks= auto_da_alloc noauto_da_alloc noload norecovery journal_checksum "
    "usrquota grpquota prjquota quota noquota init_itable= noinit_itable dioread_lock dioread_nolock max_batch_time= "
    "min_batch_time= block_validity noblock_validity"
)
_OF_XFS = (
    "nouuid norecovery allocsize= attr2 inode32 inode64 largeio nolargeio logbsize= logbufs= noalign swalloc sunit= "
    "swidth= wsync filestreams noquota quota uquota usrquota gquota grpquota pquota prjquota uqnoenforce gqnoenforce"
)
_OF_BTRFS = (
    "acl noacl autodefrag noautodefrag barrier nobarrier commit= compress compress= compress-force compress-force= "
    "datacow nodatacow datasum nodatasum flushoncommit noflushoncommit max_inline= space_cache= ssd nossd "
    "ssd_spread nossd_spread subvol= subvolid= thread_pool= treelog notreelog discard="
)


class FileSystem:
    """One type of file system: *name* is mount(8)'s; programs are argument lists without the device."""

    __slots__ = ("always", "check", "grow", "grows_by_path", "make", "mount_options", "name", "repair")

    def __init__(
        self, name: str, make: list[str], check: list[str], repair: list[str], grow: list[str], grows_by_path: bool,
        mount_options: str, always: str = "",
    ) -> None:  # fmt: skip
        self.name = name
        self.make = make  # with a {uuid} in it
        self.check = check  # exits with 0 where the file system is complete; changes nothing
        self.repair = repair  # of what has errors, before a mount for writing; exits with 0, or 1
        self.grow = grow  # while it is mounted
        self.grows_by_path = grows_by_path
        self.mount_options = frozenset(f"{_GENERAL} {mount_options}".split())
        self.always = always


_E2FSCK = ["e2fsck", "-n", "-f"], ["e2fsck", "-p"], ["resize2fs"], False
FILE_SYSTEMS = {
    "ext4": FileSystem("ext4", ["mkfs.ext4", "-q", "-F", "-m0", "-E", "nodiscard", "-U", "{uuid}"], *_E2FSCK, _OF_EXT),
    "xfs": FileSystem(
        "xfs", ["mkfs.xfs", "-q", "-f", "-K", "-m", "uuid={uuid}"], ["xfs_repair", "-n"], [], ["xfs_growfs", "-d"],
        True, _OF_XFS, "nouuid",  # of a clone, which has its original's
    ),
    "btrfs": FileSystem(
        "btrfs", ["mkfs.btrfs", "-q", "-f", "-K", "-U", "{uuid}"], ["btrfs", "check", "--readonly"], [],
        ["btrfs", "filesystem", "resize", "max"], True, _OF_BTRFS,
    ),
    # Not made any more, but mounted where they are.
    "ext3": FileSystem("ext3", [], *_E2FSCK, _OF_EXT),
    "ext2": FileSystem("ext2", [], *_E2FSCK, _OF_EXT),
}  # fmt: skip


def named(name: str) -> FileSystem:
    """Return the file system that new volumes can have by *name*. Raises UsageError."""
    found = FILE_SYSTEMS.get(name)
    if found is None or not found.make:
        known = ", ".join(sorted(key for key, value in FILE_SYSTEMS.items() if value.make))
        raise UsageError(f"there is no file system {name!a} to make", f"the known ones: {known}")
    return found


def split_options(text: str) -> list[str]:
    """Return the mount options in *text*, which are separated by commas; one within double quotes separates none."""
    found, quoted, start = [], False, 0
    for index, character in enumerate(text):
        if character == '"':
            quoted = not quoted
        elif character == "," and not quoted:
            found.append(text[start:index])
            start = index + 1
    return [option for option in [*found, text[start:]] if option]


def check_options(text: str, kinds: list[FileSystem]) -> list[str]:
    """Return the mount options in *text*. Raises UsageError for one that none of *kinds* takes from a volume's user."""
    options = split_options(text)
    if text.count('"') % 2 or not text.isprintable():
        raise UsageError(f"the mount options {text!a} cannot be read", "they are separated by commas")
    for option in options:
        key, equals, value = option.partition("=")
        wanted = f"{key}{equals}"
        known = any(wanted in kind.mount_options or option in kind.mount_options for kind in kinds)
        if not known or (equals and not value):
            raise UsageError(
                f"the mount option {option!a} is not possible here",
                "possible are those that name no device, file or program: see mount(8) and the file system's page",
            )
    return options


def make(kind: FileSystem, device: Device, uuid: str, deadline: Deadline, guard: int) -> None:
    """Make a file system on *device*, which the caller has proven blank. It is not killed at the *deadline*.

    Raises DvdcliError where that fails, TryAgainError where it goes on.
    """
    argv = [word.format(uuid=uuid) for word in kind.make]
    done = process.run([*argv, device.path], deadline, guard, kill=False)
    if done.code != 0:
        raise DvdcliError(f"{argv[0]} failed on {device}: {done.said}", "see that device, and the volume's size")


def is_complete(kind: FileSystem, device: Device, deadline: Deadline, guard: int) -> bool:
    """Return whether the file system on *device* is whole, by its own checker, which changes nothing."""
    return process.run([*kind.check, device.path], deadline, guard).code == 0


def was_mounted(kind: FileSystem, device: Device) -> bool:
    """Return whether the file system on *device*, which is not whole, can have been mounted since it was made.

    ext4 has the time of its last mount, xfs a mark that stands until mkfs is done; btrfs has no signature before that.
    """
    descriptor = device.open()
    try:
        block = os.pread(descriptor, 4096, 0).ljust(4096, b"\0")
    finally:
        os.close(descriptor)
    if kind.name == "xfs":
        return not block[126]
    return kind.name != "ext4" or any(block[1024 + 0x2C : 1024 + 0x30])


def needs_repair(kind: FileSystem, device: Device) -> bool:
    """Return whether the file system on *device* says that it has errors, or was left in use without a journal.

    Where there is a journal that has to be replayed, the mount does that, and a kill cannot break it: e2fsck changes
    its superblock in several writes, of which the last is the checksum. Source: ext4's Documentation, super block.
    """
    if not kind.repair:
        return False
    descriptor = device.open()
    try:
        state = int.from_bytes(os.pread(descriptor, 2, 1024 + 0x3A), "little")
    finally:
        os.close(descriptor)
    return state & 3 != 1  # 1: cleanly unmounted, or it has a journal; 2: errors


def repair(kind: FileSystem, device: Device, deadline: Deadline, guard: int) -> None:
    """Mend an ext file system before a mount for writing. Raises DvdcliError where people have to decide."""
    done = process.run([*kind.repair, device.path], deadline, guard, kill=False)
    if done.code not in (0, 1):
        raise DvdcliError(
            f"the file system on {device} needs repair: {done.said}", f"run e2fsck on {device} by hand, then try again"
        )


def grow(kind: FileSystem, device: Device, path: str, deadline: Deadline, guard: int) -> str:
    """Let the file system mounted at *path* fill *device*; return why that failed, "" where it did not.

    Never before the mount: a resize2fs that is killed there leaves what `e2fsck -p` refuses to mend. On a mounted
    ext4 the kernel does it, in its journal, for whoever has CAP_SYS_RESOURCE.
    """
    if not kind.grow:
        return ""
    try:
        done = process.run([*kind.grow, path if kind.grows_by_path else device.path], deadline, guard, kill=False)
    except DvdcliError as error:
        return str(error)
    refused = next((line for line in done.output.splitlines() if "denied" in line), "")
    return "" if done.code == 0 else refused or f"{kind.grow[0]}: {done.said}"
