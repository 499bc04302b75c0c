"""CSI drivers as real ones are: they know any id, forget what they did when they are killed, clear away too much."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from dvdcli.linux import mountinfo
from tests.csi import FAILURE, IN_USE, NOT_FOUND, Cluster, done, refused
from tests.doubles.csi.control import Answer, Fail

pytestmark = pytest.mark.root
ECHOING = ("ControllerGetVolume", "ValidateVolumeCapabilities")


@pytest.fixture
def cluster(command):
    cluster = Cluster(command, instant=True)
    yield cluster
    cluster.close()


@pytest.fixture
def machine(cluster):
    return cluster.machine()


def mounts_at(path):
    return [mount for mount in mountinfo.read() if mount.path == str(path)]


def stand_alone(path):
    """Keep what is mounted on *path* from the staged mount, and let its unmount reach other tests' mount namespaces."""
    for propagation in ("private", "shared"):
        subprocess.run(["mount", f"--make-{propagation}", path], check=True)


# Who knows any id


def test_a_new_name_is_no_volume_of_a_driver_that_knows_any_id(machine, driver):
    driver.change(echoes=ECHOING)
    refused(machine.csi("mount", "v", "--explicitcreate"), NOT_FOUND, "no volume csi/v")
    done(machine.csi("mount"), f"{machine.place}\n")
    assert driver.counts()["CreateVolume"] == 1
    done(machine.csi("unmount"))
    done(machine.csi("remove", "v", "--yes"))
    refused(machine.csi("get"), NOT_FOUND, "no volume csi/v")


def test_without_a_list_an_id_is_no_name(machine, driver):
    theirs = driver.volume("theirs")
    driver.change(contexts=False, controller=("CREATE_DELETE_VOLUME", "GET_VOLUME"))
    refused(machine.csi("mount", theirs.id, "--explicitcreate"), NOT_FOUND, theirs.id)
    done(machine.csi("create"))
    done(machine.csi("remove", "v", "--yes"))


def test_who_cannot_validate_is_asked_for_the_volume_itself(machine, driver):
    done(machine.csi("create"))
    driver.control.always["ValidateVolumeCapabilities"] = Fail("UNIMPLEMENTED")
    done(machine.csi("get"), "v\n")
    assert driver.counts()["ControllerGetVolume"] == 1
    driver.next("ControllerGetVolume", Fail("NOT_FOUND"))
    refused(machine.csi("get"), NOT_FOUND, "no volume")
    abnormal = {"status": {"volume_condition": {"abnormal": True, "message": "never heard of it"}}}
    driver.next("ControllerGetVolume", Answer(**abnormal))
    done(machine.csi("get"), "v\n")


def test_an_id_that_the_driver_does_not_take_is_not_taken_for_gone(machine, driver):
    done(machine.csi("create"))
    driver.next("ValidateVolumeCapabilities", Fail("INVALID_ARGUMENT", "what is that?"))
    told = machine.csi("mount")
    assert (told.code, "what is that?" in told.err) == (2, True)
    assert driver.counts()["CreateVolume"] == 1, "no other volume is made in its place"


# Who forgets


def test_what_a_driver_has_forgotten_is_unmounted_by_us_and_said(machine, driver):
    driver.change(forgets=True)
    path = Path(machine.csi("mount").out.strip())
    (path / "file").write_text("kept")
    machine.host.restart()
    told = machine.csi("unmount")
    assert (told.code, told.out) == (0, ""), told
    assert "its driver did not know" in told.err
    assert mounts_at(path) == []
    assert machine.leftovers() == []
    done(machine.csi("mount"), f"{path}\n")
    assert (path / "file").read_text() == "kept"
    done(machine.csi("unmount"))


def test_what_is_forgotten_and_in_use_stays(machine, driver):
    driver.change(forgets=True)
    path = Path(machine.csi("mount").out.strip())
    machine.host.restart()
    user = subprocess.Popen(["sleep", "60"], cwd=path)
    try:
        refused(machine.csi("unmount", "v", "--timeout=2"), IN_USE, f"pid {user.pid}")
        assert len(mounts_at(path)) == 1
    finally:
        user.kill()
        user.wait()
    assert machine.recover().code == 0
    assert mounts_at(path) == []


def test_what_is_not_ours_is_not_unmounted(machine, driver):
    path = Path(machine.csi("mount").out.strip())
    stand_alone(path)
    subprocess.run(["mount", "-t", "tmpfs", "other", path], check=True)
    try:
        refused(machine.csi("unmount"), FAILURE, "other is mounted at", "by hand")
        assert [mount.source for mount in mounts_at(path)][-1] == "other"
        assert "NodeUnpublishVolume" not in driver.names()
    finally:
        subprocess.run(["umount", path], check=True)
    assert machine.recover().code == 0


# Who clears away too much


def test_a_driver_that_deletes_what_it_finds_under_a_mount_is_given_one_mount_alone(machine, driver):
    driver.change(reckless=True)
    path = Path(machine.csi("mount").out.strip())
    (path / "file").write_text("kept")
    stand_alone(path)
    subprocess.run(["mount", "--bind", path, path], check=True)  # as a driver that forgot would publish it again
    assert len(mounts_at(path)) == 2
    told = machine.csi("unmount")
    assert (told.code, told.out) == (0, ""), told
    done(machine.csi("mount"), f"{path}\n")
    assert (path / "file").read_text() == "kept"
    done(machine.csi("unmount"))
