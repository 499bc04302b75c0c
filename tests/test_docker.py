"""The plugin protocol as docker speaks it: names, ids, options, and which error means what."""

from __future__ import annotations

import shutil

import pytest

from tests.doubles.plugin import Reply, err
from tests.gate import flags


def test_the_requests_of_a_mount_and_an_unmount(home):
    plugin = home.plugin()
    done = home.mount("v", "plug", "--volumeopts=size=5", "--volumeopts=note=a=b, c")
    assert (done.code, done.err) == (0, "")
    assert done.out == plugin.volumes["v"].mountpoint + "\n"
    assert plugin.names() == ["Get", "Create", "Mount"]
    assert plugin.volumes["v"].options == {"size": "5", "note": "a=b, c"}
    assert home.unmount().code == 0
    assert plugin.names()[3:] == ["Get", "Unmount"]
    assert home.leftovers() == []


def ids(plugin, method):
    return {arguments["ID"] for name, arguments in plugin.calls if name == method}


def test_the_mount_id_survives_a_lost_state_and_differs_by_volume(home):
    plugin = home.plugin()
    home.mount("a")
    shutil.rmtree(home.state)
    home.mount("a")
    assert len(ids(plugin, "Mount")) == 1
    home.unmount("a")
    assert ids(plugin, "Unmount") == ids(plugin, "Mount")
    assert plugin.mounted() == []
    home.mount("b")
    assert len(ids(plugin, "Mount")) == 2


def test_unmount_carries_the_id_that_mount_carried(home):
    """Whatever the host is called by then."""
    plugin = home.plugin()
    home.mount()
    plugin.volumes["v"].ids = {"another"}
    home.edit_record(handle={"name": "v", "id": "another"})
    assert home.unmount().code == 0
    assert plugin.mounted() == []


def test_the_name_of_gets_reply_is_used_in_what_follows(home):
    plugin = home.plugin()
    plugin.add("v-0001")
    plugin.always["Get"] = Reply(status=200, body=b'{"Volume": {"Name": "v-0001", "Mountpoint": ""}}')
    assert home.mount().code == 0
    assert plugin.mounted() == ["v-0001"]
    assert home.run("get", *flags()).out == "v-0001\n"
    assert home.unmount().code == 0
    assert plugin.mounted() == []


@pytest.mark.parametrize(
    "reply",
    [
        err("no such volume"), err("volume v not found"), err("Volume not found", 500), err("v: not found", 404),
        err("Couldn't find volume v"), err("No volume found with the name v"), err("resource not found"),
        err("volume \"v\" does not exist"), Reply(status=200, body=b'{"Err": ""}'),
        Reply(status=200, body=b'{"Volume": null, "Err": null}'), Reply(status=500, body=b"no such volume: v"),
    ],
)  # fmt: skip
def test_what_means_that_there_is_no_such_volume(home, reply):
    plugin = home.plugin()
    plugin.next("Get", reply)
    assert home.mount().code == 0
    assert plugin.names() == ["Get", "Create", "Mount"]


@pytest.mark.parametrize(
    "reply",
    [
        err("permission denied"), err("backend not found"), err("lookup storage: no such host", 500),
        Reply(status=500, body=b"internal error"), Reply(status=200, body=b"not json"), Reply(raw=b""),
        err("config file /etc/v.conf not found"),
    ],
)  # fmt: skip
def test_what_does_not_mean_it_and_creates_nothing(home, reply):
    plugin = home.plugin()
    plugin.next("Get", reply)
    assert home.mount().code != 0
    assert plugin.names() == ["Get"]
    assert home.leftovers() == []


@pytest.mark.parametrize("said", ["volume v is not mounted", "not attached to this node"])
def test_not_mounted_is_success_where_get_agrees(home, said):
    plugin = home.plugin()
    home.mount()
    plugin.reboot()
    plugin.next("Unmount", err(said))
    assert home.unmount().code == 0
    assert home.leftovers() == []


def test_not_mounted_is_no_success_where_get_does_not_agree(home):
    home.plugin().next("Unmount", err("volume v is not mounted"))
    home.mount()
    assert home.unmount().code == 1
    assert home.record()["failure"]


def test_a_failed_detach_is_remembered_although_nothing_is_mounted(home):
    """MESOS-10126: without a second try, the volume is pinned to this host."""
    plugin = home.plugin()
    home.mount()
    home.reboot()
    plugin.next("Unmount", err("cannot detach: still detaching"))
    assert home.unmount().code == 1
    assert plugin.volumes["v"].attached
    assert home.recover().code == 0
    assert not plugin.volumes["v"].attached


def test_a_volume_that_is_gone_needs_no_unmount(home):
    plugin = home.plugin()
    home.mount()
    plugin.volumes.clear()
    assert home.unmount().code == 0
    assert plugin.names()[-1] == "Get"
    assert home.leftovers() == []


def test_a_name_that_would_be_two_lines_is_one(home):
    plugin = home.plugin()
    plugin.add("a\nb\x1b[2J")
    plugin.add("c d")
    assert home.run("list", "--volumedriver=plug").out == "a\\nb\\x1b[2J\nc d\n"


def test_scope_is_told_to_programs(home):
    home.plugin().add("v")
    assert '"scope": "global"' in home.run("list", "--volumedriver=plug", "--json").out
    assert '"scope": "local"' in home.run("list", "--volumedriver=local", "--json").out
