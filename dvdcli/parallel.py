"""Several volumes at once: in threads, without the threading module's import, what waits; in processes what counts."""

from __future__ import annotations

import _thread
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import TypeVar

    T = TypeVar("T")

MOST = 16  # threads
MOST_PROCESSES = 4


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


def shares(function: Callable[[Sequence[T]], bytes], items: Sequence[T], least: int) -> list[bytes]:
    """Return what *function* makes of each share of *items*, in their order: a process for each CPU, this one included.

    No share has fewer than *least* items. *function* only looks: where a process fails, this one does its share too.
    """
    count = max(1, min(len(os.sched_getaffinity(0)), MOST_PROCESSES, len(items) // least))
    ends = [len(items) * number // count for number in range(count + 1)]
    parts = [items[ends[number] : ends[number + 1]] for number in range(count)]
    others = [_child(function, part) for part in parts[1:]]
    made = [function(parts[0])]
    for (pid, reader), part in zip(others, parts[1:], strict=True):
        with os.fdopen(reader, "rb") as pipe:
            told = pipe.read()
        _, status = os.waitpid(pid, 0)
        made.append(told if status == 0 else function(part))
    return made


def _child(function: Callable[[Sequence[T]], bytes], part: Sequence[T]) -> tuple[int, int]:
    reader, writer = os.pipe()
    pid = os.fork()
    if pid:
        os.close(writer)
        return pid, reader
    try:
        data = memoryview(function(part))
        while data:
            data = data[os.write(writer, data) :]
        os._exit(0)
    except BaseException:
        os._exit(1)  # its parent says why
