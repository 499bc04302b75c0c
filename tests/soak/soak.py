"""One soak: sixteen workers, a saboteur, a watcher; storm, calm, recover, check, and again."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.soak import report
from tests.soak.calls import LONGEST, Calls, Calm
from tests.soak.check import Check
from tests.soak.ledger import Ledger, Violation, Watcher
from tests.soak.plan import KINDS, WORKERS, storms
from tests.soak.saboteur import Saboteur, has_hit
from tests.soak.workers import Worker
from tests.soak.world import Machine
from tests.worlds import close_after_failure

ENDING = 8  # workers that let go at once
NEVER = 1800.0  # seconds after which a kind of fault that has not hit never will
WHOLE = 100.0  # seconds; who asks for so many wants every kind of fault, however slow the machine is


class Soak:
    """The soak of *seed*, for *seconds*. `run` raises Violation with all that is known of the first fault."""

    def __init__(self, command: Path, seed: int, seconds: float) -> None:
        self.seed, self.seconds = seed, seconds
        self.machine = Machine(command)
        self.ledger = Ledger(self.machine)
        self.calm = Calm()
        self.calls = Calls(self.machine)
        self.saboteur = Saboteur(self.machine, self.calls, self.ledger, self.calm)
        self.check = Check(self.machine, self.calls, self.ledger)
        self.watcher = Watcher(self.ledger)
        self.workers = [
            Worker(number, seed, self.machine, self.calls, self.ledger, self.calm) for number in range(WORKERS)
        ]
        self.storms = 0
        self.kinds: tuple[str, ...] = ()
        self.guilty: int | None = None
        self.lasted = 0.0

    def run(self) -> str:
        """Return the table."""
        began = time.monotonic()
        try:
            self.calm.close()
            for worker in self.workers:
                worker.thread.start()
            self._weather(began + self.seconds)
            self._end()
            self.lasted = time.monotonic() - began
        except BaseException as error:
            self.saboteur.over.set()
            told = report.failure(self, self._first(error))
            self._stop()
            close_after_failure(self.machine)
            raise Violation(told) from error
        self._stop()
        self.machine.close()
        return report.table(self)

    def _weather(self, end: float) -> None:
        for storm in storms(self.seed):
            late = time.monotonic() - end
            if late > 0 and (self.seconds < WHOLE or not self.missing()):
                return
            if late > NEVER:
                raise Violation(f"these faults never hit anything: {self.missing()}")
            self.storms, self.kinds = storm.number, storm.kinds
            self.machine.favoured = storm.drivers
            moments = [time.monotonic()]
            self.calm.open()
            self.saboteur.carry_out(storm, self._is_broken)
            moments.append(time.monotonic())
            self.calm.close()
            self.saboteur.calm_down()
            if not self.calm.wait_empty(2 * LONGEST):
                raise Violation("a call does not end")
            self._look()
            moments.append(time.monotonic())
            self.check.after_storm()
            self._look()
            moments.append(time.monotonic())
            took = ", ".join(f"{what} {after - before:.1f} s" for what, before, after in zip(
                ("storm", "its last calls", "check"), moments, moments[1:], strict=False))  # fmt: skip
            print(f"storm {storm.number:2} ({', '.join(storm.kinds)}): {took}", flush=True)

    def missing(self) -> list[str]:
        """Return the kinds of faults that have not hit yet, or not often enough."""
        hits = self.saboteur.hits()
        return [kind for kind in KINDS if not has_hit(kind, hits)]

    def unproven(self) -> list[str]:
        """Return what has to have happened for a soak to prove anything, and has not."""
        happened = {
            "promises": self.ledger.counts["promises"], "changes of the mount table": self.watcher.changes,
            "kills": self.saboteur.kills,
        }  # fmt: skip
        missing = self.missing() if self.seconds >= WHOLE else []
        return [*(what for what, count in happened.items() if not count), *missing]

    @property
    def losses(self) -> int:
        """What was promised, and not kept."""
        return len(self.watcher.broken) + sum(len(worker.failures) for worker in self.workers)

    @property
    def leaks(self) -> int:
        """What the last check found that should not be there, or not be so."""
        return len(self.check.faults)

    def _is_broken(self) -> bool:
        return bool(self.watcher.broken) or any(worker.failures for worker in self.workers)

    def _look(self) -> None:
        if self._is_broken():
            raise Violation("stopped")

    def _first(self, error: BaseException) -> BaseException:
        """Return the fault that stopped everything, and note whose it is."""
        for worker in self.workers:
            if worker.failures:
                self.guilty = worker.number
                return worker.failures[0]
        return self.watcher.broken[0] if self.watcher.broken else error

    def _end(self) -> None:
        """Everybody lets go, and nothing is left at all."""
        began = time.monotonic()
        self.calm.end()
        with ThreadPoolExecutor(ENDING) as pool:
            left = [each for found in pool.map(Worker.give_back, self.workers) for each in found]
        if left:
            raise Violation(f"these cannot let go: {left}")
        self.check.after_storm()
        rows = self.machine.slots_by_volume()
        files = self.machine.home.leftovers()
        if rows or files:
            raise Violation(f"left at the end: {rows} {files}")
        self._look()
        if unproven := self.unproven():
            raise Violation(f"this soak proves nothing, for want of {unproven}")
        print(f"the end: {time.monotonic() - began:.1f} s", flush=True)

    def _stop(self) -> None:
        self.calm.end()
        self.watcher.stop()
        for worker in self.workers:
            worker.thread.join(300)
