"""A CSI driver that is killed at a moment of a call, and started again: the call goes on, or the next one finishes it.

The moments are those of the strict double, in the middle of its work too. DVDCLI_CRASH_WALK=changes takes all of them.
"""

from __future__ import annotations

import os

import pytest

from tests.csi import TRY_AGAIN, Cluster
from tests.doubles.csi import Die
from tests.walk import sample

pytestmark = pytest.mark.root
SIZE = "--volumeopts=size=16M"
MOMENTS = [
    (rpc, moment)
    for rpc, steps in {
        "CreateVolume": ["made"],
        "ControllerPublishVolume": ["published"],
        "NodeStageVolume": ["attached", "formatted", "mounted", "staged"],
        "NodePublishVolume": ["target made", "bound", "published"],
        "NodeUnpublishVolume": ["unmounted", "target removed", "unpublished"],
        "NodeUnstageVolume": ["unmounted", "unstaged"],
        "ControllerUnpublishVolume": ["unpublished"],
    }.items()
    for moment in ["before", *steps, "after"]
]


@pytest.mark.parametrize(("rpc", "moment"), sample(MOMENTS, 10))
def test_a_driver_that_is_killed_and_started_again(command, rpc, moment):
    cluster = Cluster(command, supervised=True)
    machine, driver = cluster.machine(), cluster.driver
    driver.next(rpc, Die(moment))
    for verb in ("mount", "unmount"):
        first = machine.csi(verb, "v", *([SIZE] if verb == "mount" else []))
        assert first.code in (0, TRY_AGAIN), first
        again = machine.csi(verb, "v", *([SIZE] if verb == "mount" else []))
        assert again.code == 0, again
        assert os.path.ismount(machine.place) == (verb == "mount")
        if verb == "mount":
            (machine.place / "file").write_text("kept")
    assert driver.replies[rpc] == type(driver.replies[rpc])(), "it was never killed"
    assert (driver.used_on("a"), os.path.lexists(machine.place)) == ([], False)
    assert machine.csi("mount", "v", "--explicitcreate").code == 0
    assert (machine.place / "file").read_text() == "kept"
    assert machine.csi("unmount").code == 0
    assert machine.csi("remove").code == 0
    assert (driver.volumes, machine.leftovers()) == ({}, [])
    cluster.close()
