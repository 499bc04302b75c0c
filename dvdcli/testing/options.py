"""Options and sizes: check, canonical, resize."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dvdcli.errors import DvdcliError, UsageError
from dvdcli.providers.base import Option
from dvdcli.testing.calls import Bench, Calls


class Options(Bench):
    """The tests of what a provider takes by name."""

    def test_an_unknown_option_is_an_error_that_names_the_known_ones(self, calls: Calls) -> None:
        """And nothing is made, by whichever door it comes."""
        known = _options_of(calls)
        with pytest.raises(UsageError) as refused:
            calls.create("v", {**calls.subject.new_options(), "noSuchOption": "1"})
        assert "noSuchOption" in str(refused.value)
        for option in known:
            assert option in str(refused.value)
        assert calls.get("v") is None

    def test_an_option_is_found_in_any_case(self, calls: Calls) -> None:
        """Under each of its spellings; with two values it is refused."""
        known = _options_of(calls)
        provider = calls.provider()
        spellings = {**{name: name for name in known}, **provider.aliases}
        for spelling, name in spellings.items():
            ours, dot, theirs = spelling.partition(".")  # behind a dot is a name of the storage system's own
            for text in (ours, ours.lower(), ours.upper(), ours.swapcase()):
                assert provider.canonical({f"{text}{dot}{theirs}": "1"}) == {name: "1"}
            if ours.upper() != ours:
                with pytest.raises(UsageError, match=name):
                    provider.canonical({spelling: "1", f"{ours.upper()}{dot}{theirs}": "2"})
        calls.create("v")
        calls.create("v", {key.swapcase(): value for key, value in calls.subject.new_options().items()})
        other = calls.subject.other_options()
        if other is not None:
            with pytest.raises(DvdcliError):
                calls.create("v", {key.swapcase(): value for key, value in other.items()})

    def test_a_value_that_is_not_of_its_options_kind_is_refused_by_name(self, calls: Calls) -> None:
        """Before anything is sent."""
        known = _options_of(calls)
        provider, before = calls.provider(), calls.subject.requests()
        for name in known:
            if known[name].kind is str:
                continue
            for value in ("", "?", "-1", "1.5", "maybe"):
                with pytest.raises(UsageError, match=name):
                    provider.check({name: value})
        assert calls.subject.requests() == before

    def test_every_option_has_a_help_text_and_a_default_of_its_kind(self, calls: Calls) -> None:
        """The settings too: people read them."""
        provider = calls.provider()
        for name, option in {**provider.settings, **(provider.options or {})}.items():
            assert option.help, f"{name} has no help text"
            assert type(option.default) is option.kind, f"the default of {name} is no {option.kind.__name__}"
        names = set(provider.options or {})
        assert set(provider.aliases.values()) <= names
        assert all(alias == alias.lower() for alias in provider.aliases)


class Sizes(Bench):
    """The tests of volumes that have a size, and of those that have none."""

    def test_a_volume_without_a_size_says_that_it_cannot_be_resized(self, calls: Calls) -> None:
        """It is not silently as it was."""
        if calls.subject.sizes is not None:
            pytest.skip("its volumes have sizes")
        calls.create("v")
        with pytest.raises(DvdcliError) as refused:
            calls.provider().resize("v", {"size": "1000"})
        assert str(refused.value)

    def test_a_volume_is_made_larger_and_never_smaller(self, calls: Calls) -> None:
        """The size that it has is fine; a smaller one is refused, and it stays as it was, its data too."""
        small, large = _sizes_of(calls)
        mounted = calls.made("v")
        Path(mounted.path, "file").write_text("kept")
        calls.unmount("v", mounted.handle)
        calls.provider().resize("v", {"size": small})
        calls.provider().resize("v", {"size": large})
        calls.provider().resize("v", {"size": large})
        with pytest.raises(DvdcliError):
            calls.provider().resize("v", {"size": small})
        calls.create("v", {**calls.subject.options, "size": large})
        with pytest.raises(DvdcliError):
            calls.create("v", {**calls.subject.options, "size": small})
        assert Path(calls.mount("v").path, "file").read_text() == "kept"

    def test_a_volume_is_made_larger_while_it_is_mounted(self, calls: Calls) -> None:
        """Its file system grows with it, now or at its next mount."""
        _, large = _sizes_of(calls)
        mounted = calls.made("v")
        before = _bytes_of(mounted.path)
        try:
            calls.provider().resize("v", {"size": large})
        except DvdcliError:
            if calls.subject.grows:
                raise
        calls.check_mounted("v", mounted)
        calls.unmount("v", mounted.handle)
        again = calls.mount("v")
        if os.path.ismount(again.path) and calls.subject.grows:
            assert _bytes_of(again.path) > before

    def test_a_volume_that_is_missing_is_not_resized(self, calls: Calls) -> None:
        """And not made."""
        size = (calls.subject.sizes or ("1", "2"))[1]
        with pytest.raises(DvdcliError):
            calls.provider().resize("v", {"size": size})
        assert calls.get("v") is None


def _options_of(calls: Calls) -> dict[str, Option]:
    options = calls.provider().options
    if options is None:
        pytest.skip("its options are the storage system's own")
    return dict(options)


def _sizes_of(calls: Calls) -> tuple[str, str]:
    if calls.subject.sizes is None:
        pytest.skip("its volumes have no sizes")
    return calls.subject.sizes


def _bytes_of(path: str) -> int:
    system = os.statvfs(path)
    return system.f_blocks * system.f_frsize
