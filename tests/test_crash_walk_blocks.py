"""SIGKILL, ENOSPC and EIO at the system calls of calls on block devices, and SIGKILL in mkfs, mount and their like.

For every provider of tests/worlds.py by the same code. CI kills before a sample of the calls that change something,
since killed anywhere between two of those a call leaves the same; DVDCLI_CRASH_WALK=whole (`make crash-walk`) before
each that touches a file, a socket, a process, a mount or a device, once the state is first touched.
"""

from __future__ import annotations

import pytest

from tests import walk as walking
from tests.scenes import THENS, Scene
from tests.walk import FAILING, WHOLE, Point
from tests.worlds import WORLDS

SCENES = ["first mount", "mount", "unmount", "recover"]
SHARDS = 16 if WHOLE else 2
# In CI: for each provider and scene, and for each program that it runs.
KILLED, STRUCK, FAILED = 10, 4, 3
# The programs that each scene runs, besides those of the storage system itself.
CHILDREN = {
    "first mount": {"blkid", "mkfs.ext4", "mount"},
    "mount": {"blkid", "mount", "resize2fs"},
    "unmount": {"umount"},
    "recover": set(),
}

pytestmark = [walking.needs_strace, pytest.mark.root]


def walks(world: str, scene: str) -> list[Point]:
    walk = Scene(world, scene)
    found = walking.points(walk, walking.touches if WHOLE else walking.changes)
    walk.world.close()
    assert len(found) > 10, "the walk must have somewhere to go"
    return found


def turn(index: int) -> list[str]:
    """Return what follows the kill at the *index*th point: both, or in CI one and then the other."""
    return THENS if WHOLE else THENS[index % 2 :][:1]


@pytest.mark.parametrize("shard", range(SHARDS))
@pytest.mark.parametrize("scene", SCENES)
@pytest.mark.parametrize("world", WORLDS)
def test_killed_before_a_call_that_changes_something(world, scene, shard):
    chosen = walking.sample(walks(world, scene), KILLED)
    for index, point in list(enumerate(chosen))[shard::SHARDS]:
        for then in turn(index // SHARDS):
            walk = Scene(world, scene)
            walk.finish(walking.kill(walk, point), point, then)


@pytest.mark.parametrize("shard", range(SHARDS))
@pytest.mark.parametrize("scene", SCENES)
@pytest.mark.parametrize("world", [name for name, world in WORLDS.items() if world.mounts_itself])
def test_killed_in_a_child_or_its_child_killed(world, scene, shard):
    walk = Scene(world, scene)
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
            walk = Scene(world, scene)
            walk.finish(walking.kill(walk, strike), strike, then)


@pytest.mark.parametrize("fault", ["ENOSPC", "EIO"])
@pytest.mark.parametrize("scene", SCENES)
@pytest.mark.parametrize("world", WORLDS)
def test_a_write_rename_or_fsync_fails(world, scene, fault):
    walk = Scene(world, scene)
    everything = walking.points(walk, lambda name, line: name in FAILING)
    walk.world.close()
    assert everything
    for index, point in enumerate(walking.sample(everything, FAILED, offset=fault == "EIO")):
        walk = Scene(world, scene)
        hit = walking.inject(walk, point, f"error={fault}")
        assert hit.returncode in ((0,) if scene == "unmount" else (0, 1, 5, 6)), "letting go needs no space"
        assert walk.verb != "mount" or bool(hit.stdout) == (hit.returncode == 0), (point, hit)
        walk.finish(hit, point, turn(index)[0])
