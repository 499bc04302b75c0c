"""Looks at file systems that may never answer: in a child, which is left behind where they do not.

Who asks a stuck FUSE or network file system waits in the kernel, and not even SIGKILL ends that. So nobody is asked
where the mount table tells as well, and where only the file system can tell, we are not the ones who wait.
"""

from __future__ import annotations

import os

from dvdcli.errors import TryAgainError
from dvdcli.linux import mountinfo
from dvdcli.linux.paths import MOST_LINKS, parts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from dvdcli.clock import Deadline
    from dvdcli.linux.mountinfo import Mount


def behind(path: str, mounts: list[Mount]) -> Mount | None:
    """Return the first of *mounts* that can hang whoever looks at the absolute *path*, links followed; None for none.

    What can hang is not touched here: the walk ends where a name would have to be looked up in it. The root of a mount
    is on its way without a question; at the end it counts.
    """
    if not any(mount.can_hang for mount in mounts):
        return None
    at, rest, links = "/", parts(path)[::-1], 0
    while True:
        mount = mountinfo.mount_of(at, mounts)
        if mount is not None and mount.can_hang:
            return mount
        if not rest:
            return None
        name = rest.pop()
        there = os.path.dirname(at) if name == ".." else f"{at.rstrip('/')}/{name}"
        target = "" if name == ".." or any(each.path == there for each in mounts) else _target(there)
        if target:
            links += 1
            if links > MOST_LINKS:
                return None
            at = "/" if target.startswith("/") else at
            rest += parts(target)[::-1]
        else:
            at = there


def _target(path: str) -> str:
    """Return what the symbolic link at *path* says, "" where there is none."""
    try:
        return os.readlink(path)
    except OSError:
        return ""


def ask(path: str, deadline: Deadline) -> None:
    """Return when whoever looks at *path* gets an answer, be it that there is nothing.

    Raises TryAgainError where its file system does not answer by the *deadline*. It can be stuck a moment later.
    """
    try:
        look(lambda: str(os.stat(path).st_ino), path, deadline)
    except TryAgainError:
        raise
    except OSError:
        return  # that is an answer, for who looks


def is_link(path: str, deadline: Deadline) -> bool:
    """Return whether *path* is a symbolic link. What is mounted on is none: then nothing is asked.

    Raises TryAgainError where its file system does not answer.
    """
    mounts = mountinfo.read()
    mount = mountinfo.mount_of(path, mounts)
    if mount is not None and mount.path == path:
        return False
    return look(lambda: "link" if os.path.islink(path) else "", path, deadline) == "link"


def look(function: Callable[[], str], path: str, deadline: Deadline) -> str:
    """Return what *function* returns, which touches *path*; in a child, if a file system on the way there can hang.

    Raises TryAgainError at the *deadline*, and OSError as *function* does, with errno alone.
    """
    if behind(path, mountinfo.read()) is None:
        return function()
    import select

    reader, writer = os.pipe()
    pid = os.fork()
    if not pid:
        _answer(function, writer)
    os.close(writer)
    try:
        waiting = select.poll()
        waiting.register(reader, select.POLLIN)
        said = b""
        while waiting.poll(deadline.left() * 1000):
            data = os.read(reader, 65536)
            if not data:
                break
            said += data
    finally:
        os.close(reader)
    number, end, text = said.partition(b"\n")
    if not end or not text.endswith(b"\n"):
        _leave(pid)
        raise TryAgainError(
            f"{path} has not answered for {deadline.seconds:.0f} s: its file system is stuck",
            "see to its server; who asks it can be killed only after that",
        )
    os.waitpid(pid, 0)
    if int(number):
        raise OSError(int(number), os.strerror(int(number)), path)
    return os.fsdecode(text[:-1])


def _answer(function: Callable[[], str], writer: int) -> None:
    """Be the child: keep nothing of our parent's open, neither its locks nor the pipes that its caller reads."""
    try:
        for name in os.listdir("/proc/self/fd"):
            if int(name) != writer:
                try:
                    os.close(int(name))
                except OSError:
                    continue  # the directory itself
        try:
            said = b"0\n" + os.fsencode(function()) + b"\n"
        except OSError as error:
            said = b"%d\n\n" % (error.errno or 5)
        os.write(writer, said)
    finally:
        os._exit(0)


def _leave(pid: int) -> None:
    import signal

    os.kill(pid, signal.SIGKILL)  # where it waits for a network file system, that ends it
    os.waitpid(pid, os.WNOHANG)
