"""The table of the design, cell by cell: what is found by what is asked."""

from __future__ import annotations

import signal

import pytest

from tests.doubles.plugin import NOT_THERE, Reply, err
from tests.expect import can_be_interrupted
from tests.gate import Gate, flags, kill_during

TRY_AGAIN = 5


def found_nothing(home, plugin):
    plugin.add("v")


def found_mounting(home, plugin):
    plugin.add("v")
    kill_during(home, plugin, "Mount", "mount", *flags())
    assert home.record()["status"] == "mounting"


def found_mounted(home, plugin):
    assert home.mount().code == 0
    assert home.record()["status"] == "mounted"


def found_unmounting(home, plugin):
    found_mounted(home, plugin)
    plugin.next("Unmount", err("device is busy"))
    assert home.unmount().code == 1
    assert home.record()["status"] == "unmounting"


def found_older_boot(home, plugin):
    found_mounted(home, plugin)
    home.reboot()


ALL = [found_nothing, found_mounting, found_mounted, found_unmounting, found_older_boot]


@pytest.mark.parametrize("found", ALL)
def test_mount_ends_mounted_whatever_was_found(home, found):
    plugin = home.plugin()
    found(home, plugin)
    done = home.mount()
    assert (done.code, done.err) == (0, "")
    assert done.out.strip() == plugin.volumes["v"].mountpoint
    record = home.record()
    assert (record["status"], record["path"], record["adding"]) == ("mounted", done.out.strip(), "")
    assert len(plugin.volumes["v"].ids) == 1
    assert home.recover("--dry-run").out == ""


@pytest.mark.parametrize("found", ALL)
def test_unmount_ends_with_nothing_whatever_was_found(home, found):
    plugin = home.plugin()
    found(home, plugin)
    done = home.unmount()
    assert (done.code, done.out, done.err) == (0, "", "")
    assert plugin.mounted() == []
    assert not plugin.volumes["v"].attached
    assert home.leftovers() == []


@pytest.mark.parametrize("found", [found_mounting, found_unmounting, found_older_boot])
def test_recover_undoes_what_nobody_holds(home, found):
    plugin = home.plugin()
    found(home, plugin)
    planned = home.recover("--dry-run")
    assert (planned.code, planned.out.startswith("plug/v: would be unmounted")) == (0, True)
    assert "v" in plugin.volumes
    done = home.recover()
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("plug/v: unmounted")
    assert plugin.mounted() == []
    assert not plugin.volumes["v"].attached
    assert home.leftovers() == []
    assert home.recover().out == ""


@pytest.mark.parametrize("found", [found_nothing, found_mounted])
def test_recover_leaves_what_is_well(home, found):
    plugin = home.plugin()
    found(home, plugin)
    before = (plugin.mounted(), home.leftovers())
    done = home.recover()
    assert (done.code, done.out, done.err) == (0, "", "")
    assert (plugin.mounted(), home.leftovers()) == before


def test_mount_of_nothing_writes_the_intent_before_it_acts(home):
    plugin = home.plugin()
    with Gate(plugin, "Create") as gate:
        process = home.start("mount", *flags())
        gate.wait()
        record = home.record()
        assert (record["status"], record["adding"]) == ("mounting", "name:host")
        assert (home.slot() / "holds" / "name:host.json").exists()
        assert (home.state / "pending" / "plug" / "v").exists()
        gate.open()
        assert home.finish(process).code == 0
    assert not (home.state / "pending" / "plug" / "v").exists()


def test_unmount_of_nothing_on_record_undoes_what_the_plugin_has_mounted(home):
    plugin = home.plugin()
    home.mount()
    home.slot().rename(home.root / "lost")
    assert home.unmount().code == 0
    assert plugin.mounted() == []
    assert home.leftovers() == []


def test_a_failed_unmount_of_what_was_not_on_record_is_remembered(home):
    plugin = home.plugin()
    home.mount()
    home.slot().rename(home.root / "lost")
    plugin.next("Unmount", err("device is busy"))
    done = home.unmount()
    assert (done.code, "device is busy" in done.err) == (1, True)
    assert home.recover().code == 0
    assert plugin.mounted() == []


def test_mounted_and_proven_costs_the_plugin_no_second_mount(home):
    plugin = home.plugin()
    first = home.mount()
    plugin.calls.clear()
    assert home.mount("v", "plug", "--hold=b").out == first.out
    assert plugin.names() == ["Get"]
    assert [row["holds"] for row in home.mounts()] == [["name:b", "name:host"]]


def test_proof_asks_path_where_get_names_no_mountpoint(home):
    plugin = home.plugin()
    first = home.mount()
    plugin.calls.clear()
    plugin.next("Get", Reply(status=200, body=b'{"Volume": {"Name": "v"}}'))
    assert home.mount().out == first.out
    assert plugin.names() == ["Get", "Path"]


def test_mounted_but_not_proven_is_mounted_again_for_all(home):
    plugin = home.plugin()
    home.mount()
    plugin.reboot()
    done = home.mount("v", "plug", "--hold=b")
    assert done.code == 0
    assert plugin.mounted() == ["v"]
    assert home.mounts()[0]["holds"] == ["name:b", "name:host"]


def test_mounted_but_the_plugin_does_not_answer_changes_nothing(home):
    plugin = home.plugin()
    home.mount()
    plugin.next("Get", Reply(raw=b""))
    done = home.mount("v", "plug", "--hold=b")
    assert done.code == TRY_AGAIN
    assert home.mounts()[0]["holds"] == ["name:host"]
    assert home.record()["status"] == "mounted"
    assert plugin.mounted() == ["v"]


def test_a_volume_that_vanished_under_its_holds_is_not_made_again(home):
    plugin = home.plugin()
    home.mount()
    plugin.volumes.clear()
    done = home.mount("v", "plug", "--hold=b")
    assert done.code == 3
    assert plugin.volumes == {}
    assert home.mounts()[0]["holds"] == ["name:host"]


def test_the_last_hold_unmounts_and_no_other(home):
    plugin = home.plugin()
    home.mount("v", "plug", "--hold=a")
    home.mount("v", "plug", "--hold=b")
    home.mount("v", "plug", "--hold=b")
    assert home.unmount("v", "plug", "--hold=a").code == 0
    assert home.unmount("v", "plug", "--hold=never").code == 0
    assert plugin.mounted() == ["v"]
    assert home.unmount("v", "plug", "--hold=b").code == 0
    assert plugin.mounted() == []
    assert home.leftovers() == []


def test_killed_mounting_with_another_hold_is_completed_by_recover(home):
    plugin = home.plugin()
    home.mount("v", "plug", "--hold=a")
    plugin.reboot()
    kill_during(home, plugin, "Mount", "mount", *flags(), "--hold=b")
    plugin.reboot()
    assert home.record()["adding"] == "name:b"
    assert "completed" in home.recover("--dry-run").out
    assert plugin.mounted() == []
    done = home.recover()
    assert (done.code, done.out) == (0, "plug/v: completed (mounted for a)\n")
    assert plugin.mounted() == ["v"]
    assert home.mounts()[0]["holds"] == ["name:a"]


def test_mounted_with_a_marker_left_is_verified_by_recover(home):
    plugin = home.plugin()
    home.mount()
    (home.state / "boot").write_text("")
    (home.state / "pending" / "plug" / "v").touch()
    assert home.recover().out == "plug/v: verified (mounted for host)\n"
    assert home.recover().out == ""
    plugin.reboot()
    (home.state / "pending" / "plug" / "v").touch()
    assert "completed" in home.recover().out
    assert plugin.mounted() == ["v"]


def test_mount_after_an_unfinished_unmount_finishes_it_first(home):
    plugin = home.plugin()
    found_unmounting(home, plugin)
    plugin.calls.clear()
    assert home.mount().code == 0
    assert plugin.names() == ["Get", "Unmount", "Get", "Mount"]


def test_mount_while_the_last_unmount_cannot_be_finished_says_try_again(home):
    plugin = home.plugin()
    found_unmounting(home, plugin)
    plugin.always["Unmount"] = err("device is busy")
    done = home.mount()
    assert done.code == TRY_AGAIN
    assert "device is busy" in done.err
    assert "Mount" not in plugin.names()[-2:]
    assert home.recover().code == 1
    del plugin.always["Unmount"]
    assert home.recover().code == 0
    assert home.leftovers() == []


def test_older_boot_voids_holds(home):
    plugin = home.plugin()
    home.mount("v", "plug", "--hold=a")
    home.reboot()
    assert home.mounts()[0]["status"] == "unmounting"
    assert home.mount("v", "plug", "--hold=b").code == 0
    assert home.mounts()[0]["holds"] == ["name:b"]
    assert home.unmount("v", "plug", "--hold=b").code == 0
    assert plugin.mounted() == []


def test_older_boot_is_detached_all_the_same(home):
    plugin = home.plugin()
    home.mount("v", "plug", "--hold=a")
    home.reboot()
    assert plugin.volumes["v"].attached
    assert home.unmount("v", "plug", "--hold=other").code == 0
    assert not plugin.volumes["v"].attached


def test_recover_looks_at_every_record_once_a_boot_and_then_only_at_pending_ones(home):
    plugin = home.plugin()
    home.mount("a")
    home.mount("b")
    home.reboot()
    plugin.next("Unmount", err("device is busy"))
    first = home.recover()
    assert (first.code, first.out.count("unmounted"), first.err.count("\n")) == (1, 1, 1)
    home.mount("c")
    home.edit_record("c", boot="not looked at")
    plugin.calls.clear()
    assert home.recover().code == 0
    assert {arguments["Name"] for name, arguments in plugin.calls if name != "Activate"} == {"a"}
    assert home.record("c")["boot"] == "not looked at"


@pytest.mark.parametrize("verb", ["mount", "unmount"])
def test_a_busy_lock_is_waited_for(home, verb):
    plugin = home.plugin()
    with Gate(plugin, "Mount") as gate:
        first = home.start("mount", *flags())
        gate.wait()
        late = home.run(verb, *flags(), "--timeout=1")
        assert (late.code, f"by pid {first.pid}" in late.err, late.err.count("\n")) == (TRY_AGAIN, True, 1)
        second = home.start(verb, *flags())
        gate.open()
        assert home.finish(first).code == 0
        assert home.finish(second).code == 0
    assert plugin.names().count("Mount") == 1
    assert plugin.mounted() == (["v"] if verb == "mount" else [])


def test_recover_skips_a_busy_lock_and_says_so(home):
    plugin = home.plugin()
    with Gate(plugin, "Mount") as gate:
        process = home.start("mount", *flags())
        gate.wait()
        done = home.recover("-v")
        assert (done.code, done.out) == (0, "")
        assert "skipped" in done.err
        gate.open()
        assert home.finish(process).code == 0


def test_a_failed_call_undoes_only_the_hold_that_it_added(home):
    plugin = home.plugin()
    home.mount("v", "plug", "--hold=a")
    plugin.reboot()
    plugin.always["Mount"] = err("no device")
    done = home.mount("v", "plug", "--hold=b")
    assert (done.code, "no device" in done.err) == (1, True)
    assert home.mounts()[0]["holds"] == ["name:a"]
    del plugin.always["Mount"]
    assert "completed" in home.recover().out
    assert plugin.mounted() == ["v"]


def test_a_failed_first_mount_leaves_nothing(home):
    plugin = home.plugin()
    plugin.next("Mount", Reply(status=500, body=b"boom", act=True))
    done = home.mount()
    assert (done.code, done.out, "boom" in done.err) == (1, "", True)
    assert plugin.mounted() == []
    assert home.leftovers() == []


def test_an_undo_that_fails_is_left_for_recover(home):
    plugin = home.plugin()
    plugin.next("Mount", Reply(status=500, body=b"boom", act=True))
    plugin.next("Unmount", err("device is busy"))
    done = home.mount()
    assert done.code == 1
    assert done.err.count("\n") == 1
    assert "boom" in done.err
    assert "left for recover" in done.err
    assert home.recover().code == 0
    assert plugin.mounted() == []
    assert home.leftovers() == []


def test_interrupting_a_mount_undoes_it(home):
    plugin = home.plugin()
    with Gate(plugin, "Mount") as gate:
        process = home.start("mount", *flags(), preexec_fn=can_be_interrupted)
        gate.wait()
        process.send_signal(signal.SIGINT)
        gate.open()
        done = home.finish(process)
    assert done.code == 130
    assert plugin.mounted() == []
    assert home.leftovers() == []


def test_explicit_create_from_the_call_beats_the_configuration(home):
    plugin = home.plugin()
    assert home.mount("v", "plug", "--explicitcreate").code == 3
    home.config.write_text("explicit_create = true\n")
    assert home.mount("v").code == 3
    assert plugin.volumes == {}
    assert home.leftovers() == []
    assert home.mount("v", "plug", "--explicitcreate=false").code == 0


def test_the_record_pins_the_provider(home):
    """Whatever the name means tomorrow, the plugin that mounted it unmounts it."""
    plugin = home.plugin()
    home.mount()
    home.config.write_text('[drivers.plug]\nprovider = "local"\n')
    assert home.unmount().code == 0
    assert plugin.mounted() == []


def test_an_unmount_needs_no_configuration(home):
    plugin = home.plugin()
    home.mount()
    home.config.write_text("not toml at all\n")
    assert home.unmount().code == 0
    assert plugin.mounted() == []


def test_removing_what_is_mounted_is_refused(home):
    plugin = home.plugin()
    home.mount()
    done = home.run("remove", *flags())
    assert (done.code, "mounted for host" in done.err) == (4, True)
    assert "v" in plugin.volumes
    home.unmount()
    assert home.run("remove", *flags()).code == 0
    assert plugin.volumes == {}
    assert home.leftovers() == []


def test_an_old_plugin_without_get_is_served(home):
    plugin = home.plugin()
    plugin.add("v")
    plugin.always["Get"] = NOT_THERE
    assert home.mount().code == 0
    assert home.unmount().code == 0
    assert plugin.mounted() == []


def test_the_hold_of_a_killed_mount_goes_with_the_next_mount_of_somebody_else(home):
    plugin = home.plugin()
    plugin.add("v")
    kill_during(home, plugin, "Mount", "mount", *flags(), "--hold=dead")
    plugin.calls.clear()
    assert home.mount("v", "plug", "--hold=b").code == 0
    assert plugin.names() == ["Get", "Mount"]
    assert home.mounts()[0]["holds"] == ["name:b"]
    assert home.unmount("v", "plug", "--hold=b").code == 0
    assert home.leftovers() == []


def test_a_failed_second_try_undoes_what_the_killed_first_one_left(home):
    plugin = home.plugin()
    plugin.add("v")
    kill_during(home, plugin, "Mount", "mount", *flags())
    plugin.reboot()
    plugin.next("Mount", err("no device"))
    assert home.mount().code == 1
    assert plugin.mounted() == []
    assert home.leftovers() == []


def test_killed_in_unmount_is_finished_by_the_next(home):
    plugin = home.plugin()
    home.mount()
    kill_during(home, plugin, "Unmount", "unmount", *flags())
    assert home.unmount().code == 0
    assert home.leftovers() == []


