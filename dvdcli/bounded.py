"""One exchange through requests, bounded: a whole answer of a bearable size in time, or none; no redirection.

requests has a limit for each piece of an answer only, and none for its size: a byte a second outlasts any timeout.
"""

from __future__ import annotations

from dvdcli.errors import without_threads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar

    T = TypeVar("T")

LONGEST_ANSWER = 64 << 20  # bytes
_CHUNK = 1 << 16


class TooLongError(Exception):
    """The answer has more than LONGEST_ANSWER bytes."""


def session() -> Any:
    """Return a session that has no settings of the caller's environment (.netrc, proxies, CAs), and goes nowhere else.

    Even where it is not to follow a redirection, requests reads its body: all of it, however much that is.
    """
    import requests

    made: Any = requests.Session()
    made.trust_env = False
    made.get_redirect_target = lambda reply: None
    return made


def exchange(session: Any, seconds: float, method: str, url: str, **more: Any) -> Any | None:
    """Return the answer to a request, with all of its body as `body`; None where that takes more than *seconds*.

    Raises TooLongError, what requests raises, and TryAgainError where nothing was sent for want of a thread.
    """

    def work() -> Any:
        reply = session.request(method, url, stream=True, allow_redirects=False, **more)
        with reply:
            chunks, size = [], 0
            for chunk in reply.iter_content(_CHUNK):
                size += len(chunk)
                if size > LONGEST_ANSWER:
                    raise TooLongError
                chunks.append(chunk)
            reply.body = b"".join(chunks)
        return reply

    return within(seconds, work)


def within(seconds: float, function: Callable[[], T]) -> T | None:
    """Return what *function* returns, None where it takes longer.

    Raises what it raises, and TryAgainError where it cannot be begun for want of a thread.
    """
    import threading

    done: list[T] = []
    failures: list[BaseException] = []

    def work() -> None:
        try:
            done.append(function())
        except BaseException as error:  # told to the caller, whatever it is
            failures.append(error)

    thread = threading.Thread(target=work, daemon=True)
    try:
        thread.start()
    except RuntimeError:
        raise without_threads("a request cannot be sent") from None
    thread.join(seconds)
    if failures:
        raise failures[0]
    return done[0] if done else None


def innermost(error: BaseException) -> BaseException:
    """Return the innermost reason of *error*: requests wraps urllib3's, which wraps the system's."""
    inner = error
    while True:
        following: Any = getattr(inner, "reason", None)
        if not isinstance(following, BaseException):  # OpenSSL's own errors have a text there
            following = next((each for each in inner.args if isinstance(each, BaseException)), None)
        if following is None and isinstance(inner.__cause__, OSError):
            following = inner.__cause__
        if following is None:
            return inner
        inner = following


def why(error: BaseException) -> str:
    """Return the innermost reason of *error* in the system's words."""
    inner = innermost(error)
    return str(getattr(inner, "strerror", None) or inner)
