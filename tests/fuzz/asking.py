"""What is asked of every provider whose storage system attaches volumes to hosts, by the first part of an input."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from dvdcli import clock
from dvdcli.providers.block import BlockProvider
from tests.fuzz.watch import check_text


@contextlib.contextmanager
def hurried() -> Iterator[None]:
    """Let dvdcli sleep for a millisecond at most."""
    sleep, clock.sleep = clock.sleep, lambda seconds: sleep(min(seconds, 0.001))
    try:
        yield
    finally:
        clock.sleep = sleep


def questions(provider: BlockProvider, size: str, larger: str) -> dict[bytes, Callable[[], object]]:
    """Return what *provider* is asked of its volume `v`, which is made with *size*, and resized to be *larger*."""

    def names() -> None:
        for info in provider.list():
            check_text(info.name)

    def here() -> object:
        mounted = provider.here("v")
        return mounted.handle if mounted else None

    return {
        b"list": names, b"here": here, b"create": lambda: provider.create("v", {"size": size}),
        b"remove": lambda: provider.remove("v"), b"resize": lambda: provider.resize("v", {"size": larger}),
    }  # fmt: skip
