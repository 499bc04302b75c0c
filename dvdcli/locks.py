"""One lock a volume: flock(2) on a file in the volume's own directory, which may vanish under its own lock."""

from __future__ import annotations

import fcntl
import os

from dvdcli import output
from dvdcli.errors import TryAgainError
from dvdcli.linux import mountinfo

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from dvdcli.clock import Deadline

_SLICE = 1.0  # seconds between two looks at whether the file that we wait for is still the one in place


class Lock:
    """A held lock. It goes with `release`, or with the process and those of its children that inherited it."""

    __slots__ = ("descriptor", "path")

    def __init__(self, path: str, descriptor: int) -> None:
        self.path = path
        self.descriptor = descriptor

    def release(self) -> None:
        """Let go of the lock; its file stays."""
        os.close(self.descriptor)


def try_lock(path: str) -> Lock | None:
    """Take the lock at *path* with one system call, or return None where somebody has it.

    Raises FileNotFoundError where the directory is not there (any more), and OSError.
    """
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(descriptor), os.stat(path)):
                return Lock(path, descriptor)
        except BlockingIOError:
            os.close(descriptor)
            return None
        except FileNotFoundError:
            pass  # whoever had the lock removed the file: take the new one
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def acquire(
    path: str, deadline: Deadline, make: Callable[[], None], busy: Callable[[], object] | None = None
) -> Lock:
    """Take the lock at *path*; *make* makes its directory where there is none, *busy* is called before each wait.

    Raises TryAgainError at the *deadline*, and OSError.
    """
    while True:
        try:
            lock = try_lock(path)
            if lock is not None:
                return lock
            if busy is not None:
                busy()
            wait(path, deadline)
        except FileNotFoundError:
            make()


def wait(path: str, deadline: Deadline) -> None:
    """Wait until the lock at *path* may be free, for a second at most: then it is time to look again.

    Raises TryAgainError at the deadline, naming the processes that have the lock, and FileNotFoundError as try_lock.
    """
    if deadline.left() <= 0:
        pids = holders(path)
        by = f" by pid {', '.join(map(str, pids))}" if pids else ""
        raise TryAgainError(
            f"another call has been at work on this volume{by} for {deadline.seconds:.0f} s", "try again later"
        )
    import filelock

    output.debug(f"waiting for {path}")
    queue = filelock.FileLock(
        path, mode=0o600, timeout=min(_SLICE, deadline.left()), poll_interval=0.02,
        fallback_to_soft=False, preserve_lock_file=True,
    )  # fmt: skip
    try:
        queue.acquire()
    except (filelock.Timeout, FileExistsError):
        return  # the latter where the directory goes while filelock looks for it
    queue.release()


def holders(path: str) -> list[int]:
    """Return the processes that have the file at *path* open, us excepted.

    /proc/locks would name the process that took the lock, which can be dead while its child keeps it.
    """
    try:
        wanted = os.stat(path)
    except OSError:
        return []
    found = []
    for pid in sorted(int(name) for name in os.listdir("/proc") if name.isdigit()):
        if pid == os.getpid():
            continue
        try:
            if any(_is_file(pid, fd, wanted) for fd in os.listdir(f"/proc/{pid}/fd")):
                found.append(pid)
        except OSError:
            continue
    return found


def _is_file(pid: int, descriptor: str, wanted: os.stat_result) -> bool:
    # The link's text first, and the mount it is in: a stat through it would hang on a dead file system.
    link = f"/proc/{pid}/fd/{descriptor}"
    try:
        if not os.readlink(link).endswith("/lock"):
            return False
        number = mountinfo.id_of(descriptor, pid)
        if any(mount.id == number and mount.can_hang for mount in mountinfo.read(pid)):
            return False
        return os.path.samestat(os.stat(link), wanted)
    except OSError:
        return False
