"""What crash walks share: where a call can be stopped, and stopping it there, from outside, with strace and ptrace.

A walk over a process's own system calls is strace's (`Point`), one over those of its children is hit.py's (`Strike`).
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol, TypeVar

import pytest

from tests.conftest import Done, Home

WHOLE = os.environ.get("DVDCLI_CRASH_WALK") == "whole"
FAILING = ("write", "rename", "fsync")

needs_strace = pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace (apt install strace)")

T = TypeVar("T")


class Walk(Protocol):
    """One home for one point of a walk: made ready, hit in the middle of a call, looked at afterwards."""

    home: Home
    args: tuple[str, ...]
    request: Path  # what the call reads on stdin


class Point(NamedTuple):
    """The *number*th call of *name* of a process."""

    name: str
    number: int

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
        line = [*before, walk.home.command, *walk.args]
        return subprocess.run(line, env=walk.home.env, stdin=stdin, capture_output=True, check=False, timeout=120)


def again(walk: Walk) -> Done:
    with walk.request.open("rb") as stdin:
        return walk.home.run(*walk.args, stdin=stdin, timeout=120)


def inject(walk: Walk, point: Point, what: str) -> subprocess.CompletedProcess[bytes]:
    """Run the call with strace's injection *what* at *point*, in the process itself and never in its children."""
    name = point.name
    return run(walk, "strace", "-o", "/dev/null", "-e", f"trace={name}",
               "-e", f"inject={name}:{what}:when={point.number}")  # fmt: skip


def kill(walk: Walk, point: Point | Strike) -> subprocess.CompletedProcess[bytes]:
    if isinstance(point, Point):
        return inject(walk, point, "signal=KILL")
    tool, log = Path(__file__).with_name("hit.py"), walk.home.root / "hit"
    words = [point.program, str(point.instance), str(point.number), point.victim]
    return run(walk, sys.executable, "-I", "-S", tool, log, *words)


def points(walk: Walk, wanted: Callable[[str, str], bool], whole: bool = False) -> list[Point]:
    """Run the call undisturbed; return its system calls that are *wanted*, by name and strace's line.

    Before the state is first touched none counts, except with *whole*.
    """
    log = walk.home.root / "trace"
    done = run(walk, "strace", "-o", log)
    assert done.returncode == 0, done
    counts: Counter[str] = Counter()
    found, touched = [], whole
    for line in log.read_text(errors="replace").splitlines():
        match = re.match(r"(\w+)\(", line)
        if not match:
            continue
        name = match.group(1)
        counts[name] += 1
        touched = touched or (str(walk.home.state) in line and name == "openat")
        if touched and name != "execve" and wanted(name, line):
            found.append(Point(name, counts[name]))
    log.unlink()
    return found


def strikes(walk: Walk, wanted: Callable[[str, str], bool]) -> list[Strike]:
    """Run the call undisturbed; return the system calls of its children that are *wanted*, for either victim."""
    log = walk.home.root / "trace"
    done = run(walk, "strace", "-f", "-o", log)
    assert done.returncode == 0, done
    children: dict[str, tuple[str, int, int]] = {}  # by pid: program, instance, system calls so far
    instances: Counter[str] = Counter()
    found, caller = [], ""
    for line in log.read_text(errors="replace").splitlines():
        match = re.match(r'(\d+) +(\w+)\((?:"(?:[^"]*/)?([^"]*)", \[)?', line)
        if not match:
            continue
        pid, name, program = match.groups()
        caller = caller or pid
        if name == "execve" and pid != caller and program and "ENOENT" not in line:
            instances[program] += 1
            children[pid] = (program, instances[program], 0)
        elif pid in children:
            program, instance, number = children[pid]
            children[pid] = (program, instance, number + 1)
            if wanted(name, line):
                found += [Strike(program, instance, number + 1, name, victim) for victim in ("child", "caller")]
    log.unlink()
    return found


_ALWAYS = frozenset((
    "mkdir", "mkdirat", "rename", "renameat", "renameat2", "unlink", "unlinkat", "rmdir", "link", "linkat", "symlink",
    "symlinkat", "mknod", "mknodat", "write", "pwrite64", "ftruncate", "truncate", "fallocate", "chmod", "fchmod",
    "fchmodat", "chown", "fchown", "fchownat", "sendto", "sendmsg", "connect", "flock", "clone", "clone3", "fork",
    "vfork", "wait4", "waitid", "exit_group", "mount", "umount2", "fsmount", "fsconfig", "move_mount", "mount_setattr",
))  # fmt: skip
_LOOKS = re.compile(r"ioctl\(.*(TCGETS|LOOP_GET_STATUS|BLKGETSIZE|BLKSSZGET|BLKPBSZGET|BLKROGET|GETFLAGS|FIONBIO)")
_OF_PYTHON = re.compile(r'"[^"]*(site-packages|/lib/python3|__pycache__|/etc/ssl|\.pyc)')


def changes(name: str, line: str) -> bool:
    """Return whether the system call in strace's *line* can change something that outlives the process.

    Killed before any call between two of those, it leaves the same as killed before the second of them.
    """
    if name in _ALWAYS:
        return True
    if name == "ioctl":
        return not _LOOKS.search(line)
    return name == "openat" and ("O_CREAT" in line or "O_TRUNC" in line)


def touches(name: str, line: str) -> bool:
    """Return whether it touches a file, a socket, a process, a mount or a device, and not those of Python's own."""
    more = name in ("openat", "ioctl", "fsync", "fdatasync", "recvfrom", "socket", "pread64", "pidfd_open", "poll")
    own = name == "ioctl" and "TCGETS" in line
    return (name in _ALWAYS or more) and not own and not _OF_PYTHON.search(line)


def sample(everything: Sequence[T], most: int, offset: int = 0) -> list[T]:
    """Return *most* of *everything*, evenly spread; all of it for a whole walk."""
    if WHOLE or len(everything) <= most:
        return list(everything)
    return [everything[(index * len(everything) + offset) // most % len(everything)] for index in range(most)]
