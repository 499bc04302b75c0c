"""A mount of a CSI volume that is not there yet, and which ends while it is made: what is left once it is undone.

The driver cannot be asked for a volume by name: what it may have made has to be made again, or nobody knows of it.
"""

from __future__ import annotations

import json
import signal
import subprocess

import pytest

from tests.doubles.csi import Fail
from tests.gate import flags
from tests.walk import needs_strace

pytestmark = pytest.mark.root
SIZE = "--volumeopts=size=16M"
TRY_AGAIN = 5


@pytest.fixture
def machine(cluster):
    return cluster.machine()


def entry(machine):
    """Return what the catalogue says of the volume; None where it does not know it."""
    path = machine.state / "mounts" / ".csi" / machine.host.driver.settings.name / "v" / "volume.json"
    return json.loads(path.read_text()) if path.exists() else None


def kill_while_it_is_made(machine, moment):
    """Kill a mount in its CreateVolume, `before` it is carried out or `after` that."""
    driver, killed = machine.host.driver, []

    def hook(rpc, at):
        if (rpc, at) == ("CreateVolume", moment) and not killed:
            killed.append(True)
            process.send_signal(signal.SIGKILL)
            process.wait(60)

    driver.before = hook
    process = machine.start("mount", *flags("v", "csi"), SIZE)
    process.communicate(timeout=60)
    driver.wait_idle()
    driver.before = lambda rpc, at: None
    assert (process.returncode, killed) == (-signal.SIGKILL, [True])
    assert entry(machine)["status"] == "making"


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("verb", ["recover", "unmount"])
def test_a_volume_that_a_killed_mount_has_made_is_known(machine, moment, verb):
    kill_while_it_is_made(machine, moment)
    done = machine.recover() if verb == "recover" else machine.csi("unmount")
    assert done.code == 0, done
    assert (machine.mounts(), machine.leftovers()) == ([], [])
    made = machine.host.driver.named("v")
    assert (entry(machine)["status"], entry(machine)["id"]) == ("made", made.id)
    assert machine.csi("remove").code == 0
    assert machine.host.driver.volumes == {}


def test_a_driver_that_is_away_is_asked_when_it_is_back(machine):
    kill_while_it_is_made(machine, "after")
    machine.host.stop()
    assert machine.recover().code == TRY_AGAIN
    assert [row["status"] for row in machine.mounts()] == ["unmounting"]
    machine.host.start()
    assert machine.recover().code == 0
    assert (machine.mounts(), machine.leftovers(), entry(machine)["status"]) == ([], [], "made")


def test_what_the_driver_refuses_by_then_is_no_hindrance(machine):
    kill_while_it_is_made(machine, "before")
    machine.host.driver.next("CreateVolume", Fail("RESOURCE_EXHAUSTED"))
    assert machine.recover().code == 0
    assert (machine.mounts(), machine.leftovers()) == ([], [])
    assert machine.csi("mount").code == 0, "the request that was meant is still known"
    assert machine.csi("unmount").code == 0


@needs_strace
def test_a_request_that_was_never_sent_leaves_nothing(machine):
    home = machine.state / "mounts" / ".csi" / machine.host.driver.settings.name / "v"
    inject = ["-e", "trace=fsync", "-e", "inject=fsync:error=ENOSPC:when=1", "-P", home]
    line = ["strace", "-f", "-qqq", "-o", "/dev/null", *inject, machine.command, "mount", *flags("v", "csi"), SIZE]
    done = subprocess.run(line, env=machine.env, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, "No space left" in done.stderr) == (6, True), done
    assert machine.host.driver.counts()["CreateVolume"] == 0
    assert (entry(machine), home.exists(), machine.leftovers()) == (None, False, [])
