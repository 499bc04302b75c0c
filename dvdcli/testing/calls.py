"""What a caller does with a provider, as processes do it: each call has an object of its own."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

import pytest

from dvdcli import providers
from dvdcli.clock import Deadline
from dvdcli.errors import DvdcliError, InUseError, TryAgainError
from dvdcli.providers.base import Info, Mounted, Provider
from dvdcli.testing.subject import Subject
from dvdcli.volume import Volume

T = TypeVar("T")
REGISTERED = "conformance"  # the name by which the class under test is a provider
UNDER_TEST: type[Provider] | None = None


class Killed(BaseException):
    """The call ends here: nothing of it that is not durable counts any more."""


class Note:
    """What a provider makes its handle durable with: `durable` is the last one, `history` all of them.

    At the call number *kill_at*, counted from 1, the provider's call is killed: just before the handle is durable, or
    just *after*.
    """

    def __init__(self, durable: Mapping[str, Any] | None = None, kill_at: int = 0, after: bool = False) -> None:
        self.durable = dict(durable or {})
        self.kill_at = kill_at
        self.after = after
        self.history: list[dict[str, Any]] = []
        self.count = 0

    def __call__(self, handle: Mapping[str, Any]) -> None:
        """Make *handle* durable. Raises Killed where the call is to end here."""
        self.count += 1
        if self.count == self.kill_at and not self.after:
            raise Killed
        self.durable = as_json(handle)
        self.history.append(self.durable)
        if self.count == self.kill_at:
            raise Killed


def as_json(handle: Mapping[str, Any]) -> dict[str, Any]:
    """Return *handle* as a record gives it back."""
    copy = json.loads(json.dumps(handle))
    assert copy == handle, f"the handle is not what it was once it has been JSON: {handle}"
    assert isinstance(copy, dict), f"the handle is no object: {handle}"
    return copy


class Calls:
    """Calls to the provider of *subject*. Whatever they make is undone by `close`."""

    def __init__(self, subject: Subject) -> None:
        self.subject = subject
        self._handles: dict[str, dict[str, Any]] = {}

    def provider(self, seconds: float | None = None) -> Provider:
        """Return a provider from the settings, whose call has *seconds*, by default the subject's budget."""
        return self.subject.provider(Deadline(self.subject.budget if seconds is None else seconds))

    def pinned(self, seconds: float | None = None) -> Provider:
        """Return a provider from pinned settings alone, as who undoes a mount makes it."""
        pinned = as_json(self.provider().pinned)
        return self.subject.reopen(pinned, Deadline(self.subject.budget if seconds is None else seconds))

    def volume(self, name: str) -> Volume:
        """Return the volume *name*."""
        return Volume(self.subject.driver, name)

    def remember(self, name: str) -> dict[str, Any]:
        """Have the volume *name* undone at the end, whoever makes it; return the handle last heard of."""
        return self._handles.setdefault(name, {})

    def create(self, name: str, options: Mapping[str, str] | None = None) -> None:
        """Make the volume *name*, by default with the subject's options."""
        wanted = self.subject.new_options() if options is None else dict(options)
        self.remember(name)
        provider = self.provider()
        provider.check(wanted)
        provider.create(name, wanted)

    def remove(self, name: str) -> None:
        """Destroy the volume *name*."""
        self.provider().remove(name)

    def get(self, name: str) -> Info | None:
        """Return what is known of the volume *name*."""
        return self.provider().get(name)

    def names(self) -> list[str]:
        """Return the names of all volumes."""
        return [info.name for info in self.provider().list()]

    def mount(self, name: str, handle: Mapping[str, Any] | None = None, note: Note | None = None) -> Mounted:
        """Mount the volume *name*; with a *handle*, from its record. What comes back has been JSON."""
        self.remember(name)
        provider = self.provider() if handle is None else self.pinned()
        provider.given = self.subject.new_options()
        before = as_json(handle or {})
        given = as_json(before)
        note = note or Note(before)
        try:
            mounted = provider.mount(self.volume(name), self.subject.new_options(), given, note)
        finally:
            self._handles[name] = note.durable
        assert given == before, "mount changed the handle it was given: what is not noted is not on record"
        assert not note.kill_at or note.count < note.kill_at, "the call went on although it was killed"
        self._handles[name] = as_json(mounted.handle)
        return Mounted(mounted.path, self._handles[name], mounted.fresh)

    def unmount(self, name: str, handle: Mapping[str, Any], note: Note | None = None) -> bool:
        """Unmount the volume *name* whose record has *handle*."""
        provider = self.pinned()
        provider.given = self.subject.new_options()
        note = note or Note(handle)
        certain = provider.unmount(self.volume(name), as_json(handle), note)
        assert not note.kill_at or note.count < note.kill_at, "the call went on although it was killed"
        assert isinstance(certain, bool), "unmount returns whether it is certain that nothing is left"
        return certain

    def made(self, name: str) -> Mounted:
        """Make and mount the volume *name*."""
        self.create(name)
        return self.mount(name)

    # What is found afterwards

    def check_mounted(self, name: str, mounted: Mounted) -> None:
        """Fail unless the volume *name* is mounted as *mounted* says."""
        path = mounted.path
        assert os.path.isabs(path), f"{path!r} is no absolute path"
        assert os.path.normpath(path) == path, f"{path!r} is written with detours"
        assert path.isprintable(), f"{path!r} is not one line"
        assert os.path.isdir(path), f"{path!r} is no directory"
        assert self.pinned().mounted_at(self.volume(name), mounted.handle) == path
        assert self.provider().path(name) == path

    def check_nothing_left(self, name: str, handle: Mapping[str, Any]) -> None:
        """Fail where this host still has anything of the volume *name*, whose record had *handle*."""
        here = self.provider().here(name)
        assert here is None, f"{name!r} is still here: {here.path!r} {here.handle}"
        if not self.subject.permanent:
            assert self.pinned().mounted_at(self.volume(name), handle) == ""
            assert self.provider().path(name) == ""
        left = self.subject.leftovers()
        assert left == [], f"left on this host: {left}"

    def patiently(self, call: Callable[..., T], *args: object) -> T:
        """Return what *call* returns, tried again while it says that this could help, for the subject's budget."""
        deadline = Deadline(self.subject.budget)
        while True:
            try:
                return call(*args)
            except (TryAgainError, InUseError):
                if not deadline.left():
                    raise
            time.sleep(0.1)

    def outcome(self, seconds: float, call: Callable[[], object]) -> BaseException | None:
        """Return what *call* raised, None for nothing. Fail where it has not ended *seconds* and the slack from now."""
        raised: list[BaseException | None] = []

        def run() -> None:
            try:
                call()
            except BaseException as error:
                raised.append(error)
            else:
                raised.append(None)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        thread.join(seconds + self.subject.slack)
        assert raised, f"the call has not ended {self.subject.slack} s after its deadline"
        return raised[0]

    def close(self) -> None:
        """Unmount and remove every volume that was made, as far as that goes."""
        self.subject.settle()
        for name, handle in self._handles.items():
            try:
                here = self.provider().here(name)
                self.unmount(name, here.handle if here else handle)
                self.remove(name)
            except (DvdcliError, OSError, AssertionError, ValueError):
                continue  # the test itself has said what is wrong


class Bench:
    """The fixtures of all tests: places of the test's own, and calls to its subject."""

    @pytest.fixture
    def subject(self) -> Subject:
        """Return the subject: a subclass does."""
        raise NotImplementedError("give the class a fixture `subject` that returns a dvdcli.testing.Subject")

    @pytest.fixture(autouse=True)
    def _own_places(self, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
        root = tmp_path_factory.mktemp("dvdcli")
        monkeypatch.setenv("DVDCLI_STATE_DIR", str(root / "state"))
        monkeypatch.setenv("DVDCLI_CONFIG", str(root / "dvdcli.toml"))

    @pytest.fixture
    def calls(self, _own_places: None, subject: Subject, monkeypatch: pytest.MonkeyPatch) -> Iterator[Calls]:
        """Return calls to the subject's provider, which can be found under a name too."""
        monkeypatch.setattr(f"{__name__}.UNDER_TEST", subject.kind)
        monkeypatch.setitem(providers.PROVIDERS, REGISTERED, f"{__name__}:UNDER_TEST")
        calls = Calls(subject)
        yield calls
        calls.close()
