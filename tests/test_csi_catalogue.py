"""The directories of a CSI driver's volumes: none stays that nothing needs, wherever a call was killed."""

from __future__ import annotations

import subprocess

import pytest

from tests.csi import NOT_FOUND, Cluster, refused
from tests.gate import flags
from tests.walk import needs_strace

pytestmark = pytest.mark.root
STATE = 6


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


def traced(machine, verb, path, what):
    """Make a call for the volume with a fault *what* where it touches *path*; return its exit code."""
    line = ["strace", "-o", "/dev/null", "-P", str(path), f"-einject={what}", machine.command, verb, *flags("v", "csi")]
    return subprocess.run(line, env=machine.env, capture_output=True, check=False, timeout=60).returncode


@needs_strace
def test_a_remove_that_could_not_be_noted_is_none(machine, names):
    """What is on disk is not made durable: no later mount may delete the volume for its sake."""
    assert machine.csi("create", "v", "--volumeopts=size=16M").code == 0
    before = list(machine.host.driver.volumes)
    assert traced(machine, "remove", names / "v", "fsync:error=EIO:when=1") == STATE
    assert machine.csi("get").code == 0
    assert machine.csi("mount").code == 0
    assert list(machine.host.driver.volumes) == before
    assert machine.csi("unmount").code == machine.csi("remove").code == 0


@needs_strace
def test_a_directory_that_stays_is_not_forgotten(machine, names):
    """Where a volume has a staging directory it is half mounted, so remove refuses it."""
    assert machine.csi("mount", "v", "--volumeopts=size=16M").code == 0
    staging = names / "v" / "staging"
    assert traced(machine, "unmount", staging, "rmdir:error=EIO") == STATE
    assert staging.exists()
    done = machine.recover()
    assert (done.code, "csi/v: unmounted" in done.out, staging.exists()) == (0, True, False)
    assert machine.csi("remove").code == 0
    assert machine.leftovers() == []
