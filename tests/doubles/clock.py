"""What is to happen later: every state that takes time ends here, whether or not somebody asks."""

from __future__ import annotations

import heapq
import itertools
import math
import threading
import time
from collections.abc import Callable

BETWEEN_LOOKS = 0.02


class Clock:
    """Run actions when they are due, each under *lock*; look again and again at what has no time of its own."""

    def __init__(self, lock: threading.RLock, faults: list[str]) -> None:
        self.changed = threading.Condition(lock)
        self.faults = faults
        self.due: list[tuple[float, int, Callable[[], None]]] = []
        self.waiting: list[Callable[[], bool]] = []
        self.count = itertools.count()
        self.stopped = False
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def after(self, seconds: float, action: Callable[[], None]) -> None:
        if math.isinf(seconds):
            return
        with self.changed:
            heapq.heappush(self.due, (time.monotonic() + seconds, next(self.count), action))
            self.changed.notify_all()

    def until(self, done: Callable[[], bool]) -> None:
        """Call *done* every now and then until it returns true."""
        with self.changed:
            self.waiting.append(done)
            self.changed.notify_all()

    def settle(self) -> None:
        """Do everything that is due by now."""
        with self.changed:
            self.waiting = [done for done in self.waiting if self._try(done) is False]
            while self.due and self.due[0][0] <= time.monotonic():
                self._try(heapq.heappop(self.due)[2])

    def stop(self) -> None:
        with self.changed:
            self.stopped = True
            self.changed.notify_all()
        self.thread.join(60)

    def _try(self, action: Callable[[], bool | None]) -> bool | None:
        try:
            return action()
        except Exception as error:
            self.faults.append(f"{type(error).__name__}: {error}")
            return None

    def _run(self) -> None:
        with self.changed:
            while not self.stopped:
                self.settle()
                rest = [self.due[0][0] - time.monotonic()] if self.due else []
                if self.waiting:
                    rest.append(BETWEEN_LOOKS)
                self.changed.wait(max(0.0, min(rest)) if rest else None)
