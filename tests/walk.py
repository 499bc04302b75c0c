"""What crash walks share: where a call can be stopped, and stopping it there, from outside, with strace and ptrace.

A walk over a process's own system calls is strace's (`Point`), one over those of its children is hit.py's (`Strike`).
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol, TypeVar

import pytest

from tests.conftest import Done, Home
from tests.waiting import wait_until

# By hand: `whole` is every call that touches something, `changes` every one that changes something. CI: a sample.
LEVEL = os.environ.get("DVDCLI_CRASH_WALK", "sample")
WHOLE = LEVEL == "whole"
FAILING = ("write", "rename", "fsync")
NO_SPACE = ("ENOSPC", "EIO", "EINTR")
FAULTY = ("EIO", "EINTR")
# What each call that touches something can fail with. Who repeats an EINTR must go on as if there had been none.
ERRORS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("write", "pwrite64", "rename", "renameat2", "mkdir", "mkdirat", "fsync", "fdatasync", "ftruncate",
                     "fallocate", "symlink", "link", "mknod", "openat"), NO_SPACE),
    **dict.fromkeys(("unlink", "unlinkat", "rmdir", "chmod", "fchmod", "chown", "fchown", "pread64", "ioctl", "mount",
                     "umount2", "fsmount", "fsconfig", "move_mount", "mount_setattr"), FAULTY),
    **dict.fromkeys(("connect", "sendto", "sendmsg", "recvfrom"), ("EIO", "ECONNRESET")),
    **dict.fromkeys(("clone", "clone3", "fork", "vfork"), ("EAGAIN", "ENOMEM")),
    "flock": ("ENOLCK",), "socket": ("EMFILE",), "pidfd_open": ("EMFILE",),
}  # fmt: skip
# Python repeats these, or the kernel does (PEP 475).
REPEATED = frozenset((
    "write", "pwrite64", "fsync", "fdatasync", "ftruncate", "flock", "poll", "wait4", "waitid", "sendto", "recvfrom",
    "pread64", "fchmod", "fchown",
))  # fmt: skip

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
        line = [*walk.before, *before, walk.home.command, *walk.args]
        return subprocess.run(line, env=walk.home.env, stdin=stdin, capture_output=True, check=False, timeout=120)


def again(walk: Walk) -> Done:
    done = run(walk)
    return Done(done.returncode, done.stdout.decode(), done.stderr.decode())


def inject(walk: Walk, point: Point, what: str) -> subprocess.CompletedProcess[bytes]:
    """Run the call with strace's injection *what* at *point*, in the process itself and never in its children."""
    name = point.name
    return run(walk, "strace", "-o", "/dev/null", "-e", f"trace={name}",
               "-e", f"inject={name}:{what}:when={point.number}")  # fmt: skip


def interrupt(walk: Walk, words: list[str]) -> subprocess.CompletedProcess[bytes]:
    """Run the call with what Trace.interruptions() returned."""
    return run(walk, "strace", "-o", "/dev/null", *(f"-e{word}" for word in words))


def held(walk: Walk, point: Point, patience: float = 0.15) -> list[subprocess.CompletedProcess[bytes]]:
    """Stop the call after *point*, and make the same call beside it; go on when that has ended, or waits.

    *patience* is in seconds. Return what became of both, the one that was stopped first.
    """
    log, name = walk.home.root / "held", point.name
    stop = ["strace", "-D", "-o", log, "-e", f"trace={name}", "-e", f"inject={name}:signal=STOP:when={point.number}"]
    both: list[subprocess.Popen[bytes]] = []
    with walk.request.open("rb") as one, walk.request.open("rb") as other:
        for stdin, before in ((one, stop), (other, [])):
            line = [*walk.before, *before, walk.home.command, *walk.args]
            both.append(subprocess.Popen(line, env=walk.home.env, stdin=stdin, stdout=subprocess.PIPE,
                                         stderr=subprocess.PIPE))  # fmt: skip
            if before:
                wait_until(lambda: _has(log, "--- stopped by", "+++ "), "the call has not come to its point")
    try:
        both[1].wait(patience)
    except subprocess.TimeoutExpired:
        pass
    if both[0].poll() is None:
        both[0].send_signal(signal.SIGCONT)
    done = []
    for process in both:
        out, err = process.communicate(timeout=120)
        done.append(subprocess.CompletedProcess(process.args, process.returncode, out, err))
    wait_until(lambda: _has(log, "+++ "), "strace has not ended")
    log.unlink()
    return done


def _has(log: Path, *words: str) -> bool:
    return log.exists() and any(word in log.read_text(errors="replace") for word in words)


def kill(walk: Walk, point: Point | Strike) -> subprocess.CompletedProcess[bytes]:
    if isinstance(point, Point):
        return inject(walk, point, "signal=KILL")
    tool, log = Path(__file__).with_name("hit.py"), walk.home.root / "hit"
    words = [point.program, str(point.instance), str(point.number), point.victim]
    return run(walk, sys.executable, "-I", "-S", tool, log, *words)


class Trace:
    """What one undisturbed run of a walk's call did: its system calls, in strace's lines.

    `own` are the process's own from where the walk begins, by their numbers; `children` those of each
    program that it ran; `steps` what changed the world outside, for the ledger; `grpc` whether it loaded gRPC.
    """

    def __init__(self, walk: Walk) -> None:
        log = walk.home.root / "trace"
        done = run(walk, "strace", "-f", "-y", "-o", log)
        assert done.returncode == 0, done
        self.own: list[tuple[Point, str]] = []
        self.children: list[tuple[str, int, int, str, str]] = []  # program, instance, number, name, line
        self.steps: list[str] = []
        self.requests: list[str] = []  # to the storage system, where who traces knows them
        counts: Counter[str] = Counter()
        running: dict[str, tuple[str, int, int]] = {}  # by pid: program, instance, system calls so far
        instances: Counter[str] = Counter()
        caller, touched = "", False
        self.grpc = "/cygrpc." in log.read_text(errors="replace")
        for line in log.read_text(errors="replace").splitlines():
            match = re.match(r'(\d+) +(\w+)\((?:"(?:[^"]*/)?([^"]*)", \[)?', line)
            if not match:
                continue
            pid, name, program = match.groups()
            caller = caller or pid
            if pid == caller:
                counts[name] += 1
                touched = touched or (name == "openat" and f'"{walk.place}' in line)
                if touched and name != "execve":
                    self.own.append((Point(name, counts[name]), line))
                    self.steps += [step for step in [step_of(walk.home, name, line)] if step]
            elif name == "execve" and program and "ENOENT" not in line:
                instances[program] += 1
                running[pid] = (program, instances[program], 0)
                self.steps.append(f"run {program}")
            elif pid in running:
                program, instance, number = running[pid]
                running[pid] = (program, instance, number + 1)
                self.children.append((program, instance, number + 1, name, line))
        log.unlink()

    def points(self, wanted: Callable[[str, str], bool]) -> list[Point]:
        return [point for point, line in self.own if wanted(point.name, line)]

    def strikes(self, wanted: Callable[[str, str], bool]) -> list[Strike]:
        """Return the system calls of the children that are *wanted*, for either victim."""
        found = [each[:4] for each in self.children if wanted(each[3], each[4])]
        return [Strike(*each, victim) for each in found for victim in ("child", "caller")]

    def failures(self) -> list[tuple[Point, str]]:
        """Return every way in which a call can fail that touches a file, a socket, a process or a mount.

        Not that gRPC gets no thread: it waits for that for ever.
        """
        return [
            (point, error)
            for point, line in self.own if touches(point.name, line) and not (self.grpc and "CLONE_THREAD" in line)
            for error in ERRORS.get(point.name, ()) if error != "ENOSPC" or point.name != "openat" or "O_CREAT" in line
        ]  # fmt: skip

    def interruptions(self) -> list[str]:
        """Return strace's words for an EINTR at each call that the kernel restarts or Python repeats, all at once."""
        first: dict[str, int] = {}
        for point, line in self.own:
            if point.name in REPEATED and not _OF_PYTHON.search(line):
                first.setdefault(point.name, point.number)
        # Every other one: that is the repetition.
        return [f"inject={name}:error=EINTR:when={number}+2" for name, number in first.items()]


_ALWAYS = frozenset((
    "mkdir", "mkdirat", "rename", "renameat", "renameat2", "unlink", "unlinkat", "rmdir", "link", "linkat", "symlink",
    "symlinkat", "mknod", "mknodat", "write", "pwrite64", "ftruncate", "truncate", "fallocate", "chmod", "fchmod",
    "fchmodat", "chown", "fchown", "fchownat", "sendto", "sendmsg", "connect", "flock", "clone", "clone3", "fork",
    "vfork", "wait4", "waitid", "exit_group", "mount", "umount2", "fsmount", "fsconfig", "move_mount", "mount_setattr",
))  # fmt: skip
_LOOKS = re.compile(
    r"ioctl\(.*(TCGETS|LOOP_GET_STATUS|BLKGETSIZE|BLKSSZGET|BLKPBSZGET|BLKROGET|GETFLAGS|FIONBIO|FIOCLEX|FIONCLEX)"
)
_OF_PYTHON = re.compile(r'"[^"]*(site-packages|/lib/python3|__pycache__|/etc/ssl|\.pyc)')


def changes(name: str, line: str) -> bool:
    """Return whether the system call in strace's *line* can change something that outlives the process.

    Killed before any call between two of those, it leaves the same as killed before the second of them.
    """
    if name in _ALWAYS:
        return "<anon_inode:" not in line
    if name == "ioctl":
        return not _LOOKS.search(line)
    return name == "openat" and ("O_CREAT" in line or "O_TRUNC" in line)


def step_of(home: Home, name: str, line: str) -> str:
    """Return what a system call changes outside, in words that are the same with any kernel, libc and Python, or "".

    Which programs run is a step of theirs, how they are started is none; what is sent is in the requests' own ledger.
    """
    if name not in ("fsync", "fdatasync") and (not changes(name, line) or name in _HOW):
        return ""
    if name == "ioctl":
        request = re.search(r", ([A-Z_]+)", line)
        return f"ioctl {request.group(1)}" if request else ""
    if name == "connect":
        place = re.search(r'sun_path="([^"]*)"', line)
        if place is None:
            return "connect tcp" if "sin_port=htons(0)" not in line and "AF_INET" in line else ""
        return f"connect {_normal(home, place.group(1))}" if str(home.root) in line else ""
    if name == "write" and re.search(r"write\(1<", line):
        return "answer"
    paths = re.findall(r'"([^"]*)"', line) if '"' in line and name not in ("write", "pwrite64") else []
    opened = re.search(r"\(\d+<(/[^>]*)>", line)
    path = paths[-1] if name.startswith(("rename", "link", "symlink")) and paths else paths[0] if paths else ""
    if name == "mount":
        path = paths[1] if len(paths) > 1 else ""
    if path and not path.startswith("/"):  # below a directory that is open, where it is deleted in any order
        there = re.findall(r"\((?:\d+|AT_FDCWD)<(/[^>]*)>", line)
        path = f"{there[0]}/{path}" if there else path
    path = path or (opened.group(1) if opened else "")
    if not path or _OF_PYTHON.search(line) or path == "/dev/null" or path.startswith("/memfd:"):
        return ""
    return f"{_PLAIN.get(name, name)} {_normal(home, path)}"


_HOW = frozenset(("clone", "clone3", "fork", "vfork", "wait4", "waitid", "exit_group", "sendto", "sendmsg"))
# Names that differ with the libc.
_PLAIN = {
    "openat": "make", "mkdirat": "mkdir", "renameat": "rename", "renameat2": "rename", "unlinkat": "unlink",
    "pwrite64": "write", "fdatasync": "fsync", "fchmodat": "chmod", "fchmod": "chmod", "fchown": "chown",
    "fchownat": "chown",
}  # fmt: skip


def _normal(home: Home, path: str) -> str:
    path = path.replace(str(home.state), "state").replace(f"{home.root}/", "").replace(str(home.root), "HOME")
    for pattern, word in (
        (r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "UUID"), (r"vol-[0-9a-f]+(-\d+)?", "vol-ID"),
        (r"[0-9a-f]{16}", "ID"),  # before what could be the end of one
        (rf"[\w%]*{home.root.name}\b", "HOME"), (rf"[\w%]*{home.root.parent.name}%2F\w", "HOME"),
        (r"/proc/(self|\d+)/fd/\d+", "FD"), (r"/dev/loop\d+", "/dev/loopN"),
        (r"\b\d{3,}\b", "N"),
    ):  # fmt: skip
        path = re.sub(pattern, word, path)
    return path


def touches(name: str, line: str) -> bool:
    """Return whether it touches a file, a socket, a process, a mount or a device, and not those of Python's own."""
    more = name in ("openat", "ioctl", "fsync", "fdatasync", "recvfrom", "socket", "pread64", "pidfd_open", "poll")
    own = (name == "ioctl" and "TCGETS" in line) or "<anon_inode:" in line  # gRPC's threads wake each other so
    return (name in _ALWAYS or more) and not own and not _OF_PYTHON.search(line)


def sample(everything: Sequence[T], most: int, offset: int = 0) -> list[T]:
    """Return *most* of *everything*, evenly spread; all of it for a whole walk."""
    if LEVEL != "sample" or len(everything) <= most:
        return list(everything)
    step = len(everything) / most
    return [everything[int(index * step + offset % max(1, int(step)))] for index in range(most)]
