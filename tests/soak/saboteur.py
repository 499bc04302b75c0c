"""What goes wrong on the machine: kills, a full or failing state, the clock, unmounts behind our back, reboots."""

from __future__ import annotations

import errno
import fcntl
import os
import random
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tests.soak.calls import Calls, Calm
from tests.soak.ledger import Ledger, Violation
from tests.soak.plan import ANSWERS, INJECTED, VOLUMES, Storm, Volume
from tests.soak.storage import BETWEEN, StorageTrouble
from tests.soak.world import Machine

BETWEEN_KILLS = 0.25  # seconds, on average
CALLS_A_KILL = 6  # at least: on a slow machine some are to come to their end
ENOUGH = 5
JUMPS = (61, 121, 3600, 86400, 40 * 86400)  # seconds
MOST = 60.0  # seconds that a storm goes on for a kind of it that has never hit


class Saboteur(StorageTrouble):
    """Carries out one storm at a time; each kind is a method that goes on until the storm is over.

    `hits` is how often each kind has hit; `counts` are those of the table.
    """

    def __init__(self, machine: Machine, calls: Calls, ledger: Ledger, calm: Calm) -> None:
        super().__init__(machine)
        self.calls, self.ledger, self.calm = calls, ledger, calm
        self.kills = 0
        self.doors = threading.Lock()  # who shuts the door to the workers
        self.failures: list[BaseException] = []

    def carry_out(self, storm: Storm, stop: Callable[[], bool]) -> None:
        """Let the storm go on for its time, and until each of its kinds has hit in some storm; or until *stop*."""
        self.over.clear()
        kinds = list(dict.fromkeys(("kill", *storm.kinds)))
        actions = [
            threading.Thread(target=self._act, args=(kind, random.Random(f"{storm.seed} {kind}")), daemon=True)
            for kind in kinds
        ]
        for action in actions:
            action.start()
        began = time.monotonic()
        while not stop() and not self.failures:
            took, hits = time.monotonic() - began, self.hits()
            if took > MOST or (took > storm.seconds and all(has_hit(kind, hits) for kind in kinds)):
                break
            self.over.wait(0.05)
        self.over.set()
        for action in actions:
            action.join(600)
        if self.failures:
            raise self.failures[0]

    def _act(self, kind: str, chosen: random.Random) -> None:
        try:
            if kind in INJECTED:
                self._fail(kind, chosen)
            else:
                getattr(self, f"_{kind.replace('-', '_')}")(chosen)
        except BaseException as error:
            self.failures.append(error)

    def hits(self) -> Counter[str]:
        """Return how often each kind has hit until now."""
        return Counter({"kill": self.kills, **self.counts, **self.calls.faults})

    # Processes

    def _kill(self, chosen: random.Random) -> None:
        while self._pause(chosen, BETWEEN_KILLS):
            if self.kills * CALLS_A_KILL > self.calls.counts.total():
                continue
            victims = self.calls.victims()
            if victims and kill(victims[int(chosen.random() * len(victims))]):
                self.kills += 1

    # The state's file system

    def _fail(self, error: str, chosen: random.Random) -> None:
        while self._pause(chosen, BETWEEN / 3):
            self.calls.errors.add(error)
            self._pause(chosen, 2 * BETWEEN)
            self.calls.errors.discard(error)

    def _full(self, chosen: random.Random) -> None:
        filler = self.machine.home.state / "filler"
        while self._pause(chosen, BETWEEN / 2):
            if fill(str(filler)):
                self.counts["full"] += 1
            self._pause(chosen, BETWEEN)
            self._empty()

    def _read_only(self, chosen: random.Random) -> None:
        while self._pause(chosen, 3 * BETWEEN):  # nobody gets in meanwhile
            if self._read_only_between_calls():
                self.counts["read-only"] += 1
            self._pause(chosen, BETWEEN)
            while not self._remount("rw"):
                time.sleep(0.01)

    def _read_only_between_calls(self) -> bool:
        """Remount while nobody has a lock file open, which alone keeps the kernel from it."""
        with self.doors:
            self.calm.close()
            try:
                return self.calm.wait_empty(MOST) and self._remount("ro")
            finally:
                self.calm.open()

    def _remount(self, how: str) -> bool:
        """Remount the state's file system, as a kernel that met an error does: at once, whoever writes."""
        command = ["mount", "-o", f"remount,{how}", self.machine.home.state]
        end = time.monotonic() + 5
        while time.monotonic() < end:
            if subprocess.run(command, capture_output=True, check=False).returncode == 0:
                return True
            time.sleep(0.005)  # a file is open for writing
        return False

    # The machine

    def _clock(self, chosen: random.Random) -> None:
        """Let the clock jump ahead: the one since the boot, by which dvdcli tells every age.

        It is that of the calls to come, which are in a time namespace of their own. Those have no clock of the day,
        and one faked within a process would differ from what the kernel wakes gRPC by; dvdcli only shows that one.
        """
        while self._pause(chosen, 2 * BETWEEN):
            self.machine.jumped += chosen.choice(JUMPS)
            self.counts["clock"] += 1

    def _clock_back(self, chosen: random.Random) -> None:
        """Let it jump back, as if the call before had been in another time namespace: at most to what it really is."""
        while self._pause(chosen, BETWEEN):
            jump = chosen.choice(JUMPS)
            if self.machine.jumped:
                self.machine.jump_back(jump)
                self.counts["clock-back"] += 1
            else:
                self.machine.jumped = jump

    def _unmount(self, chosen: random.Random) -> None:
        while self._pause(chosen, BETWEEN):
            self._meddle(chosen, detach=False)

    def _detach(self, chosen: random.Random) -> None:
        while self._pause(chosen, BETWEEN):
            self._meddle(chosen, detach=True)

    def _meddle(self, chosen: random.Random, detach: bool) -> None:
        """Unmount a volume by hand, and detach it too; not while a call, or a child that one left, is at work on it."""
        mounted = self.machine.mounted()
        places = [volume for volume in VOLUMES if self.machine.place(volume) in mounted
                  and (self.machine.systems[volume[0]].can_detach() or not detach)]  # fmt: skip
        pick = chosen.random()
        if not places:
            return
        volume = places[int(pick * len(places))]
        with self.doors, self._locked(volume) as free:
            if not free:
                return
            self.ledger.meddle(volume)
            done = subprocess.run(["umount", self.machine.place(volume)], capture_output=True, check=False)
            if done.returncode == 0:
                if detach:
                    self.machine.systems[volume[0]].detach(volume[1])
                self.counts["detach" if detach else "unmount"] += 1
            self.ledger.meddle(volume)

    @contextmanager
    def _locked(self, volume: Volume) -> Iterator[bool]:
        driver, name = volume
        path = self.machine.home.slot(name, driver) / "lock"
        try:
            with path.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                yield os.path.exists(path) and os.path.samestat(os.fstat(file.fileno()), os.stat(path))
        except (FileNotFoundError, BlockingIOError):
            yield False

    def _reboot(self, chosen: random.Random) -> None:
        if self._pause(chosen, 2.0):
            with self.doors:
                self.reboot()

    def reboot(self) -> None:
        """End every process, and start the machine anew."""
        self.calm.close()
        self.ledger.booted()  # from here on nobody is promised anything: containers are killed, too
        end = time.monotonic() + 600
        while not self.calm.wait_empty(0.05) or self.machine.processes():
            for pid in (*self.calls.victims(), *(int(line.split()[0]) for line in self.machine.processes())):
                kill(pid)
            if time.monotonic() > end:
                raise Violation(f"these cannot be killed: {self.machine.processes()}")
        self.machine.calm_down()
        self._lift()
        self.machine.settle()
        self.ledger.booted()
        self.machine.reboot()
        self.counts["reboot"] += 1
        self.calm.open()

    def _lift(self) -> None:
        """Let the state be written again: what stood in the way goes on after the reboot, or does not."""
        if not self._remount("rw"):
            raise Violation("the state's file system stays read-only")
        self._empty()

    def _empty(self) -> None:
        """Make room again; a state that is read-only now is emptied when it is not."""
        try:
            (self.machine.home.state / "filler").unlink(missing_ok=True)
        except OSError as error:
            if error.errno != errno.EROFS:
                raise

    def calm_down(self) -> None:
        """End everything that is still wrong."""
        self.calls.errors.clear()
        self.machine.calm_down()
        self._lift()


def has_hit(kind: str, hits: Counter[str]) -> bool:
    """Return whether the kind has hit; answers have often enough to have met several of what is asked."""
    return hits[kind] >= (ENOUGH if kind in ANSWERS else 1)


def kill(pid: int) -> bool:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


def fill(path: str) -> bool:
    """Write to *path* until the file system is full; return False where nothing can be written to it."""
    try:
        with open(path, "ab", buffering=0) as file:
            for size in (65536, 4096, 1):
                try:
                    while file.write(b"x" * size) == size:
                        pass
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EROFS):
            raise
        return error.errno == errno.ENOSPC
    return True
