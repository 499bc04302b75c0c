"""Several volumes at once, in one process: threads without the threading module's import."""

from __future__ import annotations

import _thread

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import TypeVar

    T = TypeVar("T")

MOST = 16  # threads


def each(function: Callable[[T], None], items: Sequence[T]) -> list[BaseException | None]:
    """Call *function* with each of *items*, at most MOST at a time; return what each raised, in the order of items.

    The last worker is this thread itself: one item needs no other.
    """
    failures: list[BaseException | None] = [None] * len(items)
    left = list(range(len(items) - 1, -1, -1))

    def work() -> None:
        while True:
            try:
                index = left.pop()
            except IndexError:
                return
            try:
                function(items[index])
            except BaseException as error:  # told to the caller, whatever it is
                failures[index] = error

    def work_beside(done: _thread.LockType) -> None:
        try:
            work()
        finally:
            done.release()

    waiting = []
    for _ in range(min(MOST, len(items)) - 1):
        done = _thread.allocate_lock()
        done.acquire()
        try:
            _thread.start_new_thread(work_beside, (done,))
        except RuntimeError:  # no more threads: fewer do it too
            break
        waiting.append(done)
    work()
    for done in waiting:
        done.acquire()
    return failures
