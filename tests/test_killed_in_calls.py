"""Every request to a storage system, of every command: kill -9 before and after it, no answer, an error for one.

Then the same call again, or recover, mends. The requests of each scene are in walk_requests.toml: one that is new is
not walked past, for test_crash_walk.py compares. `make crash-walk` takes every request; CI a sample.
"""

from __future__ import annotations

import signal
import subprocess
import threading
import zlib
from typing import Any, NamedTuple

import pytest

from tests import scenes, walk_ledger
from tests import walk as walking
from tests.scenes import THENS, Scene
from tests.walk import LEVEL
from tests.walk_round import Round

pytestmark = pytest.mark.root

TRY_AGAIN = 5
FAILED = (0, 1, 3, 4, TRY_AGAIN)
# Not repeated within one call, when the answer is lost: it would be carried out twice.
NOT_REPEATED = ("createVolume",)
# Answers in a row: of EC2's more than the three that botocore asks for, and than the call's way back does.
LASTING = {"ebs": 9, "scaleio": 2, "docker": 2, "csi": 2, "csi-publish": 2}
REQUESTS = walk_ledger.read(walk_ledger.REQUESTS)
SHARDS = 1 if LEVEL == "sample" else 8
MOST = 1


class Hit(NamedTuple):
    """What happens to the *number*th request, an *action*; `times` how often in a row, where it is an answer."""

    number: int
    action: str
    what: str
    times: int
    then: str

    def __str__(self) -> str:
        return f"{self.what} {self.action}, request {self.number}, {self.times} times"

    @property
    def counted(self) -> str:
        return f"{self.what.replace(' ', '-')} request"


def hits(pair: str) -> list[Hit]:
    """Return every hit of a scene, those that kill first."""
    found: list[Hit] = []
    lasting = LASTING[pair.partition(" ")[0]]
    for number, action in enumerate(REQUESTS[pair], 1):
        for moment in ("killed before", "killed after"):
            found += [Hit(number, action, moment, 1, then) for then in THENS]
        for index, what in enumerate(("lost before", "lost after", "refused", "failing")):
            found += [Hit(number, action, what, times, THENS[(number + index) % 2]) for times in (1, lasting)]
    return found


class Killer:
    """Kills the caller in its *number*th request, `before` it is carried out or `after` that, before the answer."""

    def __init__(self, scene: Scene, number: int, moment: str) -> None:
        self.number, self.moment = number, moment
        self.seen = 0
        self.struck = False
        self.started = threading.Event()
        scene.world.watch(self.hit)
        with scene.request.open("rb") as stdin:
            self.process = scene.home.start(*scene.args, stdin=stdin)
        self.started.set()

    def hit(self, action: str, moment: str) -> None:
        self.seen += moment == "before"
        if (self.seen, moment) == (self.number, self.moment) and not self.struck:
            self.struck = True
            assert self.started.wait(60)
            self.process.send_signal(signal.SIGKILL)
            self.process.wait(60)


def strike(scene: Scene, hit: Hit, requests: list[str]) -> subprocess.CompletedProcess[bytes]:
    """Make the call, and let what *hit* says happen to it."""
    driver = scene.world.driver
    if hit.what.startswith("killed"):
        killer = Killer(scene, hit.number, hit.what.split()[1])
        out, err = killer.process.communicate(timeout=120)
        scene.world.settle()
        scene.world.watch(lambda action, moment: None)
        assert (killer.process.returncode, killer.struck) == (-signal.SIGKILL, True)
        assert scene.world.told() == requests[: hit.number]
        return subprocess.CompletedProcess(scene.args, killer.process.returncode, out, err)
    replies: dict[str, Any] = {
        "lost before": scene.world.lost(False), "lost after": scene.world.lost(True),
        "refused": scene.world.error(True), "failing": scene.world.error(False),
    }  # fmt: skip
    scene.world.answer(hit.action, requests[: hit.number - 1].count(hit.action), [replies[hit.what]] * hit.times)
    done = walking.run(scene)
    scene.world.settle()
    scene.world.answer_right()
    once = driver != "plug" and hit.times == 1 and hit.action not in NOT_REPEATED and hit.what.startswith("lost")
    assert done.returncode in ((0,) if once else FAILED), done
    assert scene.verb != "mount" or bool(done.stdout) == (done.returncode == 0), done
    assert b"bug" not in done.stderr
    return done


@pytest.mark.parametrize("shard", range(SHARDS))
@pytest.mark.parametrize("pair", REQUESTS)
def test_hit_at_any_request(pair: str, shard: int, record_property: Any) -> None:
    world, _, name = pair.partition(" ")
    walked = Round(world, name)
    some = walking.sample(hits(pair), MOST, zlib.crc32(pair.encode()))[shard::SHARDS]
    walked.go(some, lambda scene, hit: strike(scene, hit, REQUESTS[pair]))
    walked.end(record_property)


def test_no_scene_is_left_over() -> None:
    assert set(REQUESTS) <= {f"{world} {name}" for world, name in scenes.pairs()}
