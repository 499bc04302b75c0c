"""What a call does, as strace tells it: where it can be killed, what of it can fail, which of it changes something."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable

from tests.conftest import Home
from tests.walk import Point, Strike, Walk, run

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


class Trace:
    """What one undisturbed run of a walk's call did: its system calls, in strace's lines.

    `own` are the process's own from where the walk begins, by their numbers; `children` those of each
    program that it ran; `steps` what changed the world outside, for the ledger; `grpc` whether it loaded gRPC.
    """

    def __init__(self, walk: Walk) -> None:
        self.home = walk.home
        log = walk.home.root / "trace"
        done = run(walk, "strace", "-f", "-y", "-n", "-o", log)
        assert done.returncode == 0, done
        self.own: list[tuple[Point, str]] = []
        self.children: list[tuple[str, int, int, str, str]] = []  # program, instance, number, name, line
        self.steps: list[str] = []
        self.requests: list[str] = []  # to the storage system, where who traces knows them
        counts: defaultdict[str, Counter[str]] = defaultdict(Counter)  # by pid, then by name
        running: dict[str, tuple[str, int, int]] = {}  # by pid: program, instance, system calls so far
        instances: Counter[str] = Counter()
        caller, touched = "", False
        self.grpc = "/cygrpc." in log.read_text(errors="replace")
        for line in log.read_text(errors="replace").splitlines():
            match = re.match(r'(\d+) +\[ *(\d+)\] (\w+)\((?:"(?:[^"]*/)?([^"]*)", \[)?', line)
            if not match:
                continue
            pid, call, name, program = match.groups()
            caller = caller or pid
            counts[pid][name] += 1
            if pid == caller:
                touched = touched or (name == "openat" and f'"{walk.place}' in line)
                if touched and name != "execve":
                    self.own.append((Point(name, counts[pid][name], int(call), False), line))
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
        del counts[caller]
        # Twice, for how often a thread is called depends on when an answer comes.
        most = {name: 2 * max(each[name] for each in counts.values()) for each in counts.values() for name in each}
        self.own = [(point._replace(alone=point.number > most.get(point.name, 0)), line) for point, line in self.own]

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
        return [(point, error) for point, line in self.own for error in self._errors(point, line)]

    def folded_failures(self) -> list[tuple[Point, str]]:
        """Return failures(), with looks at the same thing three times, and each error once for calls that are the same.

        Where a call is made again with the same words, the first fails in each way and the others in one, in turn.
        """
        alike: defaultdict[str, list[tuple[Point, tuple[str, ...], bool]]] = defaultdict(list)
        for point, line in self.own:
            errors = self._errors(point, line)
            if errors:
                alike[_words(self.home, line)].append((point, errors, changes(point.name, line)))
        chosen = set()
        for calls in alike.values():
            last = len(calls) - 1
            for index, (point, errors, changing) in enumerate(calls):
                if index == 0:
                    chosen |= {(point, error) for error in errors}
                elif changing or index in (last // 2, last):
                    chosen.add((point, errors[index % len(errors)]))
        return [failure for failure in self.failures() if failure in chosen]

    def _errors(self, point: Point, line: str) -> tuple[str, ...]:
        if not touches(point.name, line) or (self.grpc and "CLONE_THREAD" in line):
            return ()
        making = point.name != "openat" or "O_CREAT" in line
        return tuple(error for error in ERRORS.get(point.name, ()) if error != "ENOSPC" or making)

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


def leaves_something(name: str, line: str) -> bool:
    """Return whether changes(), but for a call that found that there was nothing to do."""
    return changes(name, line) and not line.endswith(("ENOENT (No such file or directory)", "EEXIST (File exists)"))


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


def _words(home: Home, line: str) -> str:
    """Return what a call was asked, the same for each process, thread, device and piece of data."""
    asked = re.sub(r"^\d+ +\[ *\d+\] ", "", line).rpartition(" = ")[0] or line
    if asked.startswith(("write", "pwrite64", "pread64", "sendto", "sendmsg", "recvfrom")):
        asked = re.sub(r'".*"', "DATA", asked)
    return re.sub(r"0x[0-9a-f]+|\d+", "N", _normal(home, asked))


def is_of_python(line: str) -> bool:
    """Return whether the system call in strace's *line* is about Python's own files."""
    return _OF_PYTHON.search(line) is not None


def touches(name: str, line: str) -> bool:
    """Return whether it touches a file, a socket, a process, a mount or a device, and not those of Python's own."""
    more = name in ("openat", "ioctl", "fsync", "fdatasync", "recvfrom", "socket", "pread64", "pidfd_open", "poll")
    own = (name == "ioctl" and "TCGETS" in line) or "<anon_inode:" in line  # gRPC's threads wake each other so
    return (name in _ALWAYS or more) and not own and not is_of_python(line)
