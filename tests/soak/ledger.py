"""What every caller was promised, and a watcher that holds the mount table against it at every change.

A caller that was told its path, and has not yet begun to let go, has its mount: the same one all the time. The kernel
reports every change of the mount table, and gives every mount an id that it never gives again.
"""

from __future__ import annotations

import ctypes
import os
import select
import struct
import threading
from collections import Counter
from pathlib import Path

from dvdcli.linux import mountinfo
from tests.soak.plan import Volume
from tests.soak.world import Machine

AT_FDCWD, UNIQUE, MOUNT_ID_AT = -100, 0x4000, 144

libc = ctypes.CDLL(None, use_errno=True)


def mount_id(path: str) -> int:
    """Return the id of the mount that *path* is on, which no other mount ever gets (Linux 6.8); 0 for none."""
    buffer = ctypes.create_string_buffer(256)
    if libc.statx(AT_FDCWD, os.fsencode(path), 0, UNIQUE, buffer):
        return 0
    known = struct.unpack_from("I", buffer.raw)[0] & UNIQUE
    return int(struct.unpack_from("Q", buffer.raw, MOUNT_ID_AT)[0]) if known else -1


class Violation(AssertionError):
    """What dvdcli promises, and did not keep."""


class Promise:
    __slots__ = ("id", "path", "unique", "volume", "who")

    def __init__(self, who: str, volume: Volume, path: str, number: str, unique: int) -> None:
        self.who, self.volume, self.path, self.id, self.unique = who, volume, path, number, unique

    def __str__(self) -> str:
        return f"{self.who} was told {self.path}"


class Ledger:
    """Holds by (who, volume): promised, or perhaps left by a call that failed or was killed; content."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.lock = threading.RLock()
        self.promises: dict[tuple[str, Volume], Promise] = {}
        self.holds: dict[tuple[str, Volume], bool] = {}  # True for certain, False for perhaps
        self.containers: set[str] = set()  # that an agent still has to clean up
        self.meddled: Counter[Volume] = Counter()  # how often the saboteur was at it
        self.boots = 0
        self.removals: Counter[Volume] = Counter()  # changes at each begin and end of an attempt to remove it
        self.half_removed: set[Volume] = set()  # by a call that was killed, or failed
        self.written: dict[tuple[int, Volume], tuple[int, str]] = {}  # removals, nonce
        self.made: dict[Volume, tuple[int, str]] = {}  # removals, identity
        self.counts: Counter[str] = Counter()

    # Promises

    def now(self, volume: Volume) -> tuple[int, int]:
        """Return what changes whenever something was done to the volume behind dvdcli's back."""
        with self.lock:
            return self.boots, self.meddled[volume]

    def told(self, who: str, volume: Volume, since: tuple[int, int]) -> bool:
        """Take down that *who* was told its path; return False where the saboteur has been at it *since*."""
        path = self.machine.place(volume)
        with self.lock:
            if since[0] != self.boots:
                return False
            self.holds[who, volume] = True
            if since != self.now(volume):
                return False
            at = [mount for mount in mountinfo.read() if mount.path == path]
            if len(at) != 1:
                raise Violation(f"{who} was told {path}, where {len(at)} file systems are mounted")
            self.promises[who, volume] = Promise(who, volume, path, at[0].id, mount_id(path))
            self.counts["promises"] += 1
            return True

    def perhaps(self, who: str, volume: Volume) -> None:
        """Take down that nobody knows whether *who* has a hold: from now on nothing is promised."""
        with self.lock:
            self.promises.pop((who, volume), None)
            self.holds[who, volume] = False
            if who.startswith("container"):
                self.containers.add(who)

    def gone(self, who: str, volume: Volume) -> None:
        with self.lock:
            self.promises.pop((who, volume), None)
            self.holds.pop((who, volume), None)
            self.containers.discard(who)

    def meddle(self, volume: Volume) -> None:
        """The saboteur is about to unmount the volume, or has just done so."""
        with self.lock:
            self.meddled[volume] += 1
            for key in [key for key in self.promises if key[1] == volume]:
                del self.promises[key]

    def removing(self, volume: Volume) -> None:
        """An attempt to remove the volume begins: what is in it may be gone, unless somebody holds it all the time."""
        with self.lock:
            self.removals[volume] += 1
            self.half_removed.add(volume)

    def removed(self, volume: Volume, settled: bool) -> None:
        """The attempt is over; *settled* says that nothing of it can be left half done."""
        with self.lock:
            self.removals[volume] += 1
            if settled:
                self.half_removed.discard(volume)

    def booted(self) -> None:
        with self.lock:
            self.boots += 1
            self.promises.clear()
            self.holds.clear()

    def holders(self, volume: Volume, certain: bool) -> set[str]:
        with self.lock:
            return {who for (who, of), sure in self.holds.items() if of == volume and (sure or not certain)}

    # Content

    def check_content(self, worker: int, who: str, volume: Volume) -> None:
        """Find what this worker wrote to the volume, or write it now; not where the saboteur was quicker."""
        path = self.machine.place(volume)
        try:
            place = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        except OSError:
            return self._expect_no_promise(who, volume, f"{path} cannot be opened")
        try:
            if os.fstat(place).st_dev == os.stat(os.path.dirname(path)).st_dev:
                return self._expect_no_promise(who, volume, f"nothing is mounted at {path}")
            self._nonce(worker, volume, place)
        finally:
            os.close(place)

    def _expect_no_promise(self, who: str, volume: Volume, what: str) -> None:
        with self.lock:
            if (who, volume) in self.promises:
                raise Violation(f"{what}, and {who} holds it")

    def _nonce(self, worker: int, volume: Volume, place: int) -> None:
        name = f"nonce-{worker}"
        with self.lock:
            removals = self.removals[volume]
            at, expected = self.written.get((worker, volume), (-1, ""))
        if at != removals:
            nonce = f"{volume[1]} {worker} {os.urandom(8).hex()}"
            with open(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, dir_fd=place), "w") as file:
                file.write(nonce)
                file.flush()
                os.fsync(file.fileno())
            os.fsync(place)
            with self.lock:
                self.written[worker, volume] = removals, nonce
            return
        self._find(name, volume, place, expected)

    def _find(self, name: str, volume: Volume, place: int, expected: str) -> None:
        try:
            with open(os.open(name, os.O_RDONLY, dir_fd=place)) as file:
                found = file.read()
        except FileNotFoundError:
            found = ""
        if found != expected:
            raise Violation(f"{volume}: {expected!r} was written to it, and {found!r} is there: data is lost")
        self.counts["contents found"] += 1

    def check_written(self, volume: Volume) -> None:
        """Find everything that anybody ever wrote to the volume, which is mounted, and was not removed meanwhile."""
        place = os.open(self.machine.place(volume), os.O_RDONLY | os.O_DIRECTORY)
        try:
            for (worker, of), (at, expected) in list(self.written.items()):
                if of == volume and at == self.removals[volume]:
                    self._find(f"nonce-{worker}", volume, place, expected)
        finally:
            os.close(place)

    def check_made(self) -> None:
        """No file system with anything on it was ever made anew."""
        for volume in {of for (_, of), (at, _) in self.written.items() if at == self.removals[of]}:
            removals, found = self.removals[volume], self.machine.identity(volume)
            at, known = self.made.get(volume, (-1, ""))
            if at == removals and found != known:
                raise Violation(f"{volume} had the file system {known}, and has {found}: it was formatted twice")
            self.made[volume] = removals, found


class Watcher:
    """A thread that looks at the mount table whenever the kernel says that it has changed."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.broken: list[Violation] = []
        self.changes = 0
        self.stopped = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def stop(self) -> None:
        self.stopped.set()
        self.thread.join(30)

    def _run(self) -> None:
        table = Path("/proc/self/mountinfo")
        with table.open("rb", buffering=0) as file:
            poll = select.poll()
            poll.register(file, select.POLLPRI | select.POLLERR)
            while not self.stopped.is_set():
                if poll.poll(200):
                    self.changes += 1
                self.look(file.fileno())

    def look(self, table: int) -> None:
        """Compare what was promised before and is still promised after with the table as it was in between."""
        with self.ledger.lock:
            before = list(self.ledger.promises.items())
        there: dict[str, list[str]] = {}
        for mount in mountinfo.read():
            there.setdefault(mount.path, []).append(mount.id)
        faults = []
        for key, promise in before:
            unique = mount_id(promise.path)
            if there.get(promise.path) != [promise.id] or unique != promise.unique:
                found = f"mounts {there.get(promise.path)}, {unique} instead of {promise.id}, {promise.unique}"
                faults.append((key, promise, found))
        with self.ledger.lock:
            for key, promise, found in faults:
                if self.ledger.promises.get(key) is promise:
                    self.broken.append(Violation(f"{promise}, and it was unmounted meanwhile: {found}"))
                    del self.ledger.promises[key]
