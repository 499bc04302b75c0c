"""Two hosts and one volume: who has it, who may take it, and what the other one believes afterwards."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.blocks import content
from tests.conftest import COMMAND
from tests.doubles.ec2 import Error
from tests.ebs import FAILURE, IN_USE, refused
from tests.expect import wait_until

pytestmark = pytest.mark.root


@pytest.fixture
def a(cloud):
    return cloud.machine("a")


@pytest.fixture
def b(cloud):
    return cloud.machine("b")


def test_written_on_one_read_on_the_other(a, b):
    assert a.ebs("mount", "v", *a.opts(size=1)).code == 0
    (a.place / "file").write_text("from a")
    assert a.ebs("unmount").code == 0
    assert b.ebs("mount").code == 0
    assert (b.place / "file").read_text() == "from a"
    refused(a.ebs("mount"), IN_USE, b.host.id, "preempt")
    assert a.leftovers() == []
    assert b.ebs("unmount").code == 0


def test_a_dead_hosts_volume_is_refused_until_that_host_is_stopped(a, b, ec2):
    a.ebs("mount", "v", *a.opts(size=1))
    (a.place / "file").write_text("from a")
    b.configure('preempt = "stopped"')
    refused(b.ebs("mount"), IN_USE, a.host.id, "not stopped")
    a.host.die()
    refused(b.ebs("mount"), IN_USE, a.host.id, "not stopped")
    ec2.stop(a.host)
    assert b.ebs("mount").code == 0
    assert (b.place / "file").read_text() == "from a"
    # A comes back: nothing of its own is believed.
    a.host.boot()
    a.reboot()
    refused(a.ebs("mount"), IN_USE, b.host.id)
    assert a.ebs("unmount").code == 0
    assert a.leftovers() == []
    assert (b.place / "file").read_text() == "from a"
    assert b.ebs("unmount").code == 0


def test_a_terminated_holder_that_ec2_has_forgotten_counts_as_stopped(a, b, ec2):
    a.ebs("mount", "v", *a.opts(size=1))
    a.host.die()
    ec2.terminate(a.host)
    b.configure('preempt = "stopped"')
    ec2.next("DescribeInstances", Error("InvalidInstanceID.NotFound", "The instance ID does not exist"))
    assert b.ebs("mount").code == 0
    assert b.ebs("unmount").code == 0


def test_a_mount_whose_device_was_taken_away_is_not_trusted(a, b, ec2):
    """A runs on, with its mount still in the table; B takes the volume by force."""
    volume = ec2.volume("v")
    a.ebs("mount")
    (a.place / "file").write_text("from a")
    subprocess.run(["sync", "-f", a.place], check=True)
    b.configure('preempt = "force"')
    assert b.ebs("mount").code == 0
    (b.place / "mine").write_text("from b")
    assert os.path.ismount(a.place)
    refused(a.ebs("mount", "v", "--hold=second"), IN_USE, b.host.id)
    assert not (a.state / "volumes/ebs/v/holds/name:second.json").exists()
    assert a.ebs("unmount").code == 0
    assert not os.path.ismount(a.place)
    assert [attachment.instance for attachment in volume.attachments] == [b.host.id]
    assert (b.place / "mine").read_text() == "from b"
    assert b.ebs("unmount").code == 0
    assert a.ebs("mount").code == 0
    assert (a.place / "mine").read_text() == "from b"
    assert a.ebs("unmount").code == 0


def test_attached_again_the_old_mount_is_cleared_away_and_the_new_device_mounted(a, b, ec2):
    ec2.volume("v")
    a.ebs("mount")
    subprocess.run(["sync", "-f", a.place], check=True)
    b.configure('preempt = "force"')
    assert b.ebs("mount").code == 0
    (b.place / "mine").write_text("from b")
    assert b.ebs("unmount").code == 0
    assert a.ebs("mount", "v", "--hold=second").code == 0
    assert (a.place / "mine").read_text() == "from b"
    table = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    assert table.count(str(a.place)) == 1
    assert a.ebs("unmount").code == 0
    assert a.ebs("unmount", "v", "--hold=second").code == 0


def stopping_mkfs(machine, name="v"):
    """Return the command line of a mount whose mkfs stops in the middle of its writes.

    Of the installed command itself: what measures coverage writes with pwrite64 too, and would stop for good.
    """
    (machine.root / "trace").touch()
    inject = ["-e", "trace=pwrite64", "-e", "inject=pwrite64:signal=STOP:when=40"]
    line = ["strace", "-f", "-o", str(machine.root / "trace"), *inject]
    return [*line, COMMAND, "mount", "--volumedriver=ebs", f"--volumename={name}"]


def killed_in_mkfs(machine, name="v"):
    """Mount, and kill dvdcli and mkfs in the middle of what mkfs writes; return the intent on record."""
    with subprocess.Popen(stopping_mkfs(machine, name), env=machine.env, start_new_session=True) as process:
        wait_until(lambda: stopped(machine))
        os.killpg(process.pid, signal.SIGKILL)
    record = machine.record(name, "ebs")
    assert record["status"] == "mounting", record
    return record["handle"]["format"]


def stopped(machine, number=1):
    """Return the *number*th process that strace saw stop in the middle of its writes, 0 as long as there is none."""
    log = (machine.root / "trace").read_text(errors="replace")
    found = re.findall(r"^(\d+) .*stopped by SIGSTOP", log, re.MULTILINE)
    return int(found[number - 1]) if len(found) >= number else 0


def test_a_format_on_record_is_not_believed_once_the_volume_was_elsewhere(a, b, ec2):
    """A is killed in mkfs; B takes the volume, formats, writes, unmounts, dies; A comes back: B's data is there."""
    volume = ec2.volume("v")
    intent = killed_in_mkfs(a)
    assert content(volume.image).get("UUID") != intent["uuid"]
    b.configure('preempt = "force"')
    assert b.ebs("mount", "v", *b.opts(overwriteFs="true")).code == 0
    (b.place / "file").write_text("from b")
    assert b.ebs("unmount").code == 0
    b.host.die()
    before = content(volume.image)["UUID"]
    wait_for_another_second()
    assert a.ebs("mount").code == 0
    assert (a.place / "file").read_text() == "from b"
    assert content(volume.image)["UUID"] == before != intent["uuid"]
    assert a.ebs("unmount").code == 0


def wait_for_another_second():
    """EC2 tells attachments apart by whole seconds."""
    second = int(time.time())
    while int(time.time()) == second:
        time.sleep(0.01)


def test_a_kill_in_mkfs_is_repaired_by_the_next_call(a, ec2):
    volume = ec2.volume("v")
    intent = killed_in_mkfs(a)
    assert a.ebs("mount").code == 0
    assert content(volume.image)["UUID"] == intent["uuid"]
    assert a.ebs("unmount").code == 0
    assert a.leftovers() == []


@pytest.mark.parametrize("verb", ["recover", "unmount"])
def test_a_kill_in_mkfs_is_repaired_before_the_volume_is_let_go_of(a, b, ec2, verb):
    """Without its record nobody could tell half a file system from somebody's data."""
    volume = ec2.volume("v")
    intent = killed_in_mkfs(a)
    assert (a.run("recover") if verb == "recover" else a.ebs("unmount")).code == 0
    assert not volume.attachments
    assert content(volume.image)["UUID"] == intent["uuid"]
    assert a.leftovers() == []
    assert b.ebs("mount").code == 0
    assert b.ebs("unmount").code == 0


def test_an_mkfs_that_is_killed_alone_leaves_a_volume_that_can_be_mounted(a, ec2):
    """What it began is made whole before the failed mount lets go of the volume."""
    ec2.volume("v")
    with subprocess.Popen(stopping_mkfs(a), env=a.env, start_new_session=True, stderr=subprocess.PIPE) as process:
        os.kill(wait_until(lambda: stopped(a)), signal.SIGKILL)
        os.kill(wait_until(lambda: stopped(a, 2)), signal.SIGCONT)
        told = process.stderr.read().decode()
    assert (process.returncode, "signal 9" in told) == (FAILURE, True)
    assert a.ebs("mount").code == 0
    assert a.ebs("unmount").code == 0
