"""The steps of a CSI volume after a crash: what is attached is detached, and nothing before that is proven."""

from __future__ import annotations

import os
import subprocess

import pytest

from dvdcli.linux import mountinfo
from tests.csi import FAILURE, IN_USE, TRY_AGAIN, refused
from tests.doubles.csi import Answer, Fail, Hang
from tests.gate import flags

pytestmark = pytest.mark.root
SIZE = "--volumeopts=size=16M"


@pytest.fixture
def machine(cluster):
    return cluster.machine()


def test_a_host_that_gets_another_id_is_detached_by_the_one_it_had(cluster, machine, driver):
    """As when its name was changed while it was down."""
    renamed = cluster.machine("b").host.id
    assert machine.csi("mount", "v", SIZE).code == 0
    machine.host.boot()
    machine.reboot()
    driver.control.always["NodeGetInfo"] = Answer(node_id=renamed)
    driver.next("NodeStageVolume", Fail("INTERNAL"))  # the double's node has nothing that its other one was given
    assert machine.csi("mount").code == FAILURE
    attached = [call["request"]["node_id"] for call in driver.calls if call["rpc"] == "ControllerPublishVolume"]
    assert attached[1] == renamed
    assert driver.named("v").published == {}
    assert machine.leftovers() == []


def test_the_device_of_a_mount_that_was_killed_is_free_before_it_is_detached(machine, driver):
    assert machine.csi("create", "v", SIZE).code == 0
    processes, opened = [], []

    def act(rpc, moment):
        if (rpc, moment) == ("NodePublishVolume", "after"):
            processes[0].kill()
        if (rpc, moment) == ("NodeUnstageVolume", "unmounted") and len(opened) == 1:
            opened.append(os.open(device.source, os.O_RDONLY | os.O_EXCL))

    driver.before = act
    processes.append(machine.start("mount", *flags("v", "csi")))
    machine.finish(processes[0])
    driver.wait_idle()
    device = mountinfo.at(str(machine.place), mountinfo.read())
    assert device.source.startswith("/dev/")
    opened.append(os.open(device.source, os.O_RDONLY))  # else it would be gone when it is unmounted
    done = machine.csi("unmount", "v", "--timeout=3")
    assert (done.code in (IN_USE, TRY_AGAIN), device.source in done.err) == (True, True), done
    assert len(opened) == 2
    assert "ControllerUnpublishVolume" not in driver.names()
    for descriptor in opened:
        os.close(descriptor)
    machine.age()
    assert machine.recover().code == 0
    assert (driver.used_on("a"), machine.leftovers()) == ([], [])


def test_a_step_that_nobody_heard_of_counts_though_a_later_call_was_refused(machine, driver):
    assert machine.csi("create", "v", SIZE).code == 0
    driver.next("NodePublishVolume", Hang(act=True))
    refused(machine.csi("mount", "v", "--timeout=3"), TRY_AGAIN)
    driver.next("ControllerPublishVolume", Fail("PERMISSION_DENIED"))
    assert machine.csi("mount").code == FAILURE
    assert machine.record("v", "csi")["handle"]["unheard"] == "publishing"
    machine.age()
    assert machine.recover().code == 0
    assert (driver.used_on("a"), machine.leftovers()) == ([], [])


def test_who_uses_a_volume_whose_record_was_lost_is_not_taken_for_the_driver(machine, driver):
    assert machine.csi("mount", "v", SIZE).code == 0
    copy = machine.root / "copy"
    copy.mkdir()
    subprocess.run(["mount", "--bind", machine.place, copy], check=True)
    (machine.slot("v", "csi") / "record.json").write_text("{")
    assert machine.csi("mount", "v", "--hold=other").code == 0
    assert machine.record("v", "csi")["handle"]["own"] == []
    assert machine.csi("unmount", "v", "--hold=other").code == 0
    refused(machine.csi("unmount", "v", "--timeout=2"), IN_USE, str(copy))
    assert os.path.ismount(machine.place)
    subprocess.run(["umount", copy], check=True)
    assert machine.recover().code == 0
    assert driver.used_on("a") == []
