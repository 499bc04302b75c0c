"""What goes wrong in storage systems: a plugin hangs, is deaf, restarts; a cloud throttles, fails, hangs."""

from __future__ import annotations

import random
import threading
from collections import Counter

from tests.doubles.ec2.errors import Error
from tests.doubles.plugin import Reply
from tests.soak.world import Machine

BETWEEN = 0.7  # seconds, on average
DEAF = Reply(raw=b"", act=True)  # it does what it is asked, and drops the connection
THROTTLED = Error("RequestLimitExceeded", "Request limit exceeded.", 503)
FAILED = Error("InternalError", "An internal error has occurred.", 500)


class StorageTrouble:
    """The saboteur's part that has to do with storage systems. A method is a kind: it goes on until `over`."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.counts: Counter[str] = Counter()
        self.over = threading.Event()
        self.answering = threading.Lock()  # who has what EC2 answers

    def _pause(self, chosen: random.Random, mean: float) -> bool:
        """Wait for a random time; return False when the storm is over."""
        return not self.over.wait(chosen.uniform(0, 2 * mean))

    def _hang(self, chosen: random.Random) -> None:
        while self._pause(chosen, BETWEEN):
            self.machine.plugin.awake.clear()
            self.counts["hang"] += 1
            self._pause(chosen, 1.0)
            self.machine.plugin.awake.set()

    def _restart(self, chosen: random.Random) -> None:
        while self._pause(chosen, BETWEEN):
            self.machine.plugin.awake.set()
            self.machine.plugin.restart()
            self.counts["restart"] += 1

    def _deaf(self, chosen: random.Random) -> None:
        while self._pause(chosen, BETWEEN / 2):
            self.machine.plugin.next(chosen.choice(("Mount", "Unmount", "Create", "Get")), DEAF)
            self.counts["deaf"] += 1

    def _throttle(self, chosen: random.Random) -> None:
        self._answer_wrong(chosen, "throttle", THROTTLED, ("before",))

    def _5xx(self, chosen: random.Random) -> None:
        """Fail before the request is carried out, or after."""
        self._answer_wrong(chosen, "5xx", FAILED, ("before", "after"))

    def _answer_wrong(self, chosen: random.Random, kind: str, error: Error, moments: tuple[str, ...]) -> None:
        dice = random.Random(chosen.random())

        def before(action: str, when: str) -> None:
            with self.answering:
                wrong = when in moments and dice.random() < 0.6
                self.counts[kind] += wrong
            if wrong:
                raise error

        while self._pause(chosen, BETWEEN / 2):
            self.machine.ec2.before = before
            self._pause(chosen, 2 * BETWEEN)
            self.machine.ec2.before = lambda action, when: None

    def _cloud_hang(self, chosen: random.Random) -> None:
        """Let requests wait, some of them when they have been carried out."""
        ebs = self.machine.ebs
        moment = chosen.choice(("before", "after"))

        def before(action: str, when: str) -> None:
            if when == moment and not ebs.awake.is_set():
                with self.answering:
                    self.counts["cloud-hang"] += 1
                ebs.awake.wait(60)

        while self._pause(chosen, BETWEEN):
            ebs.awake.clear()
            self.machine.ec2.before = before
            self._pause(chosen, 2.0)
            ebs.awake.set()
