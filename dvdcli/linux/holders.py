"""Who keeps a device or a mount busy: the processes that have it mounted or open, in any mount namespace."""

from __future__ import annotations

import os

from dvdcli.linux import files, mountinfo

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_MOST = 5  # that are named; a busy database has hundreds of files open


class Use:
    """What the process *pid* has of a device or a mount: a mount at *path*, or the file *path* open."""

    __slots__ = ("is_mount", "name", "path", "pid")

    def __init__(self, pid: int, path: str, is_mount: bool) -> None:
        self.pid = pid
        self.path = path
        self.is_mount = is_mount
        self.name = _name(pid)

    def __str__(self) -> str:
        return f"pid {self.pid} ({self.name}) {'has it mounted at' if self.is_mount else 'uses'} {self.path}"


def of(number: str, path: str = "") -> str:
    """Return who uses the device "major:minor" *number*, for an error message; "" where nobody is to be seen.

    As all_of, with the first few alone.
    """
    found = [str(use) for use in all_of(number, path)]
    if len(found) > _MOST:
        found[_MOST:] = [f"and {len(found) - _MOST} more"]
    return ", ".join(found)


def all_of(number: str, path: str = "") -> list[Use]:
    """Return who has the device "major:minor" *number* mounted or open: one use of either kind for each process.

    *path* is where it is mounted in our own mount namespace: that mount itself is no use of it. No file system is
    touched, only the texts of /proc: a dead one would hang us.
    """
    found: list[Use] = []
    places: dict[str, list[str]] = {}  # by mount namespace, where it has the device mounted
    # A mount has an id that no other namespace's has; the namespace's own is not always ours to see.
    ours = {mount.id for mount in mountinfo.read() if mount.path == path}
    for pid in sorted(int(name) for name in os.listdir("/proc") if name.isdigit()):
        space = mountinfo.namespace(pid)
        if space not in places:
            there = [mount for mount in mountinfo.read(pid) if mount.is_of(number)]
            places[space] = [mount.path for mount in there]
            elsewhere = [mount.path for mount in there if mount.id not in ours]
            found += [Use(pid, place, True) for place in elsewhere[:1]]
        if pid != os.getpid() and places[space]:
            found += _use(pid, places[space])
    return found


def below(*paths: str) -> list[Use]:
    """Return which processes of our mount namespace have one of the directories *paths*, or what is below, open."""
    found, own = [], mountinfo.namespace()
    for pid in sorted(int(name) for name in os.listdir("/proc") if name.isdigit()):
        if pid != os.getpid() and mountinfo.namespace(pid) == own:
            found += _use(pid, paths)
    return found


def opening(paths: list[str], servers: tuple[int, ...] = ()) -> list[Use]:
    """Return which processes, but for *servers*, have one of the files *paths* open, by the name that each has for it.

    A device is a file with a name too: whoever has it open by a node of his own is not seen.
    """
    found = []
    for pid in sorted(int(name) for name in os.listdir("/proc") if name.isdigit()):
        if pid not in (os.getpid(), *servers):
            found += _use(pid, paths, exactly=True)
    return found


def _use(pid: int, places: Sequence[str], exactly: bool = False) -> list[Use]:
    """Return what *pid* has open of *places*, or unless *exactly* of what is below them: one use, or none."""

    def is_wanted(text: str) -> bool:
        return text in places or (not exactly and any(text.startswith(f"{place}/") for place in places))

    opened = next(filter(is_wanted, _open_files(pid, places)), "")
    return [Use(pid, opened, False)] if opened else []


def _open_files(pid: int, places: Sequence[str]) -> Iterator[str]:
    """Return what *pid* has open or runs; and mapped, where something of that has one of *places* in its name."""
    links = [f"/proc/{pid}/cwd", f"/proc/{pid}/root", f"/proc/{pid}/exe"]
    try:
        links += [f"/proc/{pid}/fd/{name}" for name in os.listdir(f"/proc/{pid}/fd")]
    except OSError:
        pass  # it has gone, or is not ours to see
    for link in links:
        try:
            yield os.readlink(link)
        except OSError:
            continue
    try:
        mapped = (files.read(f"/proc/{pid}/maps") or b"") if not _waits_in_kernel(pid) else b""
    except OSError:
        return
    if any(os.fsencode(place) in mapped for place in places):  # one text for all: a link for each is a call for each
        yield from (fields[5] for line in os.fsdecode(mapped).split("\n") if len(fields := line.split(None, 5)) == 6)


def _waits_in_kernel(pid: int) -> bool:
    """Return whether a thread of *pid* is in D state: it can have its memory's map locked, which would hang us too."""
    for task in files.names_in(f"/proc/{pid}/task"):
        try:
            said = files.read(f"/proc/{pid}/task/{task}/stat") or b""
        except OSError:
            continue
        if said.rpartition(b") ")[2].startswith(b"D"):
            return True
    return False


def _name(pid: int) -> str:
    try:
        return (files.read(f"/proc/{pid}/comm") or b"").decode("utf-8", "replace").strip()
    except OSError:
        return "gone"
