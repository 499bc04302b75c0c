"""The files of the holds: damaged, of a newer schema, half written."""

from __future__ import annotations

import pytest

from dvdcli.holds import Holds
from dvdcli.volume import Hold

STATE = 6
BOOT = "11111111-2222-3333-4444-555555555555"


@pytest.fixture
def holds(tmp_path):
    return Holds(f"{tmp_path}/holds")


@pytest.mark.parametrize("text", ["", "{", '{"schema": 1, "who": "name:other", "boot": "x"}'])
def test_a_damaged_hold_counts_until_it_is_let_go(home, text):
    plugin = home.plugin()
    home.mount("v", "plug", "--hold=a")
    (home.slot() / "holds" / "name:a.json").write_text(text)
    home.mount("v", "plug", "--hold=b")
    assert home.unmount("v", "plug", "--hold=b").code == 0
    assert plugin.mounted() == ["v"]
    assert home.unmount("v", "plug", "--hold=a").code == 0
    assert plugin.mounted() == []


def test_a_hold_of_a_newer_schema_is_refused(home):
    plugin = home.plugin()
    home.mount()
    home.edit_hold(schema=2)
    assert home.unmount().code == STATE
    assert plugin.mounted() == ["v"]


def test_a_hold_is_there_from_its_taking_to_its_dropping(holds):
    assert (holds.valid(BOOT), holds.names(BOOT), holds.are_none(), holds.drop("name:a")) == ({}, [], True, False)
    holds.take(Hold("name:a", BOOT, {"path": "/mnt"}))
    holds.take(Hold("name:a", BOOT, {"path": "/srv"}))
    holds.take(Hold("name:" + "b" * 200, BOOT, {}))  # too long for a file's name
    assert holds.valid(BOOT)["name:a"].data["path"] == "/srv"
    assert holds.names(BOOT) == sorted(holds.every_name()) == ["name:a", "name:" + "b" * 200]
    assert (holds.has("name:a"), holds.are_none()) == (True, False)
    assert holds.drop("name:a")
    assert holds.names(BOOT) == ["name:" + "b" * 200]
    holds.drop_all()
    assert holds.are_none()


def test_a_hold_of_another_boot_is_void_and_there_until_it_is_dropped(holds):
    holds.take(Hold("name:old", "another", {}))
    holds.take(Hold("name:new", BOOT, {}))
    assert list(holds.valid(BOOT)) == ["name:new"]
    assert holds.has("name:old")
    holds.drop_void()
    assert not holds.has("name:old")
    assert holds.has("name:new")


def test_what_a_killed_call_left_beside_the_holds_is_nobodys(holds):
    holds.take(Hold("name:a", BOOT, {}))
    with open(f"{holds.directory}/name:b.json.new", "w", encoding="utf-8") as file:
        file.write('{"schema": 1, "who": "na')
    assert list(holds.valid(BOOT)) == holds.names(BOOT) == holds.every_name() == ["name:a"]
    holds.drop("name:a")
    assert not holds.are_none()
    holds.sweep()
    assert holds.are_none()
