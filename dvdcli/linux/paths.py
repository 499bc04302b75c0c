"""Walks along paths that others can write: no symbolic link leads out, whoever put it there, and whenever.

A walk holds a descriptor of the directory that it has reached, so what it returns is what it checked. It needs no
openat2(2), which agents of Mesos 0.23 do not have.
"""

from __future__ import annotations

import errno
import os
import stat

from dvdcli.errors import DvdcliError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_STEP = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
MOST_LINKS = 40  # as the kernel's


def parts(path: str) -> list[str]:
    """Return the components of *path*, without empty ones and `.`."""
    return [part for part in path.split("/") if part not in ("", ".")]


def is_within(path: str, directory: str) -> bool:
    """Return whether the normalised *path* is *directory* or below it."""
    return directory == "/" or path == directory or path.startswith(f"{directory}/")


def way_to(path: str) -> list[str]:
    """Return the directories on the way to *path*, from / on, without itself."""
    names = path.strip("/").split("/")
    return ["/" + "/".join(names[:length]) for length in range(len(names))]


def replaceable(path: str) -> str:
    """Return the first directory on the way to *path* in which others can put something else there, "" for none.

    In a directory with the sticky bit nobody takes away what is not his. Raises OSError.
    """
    for each in way_to(os.path.realpath(path)):
        if _is_changeable(os.stat(each)):
            return each
    return ""


def _is_changeable(directory: os.stat_result) -> bool:
    """Return whether others can put something else into the place of what is in the *directory*."""
    is_open = directory.st_mode & 0o022 and not directory.st_mode & stat.S_ISVTX
    return bool(is_open or directory.st_uid not in (0, os.geteuid()))


def resolve(path: str, ends_in_link: bool = True) -> tuple[str, str]:
    """Return the absolute *path* without symbolic links, and the first place on the way that others can change.

    That is "" where nobody else can: then the path leads there tomorrow, too. What is at its end is not looked at; nor
    whether it is a link, without *ends_in_link*: its file system could be stuck.
    Raises OSError.
    """
    at, rest, links, risk = "/", parts(path)[::-1], 0, ""
    while rest:
        name = rest.pop()
        if name == "..":
            at = os.path.dirname(at)
            continue
        risk = risk or (at if _is_changeable(os.stat(at)) else "")
        there = f"{at.rstrip('/')}/{name}"
        if not (rest or ends_in_link) or not os.path.islink(there):
            at = there
            continue
        links += 1
        if links > MOST_LINKS:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
        risk = risk or (there if os.lstat(there).st_uid not in (0, os.geteuid()) else "")
        target = os.readlink(there)
        at = "/" if target.startswith("/") else at
        rest += parts(target)[::-1]
    return at, risk


def is_of_root_alone(path: str) -> bool:
    """Return whether only root can put something else at *path*: nobody else can write a directory on the way to it.

    *path* is absolute and without symbolic links. Raises OSError.
    """
    while path != "/":
        path = os.path.dirname(path)
        status = os.lstat(path)
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != 0:
            return False
        if status.st_mode & 0o022:
            return False
    return True


class Walk:
    """A walk that starts at the directory *base*, which is trusted, and never leaves it.

    With *make*, (uid, gid), directories that are missing are made and given to that owner. *before* is called before a
    name is looked up in the directory that the walk has reached. Raises DvdcliError where the walk cannot go on,
    OSError, and what *before* does.
    """

    def __init__(
        self, base: str, make: tuple[int, int] | None, before: Callable[[int, str], None] | None = None
    ) -> None:
        self.make = make
        self._before = before
        self._names: list[str] = []
        self._stack = [os.open(base, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)]
        self._base = base
        self._links = 0

    def __enter__(self) -> Walk:
        return self

    def __exit__(self, *exception: Any) -> None:
        while self._stack:
            os.close(self._stack.pop())

    @property
    def descriptor(self) -> int:
        """The directory that has been reached, opened with O_PATH; it is closed with the walk."""
        return self._stack[-1]

    def _here(self, name: str) -> str:
        return "/".join([self._base.rstrip("/"), *self._names, name])

    def along(self, path: str, follow: bool) -> None:
        """Go on along the relative *path*. With *follow* a symbolic link is read as inside a chroot to the base."""
        for name in parts(path):
            if name == "..":
                raise DvdcliError(f"{path} has a .. in it")
            self._step(name, follow)

    def _step(self, name: str, follow: bool) -> None:
        if self._before is not None:
            self._before(self.descriptor, name)
        try:
            # The kernel says whether it is a directory, not its file system: that of a volume may be stuck.
            descriptor = os.open(name, _STEP | os.O_DIRECTORY, dir_fd=self.descriptor)
        except FileNotFoundError:
            if self.make is None:
                raise
            descriptor = self._made(name, self.make)
        except NotADirectoryError:
            self._through(name, follow)
            return
        self._stack.append(descriptor)
        self._names.append(name)

    def _through(self, name: str, follow: bool) -> None:
        if not stat.S_ISLNK(os.stat(name, dir_fd=self.descriptor, follow_symlinks=False).st_mode):
            raise DvdcliError(f"{self._here(name)} is no directory")
        if not follow:
            raise DvdcliError(f"{self._here(name)} is a symbolic link", "a container path takes none in such a place")
        self._follow(name)

    def _made(self, name: str, owner: tuple[int, int]) -> int:
        try:
            os.mkdir(name, 0o755, dir_fd=self.descriptor)
        except FileExistsError:
            return os.open(name, _STEP | os.O_DIRECTORY, dir_fd=self.descriptor)
        descriptor = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self.descriptor)
        try:
            if os.fstat(descriptor).st_uid == os.geteuid():  # else somebody has put another one there
                os.fchown(descriptor, *owner)
                os.fchmod(descriptor, 0o755)  # nosec B103
            return os.open(".", _STEP, dir_fd=descriptor)
        finally:
            os.close(descriptor)

    def _follow(self, name: str) -> None:
        self._links += 1
        if self._links > MOST_LINKS:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), self._here(name))
        target = os.readlink(name, dir_fd=self.descriptor)
        where = self._here(name)
        if target.startswith("/"):
            self._back_to(1)
        for part in parts(target):
            if part != "..":
                self._step(part, follow=True)
            elif len(self._stack) > 1:
                self._back_to(len(self._stack) - 1)
            else:
                raise DvdcliError(f"{where} is a symbolic link to {target}, out of {self._base}")

    def _back_to(self, depth: int) -> None:
        while len(self._stack) > depth:
            os.close(self._stack.pop())
            self._names.pop()
