"""Every failure a caller can see: a message, a hint, an exit code."""

from __future__ import annotations

LONGEST_SAYING = 4096  # characters of somebody else's error that are worth a line, and a place in a record


class Exit:
    """The exit codes, documented in README.md.

    Plain integers: the enum module alone would cost a fifth of an interpreter's start.
    """

    DONE = 0
    FAILURE = 1
    USAGE = 2
    NOT_FOUND = 3
    IN_USE = 4
    TRY_AGAIN = 5
    STATE = 6
    INTERRUPTED = 130


class DvdcliError(Exception):
    """A failure to be told in one line.

    Parameters: *message*, what failed and on what; *hint*, what the reader can do about it.
    """

    code = Exit.FAILURE

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        text = f"{self.message}; {self.hint}" if self.hint else self.message
        return one_line(text)


class UsageError(DvdcliError):
    """The call itself is wrong: a flag, a name, an option."""

    code = Exit.USAGE


class NotFoundError(DvdcliError):
    """There is no such volume or driver."""

    code = Exit.NOT_FOUND


class InUseError(DvdcliError):
    """The volume is in use: by another host, or by processes on this one."""

    code = Exit.IN_USE


class TryAgainError(DvdcliError):
    """The same call can succeed later: something is busy, starting or slow."""

    code = Exit.TRY_AGAIN


class AtWorkError(TryAgainError):
    """A program of ours that is not killed outlasts the call: it goes on, and what it does is not undone."""


class StateError(DvdcliError):
    """The mount state or a lock cannot be read, written or trusted."""

    code = Exit.STATE


class NewerError(StateError):
    """A part of the state is of a newer dvdcli: nothing of it is changed."""


def one_line(text: str) -> str:
    """Return *text* as a single line without control characters, whatever a plugin put into it."""
    joined = "; ".join(part for part in (line.strip() for line in text.splitlines()) if part)
    return visible(joined)


def visible(text: str) -> str:
    """Return *text* with what cannot be seen escaped: control and format characters, odd spaces."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def from_os_error(error: OSError) -> StateError:
    """Turn what the kernel said about one of our own files into what an operator can act on."""
    where = f"{error.filename}: " if error.filename else ""
    return StateError(
        f"{where}{error.strerror or error}",
        "see that the state directory's file system is writable, and has space and inodes",
    )


def without_threads(what: str) -> TryAgainError:
    """Return the failure of *what*, which cannot be done since the system gives this process no more threads."""
    return TryAgainError(
        f"{what}: the system gives no more threads",
        "let there be more: pids.max of the cgroup (systemd: TasksMax), or the user's limit of processes",
    )


def untold(what: str, error: OSError) -> TryAgainError:
    """Return the failure of a look at *what*, which the kernel did not answer: it is not taken for nothing."""
    return TryAgainError(f"{what}: {error.strerror}", "see that this host has memory and files left")
