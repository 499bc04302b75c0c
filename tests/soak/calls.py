"""Every call of the soak: run as a real process, kept in a log, exposed to the saboteur while it runs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
import threading
import time
from collections import Counter, deque
from pathlib import Path
from typing import NamedTuple

from tests.conftest import Done
from tests.soak.ledger import Violation
from tests.soak.plan import CALLS, Step
from tests.soak.systems import PATIENCE
from tests.soak.world import Machine

LONGEST = 600.0  # seconds; a mount gives up after 100, and its undoing after 10 more, on a machine that is idle
KILLED = -signal.SIGKILL
ABORTED = -signal.SIGABRT
WAKEUP = rb', "\1\0\0\0\0\0\0\0", 8)'  # what is written to an eventfd
BY_US = (0, 1, 3, 4, 5, 6, KILLED)
KEPT = 30


class Ran(NamedTuple):
    at: float
    took: float
    worker: int
    line: str
    code: int
    out: str
    err: str

    def __str__(self) -> str:
        said = " ".join((self.out + self.err).split())
        return f"{self.at:7.2f} +{self.took:.2f} worker {self.worker:2} {self.line}: {self.code} {said[:600]}"


class Calm:
    """A door that the workers go through for each step, and which can be shut: then nobody is inside."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.inside = 0
        self.shut = False
        self.over = False

    def enter(self) -> bool:
        """Wait until it is open, and go in; return False where the soak is over."""
        with self.changed:
            self.changed.wait_for(lambda: not self.shut or self.over)
            if self.over:
                return False
            self.inside += 1
            return True

    def leave(self) -> None:
        with self.changed:
            self.inside -= 1
            self.changed.notify_all()

    def close(self) -> None:
        with self.changed:
            self.shut = True

    def wait_empty(self, seconds: float) -> bool:
        with self.changed:
            return self.changed.wait_for(lambda: self.inside == 0, seconds)

    def open(self) -> None:
        with self.changed:
            self.shut = False
            self.changed.notify_all()

    def end(self) -> None:
        with self.changed:
            self.over = True
            self.changed.notify_all()


class Calls:
    """Runs calls on the machine; `errors` is what their system calls fail with at this time, for some of them."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.began = time.monotonic()
        self.errors: set[str] = set()
        self.traced = 0
        self.running: dict[int, bool] = {}  # by pid, whether it is strace
        self.lock = threading.Lock()
        self.log: deque[Ran] = deque(maxlen=20000)
        self.counts: Counter[str] = Counter()
        self.codes: Counter[int] = Counter()
        self.faults: Counter[str] = Counter()

    def run(self, worker: int, words: list[str], request: object = None, step: Step | None = None) -> Done:
        """Run dvdcli with *words*, and *request* on stdin; under strace where *step* says that its writes fail."""
        errors = sorted(self.errors)
        error = errors[int(step.pick * len(errors))] if step and step.injected and errors else ""
        trace = self._new_trace() if error else None
        before = self._failing(error, step, trace) if trace and step else []
        with tempfile.TemporaryFile(dir=self.machine.root / "work") as stdin:
            if request is not None:
                stdin.write(json.dumps(request).encode())
                stdin.seek(0)
            at = time.monotonic()
            process = subprocess.Popen(
                [*before, *self.machine.command(), *words], env=self.machine.home.env, stdin=stdin,
                stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            )  # fmt: skip
            with self.lock:
                self.running[process.pid] = bool(before)
            done = self._finish(process, words)
        line = f"{' '.join(words)}{f' <{json.dumps(request)}' if request else ''}{f' with {error}' if error else ''}"
        self._note(Ran(at - self.began, time.monotonic() - at, worker, line, done.code, done.out, done.err))
        lost_wakeup = trace is not None and self._count_failed(error, trace)
        if not (lost_wakeup and done.code == ABORTED):
            self._judge(words, done)
        return done

    def patiently(self, worker: int, words: list[str], request: object = None) -> Done:
        """Run a call when all is calm, again only while a process of another test has a copy of our mounts."""
        end = time.monotonic() + PATIENCE
        while True:
            done = self.run(worker, words, request)
            said = done.out + done.err
            copied = "has it mounted at" in said or "still mounted by" in said
            if not copied or time.monotonic() > end:
                return done
            time.sleep(0.2)

    def _finish(self, process: subprocess.Popen[bytes], words: list[str]) -> Done:
        try:
            return self.machine.home.finish(process, LONGEST)
        except subprocess.TimeoutExpired:
            raise Violation(f"{words} hangs for {LONGEST} s") from None
        finally:
            with self.lock:
                del self.running[process.pid]

    def _new_trace(self) -> Path:
        with self.lock:
            self.traced += 1
            return self.machine.traces / str(self.traced)

    def _count_failed(self, error: str, trace: Path) -> bool:
        """Count the system calls that failed as they were told to; return whether one was a WAKEUP of gRPC's threads.

        No kernel fails that one, and gRPC ends the process where it does: to us that is one kill more.
        """
        text = trace.read_bytes() if trace.exists() else b""
        trace.unlink(missing_ok=True)
        with self.lock:
            self.faults[error] += text.count(b"(INJECTED)")
        return any(WAKEUP in line and b"(INJECTED)" in line for line in text.splitlines())

    def _note(self, ran: Ran) -> None:
        with self.lock:
            self.log.append(ran)
            words = ran.line.split()
            self.counts[f"{words[0]} --isolator" if words[1:2] == ["--isolator"] else words[0]] += 1
            self.codes[ran.code] += 1

    def _judge(self, words: list[str], done: Done) -> None:
        bug = "bug in dvdcli" in done.err or "Traceback" in done.err
        if done.code not in BY_US or bug:
            raise Violation(f"{words}: {done}")

    def _failing(self, error: str, step: Step, trace: Path) -> list[str]:
        when = f"{step.when}+{step.every}" if step.every > 1 else f"{step.when}{'+' if step.every else ''}"
        inject = f"inject={CALLS}:error={error}:when={when}"
        return ["strace", "-f", "-qqq", "-o", str(trace), "-e", f"trace={CALLS}", "-e", inject]

    def recent(self, worker: int) -> list[Ran]:
        with self.lock:
            return [ran for ran in self.log if ran.worker == worker][-KEPT:]

    def victims(self) -> list[int]:
        """Return the processes of the calls that run at this moment, and of their children; no strace."""
        with self.lock:
            running = dict(self.running)
        found = []
        for pid, traced in running.items():
            found += descendants(pid) if traced else [pid, *descendants(pid)]
        return found


def descendants(pid: int) -> list[int]:
    found = []
    try:
        for task in os.listdir(f"/proc/{pid}/task"):
            children = Path(f"/proc/{pid}/task/{task}/children").read_text()
            for child in map(int, children.split()):
                found += [child, *descendants(child)]
    except OSError:
        pass  # it ends at this moment
    return found
