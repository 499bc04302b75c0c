"""Sixteen callers: agents with plain calls and an isolator, operators, cron. Each goes by its own stream of steps."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Sequence
from typing import Any

from tests.conftest import Done
from tests.doubles.launcher import launch
from tests.gate import flags
from tests.isolators import Isolator
from tests.soak.calls import Calls, Calm
from tests.soak.ledger import Ledger, Violation
from tests.soak.plan import HOST, REMOVABLE, ROLES, Step, Volume, own, steps
from tests.soak.world import Machine

MOST = 6  # containers of one agent
WITH_A_PATH = 0.3  # of the containers; at this path, below the sandbox
INSIDE = "data"
SETTLED = (0, 3)  # what a remove says that has left nothing half done: done, or not there


def asked_for(
    isolator: Isolator, machine: Machine, container: str, volumes: Sequence[Volume], inside: str = ""
) -> dict[str, Any]:
    """Return the isolator's request; the first of *volumes* is to be at the path *inside* the sandbox, if any."""
    found = []
    for index, (driver, name) in enumerate(volumes):
        digit = str(index) if index else ""
        options = ",".join(f"{key}={value}" for key, value in machine.options((driver, name)).items())
        given = {"NAME": name, "DRIVER": driver, "OPTS": options, "CONTAINERPATH": "" if index else inside}
        found += [{"name": f"DVDI_VOLUME_{key}{digit}", "value": value} for key, value in given.items() if value]
    return isolator.request(container, {"variables": found})


class Worker:
    """One caller. What it knows of its own holds is in the ledger; *containers* are those it has to clean up."""

    def __init__(self, number: int, seed: int, machine: Machine, calls: Calls, ledger: Ledger, calm: Calm) -> None:
        self.number = number
        self.role = ROLES[number]
        self.machine, self.calls, self.ledger, self.calm = machine, calls, ledger, calm
        self.steps: Iterator[Step] = steps(seed, number)
        self.isolator = Isolator(machine.home, name=f"agent{number}")
        self.own = own(number)
        self.containers: dict[str, tuple[Volume, ...]] = {}
        self.alive: set[str] = set()
        self.started = 0
        self.boots = 0
        self.failures: list[BaseException] = []
        self.thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        try:
            for step in self.steps:
                if not self.calm.enter():
                    return
                try:
                    self._notice_boot()
                    getattr(self, step.verb.replace(" ", "_"))(step.towards(self.machine.favoured))
                finally:
                    self.calm.leave()
        except BaseException as error:
            self.failures.append(error)

    def _notice_boot(self) -> None:
        """After a reboot an agent cleans up what its containers had, and everybody else begins anew."""
        if self.boots != self.ledger.boots:
            self.boots = self.ledger.boots
            self.alive.clear()

    # An agent's

    def hold_of(self, container: str) -> str:
        return f"container@{self.isolator.name}:{container}"

    def prepare(self, step: Step) -> None:
        if len(self.containers) >= MOST:
            return self.cleanup(step)
        self.started += 1
        container = f"c{self.number}-{self.started}"
        self.containers[container] = step.volumes
        who = self.hold_of(container)
        since = {volume: self.ledger.now(volume) for volume in step.volumes}
        for volume in step.volumes:
            self.ledger.perhaps(who, volume)
        inside = INSIDE if step.pick < WITH_A_PATH else ""
        request = asked_for(self.isolator, self.machine, container, step.volumes, inside)
        done = self.calls.run(self.number, ["mount", "--isolator"], request, step)
        if done.code:
            return None
        self.alive.add(container)
        for volume in step.volumes:
            if self.ledger.told(who, volume, since[volume]):
                self.ledger.check_content(self.number, who, volume)
        if inside:
            self._launch(container, step.volumes[0], done)
        return None

    def _launch(self, container: str, volume: Volume, answer: Done) -> None:
        """Carry out the launch message in a mount namespace, and see there what this worker wrote to the volume."""
        who = self.hold_of(container)
        before = self.ledger.promises.get((who, volume))
        _, nonce = self.ledger.written.get((self.number, volume), (0, ""))
        message = json.loads(answer.out)["launch"]
        task = ["cat", f"{INSIDE}/nonce-{self.number}"]
        sandbox, by = self.isolator.sandbox(container), self.machine.elsewhere.enter()
        done = launch(self.isolator.release, message, task, sandbox, by=by)
        if before is None or self.ledger.promises.get((who, volume)) is not before:
            return  # the saboteur was at it
        if (done.returncode, done.stdout) != (0, nonce):
            raise Violation(f"{container} has {volume} at {INSIDE}, and not {nonce!r} in it: {done}")
        self.ledger.counts["containers that saw their volume"] += 1

    def cleanup(self, step: Step) -> None:
        if self.containers:
            names = sorted(self.containers)
            self._clean(names[int(step.pick * len(names))], step)

    def _clean(self, container: str, step: Step | None) -> bool:
        who, volumes = self.hold_of(container), self.containers[container]
        self.alive.discard(container)
        for volume in volumes:
            self.ledger.perhaps(who, volume)
        request = self.isolator.envelope(container_id=[container])
        done = self.calls.run(self.number, ["unmount", "--isolator"], request, step)
        if done.code:
            return False
        for volume in volumes:
            self.ledger.gone(who, volume)
        del self.containers[container]
        return True

    def recover(self, step: Step | None) -> None:
        if self.role == "cron":
            self.calls.run(self.number, ["recover"], step=step)
            return
        for container in set(self.containers) - self.alive:
            for volume in self.containers[container]:
                self.ledger.perhaps(self.hold_of(container), volume)
        live = [[container] for container in sorted(self.alive)]
        request = self.isolator.envelope(containers=live, orphans=[])
        self.calls.run(self.number, ["recover", "--isolator"], request, step)

    def mount(self, step: Step) -> None:
        self._mount(step.choose(self.own, self.machine.favoured), HOST, step)

    def unmount(self, step: Step) -> None:
        self._unmount(step.choose(self.own, self.machine.favoured), HOST, step)

    def _mount(self, volume: Volume, who: str, step: Step) -> None:
        driver, name = volume
        since = self.ledger.now(volume)
        if who not in self.ledger.holders(volume, certain=True):
            self.ledger.perhaps(who, volume)
        more = [f"--volumeopts={key}={value}" for key, value in self.machine.options(volume).items()]
        hold = [] if who == HOST else [f"--hold={who.removeprefix('name:')}"]
        done = self.calls.run(self.number, ["mount", *flags(name, driver), *more, *hold], step=step)
        if done.code == 0:
            assert done.out.strip() == self.machine.place(volume), done
            if self.ledger.told(who, volume, since):
                self.ledger.check_content(self.number, who, volume)

    def _unmount(self, volume: Volume, who: str, step: Step | None) -> bool:
        driver, name = volume
        self.ledger.perhaps(who, volume)
        hold = [] if who == HOST else [f"--hold={who.removeprefix('name:')}"]
        words = ["unmount", *flags(name, driver), *hold]
        done = self.calls.run(self.number, words, step=step) if step else self.calls.patiently(self.number, words)
        if done.code == 0:
            self.ledger.gone(who, volume)
        return done.code == 0

    # An operator's

    @property
    def name(self) -> str:
        return f"name:op{self.number}"

    def hold(self, step: Step) -> None:
        self._mount(step.volumes[0], self.name, step)

    def let_go(self, step: Step) -> None:
        mine = sorted(volume for who, volume in list(self.ledger.holds) if who == self.name)
        if mine:
            self._unmount(mine[int(step.pick * len(mine))], self.name, step)

    def remove(self, step: Step) -> None:
        """Destroy a volume of those that are there for it, unless anybody holds it."""
        driver, name = volume = step.choose(REMOVABLE, self.machine.favoured)
        self.ledger.removing(volume)
        done = self.calls.run(self.number, ["remove", *flags(name, driver)], step=step)
        self.ledger.removed(volume, done.code in SETTLED)
        self.ledger.counts["volumes removed"] += done.code == 0

    def look(self, step: Step) -> None:
        driver, name = step.volumes[0]
        words = ["list", "--json"] if step.pick < 0.5 else ["inspect", f"{driver}/{name}"]
        self.calls.run(self.number, words, step=step)

    def check(self, step: Step) -> None:
        self.calls.run(self.number, ["check"] if step.pick < 0.5 else ["recover", "--dry-run"], step=step)

    # Cron's

    def metrics(self, step: Step) -> None:
        self.calls.run(self.number, ["recover", f"--metrics={self.machine.metrics}"], step=step)

    def rest(self, step: Step) -> None:
        self.calls.run(self.number, ["recover", "--dry-run"], step=step)

    # At the end

    def give_back(self) -> list[str]:
        """Let go of everything; return what could not be."""
        if self.containers:
            self._let_all_go()
        left = [container for container in sorted(self.containers) if not self._clean(container, None)]
        for who, volume in sorted(self.ledger.holds):
            mine = (who == HOST and volume in self.own) or who == self.name
            if mine and not self._unmount(volume, who, None):
                left.append(f"{who} on {volume}")
        return left

    def _let_all_go(self) -> None:
        """Say that no container lives, in one call."""
        for container, volumes in self.containers.items():
            for volume in volumes:
                self.ledger.perhaps(self.hold_of(container), volume)
        done = self.calls.run(self.number, ["recover", "--isolator"], self.isolator.envelope(containers=[], orphans=[]))
        if done.code == 0:
            for container, volumes in self.containers.items():
                for volume in volumes:
                    self.ledger.gone(self.hold_of(container), volume)
            self.containers.clear()
