"""kill -9 before and after every call of EC2's API, and answers of it that are lost: the next call, or recover, mends.

The calls of each scene are listed here: one that is new is not walked past.
"""

from __future__ import annotations

import signal
import subprocess
import threading

import pytest

from tests.doubles.ec2 import Drop
from tests.scenes import AGAIN, RECOVER, THENS, Scene
from tests.walk import WHOLE
from tests.worlds import EbsWorld

pytestmark = pytest.mark.root

CALLS = {
    "first mount": ["DescribeVolumes", "DescribeVolumes", "CreateVolume", "DescribeVolumes", "DescribeInstances",
                    "AttachVolume", "DescribeVolumes"],
    "mount": ["DescribeVolumes", "DescribeInstances", "AttachVolume", "DescribeVolumes"],
    "preempting mount": ["DescribeVolumes", "DescribeInstances", "DetachVolume", "DescribeVolumes",
                         "DescribeInstances", "AttachVolume", "DescribeVolumes"],
    "unmount": ["DetachVolume", "DescribeVolumes"],
    "recover": ["DetachVolume", "DescribeVolumes"],
}  # fmt: skip
CHANGING = ("CreateVolume", "AttachVolume", "DetachVolume")
LOST = 9  # answers in a row: more than the three that botocore asks for, and than the call's way back does


class Ebs(Scene):
    """A scene of EBS; in `preempting mount` an instance that is stopped has the volume."""

    world: EbsWorld

    def __init__(self, scene: str) -> None:
        super().__init__("ebs", scene.removeprefix("preempting "))
        self.scene = scene
        self.ec2 = self.world.ec2
        if scene.startswith("preempting"):
            self.world.machine.configure('preempt = "stopped"')
            self.world.rival()
        self.ec2.calls.clear()

    def start(self) -> subprocess.Popen[bytes]:
        return self.home.start(*self.args)

    def end(self, process: subprocess.Popen[bytes]) -> subprocess.CompletedProcess[bytes]:
        out, err = process.communicate(timeout=120)
        return subprocess.CompletedProcess(self.args, process.returncode, out, err)


class Killer:
    """Kills the caller in its *number*th call, `before` it is carried out or `after` that, before the answer."""

    def __init__(self, scene: Ebs, number: int, moment: str) -> None:
        self.number, self.moment = number, moment
        self.seen = 0
        self.struck = False
        self.started = threading.Event()
        scene.ec2.before = self.hit
        self.process = scene.start()
        self.started.set()

    def hit(self, action: str, moment: str) -> None:
        self.seen += moment == "before"
        if (self.seen, moment) == (self.number, self.moment) and not self.struck:
            self.struck = True
            assert self.started.wait(60)
            self.process.send_signal(signal.SIGKILL)
            self.process.wait(60)


@pytest.mark.parametrize("scene", CALLS)
def test_the_calls_of_each_scene_are_those_that_are_walked(scene):
    point = Ebs(scene)
    done = point.end(point.start())
    assert done.returncode == 0, done
    assert point.ec2.names() == CALLS[scene]
    point.finish(done, "nothing was hit", AGAIN if scene != "recover" else RECOVER)


@pytest.mark.parametrize("then", THENS)
@pytest.mark.parametrize("scene", CALLS)
def test_killed_before_and_after_every_call(scene, then):
    """What changes nothing is followed by one or the other, in CI."""
    for number, action in enumerate(CALLS[scene], 1):
        for moment in ("before", "after"):
            turn = (number + (moment == "after") + THENS.index(then)) % 2
            if turn and action not in CHANGING and not WHOLE:
                continue
            point = Ebs(scene)
            killer = Killer(point, number, moment)
            hit = point.end(killer.process)
            point.world.settle()
            point.ec2.before = lambda action, moment: None
            assert (hit.returncode, killer.struck) == (-signal.SIGKILL, True), (number, action, moment)
            assert point.ec2.names() == CALLS[scene][:number]
            point.finish(hit, f"{moment} {action}, call {number}", then)


@pytest.mark.parametrize("carried_out", [True, False])
@pytest.mark.parametrize("scene", CALLS)
def test_answers_that_are_lost(scene, carried_out):
    for number, action in enumerate(CALLS[scene], 1):
        before = CALLS[scene][: number - 1].count(action)
        for lost in (1, LOST):
            if lost == 1 and action not in CHANGING:
                continue
            point = Ebs(scene)
            point.ec2.next(action, *[None] * before, *[Drop(act=carried_out)] * lost)
            hit = point.end(point.start())
            where = f"{lost} answers to {action}, call {number}, lost"
            assert hit.returncode in ((0,) if lost == 1 else (0, 5)), (where, hit)
            if point.verb == "mount":
                assert bool(hit.stdout) == (hit.returncode == 0), (where, hit)
            point.ec2.replies.clear()
            point.finish(hit, where, THENS[number % 2])
