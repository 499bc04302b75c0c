"""Reading and writing our own files: whole or not at all, and durable where the caller asks for it."""

from __future__ import annotations

import errno
import os

from dvdcli.errors import TryAgainError
from dvdcli.linux import mountinfo

TYPE_CHECKING = False
if TYPE_CHECKING:
    from dvdcli.clock import Deadline

_READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK  # a FIFO in a file's place keeps nobody waiting
_LONGEST = 64 << 20  # bytes: what is longer is none of ours, a device without an end perhaps
_WRITE = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW

_asked: dict[str, TryAgainError | None] = {}  # by path, what await_answer() came to


def await_answer(path: str, deadline: Deadline) -> None:
    """Return when the file system that *path* leads to answers; it is asked once in the life of a process.

    Raises TryAgainError where it does not by the *deadline*, and each time after that.
    """
    if path not in _asked:
        try:
            if mountinfo.may_hang():
                from dvdcli.linux import aside

                aside.ask(path, deadline)
            _asked[path] = None
        except TryAgainError as error:
            _asked[path] = error
    failure = _asked[path]
    if failure is not None:
        raise failure


def read(path: str) -> bytes | None:
    """Return the content of the file at *path*, None where there is none. Raises OSError."""
    try:
        descriptor = os.open(path, _READ)
    except FileNotFoundError:
        return None
    try:
        chunks, size = [], 0
        while chunk := os.read(descriptor, 65536):
            chunks.append(chunk)
            size += len(chunk)
            if size > _LONGEST:
                raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), path)
        return b"".join(chunks)
    finally:
        os.close(descriptor)


def replace(path: str, data: bytes, *, durable: bool) -> None:
    """Make *data* the content of the file at *path*: whoever reads it finds the old or the new, never a part.

    With *durable* the data is on disk before the name points to it; the name itself is only there for sure after
    sync_directory. The temporary name is fixed, so that whatever a killed call leaves is overwritten by the next;
    the caller holds the lock. Raises OSError, with the old content in place.
    """
    temporary = f"{path}.new"
    descriptor = os.open(temporary, _WRITE, 0o600)
    try:
        _fill(descriptor, data, durable)
        os.rename(temporary, path)
    except OSError as error:
        unlink(temporary)
        raise OSError(error.errno, error.strerror, path) from error


def write(path: str, data: bytes) -> None:
    """Make *data* the content of the file at *path*, in place: who reads it meanwhile finds a part. Raises OSError."""
    _fill(os.open(path, _WRITE, 0o600), data, durable=False)


def _fill(descriptor: int, data: bytes, durable: bool) -> None:
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(descriptor, view) :]
        if durable:
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_directory(path: str) -> None:
    """Make the names in the directory at *path* durable. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as error:
        raise OSError(error.errno, error.strerror, path) from error
    finally:
        os.close(descriptor)


def unique() -> str:
    """Return a random UUID, the kernel's."""
    return (read("/proc/sys/kernel/random/uuid") or b"").decode("ascii").strip()


def names_in(path: str) -> list[str]:
    """Return the sorted names in the directory at *path*; none where there is no directory. Raises OSError."""
    try:
        return sorted(os.listdir(path))
    except (FileNotFoundError, NotADirectoryError):
        return []


def unlink(path: str) -> bool:
    """Remove the name *path*; return whether it was there. Raises OSError."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        return False
    return True


def touch(path: str) -> None:
    """Make an empty file at *path*, or leave what is there. Raises OSError."""
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600))


def remove_directory(path: str) -> bool:
    """Remove the directory at *path*, if it is there and empty; return whether it is gone. Raises OSError."""
    try:
        os.rmdir(path)
    except FileNotFoundError:
        return True
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
        return False
    return True
