"""Two hosts and one volume: who has it, who may take it, and what the other one believes afterwards.

For every storage system of tests/pairs.py by the same code.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
from pathlib import Path

import pytest

from tests.blocks import content
from tests.conftest import COMMAND
from tests.ebs import FAILURE, IN_USE, refused
from tests.gate import flags
from tests.pairs import PAIRS
from tests.sized import digest
from tests.waiting import wait_until

pytestmark = pytest.mark.root
TAKING = [name for name, kind in PAIRS.items() if kind.takes]
taking = pytest.mark.parametrize("pair", TAKING, indirect=True)


@pytest.fixture(params=PAIRS)
def pair(request, command):
    pair = PAIRS[request.param](command)
    yield pair
    pair.close()


@pytest.fixture
def a(pair):
    return pair.a


@pytest.fixture
def b(pair):
    return pair.b


def test_written_on_one_read_on_the_other(pair, a, b):
    assert pair.new(a).code == 0
    (a.place / "file").write_text("from a")
    refused(pair.call(b, "mount"), IN_USE, pair.name(a), pair.hint)
    assert b.leftovers() == []
    assert pair.call(a, "unmount").code == 0
    assert pair.call(b, "mount").code == 0
    assert (b.place / "file").read_text() == "from a"
    refused(pair.call(a, "mount"), IN_USE, pair.name(b), pair.hint)
    assert a.leftovers() == []
    assert pair.call(b, "unmount").code == 0


def test_a_dead_hosts_volume_is_refused_until_that_host_is_stopped(pair, a, b):
    assert pair.new(a).code == 0
    (a.place / "file").write_text("from a")
    pair.preempt(b, "stopped")
    refused(pair.call(b, "mount"), IN_USE, pair.name(a), pair.running)
    pair.lose_power(a)
    refused(pair.call(b, "mount"), IN_USE, pair.name(a), pair.running)
    pair.preempt(b, "never")
    pair.stop(a)
    refused(pair.call(b, "mount"), IN_USE, pair.name(a), pair.hint)
    assert pair.holders() == [pair.name(a)]
    pair.preempt(b, "stopped")
    assert pair.call(b, "mount").code == 0
    assert (b.place / "file").read_text() == "from a"
    # A comes back: nothing of its own is believed.
    a.host.boot()
    a.reboot()
    refused(pair.call(a, "mount"), IN_USE, pair.name(b))
    assert pair.call(a, "unmount").code == 0
    assert a.leftovers() == []
    assert pair.holders() == [pair.name(b)]
    assert (b.place / "file").read_text() == "from a"
    assert pair.call(b, "unmount").code == 0


@taking
def test_a_mount_whose_device_was_taken_away_is_not_trusted(pair, a, b):
    """A runs on, with its mount still in the table; B takes the volume by force."""
    pair.volume()
    assert pair.call(a, "mount").code == 0
    (a.place / "file").write_text("from a")
    subprocess.run(["sync", "-f", a.place], check=True)
    pair.preempt(b, "force")
    pair.taken_in_use(a)
    assert pair.call(b, "mount").code == 0
    (b.place / "mine").write_text("from b")
    assert os.path.ismount(a.place)
    refused(pair.call(a, "mount", "--hold=second"), IN_USE, pair.name(b))
    assert not (a.slot("v", pair.driver) / "holds/name:second.json").exists()
    assert pair.call(a, "unmount").code == 0
    assert not os.path.ismount(a.place)
    assert pair.holders() == [pair.name(b)]
    assert (b.place / "mine").read_text() == "from b"
    assert pair.call(b, "unmount").code == 0
    assert pair.call(a, "mount").code == 0
    assert (a.place / "mine").read_text() == "from b"
    assert pair.call(a, "unmount").code == 0


@taking
def test_attached_again_the_old_mount_is_cleared_away_and_the_new_device_mounted(pair, a, b):
    pair.volume()
    assert pair.call(a, "mount").code == 0
    subprocess.run(["sync", "-f", a.place], check=True)
    pair.preempt(b, "force")
    pair.taken_in_use(a)
    assert pair.call(b, "mount").code == 0
    (b.place / "mine").write_text("from b")
    assert pair.call(b, "unmount").code == 0
    assert pair.call(a, "mount", "--hold=second").code == 0
    assert (a.place / "mine").read_text() == "from b"
    table = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    assert table.count(str(a.place)) == 1
    assert pair.call(a, "unmount").code == 0
    assert pair.call(a, "unmount", "--hold=second").code == 0


# Killed in mkfs


def stopping_mkfs(pair, machine):
    """Return the command line of a mount whose mkfs stops in the middle of its writes.

    Of the installed command itself: what measures coverage writes with pwrite64 too, and would stop for good.
    """
    (machine.root / "trace").touch()
    inject = ["-e", "trace=pwrite64", "-e", "inject=pwrite64:signal=STOP:when=40"]
    line = ["strace", "-f", "-o", str(machine.root / "trace"), *inject]
    return [*line, COMMAND, "mount", *flags("v", pair.driver)]


def killed_in_mkfs(pair, machine):
    """Mount, and kill dvdcli and mkfs in the middle of what mkfs writes; return the intent on record."""
    with subprocess.Popen(stopping_mkfs(pair, machine), env=machine.env, start_new_session=True) as process:
        wait_until(lambda: stopped(machine))
        os.killpg(process.pid, signal.SIGKILL)
    record = machine.record("v", pair.driver)
    assert record["status"] == "mounting", record
    return record["handle"]["format"]


def stopped(machine, number=1):
    """Return the *number*th process that strace saw stop in the middle of its writes, 0 as long as there is none."""
    log = (machine.root / "trace").read_text(errors="replace")
    found = re.findall(r"^(\d+) .*stopped by SIGSTOP", log, re.MULTILINE)
    return int(found[number - 1]) if len(found) >= number else 0


@taking
@pytest.mark.parametrize("back", ["at once", "after a boot"])
def test_a_format_on_record_is_not_believed_once_the_volume_was_elsewhere(pair, a, b, back):
    """A is killed in mkfs; B takes the volume, formats, writes, unmounts, dies; A comes back: B's data is there."""
    volume = pair.volume()
    intent = killed_in_mkfs(pair, a)
    assert content(volume.image).get("UUID") != intent["uuid"]
    pair.preempt(b, "force")
    assert pair.call(b, "mount", "--volumeopts=overwriteFs=true").code == 0
    (b.place / "file").write_text("from b")
    assert pair.call(b, "unmount").code == 0
    b.host.die()
    before = content(volume.image)["UUID"]
    pair.await_another_attachment()
    if back == "after a boot":
        a.host.boot()
        a.reboot()
    assert pair.call(a, "mount").code == 0
    assert (a.place / "file").read_text() == "from b"
    assert content(volume.image)["UUID"] == before != intent["uuid"]
    assert pair.call(a, "unmount").code == 0


@taking
def test_what_another_host_left_without_a_signature_is_not_taken_for_a_format_that_was_broken_off(pair, a, b):
    """While the attachment lasts, data of an unknown kind is A's own unfinished work; B's is not."""
    volume = pair.volume()
    killed_in_mkfs(pair, a)
    pair.preempt(b, "force")
    assert pair.call(b, "mount", "--volumeopts=overwriteFs=true").code == 0
    assert pair.call(b, "unmount").code == 0
    with volume.image.open("r+b") as file:  # as a database on B would, that needs no file system
        file.write(os.urandom(8 << 20))
    before = digest(volume.image)
    pair.await_another_attachment()
    refused(pair.call(a, "mount"), FAILURE, "data of an unknown kind")
    assert digest(volume.image) == before
    assert a.leftovers() == []


@taking
def test_a_kill_in_mkfs_is_repaired_by_the_next_call(pair, a):
    volume = pair.volume()
    intent = killed_in_mkfs(pair, a)
    assert pair.call(a, "mount").code == 0
    assert content(volume.image)["UUID"] == intent["uuid"]
    assert pair.call(a, "unmount").code == 0
    assert a.leftovers() == []


@taking
@pytest.mark.parametrize("verb", ["recover", "unmount"])
def test_a_kill_in_mkfs_is_repaired_before_the_volume_is_let_go_of(pair, a, b, verb):
    """Without its record nobody could tell half a file system from somebody's data."""
    volume = pair.volume()
    intent = killed_in_mkfs(pair, a)
    assert (a.run("recover") if verb == "recover" else pair.call(a, "unmount")).code == 0
    assert pair.holders() == []
    assert content(volume.image)["UUID"] == intent["uuid"]
    assert a.leftovers() == []
    assert pair.call(b, "mount").code == 0
    assert pair.call(b, "unmount").code == 0


@taking
def test_an_mkfs_that_is_killed_alone_leaves_a_volume_that_can_be_mounted(pair, a):
    """What it began is made whole before the failed mount lets go of the volume."""
    pair.volume()
    line = stopping_mkfs(pair, a)
    with subprocess.Popen(line, env=a.env, start_new_session=True, stderr=subprocess.PIPE) as process:
        os.kill(wait_until(lambda: stopped(a)), signal.SIGKILL)
        os.kill(wait_until(lambda: stopped(a, 2)), signal.SIGCONT)
        told = process.stderr.read().decode()
    assert (process.returncode, "signal 9" in told) == (FAILURE, True)
    assert pair.call(a, "mount").code == 0
    assert pair.call(a, "unmount").code == 0
