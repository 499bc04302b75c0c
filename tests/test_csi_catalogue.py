"""The directories of a CSI driver's volumes: none stays that nothing needs, wherever a call was killed."""

from __future__ import annotations

import pytest

from tests.csi import NOT_FOUND, Cluster, refused

pytestmark = pytest.mark.root


@pytest.fixture
def machine(command):
    cluster = Cluster(command, instant=True)
    yield cluster.machine()
    cluster.close()


@pytest.fixture
def names(machine):
    """Where the driver's volumes have a directory each."""
    return machine.state / "mounts" / ".csi" / "double.csi.example.com"


def test_a_volume_that_is_removed_leaves_no_directory(machine, names):
    assert machine.csi("mount").code == 0
    assert sorted(path.name for path in (names / "v").iterdir()) == ["staging", "volume.json"]
    assert machine.csi("unmount").code == 0
    assert [path.name for path in (names / "v").iterdir()] == ["volume.json"]
    assert machine.csi("remove").code == 0
    assert list(names.iterdir()) == []


@pytest.mark.parametrize("left", [[], ["volume.json.new"]], ids=["nothing in it", "a half written entry"])
def test_what_a_killed_create_or_remove_left_goes_with_the_next_remove(machine, names, left):
    assert machine.csi("create", "w").code == 0
    (names / "v").mkdir()
    for name in left:
        (names / "v" / name).write_text("{")
    refused(machine.csi("remove"), NOT_FOUND, "no volume csi/v")
    assert [path.name for path in names.iterdir()] == ["w"]


def test_what_was_staged_is_no_leftover(machine, names):
    """A mount that was killed between its intent and the driver's answer, of a volume whose entry is lost since."""
    assert machine.csi("mount").code == 0
    (names / "v" / "volume.json").unlink()
    assert machine.csi("unmount").code == 0
    assert list(names.iterdir()) == []
    assert machine.host.driver.used_on("a") == []


def test_a_directory_with_something_of_anybodys_in_it_stays(machine, names):
    assert machine.csi("create").code == 0
    (names / "v" / "note").write_text("kept")
    assert machine.csi("remove").code == 0
    assert (names / "v" / "note").read_text() == "kept"
