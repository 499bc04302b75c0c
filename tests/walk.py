"""What crash walks share: where a call can be stopped, and stopping it there, from outside, with strace and ptrace.

A walk is over a process's own system calls (`Point`) or over those of its children (`Strike`). strace lets a call fail,
hit.py kills and holds.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Protocol, TypeVar

import pytest

from tests.conftest import Done, Home
from tests.waiting import wait_until

# CI takes a sample. By hand `changes` kills before every call that changes something: killed before any call between
# two of those, a process leaves the same. It lets looks at the same thing fail three times, not hundreds. `whole`, for
# days, folds nothing.
LEVEL = os.environ.get("DVDCLI_CRASH_WALK", "sample")
WHOLE = LEVEL == "whole"
needs_strace = pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace (apt install strace)")

T = TypeVar("T")


class Walk(Protocol):
    """One home for one point of a walk: made ready, hit in the middle of a call, looked at afterwards."""

    home: Home
    args: tuple[str, ...]
    request: Path  # what the call reads on stdin
    before: tuple[str, ...]  # what the call is run by
    place: Path  # the walk begins where the call first opens something there


class Point(NamedTuple):
    """The *number*th call of *name* of a process, *call* to the kernel.

    *alone*: none of its children and threads makes so many.
    """

    name: str
    number: int
    call: int
    alone: bool

    def __str__(self) -> str:
        return f"{self.name} {self.number}"


class Strike(NamedTuple):
    """The *number*th system call of the *instance*th child that runs *program*, a *name*; *victim* is who dies."""

    program: str
    instance: int
    number: int
    name: str
    victim: str

    def __str__(self) -> str:
        return f"{self.name}, call {self.number} of {self.program} {self.instance}, of the {self.victim}"


def run(walk: Walk, *before: str | Path) -> subprocess.CompletedProcess[bytes]:
    """Run the walk's call with *before* in front of it."""
    with walk.request.open("rb") as stdin:
        line = [*walk.before, *before, walk.home.command, *walk.args]
        return subprocess.run(line, env=walk.home.env, stdin=stdin, capture_output=True, check=False, timeout=120)


def again(walk: Walk) -> Done:
    done = run(walk)
    return Done(done.returncode, done.stdout.decode(), done.stderr.decode())


def inject(walk: Walk, point: Point, what: str) -> tuple[subprocess.CompletedProcess[bytes], str]:
    """Run the call with strace's injection *what* at *point*, in the process itself and never in its children.

    Return how it ended, and strace's line of the system call that was hit, "" where it did not come to that.
    """
    log = walk.home.root / "injected"
    words = [f"-etrace={point.name}", f"-einject={point.name}:{what}:when={point.number}"]
    if point.alone:  # it may follow the children, and stops at nothing else then, which takes a fifth of the time
        words += ["-f", "--seccomp-bpf"]
    done = run(walk, "strace", "-o", log, *words)
    hit = [line for line in log.read_text(errors="replace").splitlines() if line.endswith("(INJECTED)")]
    log.unlink()
    return done, "\n".join(hit)


def interrupt(walk: Walk, words: list[str]) -> subprocess.CompletedProcess[bytes]:
    """Run the call with what Trace.interruptions() returned."""
    return run(walk, "strace", "-o", "/dev/null", *(f"-e{word}" for word in words))


def held(walk: Walk, point: Point, patience: float = 0.15) -> list[subprocess.CompletedProcess[bytes]]:
    """Hold the call before *point*, and make the same call beside it; go on when that has ended, or waits.

    *patience* is in seconds. Return what became of both, the one that was held first.
    """
    log = walk.home.root / "hit"
    both: list[subprocess.Popen[bytes]] = []
    with walk.request.open("rb") as one, walk.request.open("rb") as other:
        for stdin, before in ((one, hitter(log, "call", point.call, point.number, "hold")), (other, [])):
            line = [*walk.before, *before, walk.home.command, *walk.args]
            both.append(subprocess.Popen(line, env=walk.home.env, stdin=stdin, stdout=subprocess.PIPE,
                                         stderr=subprocess.PIPE))  # fmt: skip
            wait_until(lambda: log.exists() or both[0].poll() is not None, "the call has not come to its point")
    try:
        both[1].wait(patience)
    except subprocess.TimeoutExpired:
        pass
    log.unlink(missing_ok=True)
    done = []
    for process in both:
        out, err = process.communicate(timeout=120)
        done.append(subprocess.CompletedProcess(process.args, process.returncode, out, err))
    return done


def hitter(log: Path, *words: object) -> list[str | Path]:
    """Return what a call is run by to be hit as *words* say, which hit.py explains."""
    return [sys.executable, "-I", "-S", Path(__file__).with_name("hit.py"), log, *map(str, words)]


def kill(walk: Walk, point: Point | Strike) -> tuple[subprocess.CompletedProcess[bytes], bool]:
    """Run the call and kill it, or its child, at *point*. Return how it ended, and whether it came there."""
    log = walk.home.root / "hit"
    if isinstance(point, Point):
        words = hitter(log, "call", point.call, point.number, "kill")
    else:
        words = hitter(log, "run", point.program, point.instance, point.number, point.victim)
    done = run(walk, *words)
    reached = log.exists()
    log.unlink(missing_ok=True)
    return done, reached


def sample(everything: Sequence[T], most: int, offset: int = 0) -> list[T]:
    """Return *most* of *everything*, evenly spread; all of it for a whole walk."""
    if LEVEL != "sample" or len(everything) <= most:
        return list(everything)
    step = len(everything) / most
    return [everything[int(index * step + offset % max(1, int(step)))] for index in range(most)]
