"""What a test says of the provider that is tested: how it is made, and what it and its storage system can do."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any

from dvdcli.clock import Deadline
from dvdcli.errors import DvdcliError, InUseError
from dvdcli.names import LONGEST_NAME
from dvdcli.providers import base
from dvdcli.providers.base import Provider

STRANGE_NAMES = (
    "a", "A", "a b", " a", "a ", ".", "..", "...", ".hidden", "-rf", "a/b", "a%2Fb", "../a", "/a", "%", "%41", "a\\b",
    "'\"", "$(a)`a`", "*", "~", "a;b&c|d<e>", "#", "a=b,c:d@e", "é", "e\u0301", "☃", "日本", "\U0001f4be", "a\u2028b",
    "\u202ea", "\ufeffa", "nul", "n" * 999 + "1", "n" * 999 + "2", "é" * 499 + "é1", "é" * 499 + "é2",
)  # fmt: skip


class Subject:
    """A provider under test, on a storage system of one test's own: no other volumes come or go in it.

    Parameters: *kind*, the provider's class; *settings*, as in `[drivers.NAME]`; *facts*, values for any of the
    attributes below. What has no plain value is a method, for a subclass to override. Raises TypeError for a fact that
    is none.

    driver          the driver's name
    entry_point     the provider's name in the group `dvdcli.providers`; "" tests the class without one
    options         options of a new volume
    contradiction   options that a volume made with `options` does not have: another size; None where there are none
    sizes           values of the option `size`, the first for every new volume, the second larger; None: no sizes
    grows           a mounted file system can be made larger, or at its next mount: ext4 asks for CAP_SYS_RESOURCE
    longest         the longest name, in bytes
    names           names with whatever can be strange in one; see `allows`
    many            volumes that make a list of more than one page
    at_once         volumes that are mounted at the same moment
    permanent       a volume's path is there whether the volume is mounted or not, as a plain directory's is
    in_use          the kind of error for a volume in use elsewhere: a storage system may only tell that in words
    budget          seconds that one call may take
    slack           seconds that a call may go on beyond its deadline
    forks           calls can run in a forked process: the storage system is not in the memory of the tests' own
    most_kills      how many points of a call, of all, are tried in each test that kills calls
    modules         source files, besides those of *kind* and its bases, before whose lines calls are killed
    """

    driver = "under-test"
    entry_point = ""
    options: Mapping[str, str] = {}
    contradiction: Mapping[str, str] | None = None
    sizes: tuple[str, str] | None = None
    grows = True
    longest = LONGEST_NAME
    names: tuple[str, ...] = STRANGE_NAMES
    many = 30
    at_once = 4
    permanent = False
    in_use: type[DvdcliError] = InUseError
    budget = 60.0
    slack = 5.0
    forks = True
    most_kills = 200
    modules: tuple[str, ...] = ()

    def __init__(self, kind: type[Provider], settings: Mapping[str, Any] | None = None, **facts: Any) -> None:
        self.kind = kind
        self.settings = dict(settings or {})
        for key, value in facts.items():
            if key.startswith("_") or inspect.isfunction(vars(Subject).get(key, inspect.isfunction)):
                raise TypeError(f"Subject knows no fact {key!r}")
            setattr(self, key, value)

    def provider(self, deadline: Deadline) -> Provider:
        """Return a new provider, as a call makes one that has no record."""
        return self.kind(self.driver, self.settings, deadline, 0.0)

    def reopen(self, pinned: Mapping[str, Any], deadline: Deadline) -> Provider:
        """Return a new provider from what a record keeps of one: its *pinned* settings."""
        return self.kind(self.driver, pinned, deadline, 0.0)

    def allows(self, name: str) -> bool:
        """Return whether a volume can have *name*; where it cannot, create has to refuse it with UsageError."""
        return len(name.encode()) <= self.longest

    def requests(self) -> int | None:
        """Return how many requests the storage system has had so far; None where that cannot be told."""
        return None

    def elsewhere(self, name: str) -> AbstractContextManager[str] | None:
        """Return a context in which somebody else has the volume *name* in use; None where nobody else can.

        What it gives is what an error has to say of who that is: a host's name, a process.
        """
        return None

    def silent(self) -> AbstractContextManager[None] | None:
        """Return a context in which the storage system takes requests and answers none; None where it cannot be."""
        return None

    def settle(self) -> None:
        """Return when the storage system has carried out all that it was asked, also by calls that were killed."""

    def leftovers(self) -> list[str]:
        """Return what this host still has of any volume: mounts, attachments, by the storage system's own word."""
        return []

    # What follows from that

    def new_options(self) -> dict[str, str]:
        """Return the options that a volume is made with."""
        return {**self.options, **({"size": self.sizes[0]} if self.sizes else {})}

    def other_options(self) -> dict[str, str] | None:
        """Return options that a volume made with `new_options` does not have, None where there are none."""
        if self.contradiction is not None:
            return dict(self.contradiction)
        return {**self.options, "size": self.sizes[1]} if self.sizes else None

    def sources(self) -> frozenset[str]:
        """Return the source files before whose lines calls are killed."""
        kinds = [kind for kind in self.kind.__mro__ if kind not in (Provider, object)]
        return frozenset({inspect.getfile(kind) for kind in kinds} | set(self.modules)) - {base.__file__}
