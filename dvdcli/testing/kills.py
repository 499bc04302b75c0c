"""Calls that are killed: whatever they leave, the next call finishes.

Twice over. First at each note: an exception that nothing catches ends the call just before or just after its handle
became durable. Then before each line of the provider's own source, see walk.py. Either way a new object goes on, with
the handle that had become durable and no other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from dvdcli.testing.calls import Bench, Calls, Killed, Note
from dvdcli.testing.walk import Walk


class KilledCalls(Bench):
    """The tests of what a provider makes of a call that was killed."""

    # At each note

    def test_a_mount_killed_at_any_note_is_finished_by_the_next_mount(self, calls: Calls) -> None:
        """It ends mounted, once: one unmount is enough."""
        for name, note in _killed_at_notes(calls, "m", _created, calls.mount):
            _mounts(calls, name, note.durable)

    def test_a_mount_killed_at_any_note_is_undone_by_an_unmount(self, calls: Calls) -> None:
        """It ends with nothing on this host."""
        for name, note in _killed_at_notes(calls, "m", _created, calls.mount):
            _unmounts(calls, name, note.durable)

    def test_an_unmount_killed_at_any_note_is_finished_by_the_next_unmount(self, calls: Calls) -> None:
        """It ends with nothing on this host."""
        for name, note in _killed_at_notes(calls, "u", _mounted, calls.unmount):
            _unmounts(calls, name, note.durable)

    def test_after_an_unmount_killed_at_any_note_the_volume_can_be_mounted(self, calls: Calls) -> None:
        """As if nothing had been."""
        for name, note in _killed_at_notes(calls, "u", _mounted, calls.unmount):
            _mounts(calls, name, note.durable)

    # Before each line

    @pytest.fixture
    def walk(self, calls: Calls, tmp_path_factory: pytest.TempPathFactory) -> Walk:
        """Return what kills calls before their lines."""
        if not calls.subject.forks:
            pytest.skip("its storage system is in the memory of this process")
        return Walk(calls, tmp_path_factory.mktemp("walk"))

    def test_a_mount_killed_before_any_line_is_finished_or_undone(self, calls: Calls, walk: Walk) -> None:
        """By the next mount, or by an unmount."""

        def act(name: str, note: Note) -> None:
            calls.mount(name, None, note)

        for name, handle, way in walk.each("m", lambda name: _created(calls, name), act, 2):
            (_mounts, _unmounts)[way](calls, name, handle)

    def test_an_unmount_killed_before_any_line_is_finished_or_undone(self, calls: Calls, walk: Walk) -> None:
        """By the next unmount, or by a mount."""

        def act(name: str, note: Note) -> None:
            calls.unmount(name, note.durable, note)

        for name, handle, way in walk.each("u", lambda name: _mounted(calls, name), act, 2):
            (_unmounts, _mounts)[way](calls, name, handle)

    def test_a_create_killed_before_any_line_is_finished_or_undone(self, calls: Calls, walk: Walk) -> None:
        """By the next create, or by a remove; and what get or list shows meanwhile is a whole volume or none."""

        def act(name: str, note: Note) -> None:
            calls.create(name)

        for name, _, way in walk.each("c", lambda name: {}, act, 3):
            there = calls.get(name) is not None
            assert there == (name in calls.names())
            if way == 0 or (way == 1 and not there):
                calls.create(name)
            if way == 2:
                calls.remove(name)
                assert calls.get(name) is None
                calls.create(name)
            _mounts(calls, name, {})
            _is_removed(calls, name)

    def test_a_remove_killed_before_any_line_is_finished_or_undone(self, calls: Calls, walk: Walk) -> None:
        """By the next remove, or by a create."""

        def act(name: str, note: Note) -> None:
            calls.remove(name)

        for name, _, way in walk.each("r", lambda name: _created(calls, name), act, 2):
            assert (calls.get(name) is not None) == (name in calls.names())
            if way == 1:
                calls.create(name)
                _mounts(calls, name, {})
            _is_removed(calls, name)

    def test_a_resize_killed_before_any_line_is_finished_by_the_next(self, calls: Calls, walk: Walk) -> None:
        """And the volume has one of its two sizes meanwhile."""
        sizes = calls.subject.sizes
        if sizes is None:
            pytest.skip("its volumes have no sizes")

        def act(name: str, note: Note) -> None:
            calls.provider().resize(name, {"size": sizes[1]})

        for name, _, _ in walk.each("z", lambda name: _created(calls, name), act, 1):
            calls.provider().resize(name, {"size": sizes[1]})
            calls.create(name, {**calls.subject.options, "size": sizes[1]})
            _mounts(calls, name, {})
            _is_removed(calls, name)


def _created(calls: Calls, name: str) -> dict[str, Any]:
    calls.create(name)
    return {}


def _mounted(calls: Calls, name: str) -> dict[str, Any]:
    return calls.made(name).handle


def _mounts(calls: Calls, name: str, handle: Mapping[str, Any]) -> None:
    mounted = calls.patiently(calls.mount, name, handle)
    calls.check_mounted(name, mounted)
    _unmounts(calls, name, mounted.handle)


def _unmounts(calls: Calls, name: str, handle: Mapping[str, Any]) -> None:
    calls.patiently(calls.unmount, name, handle)
    calls.check_nothing_left(name, handle)


def _is_removed(calls: Calls, name: str) -> None:
    calls.remove(name)
    assert calls.get(name) is None
    assert name not in calls.names()


def _killed_at_notes(
    calls: Calls, label: str, before: Callable[[Calls, str], dict[str, Any]], act: Callable[..., object]
) -> Iterator[tuple[str, Note]]:
    """Yield each volume on which *act* was killed at a note, until it comes by no further one.

    No note slips by, however many a provider makes. The last kill is when *act* has just returned.
    """
    number, ends = 0, False
    while not ends:
        number += 1
        for after in (False, True):
            name = f"{label}{number}{'after' if after else 'before'}"
            handle = before(calls, name)
            note = Note(handle, kill_at=number, after=after)
            try:
                act(name, handle, note)
            except Killed:
                pass
            else:
                ends = True
            calls.subject.settle()
            yield name, note
