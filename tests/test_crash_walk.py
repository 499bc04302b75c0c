"""Every command that changes something, for every kind of storage, hit at every step: then the next call ends right.

From outside, at a process's own system calls and at those of the programs that it runs: SIGKILL before each, each
failing once, each interrupted, and a second process of the same call beside one that stands before each. CI hits a
sample, chosen by each scene's name; `make crash-walk` everything that can differ, and tells how many there were. What
the steps are is in walk_points.toml: a new one makes this fail until it has been looked at.
"""

from __future__ import annotations

import signal
import subprocess
import zlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from tests import scenes, walk_ledger, walk_trace
from tests import walk as walking
from tests.scenes import AGAIN, THENS, Scene
from tests.walk import LEVEL, WHOLE, Point, Strike
from tests.walk_round import Round

pytestmark = [walking.needs_strace, pytest.mark.root]

SHARDS = 8
MODES = ("killed", "child", "failing", "held", "interrupted")
PAIRS = [
    pytest.param(*pair, marks=[pytest.mark.namespace] if "bind" in pair else [], id="-".join(pair))
    for pair in scenes.pairs()
]
PARTS = ["sample"] if LEVEL == "sample" else [f"{mode} {n}" for mode in MODES for n in range(SHARDS)]
# In CI: how many of each mode, of each scene; elsewhere, where calls cost most, one, of a mode that changes.
MOST = {"docker": (2, 0, 2, 1, 1), "directory": (1, 0, 1, 1, 0), "local": (1, 2, 1, 1, 0)}
FAILED = (0, 1, 5, 6)
KILLED = 128 + signal.SIGKILL
# How often these are called depends on when an answer comes.
VARYING = ("poll", "recvfrom", "sendto", "recvmsg", "sendmsg", "write", "futex", "wait4", "ioctl", "openat")
# These read the mount table, whose length is other tests' affair.
READERS = ("e2fsck", "mkfs.ext4", "mount", "resize2fs", "umount", "xfs_growfs")


class Hit(NamedTuple):
    """One way to hit a call, and what is done next."""

    mode: str
    point: Point | Strike | None
    error: str
    then: str

    def __str__(self) -> str:
        return " ".join(str(part) for part in (self.mode, self.error, self.point or "everywhere") if part)

    @property
    def counted(self) -> str:
        return f"{self.mode} {self.point.name if self.point else 'everywhere'}"


_TRACES: dict[tuple[str, str], walk_trace.Trace] = {}


def traced(world: str, name: str) -> tuple[walk_trace.Trace, Scene | None]:
    """Return the trace of a scene, and the scene, if it was traced now and its world can be used again."""
    if (world, name) in _TRACES:
        return _TRACES[world, name], None
    scene = scenes.make(world, name)
    trace = _TRACES[world, name] = walk_trace.Trace(scene)
    trace.requests = scene.world.told()
    scene.finish(subprocess.CompletedProcess([], 0, b"", b""), "nothing", AGAIN)
    return trace, scene if scene.reusable else None


def hits(trace: walk_trace.Trace) -> dict[str, list[Hit]]:
    """Return every hit, by mode."""
    wanted = walk_trace.touches if WHOLE else walk_trace.leaves_something
    failures = trace.failures() if WHOLE else trace.folded_failures()
    failing = [Hit("failing", point, error, THENS[index % 2]) for index, (point, error) in enumerate(failures)]
    return {
        "killed": [Hit("killed", point, "", then) for point in trace.points(wanted) for then in THENS],
        "child": [Hit("child", strike, "", then) for strike in trace.strikes(wanted) for then in THENS],
        "failing": failing,
        "held": [Hit("held", point, "", AGAIN) for point in trace.points(walk_trace.leaves_something)],
        "interrupted": [Hit("interrupted", None, "EINTR", then) for then in THENS],
    }


def chosen(world: str, name: str, part: str, trace: walk_trace.Trace) -> Iterator[Hit]:
    everything = hits(trace)
    if part != "sample":
        mode, _, shard = part.partition(" ")
        yield from everything[mode][int(shard) :: SHARDS]
        return
    offset = zlib.crc32(f"{world} {name}".encode())
    if world not in MOST:
        modes = [mode for mode in MODES if everything[mode]]
        yield from walking.sample(everything[modes[offset % len(modes)]], 1, offset // len(modes))
        return
    for mode, most in zip(MODES, MOST[world], strict=True):
        if most:
            yield from walking.sample(everything[mode], most, offset)


def strike(scene: Scene, hit: Hit, trace: walk_trace.Trace) -> subprocess.CompletedProcess[bytes]:
    """Make the call and hit it; return how it ended."""
    done, reached = _struck(scene, hit, trace)
    assert reached or varies(hit), f"{hit} was not reached"
    return done


def _struck(scene: Scene, hit: Hit, trace: walk_trace.Trace) -> tuple[subprocess.CompletedProcess[bytes], bool]:
    """Return how the call ended that was hit, and whether the hit came to its point."""
    if hit.mode in ("killed", "child"):
        done, reached = walking.kill(scene, hit.point)
        assert hit.mode == "child" or not reached or done.returncode == KILLED, done
        return done, reached
    if hit.mode == "held":
        first, second = walking.held(scene, hit.point)
        codes = {first.returncode, second.returncode}
        assert codes <= {0, *scene.ends}, (first, second)
        assert scene.verb != "mount" or first.stdout == second.stdout, (first, second)
        return first, True
    if hit.mode == "interrupted":
        done = walking.interrupt(scene, trace.interruptions())
        assert (done.returncode, done.stderr) == (0, b""), done
        return done, True
    done, at = walking.inject(scene, hit.point, f"error={hit.error}")
    if done.returncode == -signal.SIGABRT and b" RAW: " in done.stderr:
        return done, True  # gRPC ends its process where it gets no randomness: that is a kill
    # Letting go needs no space; only a file that is there is opened as if it were to be made, and an answer is written.
    letting_go = scene.verb == "unmount" and hit.error == "ENOSPC" and hit.point.name != "openat"
    unsaid = b"standard output cannot be written" in done.stderr
    assert done.returncode in ((0,) if letting_go and not unsaid else FAILED), done
    assert scene.verb != "mount" or bool(done.stdout) == (done.returncode == 0), done
    astray = walk_trace.is_of_python(at)  # where threads open files, the number is that of another one's today
    assert astray or b"bug" not in done.stderr
    return done, at != "" and not astray


def varies(hit: Hit) -> bool:
    """Return whether the call can have another number than in the trace, or be none."""
    return bool(
        hit.point and (hit.point.name in VARYING or (isinstance(hit.point, Strike) and hit.point.program in READERS))
    )


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize(("world", "name"), PAIRS)
def test_hit_anywhere_and_no_step_is_new(world: str, name: str, part: str, record_property: Any) -> None:
    trace, scene = traced(world, name)
    failures: list[str] = []
    if part in PARTS[:1]:
        steps = walk_ledger.folded(trace.steps)
        for file, now in ((walk_ledger.STEPS, steps), (walk_ledger.REQUESTS, trace.requests)):
            failures += filter(None, [walk_ledger.difference(file, world, name, now)])
    walked = Round(world, name, scene, failures)
    walked.go(chosen(world, name, part, trace), lambda scene, hit: strike(scene, hit, trace))
    walked.end(record_property)


def test_no_scene_is_left_over() -> None:
    assert set(walk_ledger.read(walk_ledger.STEPS)) == {f"{world} {name}" for world, name in scenes.pairs()}


def test_every_command_has_a_scene_or_changes_nothing() -> None:
    from dvdcli.cli import COMMANDS

    changing = {kind.verb for kind in scenes.SCENES.values()}
    assert set(COMMANDS) - changing == {"list", "inspect", "get", "path", "config", "check", "version", "help"}
