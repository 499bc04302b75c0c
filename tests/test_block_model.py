"""Random interleavings of everything that is done to volumes, by several processes at once, against a model.

A plan is made from a seed, which a failure prints: DVDCLI_MODEL_SEEDS=17 (or 100-199) runs those instead of CI's.
The model knows what each process holds, as far as a killed call leaves it certain, and what each volume may contain.
"""

from __future__ import annotations

import fcntl
import os
import random
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.conftest import COMMAND
from tests.worlds import WORLDS, World, close_after_failure

pytestmark = pytest.mark.root

VOLUMES = [f"v{number}" for number in range(5)]
PROCESSES = 4
OPERATIONS = {"local": 7, "ebs": 4, "scaleio": 4, "csi": 4}  # of each process
# 40 in CI and some, most of them where a call takes a tenth of a second.
SEEDS = {"local": "1-28", "ebs": "1-12", "scaleio": "1-8", "csi": "1-8"}
WEIGHTS = {"mount": 8, "write": 5, "unmount": 6, "remove": 1, "create": 1, "recover": 2, "umount": 1, "pull": 1}
KILLED = 0.3  # of the calls, at a moment of their first
LATEST = {"local": 0.25, "ebs": 0.7, "scaleio": 0.6, "csi": 0.6}  # seconds
DONE, NOT_FOUND, IN_USE, TRY_AGAIN = 0, 3, 4, 5
YES, NO, MAYBE = "yes", "no", "maybe"


def seeds(driver: str) -> range:
    first, _, last = os.environ.get("DVDCLI_MODEL_SEEDS", SEEDS[driver]).partition("-")
    return range(int(first), int(last or first) + 1)


class Shared:
    """A lock that many have at once, or one alone."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.inside = 0

    @contextmanager
    def together(self) -> Iterator[None]:
        with self.changed:
            self.changed.wait_for(lambda: self.inside >= 0)
            self.inside += 1
        yield from self.leave()

    @contextmanager
    def alone(self) -> Iterator[None]:
        with self.changed:
            self.changed.wait_for(lambda: self.inside == 0)
            self.inside = -1
        yield from self.leave()

    def leave(self) -> Iterator[None]:
        try:
            yield
        finally:
            with self.changed:
                self.inside -= 1 if self.inside > 0 else -1
                self.changed.notify_all()


class Model:
    """One volume: who holds it, and what may be in it: tokens, and None for a volume that was made anew."""

    def __init__(self) -> None:
        self.calls = Shared()  # alone: what is done behind dvdcli's back, since nobody could foretell its outcome
        self.lock = threading.RLock()
        self.holds = dict.fromkeys(range(PROCESSES), NO)
        self.unmounts = dict.fromkeys(range(PROCESSES), 0)
        self.content: set[str | None] = {None}
        self.written = 0
        self.removing = 0
        self.broken = False  # unmounted behind dvdcli's back, and not mounted again since

    def check(self, place: Path) -> None:
        with self.lock:
            path = place / "token"
            found = path.read_text() if path.exists() else None
            assert found in self.content, (str(place), found, self.content)


class Run:
    """One seed: the plan, the processes that carry it out, and what they did."""

    def __init__(self, world: World, seed: int) -> None:
        self.world = world
        self.random = random.Random(f"{world.driver} {seed}")
        self.models = {name: Model() for name in VOLUMES}
        self.log: list[str] = []
        self.failures: list[BaseException] = []
        self.outcomes: Counter[tuple[str, int]] = Counter()
        self.began = time.monotonic()
        self.plans = [[self.plan() for _ in range(OPERATIONS[world.driver])] for _ in range(PROCESSES)]

    def plan(self) -> tuple[str, str, float | None]:
        [verb] = self.random.choices(list(WEIGHTS), list(WEIGHTS.values()))
        when = self.random.uniform(0, LATEST[self.world.driver]) if self.random.random() < KILLED else None
        return verb, self.random.choice(VOLUMES), when

    def carry_out(self) -> None:
        threads = [threading.Thread(target=self.process, args=(number,)) for number in range(PROCESSES)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(300)
            assert not thread.is_alive(), "a process hangs"
        if self.failures:
            raise self.failures[0]

    def process(self, number: int) -> None:
        try:
            for verb, name, when in self.plans[number]:
                if self.failures:
                    return
                getattr(self, verb)(number, name, when)
        except BaseException as error:
            self.failures.append(error)

    def note(self, text: str) -> None:
        self.log.append(f"{time.monotonic() - self.began:.2f} {text}")

    def call(self, who: int, verb: str, name: str, when: float | None, *more: str) -> tuple[int, str]:
        """Run a call, killed after *when* seconds if it lasts as long; return its exit code and its stdout."""
        arguments = self.world.arguments(name) if verb != "recover" else ()
        process = self.world.home.start(verb, *arguments, *more)
        try:
            out, err = process.communicate(timeout=120 if when is None else when)
        except subprocess.TimeoutExpired:
            assert when is not None, (verb, name, "hangs")
            process.send_signal(signal.SIGKILL)
            out, err = process.communicate(timeout=60)
        code = process.returncode
        self.note(f"p{who} {verb} {name if verb != 'recover' else ''}: {code} {out.decode()}{err.decode()}".strip())
        self.outcomes[verb, code] += 1
        assert code in (DONE, NOT_FOUND, IN_USE, TRY_AGAIN, -signal.SIGKILL), (verb, name, code, err)
        return code, out.decode().strip()

    # What the processes do

    def mount(self, who: int, name: str, when: float | None) -> None:
        model = self.models[name]
        with model.calls.together():
            code, out = self.call(who, "mount", name, when, f"--hold=p{who}", *self.world.options)
            with model.lock:
                if code == DONE:
                    model.holds[who], model.broken = YES, False
                elif code < 0 and model.holds[who] == NO:
                    model.holds[who] = MAYBE
            if code == DONE:
                assert os.path.ismount(out), out
                model.check(Path(out))

    def unmount(self, who: int, name: str, when: float | None) -> None:
        model = self.models[name]
        with model.calls.together():
            with model.lock:
                was, model.holds[who] = model.holds[who], MAYBE
                model.unmounts[who] += 1
            code, _ = self.call(who, "unmount", name, when, f"--hold=p{who}")
            with model.lock:
                model.holds[who] = NO if code == DONE or was == NO else MAYBE

    def write(self, who: int, name: str, when: float | None) -> None:
        """Write a token to a volume that this process holds, which it finds mounted, unless somebody interfered."""
        model = self.models[name]
        with model.calls.together(), model.lock:
            if model.holds[who] != YES or model.broken:
                return
            place = Path(str(self.world.slots()[name]["mountpoint"]))
            assert os.path.ismount(place), f"{name} is held by p{who}, and was unmounted"
            model.check(place)
            token = f"{who} {model.written + 1}"
            with (place / "token").open("w") as file:
                file.write(token)
                os.fsync(file.fileno())
            model.content = {token}
            model.written += 1
            self.note(f"p{who} wrote {name}: {token}")

    def remove(self, who: int, name: str, when: float | None) -> None:
        model = self.models[name]
        with model.calls.together():
            with model.lock:
                before, known = model.written, None in model.content
                held = {other: model.unmounts[other] for other, hold in model.holds.items() if hold == YES}
                model.removing += 1
                model.content = model.content | {None}
            code, _ = self.call(who, "remove", name, when)
            with model.lock:
                model.removing -= 1
                always = [other for other, unmounts in held.items() if model.unmounts[other] == unmounts]
                assert code != DONE or not always, f"{name} was removed, and p{always} held it all the time"
                if model.written != before:
                    return  # who wrote had it mounted, before or after: it was not removed in between
                if code == DONE:
                    model.content = {None}
                elif code > 0 and code != NOT_FOUND and not known and not model.removing:
                    model.content = model.content - {None}

    def create(self, who: int, name: str, when: float | None) -> None:
        with self.models[name].calls.together():
            self.call(who, "create", name, when, *self.world.options)

    def recover(self, who: int, name: str, when: float | None) -> None:
        with ExitStack() as stack:
            for each in VOLUMES:
                stack.enter_context(self.models[each].calls.together())
            self.call(who, "recover", name, when)

    def umount(self, who: int, name: str, when: float | None) -> None:
        """Unmount by hand."""
        with self.models[name].calls.alone():
            self.interfere(who, name, "unmounted")

    def pull(self, who: int, name: str, when: float | None) -> None:
        """Unmount by hand, and let the storage system detach it."""
        with self.models[name].calls.alone():
            if self.interfere(who, name, "pulled"):
                self.world.pull(name)

    def interfere(self, who: int, name: str, what: str) -> bool:
        """Unmount by hand, unless a child of a killed call is at work; return whether that was done."""
        self.world.settle()
        lock = self.world.home.slot(name, self.world.driver) / "lock"
        try:
            with lock.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except FileNotFoundError:
            pass
        except BlockingIOError:
            return False
        for place in self.world.mounts():
            if f"/{name}" in place.removeprefix(str(self.world.home.root)):
                subprocess.run(["umount", place], check=True)
                self.models[name].broken = True
        self.note(f"p{who} {what} {name}")
        return True

    # At the end

    def check(self) -> None:
        """After one recover all agree, who holds is mounted for, and every volume has what it should have."""
        self.world.settle()
        self.world.wait_for_children()
        done = self.world.recover()
        self.note(f"recover: {done}")
        assert done.code == DONE
        for name, row in self.world.slots().items():
            holds = {int(who.removeprefix("name:p")) for who in row["holds"]}
            known = self.models[name].holds
            assert {who for who, hold in known.items() if hold == YES} <= holds, (name, holds, known)
            assert holds <= {who for who, hold in known.items() if hold != NO}, (name, holds, known)
            if self.models[name].broken:  # whoever mounts next mends it
                self.last("mount", name, f"--hold=p{min(holds)}")
        for name in VOLUMES:
            self.tidy(name)
        names = self.world.check_agreement(len(VOLUMES))
        held = {name for name, model in self.models.items() if YES in model.holds.values()}
        assert held <= set(names)
        there = self.world.volumes()
        for name in VOLUMES:
            if name in there:
                self.finish(name)
            else:
                assert self.models[name].content & {None}, f"{name} is lost"
                self.last("remove", name, code=NOT_FOUND)
        places = [self.world.home.slot(name, self.world.driver) for name in VOLUMES]
        if any((place / "unfinished").exists() for place in places):  # of a create that was killed: recover's affair
            assert self.world.recover().code == DONE
        assert self.world.check_agreement(len(VOLUMES)) == []

    def tidy(self, name: str) -> None:
        """Let a call go over the lock of one that was killed before it did anything: it is not worth a marker."""
        slot = self.world.home.slot(name, self.world.driver)
        if slot.is_dir() and [path.name for path in slot.iterdir()] == ["lock"]:
            self.last("unmount", name)
            assert not slot.exists()

    def finish(self, name: str) -> None:
        self.models[name].check(Path(self.last("mount", name, "--explicitcreate", "--hold=p0")))
        for who in self.world.slots()[name]["holds"]:
            self.last("unmount", name, f"--hold={who.removeprefix('name:')}")

    def last(self, verb: str, name: str, *more: str, code: int = DONE) -> str:
        done = self.world.call(verb, name, *more)
        self.note(f"at the end {verb} {name}: {done}")
        assert done.code == code
        return done.out.strip()


@pytest.mark.parametrize(("driver", "seed"), [(driver, seed) for driver in OPERATIONS for seed in seeds(driver)])
def test_an_interleaving(driver, seed):
    world = WORLDS[driver](COMMAND)
    run = Run(world, seed)
    try:
        run.carry_out()
        run.check()
        world.close()
    except BaseException as error:
        close_after_failure(world)
        told = "\n".join(run.log)
        raise AssertionError(f"DVDCLI_MODEL_SEEDS={seed} {driver}: {error}\n{told}\n{world.told()}") from error
    assert run.outcomes["mount", DONE] > 0, run.log
