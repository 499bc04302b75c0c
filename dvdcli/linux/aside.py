"""Looks at file systems that may never answer: in a child, which is left behind where they do not.

Who asks a stuck FUSE or network file system waits in the kernel, and not even SIGKILL ends that. So nobody is asked
where the mount table tells as well, and where only the file system can tell, we are not the ones who wait.
"""

from __future__ import annotations

import os

from dvdcli.errors import TryAgainError
from dvdcli.linux import mountinfo

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from dvdcli.clock import Deadline


def is_link(path: str, deadline: Deadline) -> bool:
    """Return whether *path* is a symbolic link. What is mounted on is none: then nothing is asked.

    Raises TryAgainError where its file system does not answer.
    """
    mount = mountinfo.mount_of(path, mountinfo.read())
    if mount is not None and mount.path == path:
        return False
    return look(lambda: "link" if os.path.islink(path) else "", path, deadline) == "link"


def look(function: Callable[[], str], path: str, deadline: Deadline, anywhere: bool = False) -> str:
    """Return what *function* returns, which touches *path*; in a child, if the file system there can hang.

    With *anywhere* it counts if any on this host can: links may lead there. Raises TryAgainError at the *deadline*,
    and OSError as *function* does, with errno alone.
    """
    mounts = mountinfo.read()
    there = mountinfo.mount_of(path, mounts)
    if not (any(mount.can_hang for mount in mounts) if anywhere else there is not None and there.can_hang):
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
