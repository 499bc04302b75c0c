"""Whether the threads can be started that gRPC needs: where they cannot, it tries again for ever, past any deadline.

It does so within the call that makes a channel, where nothing of ours is called back. Source: gRPC's event engine,
whose pool has a thread for each processor, 4 to 16 of them, beside one that looks after it and one for timers.
"""

from __future__ import annotations

import os

from dvdcli.errors import without_threads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from contextlib import AbstractContextManager

_FEWEST, _MOST = 4, 16
_BESIDE = 2
_SPARE = 2  # that it starts when the others are busy


def needed(processors: int) -> int:
    """Return how many threads gRPC starts on a host with *processors*, those with it that it may want more."""
    return min(max(processors, _FEWEST), _MOST) + _BESIDE + _SPARE


def check() -> None:
    """Start as many threads at once as gRPC needs, and let them end. Raises TryAgainError where that is not possible.

    What takes the last ones in the moment between is not caught: gRPC waits then until some end.
    """
    import threading

    count = needed(os.sysconf("SC_NPROCESSORS_CONF"))
    gate, started = threading.Lock(), []
    try:
        with gate:
            for _ in range(count):
                thread = threading.Thread(target=_pass, args=(gate,), daemon=True)
                thread.start()
                started.append(thread)
    except RuntimeError:
        raise without_threads(f"CSI drivers need {count} threads, and only {len(started)} can be started") from None
    finally:
        for thread in started:
            thread.join()  # gRPC would not let them end: it waits for room without letting Python go on


def _pass(gate: AbstractContextManager[bool]) -> None:
    with gate:
        return
