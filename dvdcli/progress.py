"""Progress on a terminal: which step it is, how long it has taken, when it is given up. Silent for what is quick."""

from __future__ import annotations

import _thread
import os

from dvdcli import clock
from dvdcli.errors import one_line

TYPE_CHECKING = False
if TYPE_CHECKING:
    from dvdcli.clock import Deadline

QUICK = 0.7  # seconds that nobody has to be told of
_EACH = 0.25
_WIDTH = 80

_open: list[Step] = []  # steps within steps: the innermost is shown
_screen = _thread.allocate_lock()


class Step:
    """A step that is under way, as a context. Steps of several threads are shown in turn, the last begun first."""

    def __init__(self, text: str, deadline: Deadline) -> None:
        self._text = text
        self._deadline = deadline
        self._start = 0.0
        self._end = _thread.allocate_lock()

    def __enter__(self) -> None:
        self._start = clock.now()["uptime"]
        self._end.acquire()
        _open.append(self)
        try:
            _thread.start_new_thread(self._show, ())
        except RuntimeError:
            return  # no more threads: nothing is shown

    def __exit__(self, *_: object) -> None:
        self._end.release()
        with _screen:
            _open.remove(self)
            if clock.now()["uptime"] - self._start >= QUICK:
                _write("")

    def _show(self) -> None:
        if self._end.acquire(timeout=QUICK):
            return
        while True:
            with _screen:
                if _open[-1:] == [self]:
                    _write(self.line(clock.now()["uptime"] - self._start, _width()))
            if self._end.acquire(timeout=_EACH):
                return

    def line(self, seconds: float, width: int) -> str:
        """Return what is shown after *seconds*, in at most *width* columns."""
        tail = f" ({seconds:.0f} s, until {clock.time_of_day(self._deadline.left())})"
        room = max(10, width - len(tail) - 1)
        text = one_line(self._text)
        return (text if len(text) <= room else f"{text[: room - 1]}\N{HORIZONTAL ELLIPSIS}") + tail


def _width() -> int:
    try:
        return os.get_terminal_size(2).columns or _WIDTH
    except OSError:
        return _WIDTH


def _write(text: str) -> None:
    try:
        os.write(2, f"\r{text}\x1b[K".encode("utf-8", "backslashreplace"))
    except OSError:
        return
