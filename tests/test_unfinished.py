"""A create or a remove that was killed, or given up: recover finishes it, or clears away what it left."""

from __future__ import annotations

import signal
import subprocess

import pytest

from tests.doubles.csi import Fail
from tests.gate import flags
from tests.walk import needs_strace

pytestmark = pytest.mark.root
NOT_FOUND, TRY_AGAIN = 3, 5
SIZE = "--volumeopts=size=16M"
LONG = "v" * 100 + "/" * 28  # its directory's name does not tell it


@pytest.fixture
def machine(cluster):
    return cluster.machine()


def local(home, verb, name="v"):
    return home.run(verb, *flags(name, "local"))


def traced(home, verb, name, *words):
    """Run a call under strace, with its *words*; return its exit code."""
    line = ["strace", "-o", "/dev/null", *words, home.command, verb, *flags(name, "local")]
    return subprocess.run(line, env=home.env, capture_output=True, check=False, timeout=60).returncode


def killed_in(machine, verb, rpc, moment, *more):
    """Kill a call in its *rpc*, `before` it is carried out or `after` that."""
    driver = machine.host.driver

    def hook(asked, at):
        if (asked, at) == (rpc, moment):
            process.send_signal(signal.SIGKILL)
            process.wait(60)

    driver.before = hook
    process = machine.start(verb, *flags("v", "csi"), *more)
    process.communicate(timeout=60)
    driver.settle()
    driver.before = lambda rpc, at: None
    assert process.returncode == -signal.SIGKILL
    assert "volumes/csi/v/unfinished" in machine.leftovers()


def recovered(home, name="csi/v"):
    """Let recover do its work, twice: then nothing is left to do, nor to see."""
    done = home.recover()
    assert (done.code, done.out) == (0, f"{name}: completed (a create or a remove of it was interrupted)\n")
    again = home.recover()
    assert (again.code, again.out, again.err) == (0, "", "")
    assert home.leftovers() == []


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_remove_that_was_killed_ends(machine, moment):
    assert machine.csi("create", "v", SIZE).code == 0
    killed_in(machine, "remove", "DeleteVolume", moment)
    assert machine.csi("get").code == NOT_FOUND
    assert "dvdcli recover finishes it" in machine.run("inspect", "csi/v").out
    recovered(machine)
    assert machine.host.driver.volumes == {}


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_create_that_was_killed_ends(machine, moment):
    killed_in(machine, "create", "CreateVolume", moment, SIZE)
    recovered(machine)
    assert machine.csi("get").code == 0
    assert machine.csi("remove").code == 0
    assert (machine.host.driver.volumes, machine.leftovers()) == ({}, [])


def test_a_remove_that_was_given_up_ends_when_the_driver_is_back(machine):
    assert machine.csi("create", "v", SIZE).code == 0
    machine.host.driver.next("DeleteVolume", *[Fail("UNAVAILABLE", "not today")] * 999)
    assert machine.csi("remove", "v", "--timeout=2").code == TRY_AGAIN
    machine.host.driver.replies.clear()
    recovered(machine)
    assert machine.host.driver.volumes == {}


def test_a_remove_that_was_refused_is_over(machine):
    assert machine.csi("create", "v", SIZE).code == 0
    machine.host.driver.next("DeleteVolume", Fail("INTERNAL", "never"))
    assert machine.csi("remove").code not in (0, TRY_AGAIN)
    assert machine.leftovers() == []
    assert machine.recover().out == ""
    assert [volume.name for volume in machine.host.driver.volumes.values()] == ["v"]
    assert machine.csi("remove").code == 0


def test_a_volume_that_is_mounted_meanwhile_stays(machine):
    killed_in(machine, "create", "CreateVolume", "after", SIZE)
    assert machine.csi("mount").code == 0
    assert machine.recover().out == ""
    assert machine.csi("unmount").code == 0
    recovered(machine)
    assert machine.csi("get").code == 0
    assert machine.csi("remove").code == 0


def test_one_recover_ends_the_remove_and_a_mount_after_it(machine):
    assert machine.csi("create", "v", SIZE).code == 0
    killed_in(machine, "remove", "DeleteVolume", "before")
    killed_in(machine, "mount", "NodePublishVolume", "after", SIZE)
    machine.age()
    done = machine.recover()
    assert (done.code, done.out) == (0, "csi/v: unmounted (nobody holds it)\n")
    assert machine.leftovers() == []


def test_recover_says_what_it_would_do_and_what_it_cannot(machine):
    assert machine.csi("create", "v", SIZE).code == 0
    killed_in(machine, "remove", "DeleteVolume", "before")
    before = machine.leftovers()
    done = machine.recover("--dry-run")
    assert (done.code, "csi/v: would be completed" in done.out, machine.leftovers()) == (0, True, before)
    machine.host.stop()
    done = machine.recover()
    assert (done.code, done.out, "csi/v: failed" in done.err, machine.leftovers()) == (TRY_AGAIN, "", True, before)
    machine.host.start()
    recovered(machine)


def test_forget_drops_it_and_leaves_the_storage(machine):
    assert machine.csi("create", "v", SIZE).code == 0
    machine.host.driver.next("DeleteVolume", Fail("INTERNAL", "not carried out"))
    killed_in(machine, "remove", "DeleteVolume", "before")
    assert machine.run("forget", "csi/v", "--yes").code == 0
    assert machine.leftovers() == []
    assert machine.recover().out == ""
    assert [volume.name for volume in machine.host.driver.volumes.values()] == ["v"]
    assert machine.csi("remove").code == NOT_FOUND
    assert machine.host.driver.volumes == {}


def killed_half_way(home, name):
    """Kill a remove when the volume has gone, and its data has not."""
    assert local(home, "create", name).code == 0
    code = traced(home, "remove", name, "-einject=rmdir:signal=KILL:when=1")
    assert code in (-signal.SIGKILL, 128 + signal.SIGKILL)
    gone = [path for path in (home.state / "mounts" / "local").iterdir() if path.name.startswith(".gone")]
    assert len(gone) == 1
    assert local(home, "get", name).code == NOT_FOUND
    return gone[0]


@needs_strace
@pytest.mark.parametrize("name", ["v", LONG], ids=["short", "long"])
def test_the_data_of_a_half_removed_volume_goes(home, name):
    gone = killed_half_way(home, name)
    recovered(home, f"local/{name}")
    assert not gone.exists()


@needs_strace
def test_a_note_that_a_kill_tore_is_of_nothing(home):
    gone = killed_half_way(home, LONG)
    note = next((home.state / "volumes" / "local").glob("*/unfinished"))
    note.write_text(note.read_text()[:9])
    assert home.recover().code == 0
    assert home.leftovers() == []
    assert gone.exists(), "whose it is was not to be told"
    assert local(home, "create", LONG).code == local(home, "remove", LONG).code == 0


@needs_strace
@pytest.mark.parametrize("call", ["openat", "write"])
def test_a_remove_that_makes_room_needs_none(home, call):
    assert local(home, "create").code == 0
    note = home.slot("v", "local") / "unfinished"
    assert traced(home, "remove", "v", "-P", str(note), f"-einject={call}:error=ENOSPC") == 0
    assert local(home, "get").code == NOT_FOUND
    assert (home.recover().out, home.leftovers()) == ("", [])
