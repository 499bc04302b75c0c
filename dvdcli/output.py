"""The one door to what others read: stdout, stderr, syslog."""

from __future__ import annotations

import os
import sys

from dvdcli.errors import DvdcliError, Exit, from_os_error, one_line

TYPE_CHECKING = False
if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from dvdcli.clock import Deadline


class LostStdoutError(DvdcliError):
    """What the call has to say cannot be printed."""


verbose = False
quiet = False
mute = False  # a shell is completing: nobody asked for anything to be said
_stdout_closed = False


def guard() -> None:
    """Occupy the standard descriptors that the caller closed, so that no file of ours is opened as one of them."""
    global _stdout_closed
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
            _stdout_closed = _stdout_closed or descriptor == 1


def need_stdout() -> None:
    """Raise DvdcliError where the caller closed stdout: what it asks for could not be told."""
    if _stdout_closed:
        raise LostStdoutError("standard output is closed, so the answer cannot be printed", "open it")


def to_stdout(text: str) -> None:
    """Write *text* and a newline to stdout, whole. Raises DvdcliError where it cannot be written."""
    need_stdout()
    data = memoryview(os.fsencode(f"{text}\n"))
    try:
        while data:
            data = data[os.write(1, data) :]
    except OSError as error:
        raise LostStdoutError(f"standard output cannot be written: {error.strerror}", "see where it goes") from error


class _Silence:
    """What step() is where nobody watches."""

    def __enter__(self) -> None:
        return

    def __exit__(self, *_: object) -> None:
        return


_SILENCE = _Silence()


def step(text: str, deadline: Deadline) -> AbstractContextManager[None]:
    """Return a context for what can take long: on a terminal *text* is shown meanwhile, with how long, until when."""
    if quiet or not os.isatty(2):
        return _SILENCE
    from dvdcli.progress import Step

    return Step(text, deadline)


def to_stderr(text: str) -> None:
    """Write one line to stderr; a stderr that cannot be written is nobody's failure."""
    if mute:
        return
    over = "\r\x1b[K" if "dvdcli.progress" in sys.modules else ""  # what a step shows there
    try:
        os.write(2, f"{over}dvdcli: {one_line(text)}\n".encode("utf-8", "backslashreplace"))
    except OSError:
        return


def to_syslog(text: str) -> None:
    """Leave one line in the system's log."""
    if mute:
        return
    import syslog

    syslog.openlog("dvdcli", syslog.LOG_PID, syslog.LOG_DAEMON)
    syslog.syslog(syslog.LOG_WARNING, one_line(text).encode("utf-8", "backslashreplace").decode())


def warn(text: str) -> None:
    """Say what went wrong without being the call's failure, where it can still be found tomorrow."""
    if not quiet:
        to_stderr(f"warning: {text}")
    to_syslog(text)


def tell(text: str) -> None:
    """Say something to whoever sits at a terminal; agents and cron hear nothing."""
    if not quiet and (verbose or os.isatty(2)):
        to_stderr(text)


def debug(text: str) -> None:
    """Say what is being done, for -v."""
    if verbose:
        to_stderr(text)


def report(what: str, error: BaseException) -> int:
    """Say on stderr, in one line, how *what* failed; return the exit code. With -v also say why."""
    if isinstance(error, KeyboardInterrupt):
        to_stderr(f"{what}: interrupted")
        return Exit.INTERRUPTED
    failure = from_os_error(error) if isinstance(error, OSError) else error
    if isinstance(failure, DvdcliError):
        to_stderr(f"{what}: {failure}")
        _explain(error.__cause__)
        return failure.code
    if isinstance(error, ImportError):
        to_stderr(f"{what}: dvdcli, or what it needs, is not whole: {error}; see that disk, or install it anew")
    else:
        name = type(error).__name__
        to_stderr(f"{what}: this is a bug in dvdcli: {name}: {error}; please report it, with -v's output")
    _explain(error)
    return Exit.FAILURE


def _explain(cause: BaseException | None) -> None:
    if verbose and cause is not None:
        import traceback

        for line in traceback.format_exception(cause):
            debug(line)
