"""The mount table: /proc/PID/mountinfo, read as proc(5) describes it, in this mount namespace and in all others."""

from __future__ import annotations

import errno
import os
import stat

from dvdcli.errors import untold

# Of a process that has gone, that waits for its parent alone, or that is not ours to see; of no /proc at all.
_NOT_THERE = (errno.ENOENT, errno.ESRCH, errno.EINVAL, errno.EACCES, errno.EPERM)
_ESCAPES = {"\\040": " ", "\\011": "\t", "\\012": "\n", "\\043": "#", "\\134": "\\"}  # the last one last
_NUMBERED = ("bcachefs", "btrfs")  # they have numbers of their own in the table, and a device all the same
# File systems without a device of their own in the table, which the kernel itself answers for.
_KERNELS_OWN = frozenset((
    "bcachefs", "binfmt_misc", "bpf", "btrfs", "cgroup", "cgroup2", "configfs", "debugfs", "devpts", "devtmpfs",
    "efivarfs", "fusectl", "hugetlbfs", "mqueue", "nsfs", "overlay", "proc", "pstore", "ramfs", "rootfs", "rpc_pipefs",
    "securityfs", "selinuxfs", "sysfs", "tmpfs", "tracefs", "zfs",
))  # fmt: skip
# Others that never ask anybody: they have a device.
_ON_DISK = frozenset(("ext2", "ext3", "ext4", "f2fs", "iso9660", "msdos", "squashfs", "vfat", "xfs"))


class Mount:
    """One line of mountinfo.

    *id* is the kernel's, and no two mounts of any namespaces have the same; *parent* is the id of the mount that it
    is in. *device* is "major:minor", *root* the path inside that file system which is mounted at *path*; *propagates*
    says whether an unmount elsewhere reaches this mount (it is shared or a slave), *shared* whether what is mounted in
    it appears elsewhere. *type* is the file system's, *source* what was mounted: a path, or any word. *options* are
    those of the mount, not of the file system.
    """

    __slots__ = ("device", "id", "options", "parent", "path", "propagates", "root", "shared", "source", "type")

    def __init__(
        self, mount_id: str, parent: str, device: str, root: str, path: str, propagates: bool, shared: bool,
        fs_type: str = "", source: str = "", options: str = "",
    ) -> None:  # fmt: skip
        self.id = mount_id
        self.parent = parent
        self.device = device
        self.root = root
        self.path = path
        self.propagates = propagates
        self.shared = shared
        self.type = fs_type
        self.source = source
        self.options = options

    @property
    def can_hang(self) -> bool:
        """Whether the kernel has to ask somebody for what is in it: a server, or a process, that may never answer.

        Who waits for that cannot even be killed. A fuseblk has a device, and asks all the same.
        """
        if self.type.startswith("fuse"):
            return True
        return self.device.startswith("0:") and self.type not in _KERNELS_OWN

    @property
    def has_device(self) -> bool:
        """Whether it is of a block device, and the kernel knows its use without asking anybody."""
        if self.device.startswith("0:"):
            return self.type in _NUMBERED and self.source.startswith("/dev/")
        return not self.can_hang

    def is_of(self, number: str) -> bool:
        """Return whether this is a mount of the block device "major:minor" *number*.

        btrfs has numbers of its own in the table; there the node that was mounted tells. Anybody else's source is not
        looked at: it can be a path in a file system that is stuck.
        """
        if self.device == number:
            return True
        if self.type not in _NUMBERED or not self.source.startswith("/"):
            return False
        try:
            status = os.lstat(self.source)
        except (OSError, ValueError):  # ValueError: a NUL, which no kernel writes
            return False
        return stat.S_ISBLK(status.st_mode) and f"{os.major(status.st_rdev)}:{os.minor(status.st_rdev)}" == number


class User:
    """A mount of a volume in a process's mount namespace: *pid*, and the *path* it has there."""

    __slots__ = ("path", "pid")

    def __init__(self, pid: int, path: str) -> None:
        self.pid = pid
        self.path = path

    def __str__(self) -> str:
        return f"pid {self.pid} at {self.path}"


def _unescape(field: str) -> str:
    if "\\" not in field:
        return field
    for escape, character in _ESCAPES.items():
        field = field.replace(escape, character)
    return field


def parse(text: str) -> list[Mount]:
    """Return the mounts in *text*, in the kernel's order; a line that is not of the documented form is left out."""
    mounts = []
    for line in text.split("\n"):  # not splitlines: the kernel escapes no other line break
        fields = line.split(" ")
        if len(fields) < 7 or "-" not in fields[6:]:
            continue
        dash = fields.index("-", 6)
        tags = fields[6:dash]
        shared = any(tag.startswith("shared:") for tag in tags)
        propagates = shared or any(tag.startswith("master:") for tag in tags)
        root, path = _unescape(fields[3]), _unescape(fields[4])
        fs_type, source = (_unescape(field) for field in [*fields[dash + 1 :], "", ""][:2])
        mounts.append(
            Mount(fields[0], fields[1], fields[2], root, path, propagates, shared, fs_type, source, fields[5])
        )
    return mounts


def read(pid: int | str = "self") -> list[Mount]:
    """Return the mounts that process *pid* sees; none where it has gone.

    Raises TryAgainError where the kernel does not tell: who is not seen to have a volume may still have it.
    """
    path = f"/proc/{pid}/mountinfo"
    try:
        with open(path, encoding="utf-8", errors="surrogateescape", newline="\n") as file:
            return parse(file.read())
    except OSError as error:
        if error.errno in _NOT_THERE:
            return []
        raise untold(f"what is mounted cannot be told: {path}", error) from error


def may_hang() -> bool:
    """Return whether some mount that we see may be one that can_hang: a quick look, for most hosts have none."""
    try:
        with open("/proc/self/mountinfo", "rb") as file:
            parts = file.read().split(b" - ")
    except OSError:
        return False
    kinds = {part.partition(b" ")[0].decode("utf-8", "replace") for part in parts[1:]}
    return bool(kinds - _KERNELS_OWN - _ON_DISK)


def id_of(descriptor: int | str, pid: int | str = "self") -> str:
    """Return the id of the mount that *descriptor* of process *pid* is in; "" where the kernel does not tell."""
    try:
        with open(f"/proc/{pid}/fdinfo/{descriptor}", encoding="utf-8") as file:
            lines = file.read().split("\n")
    except OSError:
        return ""
    return next((line[7:].strip() for line in lines if line.startswith("mnt_id:")), "")


def namespace(pid: int | str = "self") -> str:
    """Return the id of *pid*'s mount namespace, `mnt:[…]`; "" where it has gone or is not ours to see."""
    try:
        return os.readlink(f"/proc/{pid}/ns/mnt")
    except OSError:
        return ""


def read_in(space: str) -> list[Mount]:
    """Return the mounts of the mount namespace *space*, as any process in it sees them; none where nobody is in it."""
    if space in ("", namespace()):
        return read()
    pids = (name for name in os.listdir("/proc") if name.isdigit())
    return next((read(pid) for pid in pids if namespace(pid) == space), [])


def at(path: str, mounts: list[Mount]) -> Mount | None:
    """Return the mount that is uppermost at exactly *path*, None where nothing is mounted there."""
    there = [mount for mount in mounts if mount.path == path]
    below = {mount.parent for mount in there}
    return next((mount for mount in there if mount.id not in below), None)


def _within(path: str, directory: str) -> bool:
    return directory == "/" or path == directory or path.startswith(f"{directory}/")


def mount_of(path: str, mounts: list[Mount]) -> Mount | None:
    """Return the mount that the absolute *path*, without symbolic links, is in, judged by *mounts* alone.

    None where the table, as in a chroot, does not show it. *path* is not touched: a dead file system would hang us.
    """
    left = [mount for mount in mounts if _within(path, mount.path)]
    ids = {mount.id for mount in left}
    above = [mount for mount in left if mount.parent not in ids or mount.parent == mount.id]
    best = None
    while above:  # as the kernel walks: into the first mount on the way, and on from there, past what is covered
        best = min(above, key=lambda mount: len(mount.path))
        left.remove(best)
        above = [mount for mount in left if mount.parent == best.id]
    return best


def within(path: str) -> str:
    """Return the mount point that the absolute *path* is in, at it or above it; "" where the table does not tell."""
    mount = mount_of(path, read())
    return mount.path if mount else ""


def place_of(path: str, mounts: list[Mount]) -> tuple[str, str] | None:
    """Return the (device, path inside its file system) that the absolute *path* leads to, judged by *mounts* alone.

    As mount_of: nothing is touched.
    """
    best = mount_of(path, mounts)
    if best is None:
        return None
    rest = path[len(best.path) :].strip("/")
    inside = f"{best.root.rstrip('/')}/{rest}" if rest else best.root
    return best.device, inside


def users(path: str, servers: tuple[int, ...] = ()) -> list[User]:
    """Return who else has what is at *path* mounted: bind mounts in any mount namespace, and private copies of it.

    *servers* are processes whose mount namespaces do not count: a storage plugin in a container of its own sees the
    volume because it made the mount. Nor does a copy at the same path that an unmount on the host reaches.
    """
    own = read()
    place = place_of(path, own)
    if place is not None:
        device, inside = place

        def is_copy(mount: Mount) -> bool:
            return mount.device == device and _within(mount.root, inside)
    else:
        # In a chroot that is no mount, the table does not show what everything is on: what may be a copy counts.
        try:
            number = os.stat(path).st_dev
        except FileNotFoundError:
            return []
        device = f"{os.major(number)}:{os.minor(number)}"

        def is_copy(mount: Mount) -> bool:
            return mount.device == device and f"{path}/" in f"{mount.root}/"

    found = [User(os.getpid(), mount.path) for mount in own if is_copy(mount) and not _within(mount.path, path)]
    # The namespace's id saves reading a table twice; where it is not ours to see, the ids of the mounts decide.
    seen = {namespace(), *(namespace(pid) for pid in servers)}
    known = {mount.id for mount in own} | {mount.id for pid in servers for mount in read(pid)}
    for pid in sorted(int(name) for name in os.listdir("/proc") if name.isdigit()):
        space = namespace(pid)
        if space and space in seen:
            continue
        seen.add(space)
        for mount in read(pid):
            if mount.id not in known and is_copy(mount) and not (mount.propagates and _within(mount.path, path)):
                found.append(User(pid, mount.path))
            known.add(mount.id)
    return found
