"""What a look at something came to: fine, odd, or not going to work, and what to do about it."""

from __future__ import annotations

from dvdcli.errors import DvdcliError, from_os_error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

OK = "ok"
WARNING = "warning"
FAILED = "failed"


class Finding:
    """One thing that was looked at: *status* is one of the words above, *subject* what it is about.

    *text* says what was found, and *hint* what to do about it.
    """

    __slots__ = ("hint", "status", "subject", "text")

    def __init__(self, status: str, text: str, hint: str = "", subject: str = "") -> None:
        self.status = status
        self.text = text
        self.hint = hint
        self.subject = subject

    def of(self, subject: str) -> Finding:
        """Return the same finding, about *subject*."""
        return Finding(self.status, self.text, self.hint, subject)

    def to_json(self) -> dict[str, str]:
        """Return the finding for programs."""
        return {"status": self.status, "subject": self.subject, "text": self.text, "hint": self.hint}


def ok(text: str) -> Finding:
    """Return the finding of what is fine."""
    return Finding(OK, text)


def warning(text: str, hint: str = "") -> Finding:
    """Return the finding of what works, but perhaps not as somebody wants."""
    return Finding(WARNING, text, hint)


def failed(text: str, hint: str = "") -> Finding:
    """Return the finding of what cannot work."""
    return Finding(FAILED, text, hint)


def from_error(error: DvdcliError | OSError) -> Finding:
    """Return the finding of what failed with *error*."""
    if isinstance(error, OSError):
        error = from_os_error(error)
    return failed(error.message, error.hint)


def attempt(look: Callable[[], str]) -> Finding:
    """Return what *look* says is fine, or how it failed."""
    try:
        return ok(look())
    except (DvdcliError, OSError) as error:
        return from_error(error)
