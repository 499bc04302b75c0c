"""Waiting for what is to come about: tests wait for that, never for so long."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def wait_until(condition: Callable[[], T], what: str = "", seconds: float = 60) -> T:
    """Return what *condition* returns as soon as that is true; fail after so many seconds, saying *what* is wrong."""
    give_up = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < give_up, what or "what the test waits for does not come about"
        time.sleep(0.01)
    return found
