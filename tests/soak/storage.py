"""What goes wrong in storage systems: a plugin hangs, is deaf, restarts; a cloud throttles, fails, hangs; a CSI driver
is killed, hangs, is slow, refuses, and acts without an answer.
"""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Callable
from typing import TypeVar

from tests.doubles.csi import Drop, Fail, Instead, Slow
from tests.doubles.ec2.errors import Error
from tests.doubles.plugin import Reply
from tests.soak.csi import Csi
from tests.soak.systems import Ebs
from tests.soak.world import Machine

T = TypeVar("T")

BETWEEN = 0.7  # seconds, on average
OFTEN = 0.4  # of the requests, while something is wrong with them
DEAF = Reply(raw=b"", act=True)  # it does what it is asked, and drops the connection
THROTTLED = Error("RequestLimitExceeded", "Request limit exceeded.", 503)
FAILED = Error("InternalError", "An internal error has occurred.", 500)


class StorageTrouble:
    """The saboteur's part that has to do with storage systems. A method is a kind: it goes on until `over`."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.counts: Counter[str] = Counter()
        self.over = threading.Event()
        self.answering = threading.Lock()  # who has the dice for what is answered

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

    # EC2

    def _throttle(self, chosen: random.Random) -> None:
        self._answer_wrong(chosen, "throttle", THROTTLED, ("before",))

    def _5xx(self, chosen: random.Random) -> None:
        """Fail before the request is carried out, or after."""
        self._answer_wrong(chosen, "5xx", FAILED, ("before", "after"))

    def _answer_wrong(self, chosen: random.Random, kind: str, error: Error, moments: tuple[str, ...]) -> None:
        dice = random.Random(chosen.random())

        def before(action: str, when: str) -> None:
            if when in moments and self._hits(kind, dice):
                raise error

        self._keep(chosen, self.machine.ebs.hooks, kind, before)

    def _cloud_hang(self, chosen: random.Random) -> None:
        """Let requests wait, some of them when they have been carried out."""
        self._let_wait(chosen, "cloud-hang", self.machine.ebs)

    def _let_wait(self, chosen: random.Random, kind: str, system: Ebs | Csi) -> None:
        def before(name: str, moment: str) -> None:
            if not system.awake.is_set():
                with self.answering:
                    self.counts[kind] += 1
                system.awake.wait(60)

        while self._pause(chosen, BETWEEN / 2):
            system.hooks[kind] = before
            system.awake.clear()
            self._pause(chosen, 2.0)
            system.awake.set()
        system.hooks.pop(kind, None)

    def _hits(self, kind: str, dice: random.Random) -> bool:
        with self.answering:
            hits = dice.random() < OFTEN
            self.counts[kind] += hits
            return hits

    # The CSI driver

    def _csi_kill(self, chosen: random.Random) -> None:
        """Kill a process of the driver in the middle of a call, and start it again after a while."""
        csi = self.machine.csi
        while self._pause(chosen, BETWEEN):
            plugin = csi.kill_in_a_call(chosen, self.over)
            if plugin is not None:
                self.counts["csi-kill"] += 1
                self._pause(chosen, 1.0)
                csi.start(plugin)

    def _csi_hang(self, chosen: random.Random) -> None:
        self._let_wait(chosen, "csi-hang", self.machine.csi)

    def _csi_slow(self, chosen: random.Random) -> None:
        """Take seconds, before a call is carried out, or before it is answered."""
        self._instead(chosen, "csi-slow", lambda dice: Slow(dice.uniform(0.1, 1.5), act=dice.random() < 0.5))

    def _csi_aborted(self, chosen: random.Random) -> None:
        self._instead(chosen, "csi-aborted", lambda dice: Fail("ABORTED", "another operation is pending"))

    def _csi_unavailable(self, chosen: random.Random) -> None:
        self._instead(chosen, "csi-unavailable", lambda dice: Fail("UNAVAILABLE", "the storage is not there"))

    def _csi_lost(self, chosen: random.Random) -> None:
        self._instead(chosen, "csi-lost", lambda dice: Drop(act=True))

    def _instead(self, chosen: random.Random, kind: str, make: Callable[[random.Random], Instead]) -> None:
        dice = random.Random(chosen.random())
        self._keep(chosen, self.machine.csi.choices, kind, lambda rpc: make(dice) if self._hits(kind, dice) else None)

    def _keep(self, chosen: random.Random, where: dict[str, T], kind: str, what: T) -> None:
        """Have *what* in there until the storm is over; a reboot in it takes everything out."""
        while not self.over.is_set():
            where[kind] = what
            self._pause(chosen, BETWEEN / 2)
        where.pop(kind, None)
