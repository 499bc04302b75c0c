"""SIGKILL, ENOSPC and EIO at every system call, from outside, with strace's inject; then the next call ends right.

CI walks over the calls that touch a file, a socket or a process once the state is first touched;
DVDCLI_CRASH_WALK=whole (`make crash-walk`) over every system call of the process, from its first to its last.
"""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path

import pytest

from tests import walk as walking
from tests.conftest import COMMAND, IS_ROOT, Done, Home
from tests.gate import flags
from tests.isolators import Isolator, variables
from tests.walk import FAILING, WHOLE, Point

TOUCHING = {"openat", "mkdir", "rename", "fsync", "unlink", "rmdir", "write", "sendto", "connect", "flock"}
SHARDS = 16 if WHOLE else 4

# An isolator's calls, on a container with one volume.
CONTAINERS = {
    "prepare": ("mount", "--isolator"), "cleanup": ("unmount", "--isolator"), "sweep": ("recover", "--isolator"),
}  # fmt: skip
SCENES = ["mount", "second mount", "unmount", "recover", *CONTAINERS]

pytestmark = walking.needs_strace


class Walk:
    """One home for one point of the walk: made ready, hit in the middle of a call, looked at afterwards."""

    def __init__(self, scene: str) -> None:
        self.home = Home(Path(tempfile.mkdtemp(prefix="dvd")), COMMAND)
        self.plugin = self.home.plugin(real=IS_ROOT)
        self.plugin.add("v")
        self.args = ("mount", *flags()) if scene in ("mount", "second mount") else (scene, *flags())
        if scene == "second mount":
            assert self.home.mount("v", "plug", "--hold=first").code == 0
        if scene in ("unmount", "recover"):
            assert self.home.mount().code == 0
        if scene == "recover":
            self.home.reboot()
            self.args = ("recover",)
        self.request = Path(os.devnull)
        self.isolator = Isolator(self.home)
        if scene in CONTAINERS:
            self.args = CONTAINERS[scene]
            request = self.isolator.request("c1", variables(NAME="v", DRIVER="plug"))
            if scene != "prepare":
                assert self.isolator.call("mount", request).code == 0
                request = self.isolator.envelope(container_id=["c1"], containers=[], orphans=[])
            self.request = self.home.root / "request.json"
            self.request.write_text(json.dumps(request))
        self.scene = scene

    def recover(self) -> Done:
        """Recover as whoever made the call would: an agent has its own way, and keeps its container if it was told."""
        if self.scene in CONTAINERS:
            assert self.isolator.recover() == []
        return self.home.recover()

    def check_agreement(self) -> None:
        """State, mount table and plugin say the same."""
        rows = self.home.mounts()
        assert {row["status"] for row in rows} <= {"mounted"}
        assert self.plugin.mounted() == [row["name"] for row in rows]
        volume = self.plugin.volumes["v"]
        assert volume.attached == bool(rows)
        if IS_ROOT and rows:
            assert os.path.ismount(volume.mountpoint)
        assert not list(self.home.state.glob("pending/*/*"))
        if not rows:
            assert self.home.leftovers() == []

    def close(self) -> None:
        if self.scene in CONTAINERS:
            assert self.isolator.cleanup("c1") == []
        self.home.unmount("v", "plug", "--hold=first")
        done = self.home.unmount()
        assert done.code == 0, (done, self.plugin.calls)
        assert self.plugin.mounted() == []
        assert not self.plugin.volumes["v"].attached
        assert self.home.leftovers() == []
        self.home.close()


def points(scene: str) -> list[Point]:
    """Return the system calls of one undisturbed run that the walk stops at."""
    walk = Walk(scene)
    found = walking.points(walk, lambda name, line: WHOLE or name in TOUCHING, WHOLE)
    walk.close()
    assert len(found) > 10, "the walk must have somewhere to go"
    return found


@pytest.mark.parametrize("shard", range(SHARDS))
@pytest.mark.parametrize("then", ["the same call", "recover"])
@pytest.mark.parametrize("scene", SCENES)
def test_killed_before_every_system_call(scene, then, shard):
    for point in points(scene)[shard::SHARDS]:
        walk = Walk(scene)
        hit = walking.kill(walk, point)
        walk.plugin.wait_idle()
        where = f"{scene}, {then}, killed at {point}: exit {hit.returncode}, {walk.plugin.calls}"
        if then == "the same call":
            done = walking.again(walk)
            assert done.code == 0, (where, done)
            if walk.args[0] in ("mount", "unmount"):
                assert walk.plugin.mounted() == (["v"] if walk.args[0] == "mount" else []), where
        else:
            done = walk.recover()
            assert done.code == 0, (where, done)
        assert walk.home.recover().out == "", where
        try:
            walk.check_agreement()
        except AssertionError as error:
            raise AssertionError(where) from error
        walk.close()


@pytest.mark.parametrize("fault", ["ENOSPC", "EIO"])
@pytest.mark.parametrize("scene", SCENES)
def test_every_write_rename_and_fsync_fails_once(scene, fault):
    for point in points(scene):
        if point.name not in FAILING:
            continue
        walk = Walk(scene)
        hit = walking.inject(walk, point, f"error={fault}")
        walk.plugin.wait_idle()
        where = f"{scene}: {fault} at {point}: exit {hit.returncode}, {hit.stderr!r}, {walk.plugin.calls}"
        assert hit.returncode in (0, 1, 5, 6), where
        if walk.args[0] == "mount":
            assert bool(hit.stdout) == (hit.returncode == 0), where
            assert hit.returncode == 0 or hit.stderr.count(b"\n") >= 1, where
            expected = ["v"] if hit.returncode == 0 or scene == "second mount" else []
            assert walk.plugin.mounted() == expected, where
        done = walk.home.recover() if hit.returncode == 0 else walk.recover()
        assert done.code == 0, (where, done)
        try:
            walk.check_agreement()
        except AssertionError as error:
            raise AssertionError(where) from error
        walk.close()
