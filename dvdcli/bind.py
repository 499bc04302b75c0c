"""`dvdcli bind`: puts volumes where a container asked for them, from inside its mount namespace.

It runs as a pre-exec command, after the task's URIs were fetched: an archive can have put a symbolic link where a
directory was. So the way to a target is walked here, and the mount goes onto the directory that the walk reached.
"""

from __future__ import annotations

import os

from dvdcli import fastjson, output
from dvdcli.errors import DvdcliError, Exit, UsageError
from dvdcli.linux import mountflags, mountinfo
from dvdcli.linux.paths import Walk

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_PATIENCE = 10.0  # seconds that a file system may take to answer
_NOBODY = 2**32 - 1  # chown(2)'s "leave it": no id


class Bind:
    """One volume and its place.

    *source* is the volume's path; *base* a directory that the task cannot write, *through* the way from there on
    which symbolic links are read as in a chroot, *path* the rest, on which there are none; *owner* (uid, gid) gets
    what is missing on the way, None forbids to make it.
    """

    __slots__ = ("_hanging", "base", "owner", "path", "read_only", "source", "through")

    def __init__(
        self, source: str, base: str, through: str, path: str, owner: tuple[int, int] | None, read_only: bool
    ) -> None:
        self.source = source
        self.base = base
        self.through = through
        self.path = path
        self.owner = owner
        self.read_only = read_only
        self._hanging: set[str] = set()  # the mounts that can hang who looks something up there

    def to_argument(self) -> str:
        """Return the bind as one word of `dvdcli bind`'s command line."""
        fields: dict[str, Any] = {"source": self.source, "base": self.base, "path": self.path}
        if self.through:
            fields["through"] = self.through
        if self.owner is not None:
            fields["owner"] = list(self.owner)
        if self.read_only:
            fields["read_only"] = True
        return fastjson.dumps(fields)

    @classmethod
    def from_argument(cls, word: str) -> Bind:
        """Return what to_argument() has made *word* from. Raises UsageError."""
        try:
            fields = fastjson.loads(os.fsencode(word))
            owner = fields.pop("owner", None)
            if owner is not None:
                uid, gid = owner
                if not all(type(number) is int and 0 <= number < _NOBODY for number in (uid, gid)):
                    raise ValueError("owner is no pair of ids")
                owner = (uid, gid)
            values = {key: fields.pop(key, "") for key in ("source", "base", "through", "path")}
            read_only = fields.pop("read_only", False)
            if fields or type(read_only) is not bool or not all(type(value) is str for value in values.values()):
                raise ValueError("there is more in it than a bind has")
            if b"\0" in b"".join(map(os.fsencode, values.values())):
                raise ValueError("a path has a NUL in it")
        except (ValueError, TypeError, AttributeError) as error:
            raise UsageError(f"{word[:200]!a} describes no bind: {error}", "mount --isolator makes these") from error
        for key in ("source", "base"):
            if not values[key].startswith("/"):
                raise UsageError(f"the {key} {values[key]!a} of a bind is no absolute path")
        return cls(owner=owner, read_only=read_only, **values)

    def carry_out(self) -> None:
        """Mount the volume. Raises DvdcliError, OSError; then nothing of it is mounted.

        TryAgainError is for a file system on the way that does not answer: that would hang the container's launch.
        """
        if mountinfo.may_hang():
            self._hanging = {mount.id for mount in mountinfo.read() if mount.can_hang}
            for path in (self.source, self.base):
                _ask(os.path.dirname(path))
        source = os.open(self.source, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            where = self._walk(source, None)
            if self.read_only:
                self._walk(source, where)
        finally:
            os.close(source)

    def _walk(self, source: int, covered: str | None) -> str:
        """Bind *source* where the walk ends; or, where the walk reaches what now covers *covered*, set it read-only.

        Return the id of the mount that the walk ended in.
        """
        from dvdcli.linux import syscalls

        before = self._before if self._hanging else None
        with Walk(self.base, self.owner if covered is None else None, before) as walk:
            walk.along(self.through, follow=True)
            walk.along(self.path, follow=False)
            here = f"/proc/self/fd/{walk.descriptor}"
            ended_in = _mount_id(walk.descriptor)
            if covered is None:
                if _is_shared(ended_in):
                    raise DvdcliError(f"a mount at {self._name()} would not stay in this container")
                syscalls.mount(f"/proc/self/fd/{source}", here, mountflags.MS_BIND | mountflags.MS_REC)
            else:
                if not _covers(ended_in, covered):
                    raise DvdcliError(f"{self._name()} is not where it was", "somebody moves directories there")
                flags = mountflags.MS_REMOUNT | mountflags.MS_BIND | mountflags.MS_RDONLY
                syscalls.mount("none", here, flags | mountflags.kept_by_remount(source))
            return ended_in

    def _before(self, descriptor: int, name: str) -> None:
        """Have a name looked up by another process, where the directory *descriptor* is in what can hang."""
        if _mount_id(descriptor) in self._hanging:
            _ask(f"{os.readlink(f'/proc/self/fd/{descriptor}')}/{name}")

    def _name(self) -> str:
        return "/".join(part.strip("/") for part in (self.base, self.through, self.path) if part)


def _ask(path: str) -> None:
    from dvdcli.clock import Deadline
    from dvdcli.linux import aside

    aside.ask(path, Deadline(_PATIENCE))


def _mount_id(descriptor: int) -> str:
    number = mountinfo.id_of(descriptor)
    if not number:
        raise DvdcliError("this kernel does not say which mount a directory is in")
    return number


def _is_shared(mount_id: str) -> bool:
    """Return whether the mount is shared, or cannot be seen from here: in a chroot the table hides what / is on."""
    return not any(mount.id == mount_id and not mount.shared for mount in mountinfo.read())


def _covers(mount_id: str, covered: str) -> bool:
    """Return whether the mount is one that was made in the mount *covered*: ours, for nobody else mounts here.

    The mounts themselves tell, not what is in them: a file system that is stuck would hang the container's launch.
    """
    return any(mount.id == mount_id and mount.parent == covered for mount in mountinfo.read())


def bind(words: list[str], outside: str, make_slave: bool) -> None:
    """Carry out the binds that *words* describe, in this order. All of them are read before the first is made.

    *outside* is a mount namespace (`mnt:[…]`) that this must not be: the agent's, where a launcher that ignores
    namespaces would have us mount. *make_slave* cuts what we mount off from that one. Raises DvdcliError, OSError.
    """
    binds = [Bind.from_argument(word) for word in words]
    if not outside or mountinfo.namespace() == outside:
        raise DvdcliError(
            "this is not a container's own mount namespace",
            "the agent's launcher has to make one: run the agent with --launcher=linux",
        )
    if make_slave:
        from dvdcli.linux import syscalls

        syscalls.mount("none", "/", mountflags.MS_SLAVE | mountflags.MS_REC)
    for each in binds:
        each.carry_out()


class Call:
    """A `bind` as it stands in argv."""

    __slots__ = ("make_slave", "outside", "words")

    def __init__(self, words: list[str], outside: str, make_slave: bool) -> None:
        self.words = words
        self.outside = outside
        self.make_slave = make_slave


def parse(argv: list[str]) -> Call | None:
    """Return the call that *argv* is, or None: then it is for click. Source: our own launch messages."""
    outside, make_slave, words = "", False, []
    if argv[:1] != ["bind"]:
        return None
    for word in argv[1:]:
        if word.startswith("--outside="):
            outside = word[len("--outside=") :]
        elif word == "--make-slave":
            make_slave = True
        elif word.startswith("{"):
            words.append(word)
        else:
            return None
    return Call(words, outside, make_slave) if words and outside else None


def run(call: Call) -> int:
    """Carry out *call* and return the exit code."""
    try:
        bind(call.words, call.outside, call.make_slave)
    except BaseException as error:  # the one place where this door's errors become an exit code
        if isinstance(error, OSError):
            error = DvdcliError(f"{error.filename or 'a directory'}: {error.strerror}", "see that path")
        return output.report("bind", error)
    return Exit.DONE
