"""The test's end of the line that each call has to it: what is to happen instead, and when."""

from __future__ import annotations

import json
import socket
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.doubles.acceptor import Acceptor


@dataclass
class Instead:
    """What happens at a moment of a call: `before` it is carried out, `after` that, or a step of its work.

    *fail* is a status's name and a message; *sleep* in seconds; with *hang* there is no answer, ever; with *die* the
    driver's process is killed. *answer* is what is answered, as JSON; before a call it is not carried out then.
    """

    at: str = "before"
    fail: tuple[str, str] | None = None
    sleep: float = 0
    hang: bool = False
    die: bool = False
    answer: dict[str, Any] | None = None

    def told(self) -> dict[str, Any]:
        """Return what the driver is told of it."""
        fields = {key: value for key, value in vars(self).items() if key != "at"}
        return {key: value for key, value in fields.items() if value not in (None, 0, False)}


def Fail(code: str, message: str = "told to", *, act: bool = False, at: str = "") -> Instead:
    """An error; with *act* the call is carried out first, or as far as the step *at*."""
    return Instead(at or ("after" if act else "before"), fail=(code, message))


def Drop(*, act: bool = False) -> Instead:
    """An answer that is lost, as when the connection breaks."""
    return Fail("UNAVAILABLE", "Socket closed", act=act)


def Answer(*, act: bool = False, **fields: Any) -> Instead:
    """Another answer, with *fields*: without *act* a lie, where there are none."""
    return Instead("after" if act else "before", answer=fields)


def Die(at: str = "before") -> Instead:
    return Instead(at, die=True)


def Hang(*, act: bool = False) -> Instead:
    return Instead("after" if act else "before", hang=True)


def Slow(seconds: float, *, act: bool = False) -> Instead:
    return Instead("after" if act else "before", sleep=seconds)


class Control:
    """Listens at *path*. `before` is called at each moment of every call, with the call's name and the moment."""

    def __init__(self, path: Path) -> None:
        self.replies: dict[str, deque[Instead | None]] = {}
        self.always: dict[str, Instead] = {}
        self.before: Callable[[str, str], None] = lambda rpc, moment: None
        self.choose: Callable[[str], Instead | None] = self.always.get  # of a call that nothing was said of by `next`
        self.moments: list[tuple[str, str, str]] = []  # node, call, moment
        self.failures: list[str] = []
        self.working = 0
        self.changed = threading.Condition()
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(path))
        self.listener.listen(64)
        self.acceptor = Acceptor(self.listener, self._take)

    def next(self, rpc: str, *replies: Instead | None) -> None:
        """Have this happen in the next calls of *rpc*; None is the right answer."""
        self.replies.setdefault(rpc, deque()).extend(replies)

    def wait_idle(self) -> None:
        """Wait until every call is over, whether or not its caller still lives."""
        with self.changed:
            assert self.changed.wait_for(lambda: not self.working, 60), "a call of the CSI double hangs"

    def close(self) -> None:
        """Listen no more."""
        self.acceptor.stop()

    def _take(self, line: socket.socket) -> None:
        with self.changed:
            self.working += 1
        threading.Thread(target=self._serve, args=(line,), daemon=True).start()

    def _serve(self, line: socket.socket) -> None:
        try:
            with line, line.makefile("rb") as file:
                self._converse(line, file)
        except (BrokenPipeError, ConnectionResetError):
            pass  # the driver's process was killed
        except Exception as error:
            self.failures.append(f"{type(error).__name__}: {error}")
        finally:
            with self.changed:
                self.working -= 1
                self.changed.notify_all()

    def _converse(self, line: socket.socket, file: Any) -> None:
        instead: Instead | None = None
        for text in file:
            said = json.loads(text)
            rpc, moment = said["rpc"], said["moment"]
            with self.changed:
                self.moments.append((said["node"], rpc, moment))
                if moment == "before":
                    queue = self.replies.get(rpc)
                    instead = queue.popleft() if queue else self.choose(rpc)
            self.before(rpc, moment)
            told = instead.told() if instead and instead.at == moment else {}
            line.sendall(json.dumps(told).encode() + b"\n")
