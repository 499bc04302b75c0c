"""SIGKILL, ENOSPC and EIO at the system calls of calls on block devices, and SIGKILL in mkfs, mount and their like.

For every provider of tests/worlds.py by the same code. CI kills before a sample of the calls that change something,
since killed anywhere between two of those a call leaves the same; DVDCLI_CRASH_WALK=whole (`make crash-walk`) before
each that touches a file, a socket, a process, a mount or a device, once the state is first touched.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests import walk as walking
from tests.conftest import COMMAND
from tests.walk import FAILING, WHOLE, Point, Strike
from tests.worlds import WORLDS, close_after_failure

SCENES = ["first mount", "mount", "unmount", "recover"]
SHARDS = 16 if WHOLE else 2
# In CI: for each provider and scene, and for each program that it runs.
KILLED, STRUCK, FAILED = 10, 4, 3
# The programs that each scene runs, besides those of the storage system itself.
CHILDREN = {
    "first mount": {"blkid", "mkfs.ext4", "mount"},
    "mount": {"blkid", "e2fsck", "mount", "resize2fs"},
    "unmount": {"umount"},
    "recover": set(),
}

pytestmark = [walking.needs_strace, pytest.mark.root]


class Walk:
    """One world for one point of the walk: made ready, hit in the middle of a call, looked at afterwards."""

    def __init__(self, world: str, scene: str) -> None:
        self.world = WORLDS[world](COMMAND)
        self.home = self.world.home
        self.request = Path(os.devnull)
        self.scene = scene
        self.verb = {"first mount": "mount"}.get(scene, scene)
        options = self.world.options if scene == "first mount" else ()
        self.args = (self.verb, *self.world.arguments(), *options) if self.verb != "recover" else ("recover",)
        self.files = []
        self.seed = ""
        if scene != "first mount":
            self.write("before", self.world.mount("v", *self.world.options))
            self.seed = self.world.seed()
        if scene == "mount":
            assert self.world.call("unmount").code == 0
        if scene == "recover":
            self.world.reboot()

    def write(self, name: str, place: Path) -> None:
        with (place / name).open("w") as file:
            file.write(name)
            os.fsync(file.fileno())
        self.files.append(name)

    def look(self) -> None:
        """After the hit: what is mounted or complete now is never made anew."""
        self.world.settle()
        self.world.wait_for_children()
        for place in self.world.mounts():
            self.write("meanwhile", Path(place))
        self.seed = self.seed or self.world.seed()

    def check_data(self, place: Path) -> None:
        assert os.path.ismount(place)
        assert {name: (place / name).read_text() for name in self.files} == {name: name for name in self.files}
        assert self.seed in ("", self.world.seed()), "a second file system was made"

    def check(self, held: bool | None) -> None:
        """Everything agrees, and what was written is there, now or at the next mount; then nothing is left."""
        names = self.world.check_agreement()
        if held is not None:
            assert names == (["v"] if held else [])
        if not names:
            more = ["--explicitcreate"] if self.world.volumes() else self.world.options
            self.world.mount("v", *more)
        place = Path(str(self.world.slots()["v"]["mountpoint"]))
        self.check_data(place)
        assert self.world.volumes() == ["v"]
        done = self.world.call("unmount")
        assert done.code == 0, done
        assert self.world.check_agreement() == []

    def finish(self, hit: subprocess.CompletedProcess[bytes], point: Point | Strike, then: str) -> None:
        """Make the same call again, or recover; all is right then, and whatever goes wrong says where it was hit."""
        where = f"{self.scene}, {then}, at {point}: exit {hit.returncode}, {hit.stderr!r}, {self.world.told()}"
        try:
            self.look()
            done = walking.again(self) if then == "the same call" else self.home.recover()
            assert done.code == 0, done
            last = self.home.recover()
            assert (last.code, last.out) == (0, ""), last
            held = self.verb == "mount" if then == "the same call" else None
            self.check(held)
            self.world.close()
        except BaseException as error:
            close_after_failure(self.world)
            raise AssertionError(where) from error


def walks(world: str, scene: str) -> list[Point]:
    walk = Walk(world, scene)
    found = walking.points(walk, walking.touches if WHOLE else walking.changes)
    walk.world.close()
    assert len(found) > 10, "the walk must have somewhere to go"
    return found


def turn(index: int) -> list[str]:
    """Return what follows the kill at the *index*th point: both, or in CI one and then the other."""
    both = ["the same call", "recover"]
    return both if WHOLE else both[index % 2 :][:1]


@pytest.mark.parametrize("shard", range(SHARDS))
@pytest.mark.parametrize("scene", SCENES)
@pytest.mark.parametrize("world", WORLDS)
def test_killed_before_a_call_that_changes_something(world, scene, shard):
    chosen = walking.sample(walks(world, scene), KILLED)
    for index, point in list(enumerate(chosen))[shard::SHARDS]:
        for then in turn(index // SHARDS):
            walk = Walk(world, scene)
            walk.finish(walking.kill(walk, point), point, then)


@pytest.mark.parametrize("shard", range(SHARDS))
@pytest.mark.parametrize("scene", SCENES)
@pytest.mark.parametrize("world", WORLDS)
def test_killed_in_a_child_or_its_child_killed(world, scene, shard):
    walk = Walk(world, scene)
    everything = walking.strikes(walk, walking.touches if WHOLE else walking.changes)
    walk.world.close()
    attachers = walk.world.attachers if "mount" in scene.split() else set()
    programs = sorted({strike.program for strike in everything})
    assert programs == sorted(CHILDREN[scene] | attachers)
    chosen = []
    for program in programs:
        chosen += walking.sample([strike for strike in everything if strike.program == program], STRUCK)
    for index, strike in list(enumerate(chosen))[shard::SHARDS]:
        for then in turn(index // SHARDS):
            walk = Walk(world, scene)
            walk.finish(walking.kill(walk, strike), strike, then)


@pytest.mark.parametrize("fault", ["ENOSPC", "EIO"])
@pytest.mark.parametrize("scene", SCENES)
@pytest.mark.parametrize("world", WORLDS)
def test_a_write_rename_or_fsync_fails(world, scene, fault):
    walk = Walk(world, scene)
    everything = walking.points(walk, lambda name, line: name in FAILING)
    walk.world.close()
    assert bool(everything) == (scene != "unmount"), "letting go needs no space"
    for index, point in enumerate(walking.sample(everything, FAILED, offset=fault == "EIO")):
        walk = Walk(world, scene)
        hit = walking.inject(walk, point, f"error={fault}")
        assert hit.returncode in (0, 1, 5, 6), (point, hit)
        assert walk.verb != "mount" or bool(hit.stdout) == (hit.returncode == 0), (point, hit)
        walk.finish(hit, point, turn(index)[0])
