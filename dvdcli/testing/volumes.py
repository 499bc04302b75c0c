"""Volumes and their names: create, remove, get, list; and what a provider says of itself."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dvdcli.errors import DvdcliError, UsageError
from dvdcli.names import LONGEST_NAME
from dvdcli.testing.calls import Bench, Calls


class Volumes(Bench):
    """The tests of what a provider does with volumes that are not mounted."""

    # Create, remove, get, list

    def test_a_volume_that_was_created_is_there(self, calls: Calls) -> None:
        """Get says its name, and list has it once."""
        calls.create("v")
        info = calls.get("v")
        assert info is not None
        assert info.name == "v"
        assert calls.names() == ["v"]

    def test_creating_a_volume_twice_is_fine(self, calls: Calls) -> None:
        """And changes nothing: what is in it stays."""
        mounted = calls.made("v")
        Path(mounted.path, "file").write_text("kept")
        calls.create("v")
        assert calls.names() == ["v"]
        calls.check_mounted("v", mounted)
        assert Path(mounted.path, "file").read_text() == "kept"

    def test_creating_a_volume_again_with_another_size_is_an_error_that_changes_nothing(self, calls: Calls) -> None:
        """What is there is what was asked for the first time."""
        other = calls.subject.other_options()
        if other is None:
            pytest.skip("no options of a new volume contradict those of one that is there")
        mounted = calls.made("v")
        Path(mounted.path, "file").write_text("kept")
        calls.unmount("v", mounted.handle)
        with pytest.raises(DvdcliError):
            calls.create("v", other)
        calls.create("v")  # it has the options that it was made with
        assert calls.names() == ["v"]
        assert Path(calls.mount("v").path, "file").read_text() == "kept"

    def test_a_volume_that_is_missing_is_none(self, calls: Calls) -> None:
        """Get, path and here say so, and none of them is an error; a volume beside it is another."""
        calls.create("vv")
        assert calls.get("v") is None
        assert calls.provider().path("v") == ""
        assert calls.provider().here("v") is None
        assert calls.pinned().mounted_at(calls.volume("v"), {}) == ""

    def test_removing_a_volume_that_is_missing_is_fine(self, calls: Calls) -> None:
        """Whether it was never there or has been removed already."""
        calls.create("other")
        calls.remove("v")
        calls.create("v")
        calls.remove("v")
        calls.remove("v")
        assert calls.get("v") is None
        assert calls.names() == ["other"]

    def test_a_volume_made_after_one_of_its_name_was_removed_is_empty(self, calls: Calls) -> None:
        """Nobody gets somebody else's data."""
        mounted = calls.made("v")
        Path(mounted.path, "file").write_text("gone")
        calls.unmount("v", mounted.handle)
        calls.remove("v")
        assert "file" not in os.listdir(calls.made("v").path)

    def test_a_list_is_whole_and_in_order_however_long(self, calls: Calls) -> None:
        """It spans the storage system's pages, and has nothing twice."""
        assert calls.names() == []
        wanted = [f"v{number:03d}" for number in range(calls.subject.many)]
        for name in reversed(wanted):
            calls.create(name)
        assert calls.names() == wanted

    # Names

    def test_names_with_strange_characters_do_not_collide(self, calls: Calls) -> None:
        """Each is one volume of its own, told as it was given; a name that cannot be is refused."""
        places: dict[str, str] = {}
        for name in calls.subject.names:
            if not calls.subject.allows(name):
                with pytest.raises(UsageError):
                    calls.create(name)
                continue
            mounted = calls.made(name)
            calls.check_mounted(name, mounted)
            found = [file for file in os.listdir(mounted.path) if file.startswith("of-")]
            assert found == [], f"{name!a} is the volume of {places[mounted.path]!a}"
            places[mounted.path] = name
            Path(mounted.path, f"of-{len(places)}").touch()
            calls.unmount(name, mounted.handle)
        assert sorted(calls.names()) == sorted(places.values())
        for name in places.values():
            calls.remove(name)
        assert calls.names() == []

    def test_the_longest_name_works(self, calls: Calls) -> None:
        """Whole: one that differs in its last byte is another volume."""
        stem = "n" * (calls.subject.longest - 1)
        for name in (f"{stem}1", f"{stem}2"):
            mounted = calls.made(name)
            assert os.listdir(mounted.path) in ([], ["lost+found"])
            Path(mounted.path, "file").touch()
            calls.unmount(name, mounted.handle)
        assert calls.names() == [f"{stem}1", f"{stem}2"]

    def test_a_longer_name_is_refused_before_anything_is_sent(self, calls: Calls) -> None:
        """It is not cut: it would be another volume's."""
        name = "n" * (calls.subject.longest + 1)
        if len(name) > LONGEST_NAME:
            pytest.skip("no caller can give a longer name")
        provider, before = calls.provider(), calls.subject.requests()
        with pytest.raises(UsageError) as refused:
            provider.create(name, calls.subject.new_options())
        assert calls.subject.requests() == before
        assert str(calls.subject.longest) in str(refused.value), "the error says how long a name can be"
        try:
            assert provider.get(name) is None
        except UsageError:
            pass
        assert calls.subject.requests() == before
        assert calls.names() == []

    # What it says of itself

    def test_its_scope_is_local_or_global(self, calls: Calls) -> None:
        """Agents ask."""
        assert calls.provider().scope() in ("local", "global")

    def test_its_servers_are_processes(self, calls: Calls) -> None:
        """They may have a mount in sight without using it."""
        assert all(os.path.exists(f"/proc/{pid}") for pid in calls.provider().servers())

    def test_pinned_settings_lead_to_the_same_pinned_settings(self, calls: Calls) -> None:
        """A record that is made anew from them is the same."""
        assert calls.pinned().pinned == calls.provider().pinned
