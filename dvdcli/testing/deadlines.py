"""Calls that have no time, or wait for a storage system that says nothing."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from dvdcli.errors import TryAgainError
from dvdcli.providers.base import Provider
from dvdcli.testing.calls import Bench, Calls, Note


class Deadlines(Bench):
    """The tests of what a provider does when its time is over."""

    def test_a_call_whose_time_is_over_ends_at_once(self, calls: Calls) -> None:
        """Done, or with "try again"; and what it left is finished by the next call, which has time."""
        late = Late(calls)
        late.call_each(0.0)
        late.check_all_works()

    def test_a_storage_system_that_does_not_answer_is_given_up_in_time(self, calls: Calls) -> None:
        """With "try again"; and what was asked of it meanwhile is undone by the next call that is answered."""
        late = Late(calls)
        silence = calls.subject.silent()
        if silence is None:
            pytest.skip("its storage system cannot be told to be silent")
        with silence:
            late.call_each(0.5)
        late.check_all_works()


class Late:
    """Every call there is, without the time it needs: v is mounted, w is there, nothing else is."""

    def __init__(self, calls: Calls) -> None:
        self.calls = calls
        mounted = calls.made("v")
        calls.create("w")
        v, w, handle = calls.volume("v"), calls.volume("w"), mounted.handle
        of_v, of_w = Note(handle), Note()
        self.notes = {"v": of_v, "w": of_w, "x": Note()}
        options = calls.subject.new_options()
        larger = {"size": (calls.subject.sizes or ("1", "2"))[1]}
        self.each: dict[str, Callable[[Provider], object]] = {
            "get": lambda provider: provider.get("v"),
            "list": lambda provider: provider.list(),
            "path": lambda provider: provider.path("v"),
            "here": lambda provider: provider.here("v"),
            "mounted_at": lambda provider: provider.mounted_at(v, handle),
            "scope": lambda provider: provider.scope(),
            "servers": lambda provider: provider.servers(),
            "create what is there": lambda provider: provider.create("v", options),
            "create": lambda provider: provider.create("x", options),
            "mount what is mounted": lambda provider: provider.mount(v, options, handle, of_v),
            "mount": lambda provider: provider.mount(w, options, {}, of_w),
            "unmount": lambda provider: provider.unmount(v, handle, of_v),
            "unmount what never was": lambda provider: provider.unmount(calls.volume("x"), {}, Note()),
            "remove what is missing": lambda provider: provider.remove("y"),
        }
        if calls.subject.sizes:
            self.each["resize"] = lambda provider: provider.resize("w", larger)

    def call_each(self, seconds: float) -> None:
        """Make each call with *seconds*: it is done in time or says "try again"."""
        for what, call in self.each.items():

            def run(call: Callable[[Provider], object] = call) -> None:
                call(self.calls.pinned(seconds))

            error = self.calls.outcome(seconds, run)
            assert error is None or isinstance(error, TryAgainError), f"{what}: {error!r}"

    def check_all_works(self) -> None:
        """Fail unless every volume can be mounted and unmounted by calls that have time."""
        self.calls.subject.settle()
        calls = self.calls
        for name, note in self.notes.items():
            if calls.patiently(calls.get, name) is None:
                calls.patiently(calls.create, name)
            again = calls.patiently(calls.mount, name, note.durable)
            calls.check_mounted(name, again)
            calls.patiently(calls.unmount, name, again.handle)
            here = calls.provider().here(name)
            assert here is None, f"{name!r} is still here: {here.path!r}"
