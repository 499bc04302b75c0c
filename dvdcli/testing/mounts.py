"""Mounting and unmounting, once, twice, at once; and what is said of a mount in between."""

from __future__ import annotations

import os
import threading
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest

from dvdcli.errors import DvdcliError
from dvdcli.providers.base import Mounted
from dvdcli.testing.calls import Bench, Calls, Note


class Mounts(Bench):
    """The tests of what a provider does with mounts."""

    def test_the_path_of_a_mount_is_an_absolute_existing_directory(self, calls: Calls) -> None:
        """And what the storage system says of it is the same."""
        calls.check_mounted("v", calls.made("v"))

    def test_mounting_twice_gives_the_same_path(self, calls: Calls) -> None:
        """Another process does it, with the handle on record; one unmount is enough then."""
        first = calls.made("v")
        second = calls.mount("v", first.handle)
        assert second.path == first.path
        calls.check_mounted("v", second)
        calls.unmount("v", second.handle)
        calls.check_nothing_left("v", second.handle)

    def test_mounting_what_is_mounted_and_not_on_record_gives_the_same_path(self, calls: Calls) -> None:
        """The record was lost: the next call goes on from what it finds."""
        first = calls.made("v")
        Path(first.path, "file").write_text("kept")
        second = calls.mount("v")
        assert second.path == first.path
        assert Path(second.path, "file").read_text() == "kept"
        calls.unmount("v", second.handle)
        calls.check_nothing_left("v", second.handle)

    def test_unmounting_twice_is_fine(self, calls: Calls) -> None:
        """The first has done it for certain."""
        mounted = calls.made("v")
        assert calls.unmount("v", mounted.handle) is True
        calls.check_nothing_left("v", mounted.handle)
        calls.unmount("v", mounted.handle)
        calls.check_nothing_left("v", mounted.handle)

    def test_unmounting_what_was_never_mounted_is_fine(self, calls: Calls) -> None:
        """Whether the volume is there or not."""
        calls.unmount("v", {})
        calls.create("v")
        calls.unmount("v", {})
        calls.check_nothing_left("v", {})

    def test_unmounting_what_has_been_removed_is_fine(self, calls: Calls) -> None:
        """Somebody removed the volume behind our back."""
        mounted = calls.made("v")
        calls.unmount("v", mounted.handle)
        calls.remove("v")
        calls.unmount("v", mounted.handle)
        calls.check_nothing_left("v", mounted.handle)

    def test_mounting_what_is_missing_is_an_error_that_makes_nothing(self, calls: Calls) -> None:
        """Whether a missing volume is made is not the provider's to say."""
        with pytest.raises(DvdcliError, match="v"):
            calls.mount("v")
        assert calls.get("v") is None
        calls.check_nothing_left("v", {})

    def test_a_mount_is_known_while_it_lasts_and_no_longer(self, calls: Calls) -> None:
        """And the volume can be mounted again."""
        first = calls.made("v")
        calls.check_mounted("v", first)
        calls.unmount("v", first.handle)
        calls.check_nothing_left("v", first.handle)
        second = calls.mount("v")
        calls.check_mounted("v", second)
        calls.unmount("v", second.handle)
        calls.check_nothing_left("v", second.handle)

    def test_data_outlives_an_unmount(self, calls: Calls) -> None:
        """That is what a volume is for."""
        mounted = calls.made("v")
        Path(mounted.path, "directory").mkdir()
        Path(mounted.path, "directory", "file").write_bytes(b"kept" * 5000)
        calls.unmount("v", mounted.handle)
        again = calls.mount("v")
        assert Path(again.path, "directory", "file").read_bytes() == b"kept" * 5000

    def test_two_volumes_are_two_places(self, calls: Calls) -> None:
        """Neither is in the other, and an unmount of one leaves the other."""
        one, two = calls.made("v"), calls.made("w")
        assert not os.path.samefile(one.path, two.path)
        real = [os.path.realpath(path) + "/" for path in (one.path, two.path)]
        assert not real[0].startswith(real[1])
        assert not real[1].startswith(real[0])
        Path(one.path, "of-v").touch()
        assert not Path(two.path, "of-v").exists()
        calls.unmount("v", one.handle)
        calls.check_mounted("w", two)

    def test_what_is_mounted_and_not_on_record_is_found_here_and_undone(self, calls: Calls) -> None:
        """With what `here` says of it alone."""
        if calls.subject.permanent:
            pytest.skip("that its path is in place is no trace of a mount")
        mounted = calls.made("v")
        here = calls.provider().here("v")
        assert here is not None
        assert here.path == mounted.path
        assert calls.unmount("v", here.handle) is True
        calls.check_nothing_left("v", mounted.handle)

    def test_pinned_settings_and_the_handle_are_enough_to_undo_a_mount(self, calls: Calls) -> None:
        """Nothing else of the call that mounted outlives it: the object is another, the configuration may be gone."""
        pinned = calls.pinned()
        mounted = calls.made("v")
        assert pinned.unmount(calls.volume("v"), mounted.handle, Note(mounted.handle)) is True
        calls.check_nothing_left("v", mounted.handle)

    def test_a_volume_in_use_elsewhere_is_refused_by_the_name_of_who_has_it(self, calls: Calls) -> None:
        """It stays theirs, and what the refused call left is no hindrance when they are done."""
        calls.create("v")
        elsewhere = calls.subject.elsewhere("v")
        if elsewhere is None:
            pytest.skip("nobody else can have its volumes in use")
        note = Note()
        with elsewhere as holder:
            with pytest.raises(calls.subject.in_use) as refused:
                calls.mount("v", note=note)
            assert holder in str(refused.value)
            if not calls.subject.permanent:
                assert calls.provider().path("v") == ""
        mounted = calls.patiently(calls.mount, "v", note.durable)
        calls.check_mounted("v", mounted)
        calls.unmount("v", mounted.handle)
        calls.check_nothing_left("v", mounted.handle)

    def test_a_volumes_identity_is_one_and_its_own(self, calls: Calls) -> None:
        """It is the same in every handle of the volume, and no other volume's; without a handle there is none."""
        assert calls.pinned().identity({}) == ""
        note = Note()
        calls.create("v")
        first = calls.mount("v", note=note)
        second = calls.mount("v", first.handle)
        found = [calls.pinned().identity(handle) for handle in (*note.history, first.handle, second.handle)]
        assert len(set(found)) == 1, f"the identity changes: {found}"
        here = calls.provider().here("v")
        if here is not None:
            assert calls.pinned().identity(here.handle) == found[0]
        if found[0]:
            assert calls.pinned().identity(calls.made("w").handle) not in ("", found[0])

    def test_volumes_that_are_mounted_at_once_are_all_there(self, calls: Calls) -> None:
        """A container's volumes are: nothing that two objects share may mix them up."""
        names = [f"v{number}" for number in range(calls.subject.at_once)]
        for name in names:
            calls.create(name)
        mounted: dict[str, Mounted] = {}
        failures = _all_at_once(lambda name: mounted.update({name: calls.mount(name)}), names)
        assert failures == []
        assert len({mounted[name].path for name in names}) == len(names)
        for name in names:
            calls.check_mounted(name, mounted[name])
        failures = _all_at_once(lambda name: calls.unmount(name, mounted[name].handle), names)
        assert failures == []
        for name in names:
            calls.check_nothing_left(name, mounted[name].handle)


def _all_at_once(call: Callable[[str], object], names: list[str]) -> list[str]:
    """Run *call* for each of *names* on a thread of its own, from the same moment; return what failed."""
    failures: list[str] = []
    ready = threading.Barrier(len(names))

    def run(name: str) -> None:
        ready.wait()
        try:
            call(name)
        except BaseException as error:
            failures.append(f"{name}: {''.join(traceback.format_exception(error))}")

    threads = [threading.Thread(target=run, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return failures
