"""The one door to the clock: deadlines, waiting, and when something happened."""

from __future__ import annotations

import time


class Deadline:
    """A point in time by which a call has to have answered.

    Parameters: *seconds* from now. Suspended time counts as little as for any monotonic clock.
    """

    __slots__ = ("_end", "seconds")

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._end = time.monotonic() + seconds

    def left(self) -> float:
        """Return the seconds that are left, never less than 0."""
        return max(0.0, self._end - time.monotonic())

    def sooner(self, seconds: float) -> Deadline:
        """Return a deadline *seconds* from now, or this one's if that comes first."""
        return Deadline(min(seconds, self.left()))


def sleep(seconds: float) -> None:
    """Sleep for *seconds*."""
    time.sleep(seconds)


def now() -> dict[str, float]:
    """Return when it is: `wall`, whole seconds since 1970, for people; `uptime`, seconds since boot, for ages."""
    return {"wall": int(time.time()), "uptime": round(time.clock_gettime(time.CLOCK_BOOTTIME), 3)}


def time_of_day(seconds: float = 0.0) -> str:
    """Return what a clock on the wall shows *seconds* from now."""
    return time.strftime("%H:%M:%S", time.localtime(time.time() + seconds))


def http_date(seconds: float) -> str:
    """Return *seconds* since 1970 in the form of RFC 1123, in UTC."""
    return time.strftime("%a, %d %b %Y %H:%M:%S UTC", time.gmtime(seconds))
