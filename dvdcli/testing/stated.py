"""The provider as a driver of `dvdcli.toml`, through the mount state: holds, records, claims, and kills in between."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dvdcli import inventory, lifecycle, listing, providers
from dvdcli.clock import Deadline
from dvdcli.config import Config, state_directory
from dvdcli.errors import DvdcliError, InUseError, NotFoundError, UsageError
from dvdcli.recovery import recover
from dvdcli.state import State
from dvdcli.testing.calls import REGISTERED, Bench, Calls, Note
from dvdcli.testing.walk import Walk
from dvdcli.volume import Volume


class Desk:
    """What a person does with the subject's driver."""

    def __init__(self, calls: Calls) -> None:
        self.calls = calls
        self.subject = calls.subject
        self.drivers: dict[str, dict[str, Any]] = {}
        self.configure(self.subject.driver)

    def configure(self, driver: str) -> None:
        """Give *driver* to `dvdcli.toml`."""
        own = {"provider": self.subject.entry_point or REGISTERED, **self.subject.settings}
        self.drivers[driver] = own
        lines = []
        for name, settings in self.drivers.items():
            lines.append(f"[drivers.{_toml(name)}]")
            lines += [f"{_toml(key)} = {_toml(value)}" for key, value in settings.items()]
        path = Path(os.environ["DVDCLI_CONFIG"])
        path.write_text("\n".join([*lines, ""]))
        path.chmod(0o600)

    def mount(
        self, name: str, hold: str = "host", options: dict[str, str] | None = None, explicit: bool = False,
        driver: str = "",
    ) -> str:  # fmt: skip
        """Mount the volume *name* for *hold*, and return what its caller is told."""
        self.calls.remember(name)
        told: list[str] = []
        wanted = self.subject.new_options() if options is None else options
        volume = Volume(driver or self.subject.driver, name)
        key = lifecycle.hold_name(hold)
        lifecycle.mount(volume, wanted, explicit, key, self._deadline(), told.append)
        assert len(told) == 1
        return told[0]

    def unmount(self, name: str, hold: str = "host", driver: str = "") -> list[str]:
        """Drop *hold* of the volume *name*; return who else holds it."""
        volume = Volume(driver or self.subject.driver, name)
        return lifecycle.unmount(volume, lifecycle.hold_name(hold), self._deadline())

    def mounts(self) -> list[str]:
        """Return the names of what is on record, all of it mounted."""
        rows, errors = listing.mounts(listing.Filter())
        assert errors == []
        assert {row["status"] for row in rows} <= {"mounted"}, rows
        return [row["name"] for row in rows]

    def volume(self, name: str) -> Volume:
        """Return the volume *name*."""
        return self.calls.volume(name)

    def _deadline(self) -> Deadline:
        return Deadline(self.subject.budget)

    def check_no_record(self) -> None:
        """Fail where the state has anything on record."""
        assert self.mounts() == []
        root = Path(state_directory())
        left = [str(path) for tree in ("volumes", "claims", "pending") for path in (root / tree).rglob("*.json")]
        assert left == []


def _toml(value: object) -> str:
    """Return a str, bool or int as TOML has it: settings are nothing else."""
    return json.dumps(value, ensure_ascii=False)


class ThroughTheState(Bench):
    """The tests of a provider below lifecycle and inventory."""

    @pytest.fixture
    def desk(self, calls: Calls) -> Iterator[Desk]:
        """Return a desk, whose mounts end with the test."""
        desk = Desk(calls)
        yield desk
        try:
            rows = listing.mounts(listing.Filter())[0]
        except (DvdcliError, OSError):
            rows = []
        for row in rows:
            for hold in row["holds"] or ["host"]:
                try:
                    desk.unmount(row["name"], hold.removeprefix("name:"), row["driver"])
                except (DvdcliError, OSError):
                    continue  # the test itself has said what is wrong

    def test_its_entry_point_leads_to_it(self, desk: Desk) -> None:
        """Whoever installs it can configure a driver of it."""
        if not desk.subject.entry_point:
            pytest.skip("the subject names no entry point")
        found = providers.find(desk.subject.driver, Config(), Deadline(desk.subject.budget), 0.0)
        assert found[0] == desk.subject.entry_point
        assert type(found[1]) is desk.subject.kind

    def test_a_first_mount_makes_the_volume_and_the_last_unmount_undoes_it(self, desk: Desk) -> None:
        """It is mounted once for everybody, and stays while anybody holds it."""
        path = desk.mount("v", "one")
        assert desk.mount("v", "two") == path
        assert desk.mount("v", "two") == path
        assert desk.mounts() == ["v"]
        assert os.path.isdir(path)
        assert desk.unmount("v", "one") == ["name:two"]
        assert desk.calls.provider().path("v") == path
        assert desk.unmount("v", "two") == []
        desk.check_no_record()
        desk.calls.check_nothing_left("v", {})
        assert desk.unmount("v", "two") == []

    def test_a_missing_volume_with_explicit_create_is_an_error_that_leaves_nothing(self, desk: Desk) -> None:
        """It is made by nobody but its owner."""
        with pytest.raises(NotFoundError):
            desk.mount("v", explicit=True)
        assert desk.calls.get("v") is None
        desk.check_no_record()
        inventory.create(desk.volume("v"), desk.subject.new_options(), Deadline(desk.subject.budget))
        desk.mount("v", explicit=True)
        desk.unmount("v")

    def test_an_unknown_option_leaves_no_volume_and_no_record(self, desk: Desk) -> None:
        """It is refused before anything is done."""
        known = desk.calls.provider().options
        if known is None:
            pytest.skip("its options are the storage system's own")
        with pytest.raises(UsageError) as refused:
            desk.mount("v", options={**desk.subject.new_options(), "noSuchOption": "1"})
        for option in known:
            assert option in str(refused.value)
        assert desk.calls.get("v") is None
        desk.check_no_record()

    def test_a_mount_is_undone_after_its_configuration_has_gone(self, desk: Desk) -> None:
        """The record pins what undoes it."""
        desk.mount("v")
        Path(os.environ["DVDCLI_CONFIG"]).unlink()
        assert desk.unmount("v") == []
        desk.check_no_record()
        desk.calls.check_nothing_left("v", {})

    def test_a_mount_is_undone_after_the_state_was_lost(self, desk: Desk) -> None:
        """The storage system itself says what is mounted here."""
        desk.mount("v")
        shutil.rmtree(f"{state_directory()}/volumes")
        desk.unmount("v")
        desk.check_no_record()
        desk.calls.check_nothing_left("v", {})

    def test_a_mount_after_the_state_was_lost_gives_the_same_path(self, desk: Desk) -> None:
        """Nobody has to clean up by hand."""
        path = desk.mount("v")
        shutil.rmtree(f"{state_directory()}/volumes")
        assert desk.mount("v") == path
        desk.unmount("v")
        desk.check_no_record()
        desk.calls.check_nothing_left("v", {})

    def test_a_mount_whose_answer_nobody_hears_is_undone(self, desk: Desk) -> None:
        """Who does not know of it does not unmount it."""

        def lost(path: str) -> None:
            raise DvdcliError("standard output is closed")

        desk.calls.create("v")
        with pytest.raises(DvdcliError, match="closed"):
            lifecycle.mount(
                desk.volume("v"), desk.subject.new_options(), None, "name:host", Deadline(desk.subject.budget), lost
            )
        desk.check_no_record()
        desk.calls.check_nothing_left("v", {})

    def test_a_volume_is_not_removed_while_anybody_holds_it(self, desk: Desk) -> None:
        """And afterwards it is; then there is none."""
        desk.mount("v")
        deadline = Deadline(desk.subject.budget)
        with pytest.raises(InUseError, match="host"):
            inventory.remove(desk.volume("v"), deadline)
        assert inventory.get(desk.volume("v"), deadline).name == "v"
        desk.unmount("v")
        inventory.remove(desk.volume("v"), deadline)
        for ask in (inventory.get, inventory.path, inventory.remove):
            with pytest.raises(NotFoundError):
                ask(desk.volume("v"), deadline)
        assert inventory.volumes(desk.subject.driver, deadline) == []

    def test_one_volume_is_on_record_once_whatever_the_driver_is_called(self, desk: Desk) -> None:
        """Where the provider tells one volume from another, a second record of it is refused by the first's name."""
        desk.configure("other-name")
        path = desk.mount("v")
        record = State().slot(desk.volume("v")).load()
        if record is None or not record.claim:
            pytest.skip("its volumes have no identity")
        with pytest.raises(InUseError, match=f"{desk.subject.driver}/v"):
            desk.mount("v", driver="other-name", explicit=True)
        assert desk.mounts() == ["v"]
        assert desk.calls.provider().path("v") == path
        desk.unmount("v")
        desk.check_no_record()

    def test_resize_is_for_volumes_with_a_size(self, desk: Desk) -> None:
        """Others say so."""
        deadline, sizes = Deadline(desk.subject.budget), desk.subject.sizes
        desk.calls.create("v")
        if sizes is None:
            with pytest.raises(DvdcliError):
                inventory.resize(desk.volume("v"), {"size": "1000"}, deadline)
        else:
            inventory.resize(desk.volume("v"), {"size": sizes[1]}, deadline)
            with pytest.raises(DvdcliError):
                inventory.resize(desk.volume("v"), {"size": sizes[0]}, deadline)
        desk.mount("v")
        desk.unmount("v")
        desk.check_no_record()

    def test_a_mount_through_the_state_killed_before_any_line_is_finished_or_undone(
        self, desk: Desk, tmp_path_factory: pytest.TempPathFactory
    ) -> None:
        """By the same call again, by an unmount, or by recover."""
        if not desk.subject.forks:
            pytest.skip("its storage system is in the memory of this process")

        def act(name: str, note: Note) -> None:
            desk.mount(name)

        walk = Walk(desk.calls, tmp_path_factory.mktemp("walk"))
        for name, _, way in walk.each("s", lambda name: desk.calls.remember(name), act, 3):
            if way == 0:
                path = desk.calls.patiently(desk.mount, name)
                assert name in desk.mounts()
                assert desk.calls.provider().path(name) == path
            elif way == 1:
                outcomes = list(recover(Deadline(desk.subject.budget)))
                assert [outcome.detail for outcome in outcomes if outcome.code] == []
            desk.calls.patiently(desk.unmount, name)
            desk.calls.check_nothing_left(name, {})
        desk.check_no_record()
