"""What a soak does, from its seed alone: which storms, what each worker tries, what the saboteur picks.

Every choice comes from the seed, each worker and each storm having a stream of its own. When things happen is left to
the machine: a seed brings back the plan, and most of the time the fault, but not each moment.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import NamedTuple

DRIVERS = ("plug", "local", "ebs", "csi")
PER_DRIVER = 20
VOLUMES = tuple((driver, f"{driver}-{number}") for driver in DRIVERS for number in range(PER_DRIVER))
WORKERS = 16
HOST = "name:host"  # the hold of who mounts without a name
ROLES = ("agent",) * 11 + ("operator",) * 4 + ("cron",)
REMOVABLE = tuple(volume for volume in VOLUMES if volume[1].endswith(("-17", "-18", "-19")))  # at any time, by anyone

KINDS = (
    "kill", "hang", "restart", "deaf", "throttle", "5xx", "cloud-hang", "csi-kill", "csi-hang", "csi-slow",
    "csi-aborted", "csi-unavailable", "csi-lost", "full", "EIO", "ENOSPC", "EROFS", "EDQUOT", "read-only", "clock",
    "clock-back", "unmount", "detach", "reboot",
)  # fmt: skip
# The kinds that are one storage system's: while they last it is asked for more.
CONCERNS = {
    **dict.fromkeys(("hang", "restart", "deaf"), "plug"), **dict.fromkeys(("throttle", "5xx", "cloud-hang"), "ebs"),
    **{kind: "csi" for kind in KINDS if kind.startswith("csi-")},
}  # fmt: skip
ANSWERS = frozenset((
    "throttle", "5xx", "cloud-hang", "csi-hang", "csi-slow", "csi-aborted", "csi-unavailable", "csi-lost",
))  # fmt: skip
INJECTED = frozenset(("EIO", "ENOSPC", "EROFS", "EDQUOT"))
CALLS = "write,rename,fsync,fdatasync,unlink,mkdir,rmdir,ftruncate"
MOST_KINDS = 5  # in one storm
SHORTEST, LONGEST = 4.0, 8.0  # seconds of a storm

WEIGHTS = {
    "agent": {"prepare": 8, "cleanup": 6, "mount": 5, "unmount": 4, "recover": 1},
    "operator": {"hold": 6, "let go": 5, "look": 3, "check": 1, "remove": 2},
    "cron": {"recover": 4, "metrics": 2, "rest": 4},
}

Volume = tuple[str, str]


class Step(NamedTuple):
    """One thing that a worker tries. *pick* chooses among what it has, *when* and *every* where writes fail."""

    verb: str
    volumes: tuple[Volume, ...]
    pick: float
    injected: bool
    when: int
    every: int

    def towards(self, drivers: Sequence[str]) -> Step:
        """Return the step with every second volume one of these *drivers*, if any."""
        if not drivers:
            return self
        volumes = []
        for driver, name in self.volumes:
            number = int(name.rpartition("-")[2])
            leaning = driver if number % 2 else drivers[number // 2 % len(drivers)]
            volumes.append((leaning, f"{leaning}-{number}"))
        return self._replace(volumes=tuple(dict.fromkeys(volumes)))

    def choose(self, volumes: Sequence[Volume], drivers: Sequence[str]) -> Volume:
        """Return one of *volumes*, at every second step one of *drivers*, if any."""
        favoured = [volume for volume in volumes if volume[0] in drivers]
        among = favoured if favoured and self.when % 2 else volumes
        return among[int(self.pick * len(among))]


class Storm(NamedTuple):
    """What goes wrong during *seconds*; *seed* is that of the saboteur's choices in it."""

    number: int
    seconds: float
    kinds: tuple[str, ...]
    seed: str

    @property
    def drivers(self) -> tuple[str, ...]:
        """Those that its kinds concern."""
        return tuple(dict.fromkeys(CONCERNS[kind] for kind in self.kinds if kind in CONCERNS))


def storms(seed: int) -> Iterator[Storm]:
    """Return storm after storm without end; every kind comes once before any comes again. Each has kills."""
    chosen = random.Random(f"{seed} storms")
    waiting: list[str] = []
    number = 0
    while True:
        if len(waiting) < MOST_KINDS:
            more = [kind for kind in KINDS if kind not in waiting]
            chosen.shuffle(more)
            waiting += more
        kinds = [waiting.pop(0) for _ in range(chosen.randint(4, MOST_KINDS))]
        number += 1
        yield Storm(number, chosen.uniform(SHORTEST, LONGEST), tuple(kinds), f"{seed} storm {number}")


def steps(seed: int, worker: int) -> Iterator[Step]:
    """Return what the worker of that number tries, one thing after the other without end.

    Each draws as much, whatever becomes of it.
    """
    chosen = random.Random(f"{seed} worker {worker}")
    weights = WEIGHTS[ROLES[worker]]
    while True:
        [verb] = chosen.choices(list(weights), list(weights.values()))
        volumes = tuple(chosen.sample(VOLUMES, chosen.choice((1, 1, 2, 3))))
        yield Step(
            verb, volumes, chosen.random(), chosen.random() < 0.5, chosen.randint(1, 25), chosen.choice((0, 1, 1, 4))
        )


def is_xfs(name: str) -> bool:
    """Return whether the volume of that name has xfs where it has a file system of its own; the others have ext4."""
    return name.endswith(("-0", "-1"))


def own(worker: int) -> list[Volume]:
    """Return the volumes that this worker alone mounts without a hold of a name, as an old agent does."""
    return [volume for number, volume in enumerate(VOLUMES) if number % WORKERS == worker]
