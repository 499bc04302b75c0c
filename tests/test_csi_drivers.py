"""CSI drivers of many kinds, well-behaved ones and others, through whole calls of dvdcli against the strict double."""

from __future__ import annotations

import os
import stat
import subprocess

import pytest

from dvdcli.linux import mountinfo
from tests.csi import FAILURE, IN_USE, NOT_FOUND, PLAIN, TRY_AGAIN, refused
from tests.doubles.csi import CONTROLLER, NODE, Answer, Fail, Hang, Slow

pytestmark = pytest.mark.root
SIZE = "--volumeopts=size=16M"


@pytest.fixture
def machine(cluster):
    return cluster.machine()


def like(**options):
    """Run a test with another driver than the one that can do all."""
    return pytest.mark.parametrize("cluster", [options], indirect=True, ids=[""])


def without(*names):
    return {"controller": tuple(each for each in CONTROLLER if each not in names),
            "node": tuple(each for each in NODE if each not in names)}  # fmt: skip


def nothing_left(machine):
    assert machine.leftovers() == []
    assert machine.host.driver.used_on("a") == []
    assert not os.path.lexists(machine.place)
    below = [mount.path for mount in mountinfo.read() if mount.path.startswith(f"{machine.root}/")]
    assert below == []


# What a driver can, and what not

KINDS = {
    "all, the controller apart": {"apart": True},
    "publishes only": PLAIN,
    "does not attach": without("PUBLISH_UNPUBLISH_VOLUME", "LIST_VOLUMES_PUBLISHED_NODES"),
    "does not stage": without("STAGE_UNSTAGE_VOLUME"),
    "tells nothing": without("LIST_VOLUMES", "LIST_VOLUMES_PUBLISHED_NODES", "GET_VOLUME", "GET_CAPACITY",
                             "GET_VOLUME_STATS"),
    "has no contexts": {"contexts": False},
    "has capabilities that nobody knows": {"controller": (*CONTROLLER, 99), "node": (*NODE, 98)},
    "is silent on whether it is ready": {"ready": "silent"},
    "knows every volume": {"echoes": ("ControllerGetVolume", "ValidateVolumeCapabilities")},
    "lists one a page": {"page": 1},
}  # fmt: skip


@pytest.mark.parametrize("cluster", KINDS.values(), ids=KINDS, indirect=True)
def test_each_kind_of_driver(machine, driver):
    assert machine.csi("mount", "v", SIZE).code == 0
    (machine.place / "file").write_text("kept")
    assert machine.csi("mount", "w", SIZE).code == 0
    names = machine.run("list", "--volumedriver=csi").out
    assert ("v" in names, "w" in names) == (True, True)
    assert machine.csi("unmount").code == 0
    assert machine.csi("mount", "v", "--explicitcreate").code == 0
    assert (machine.place / "file").read_text() == "kept"
    for verb, name in (("unmount", "v"), ("unmount", "w"), ("remove", "v"), ("remove", "w")):
        done = machine.csi(verb, name)
        assert done.code == 0, done
    nothing_left(machine)
    assert driver.volumes == {}


@like(plugin=(), node=NODE, expansion="")
def test_a_driver_without_a_controller_takes_volumes_that_are_there(machine, driver):
    volume = driver.volume("made elsewhere", context={})
    driver.change(controller=())
    done = machine.csi("mount", "v", f"--volumeopts=volumeID={volume.id}")
    assert done.code == 0, done
    assert os.path.ismount(machine.place)
    assert machine.csi("unmount").code == 0
    nothing_left(machine)


def test_a_volume_that_was_made_elsewhere_by_its_id(machine, driver):
    volume = driver.volume("made elsewhere", context={"lun": "7"})
    machine.configure(task_options=["volumeID", "context.lun"])
    options = [f"--volumeopts=volumeID={volume.id}", "--volumeopts=context.lun=7"]
    assert machine.csi("mount", "v", *options).code == 0
    assert driver.counts()["CreateVolume"] == 0
    assert machine.csi("unmount").code == 0
    assert [each.name for each in driver.volumes.values()] == ["made elsewhere"]


def test_read_only(machine, driver):
    assert machine.csi("mount", "v", SIZE).code == 0
    (machine.place / "file").write_text("kept")
    assert machine.csi("unmount").code == 0
    for controller in (CONTROLLER, without("PUBLISH_READONLY")["controller"]):
        driver.change(controller=controller)
        assert machine.csi("mount", "v", "--volumeopts=mountopts=ro").code == 0
        assert (machine.place / "file").read_text() == "kept"
        with pytest.raises(OSError, match="Read-only"):
            (machine.place / "file").write_text("")
        assert machine.csi("unmount").code == 0
    nothing_left(machine)


def test_a_block_device(machine, driver):
    assert machine.csi("mount", "v", SIZE, "--volumeopts=access=block").code == 0
    assert stat.S_ISBLK(os.stat(machine.place).st_mode)
    with machine.place.open("r+b") as file:
        file.write(b"x" * 512)
        os.fsync(file.fileno())
    driver.restart()
    assert machine.csi("unmount").code == 0
    assert driver.image("v").read_bytes()[:512] == b"x" * 512
    nothing_left(machine)


# Secrets, parameters, topology


@like(secrets={"CreateVolume": {"maker": "key of Ali"}, "NodeStageVolume": {"stager": "key of Bo"}})
def test_secrets_are_where_they_must_be_and_nowhere_else(machine, driver):
    refused(machine.csi("mount", "v", SIZE), FAILURE, "secrets")
    machine.secrets(CreateVolume={"maker": "key of Cy"})
    refused(machine.csi("mount", "v", SIZE), FAILURE, "secrets")
    machine.secrets(CreateVolume={"maker": "key of Ali"}, NodeStageVolume={"stager": "key of Bo"})
    driver.next("NodePublishVolume", Fail("INTERNAL", "with key of Bo"))
    machine.csi("create", "v", SIZE)
    line = refused_line(machine.csi("mount", "v", SIZE, "-v"))
    assert "key of" not in line
    done = machine.csi("mount", "v", SIZE, "-v")
    assert (done.code, "key of" in done.err) == (0, False)
    texts = [path.read_text() for path in machine.state.rglob("*.json")]
    assert texts
    assert [text for text in texts if "key of" in text] == []
    assert machine.csi("unmount").code == 0


def refused_line(done):
    assert done.code != 0
    return done.err


def test_parameters(machine, driver):
    machine.configure(parameters={"type": "fast"})
    assert machine.csi("create", "v", SIZE, "--volumeopts=parameter.replicas=2").code == 0
    assert driver.named("v").parameters == {"type": "fast", "replicas": "2"}
    refused(machine.csi("create", "w", SIZE, "--volumeopts=parameter.colour=red"), 2, "colour")
    assert machine.csi("remove").code == 0


EAST, WEST = {"example.com/zone": "east"}, {"example.com/zone": "west"}
CONSTRAINED = {"plugin": ("CONTROLLER_SERVICE", "VOLUME_ACCESSIBILITY_CONSTRAINTS"), "zones": (WEST, EAST)}


@like(places={"a": EAST}, **CONSTRAINED)
def test_topology(machine, driver):
    assert machine.csi("mount", "v", SIZE).code == 0
    assert driver.named("v").topology == [EAST]
    assert machine.csi("unmount").code == 0
    driver.change(zones=(WEST,))
    refused(machine.csi("mount", "w", SIZE), FAILURE, "room", "east")
    nothing_left(machine)


@like(places={"a": EAST}, **CONSTRAINED)
def test_a_volume_that_this_node_does_not_reach(machine, driver):
    machine.configure(topology=WEST)
    assert machine.csi("create", "v", SIZE).code == 0
    refused(machine.csi("mount", "v"), FAILURE, "west", "east")
    assert driver.counts()["ControllerPublishVolume"] == 0
    nothing_left(machine)


# In use elsewhere


@like(apart=True)
def test_a_volume_in_use_elsewhere(cluster, machine):
    other = cluster.machine("b")
    assert other.csi("mount", "v", SIZE).code == 0
    refused(machine.csi("mount", "v", SIZE), IN_USE, other.host.id)
    nothing_left(machine)
    assert other.csi("unmount").code == 0
    assert machine.csi("mount", "v", SIZE).code == 0
    assert machine.csi("unmount").code == 0


@like(most_volumes=1)
def test_as_many_volumes_as_a_node_can_have(machine):
    assert machine.csi("mount", "v", SIZE).code == 0
    refused(machine.csi("mount", "w", SIZE), FAILURE, "as many volumes")
    assert machine.csi("unmount", "w").code == 0
    assert machine.csi("unmount").code == 0
    assert machine.csi("mount", "w", SIZE).code == 0
    assert machine.csi("unmount", "w").code == 0
    nothing_left(machine)


# Slow, busy, silent


def test_another_operation_is_waited_for(machine, driver):
    driver.next("NodeStageVolume", *[Fail("ABORTED", "an operation is pending")] * 3)
    assert machine.csi("mount", "v", SIZE).code == 0
    assert driver.counts()["NodeStageVolume"] == 4
    assert machine.csi("unmount").code == 0


def test_what_takes_longer_than_a_call_is_finished_by_the_next(machine, driver):
    assert machine.csi("create", "v", SIZE).code == 0
    driver.next("NodeStageVolume", Slow(4))
    refused(machine.csi("mount", "v", "--timeout=3"), TRY_AGAIN)
    assert machine.csi("mount", "v").code == 0
    assert driver.counts()["NodeStageVolume"] > 1
    assert machine.csi("unmount").code == 0
    nothing_left(machine)


@pytest.mark.parametrize("act", [False, True])
def test_an_answer_that_never_comes(machine, driver, act):
    assert machine.csi("create", "v", SIZE).code == 0
    driver.next("ControllerPublishVolume", Hang(act=act))
    refused(machine.csi("mount", "v", "--timeout=3"), TRY_AGAIN)
    assert machine.csi("unmount").code == 0
    assert driver.used_on("a") == []  # but on record it stays for a while: nobody knows when the driver gave it up
    assert machine.csi("mount", "v").code == 0
    assert machine.csi("unmount").code == 0
    nothing_left(machine)


@like(ready="no")
def test_a_driver_that_is_not_ready_yet_is_no_reason_to_refuse(machine, driver):
    """What it says of itself says nothing of a call, which it would refuse itself."""
    assert machine.csi("mount", "v", SIZE).code == 0
    assert machine.csi("unmount").code == 0


# Worse than they should be


def test_a_driver_that_says_that_it_has_published_and_has_not(machine, driver):
    driver.next("NodePublishVolume", Answer())
    refused(machine.csi("mount", "v", SIZE), FAILURE, "nothing is mounted")
    nothing_left(machine)


def test_a_driver_that_says_that_it_has_unpublished_and_has_not(cluster, machine, driver):
    """It is unmounted for the driver, which is asked again until it knows that too."""
    assert machine.csi("mount", "v", SIZE).code == 0
    (machine.place / "file").write_text("kept")
    driver.next("NodeUnpublishVolume", Answer())
    done = machine.csi("unmount")
    assert (done.code, "its driver did not know" in done.err, "still published" in done.err) == (FAILURE, True, True)
    assert not os.path.ismount(machine.place)
    cluster.expected += driver.faults
    assert len(cluster.expected) == 1
    assert machine.csi("unmount").code == 0
    nothing_left(machine)
    assert machine.csi("mount", "v").code == 0
    assert (machine.place / "file").read_text() == "kept"
    assert machine.csi("unmount").code == 0


def test_a_driver_that_says_that_it_has_unpublished_what_is_in_use(machine, driver):
    """Nothing is taken from under who uses it: the driver is not even asked."""
    assert machine.csi("mount", "v", SIZE).code == 0
    driver.next("NodeUnpublishVolume", Answer())
    with (machine.place / "file").open("w"):
        refused(machine.csi("unmount", "v", "--timeout=8"), IN_USE, "in use")
        assert os.path.ismount(machine.place)
        assert "NodeUnpublishVolume" not in driver.names()
    driver.replies.clear()
    assert machine.csi("unmount").code == 0
    nothing_left(machine)


def test_a_driver_that_knows_no_node(machine, driver):
    driver.next("NodeGetInfo", Answer())
    refused(machine.csi("mount", "v", SIZE), FAILURE, "which node")
    nothing_left(machine)


def test_a_driver_that_gives_no_id(machine, driver):
    driver.next("CreateVolume", Answer())
    refused(machine.csi("mount", "v", SIZE), FAILURE, "no id")
    nothing_left(machine)


@like(forgets=True)
def test_a_driver_that_forgets_what_it_has_published(machine):
    assert machine.csi("mount", "v", SIZE).code == 0
    (machine.place / "file").write_text("kept")
    machine.host.restart()
    done = machine.csi("unmount")
    assert done.code == 0, done
    nothing_left(machine)
    assert machine.csi("mount", "v").code == 0
    assert (machine.place / "file").read_text() == "kept"
    assert machine.csi("unmount").code == 0


@pytest.mark.parametrize("cluster", [{"deaf": True}, {"deaf": True, **PLAIN}], indirect=True, ids=["staged", "plain"])
def test_a_driver_that_does_not_hear_of_read_only(machine):
    """The mount that tasks get is a read-only one all the same, with the flags that it has."""
    assert machine.csi("mount", "v", SIZE).code == 0
    (machine.place / "file").write_text("kept")
    assert machine.csi("unmount").code == 0
    done = machine.csi("mount", "v", "--volumeopts=mountopts=ro,nosuid")
    assert done.code == 0, done
    there = mountinfo.at(str(machine.place), mountinfo.read())
    assert {"ro", "nosuid"} <= set(there.options.split(","))
    with pytest.raises(OSError, match="Read-only file system"):
        (machine.place / "file").write_text("new")
    assert (machine.place / "file").read_text() == "kept"
    assert machine.csi("unmount").code == 0
    nothing_left(machine)


def test_what_a_driver_never_makes_is_removed_by_making_it_otherwise(machine, driver):
    """Nobody knows whether there is a volume: the driver gives an error that leaves it open."""
    broken = Fail("UNKNOWN", "Exception calling application")
    driver.next("CreateVolume", broken, broken)
    refused(machine.csi("create", "v", SIZE), FAILURE, "UNKNOWN")
    refused(machine.csi("remove"), FAILURE, "UNKNOWN", "with other options")
    assert machine.csi("create", "v", "--volumeopts=size=20M").code == 0
    assert machine.csi("remove").code == 0
    assert driver.volumes == {}
    assert machine.leftovers() == []


@like(reckless=True)
def test_what_somebody_mounted_over_a_volume_is_not_removed_with_it(machine):
    assert machine.csi("mount", "v", SIZE).code == 0
    (machine.place / "file").write_text("kept")
    subprocess.run(["mount", "--bind", machine.place, machine.place], check=True)
    done = machine.csi("unmount")
    if done.code:
        assert (machine.place / "file").read_text() == "kept"
        subprocess.run(["umount", machine.place], check=True)
        assert machine.csi("unmount").code == 0
    nothing_left(machine)
    assert machine.csi("mount", "v").code == 0
    assert (machine.place / "file").read_text() == "kept"
    assert machine.csi("unmount").code == 0


def test_a_volume_that_was_deleted_elsewhere(machine, driver):
    assert machine.csi("create", "v", SIZE).code == 0
    with driver.books.change() as book:
        book.volumes.clear()
    refused(machine.csi("mount", "v", "--explicitcreate"), NOT_FOUND, "v")
    nothing_left(machine)
    assert machine.csi("mount", "v", SIZE).code == 0
    assert machine.csi("unmount").code == 0
