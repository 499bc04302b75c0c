"""kill -9 before and after every call of a storage system's API, and lost answers: the next call, or recover, mends.

The calls of each scene are listed here: one that is new is not walked past.
"""

from __future__ import annotations

import signal
import subprocess
import threading
from typing import Any

import pytest

from tests.doubles import csi, ec2, scaleio
from tests.scenes import AGAIN, RECOVER, THENS, Scene
from tests.walk import WHOLE

pytestmark = pytest.mark.root

TRY_AGAIN = 5
FOUND = ["queryIdByKey", "Volume"]
PLUGIN = ["GetPluginInfo", "GetPluginCapabilities"]
PUBLISH = ["NodeGetInfo", "ControllerPublishVolume", "NodeGetCapabilities", "NodeStageVolume", "NodePublishVolume"]
UNPUBLISH = ["NodeUnpublishVolume", "NodeUnstageVolume", "ControllerUnpublishVolume"]
PLAIN = "csi that only publishes"
CALLS = {
    ("ebs", "first mount"): ["DescribeVolumes", "DescribeVolumes", "CreateVolume", "DescribeVolumes",
                             "DescribeInstances", "AttachVolume", "DescribeVolumes"],
    ("ebs", "mount"): ["DescribeVolumes", "DescribeInstances", "AttachVolume", "DescribeVolumes"],
    ("ebs", "preempting mount"): ["DescribeVolumes", "DescribeInstances", "DetachVolume", "DescribeVolumes",
                                  "DescribeInstances", "AttachVolume", "DescribeVolumes"],
    ("ebs", "unmount"): ["DetachVolume", "DescribeVolumes"],
    ("ebs", "recover"): ["DetachVolume", "DescribeVolumes"],
    ("scaleio", "first mount"): ["login", "queryIdByKey", "queryIdByKey", "version", "ProtectionDomains",
                                 "StoragePools", "createVolume", "Volume", "addMappedSdc", "logout"],
    ("scaleio", "mount"): ["login", *FOUND, "addMappedSdc", "logout"],
    ("scaleio", "preempting mount"): ["login", *FOUND, "Systems", "Sdcs", "removeMappedSdc", "addMappedSdc",
                                      "logout"],
    ("scaleio", "unmount"): ["login", "removeMappedSdc", "logout"],
    ("scaleio", "recover"): ["login", "removeMappedSdc", "logout"],
    ("csi", "first mount"): [*PLUGIN, "ControllerGetCapabilities", "ListVolumes", "CreateVolume", *PUBLISH],
    ("csi", "mount"): [*PLUGIN, "ValidateVolumeCapabilities", "ControllerGetCapabilities", *PUBLISH],
    ("csi", "unmount"): UNPUBLISH,
    ("csi", "recover"): UNPUBLISH,
    (PLAIN, "first mount"): [*PLUGIN, "ControllerGetCapabilities", "CreateVolume", "NodeGetCapabilities",
                             "NodePublishVolume"],
    (PLAIN, "unmount"): ["NodeUnpublishVolume"],
}  # fmt: skip
CHANGING = (
    "CreateVolume", "AttachVolume", "DetachVolume", "createVolume", "addMappedSdc", "removeMappedSdc",
    "ControllerPublishVolume", "NodeStageVolume", "NodePublishVolume", *UNPUBLISH,
)  # fmt: skip
NOT_REPEATED = ("createVolume",)  # within one call, when its answer is lost
DROPS: dict[str, Any] = {"ebs": ec2.Drop, "scaleio": scaleio.Drop, "csi": csi.Drop, PLAIN: csi.Drop}
ONE_THEN = ("csi", PLAIN)  # in CI, after each kill, since its calls have more moments that count than others
# Lost answers in a row: of EC2's more than the three that botocore asks for, and than the call's way back does.
LOST = {"ebs": 9, "scaleio": 2, "csi": 2, PLAIN: 2}


class Called(Scene):
    """A scene of a storage system with an API; in `preempting mount` a host that is stopped has the volume."""

    def __init__(self, driver: str, scene: str) -> None:
        super().__init__(driver, scene.removeprefix("preempting "))
        self.scene = scene
        self.double = self.world.double
        if scene.startswith("preempting"):
            self.world.rival()
        self.world.forget()

    def start(self) -> subprocess.Popen[bytes]:
        return self.home.start(*self.args)

    def end(self, process: subprocess.Popen[bytes]) -> subprocess.CompletedProcess[bytes]:
        out, err = process.communicate(timeout=120)
        return subprocess.CompletedProcess(self.args, process.returncode, out, err)


class Killer:
    """Kills the caller in its *number*th call, `before` it is carried out or `after` that, before the answer."""

    def __init__(self, scene: Called, number: int, moment: str) -> None:
        self.number, self.moment = number, moment
        self.seen = 0
        self.struck = False
        self.started = threading.Event()
        scene.double.before = self.hit
        self.process = scene.start()
        self.started.set()

    def hit(self, action: str, moment: str) -> None:
        self.seen += moment == "before"
        if (self.seen, moment) == (self.number, self.moment) and not self.struck:
            self.struck = True
            assert self.started.wait(60)
            self.process.send_signal(signal.SIGKILL)
            self.process.wait(60)


def names(calls: object) -> str:
    return " ".join(calls) if isinstance(calls, tuple) else str(calls)


@pytest.mark.parametrize("calls", CALLS, ids=names)
def test_the_calls_of_each_scene_are_those_that_are_walked(calls):
    point = Called(*calls)
    done = point.end(point.start())
    assert done.returncode == 0, done
    assert point.world.told() == CALLS[calls]
    point.finish(done, "nothing was hit", AGAIN if point.scene != "recover" else RECOVER)


@pytest.mark.parametrize("then", THENS)
@pytest.mark.parametrize("calls", CALLS, ids=names)
def test_killed_before_and_after_every_call(calls, then):
    """What changes nothing leaves the same before and after it, and in CI is followed by one or the other."""
    for number, action in enumerate(CALLS[calls], 1):
        for moment in ("before", "after"):
            again = (number + THENS.index(then)) % 2
            if action not in CHANGING and (again or moment == "after") and not WHOLE:
                continue
            if calls[0] in ONE_THEN and again == (moment == "after") and not WHOLE:
                continue
            point = Called(*calls)
            killer = Killer(point, number, moment)
            hit = point.end(killer.process)
            point.world.settle()
            point.double.before = lambda action, moment: None
            told = point.world.told()
            assert killer.seen == len(told), (number, action, moment, told, point.double.faults)
            assert (hit.returncode, killer.struck) == (-signal.SIGKILL, True), (number, action, moment, told, hit)
            assert told == CALLS[calls][:number]
            if isinstance(point.double, csi.Driver) and again:
                point.double.restart()  # it was killed as well
            point.finish(hit, f"{moment} {action}, call {number}", then)


@pytest.mark.parametrize("carried_out", [True, False])
@pytest.mark.parametrize("calls", CALLS, ids=names)
def test_answers_that_are_lost(calls, carried_out):
    driver, _ = calls
    for number, action in enumerate(CALLS[calls], 1):
        before = CALLS[calls][: number - 1].count(action)
        for lost in (1, LOST[driver]):
            if action not in CHANGING and (lost == 1 or (driver != "ebs" and not WHOLE)):
                continue
            if driver in ONE_THEN and lost > 1 and not WHOLE:
                continue
            point = Called(*calls)
            point.double.next(action, *[None] * before, *[DROPS[driver](act=carried_out)] * lost)
            hit = point.end(point.start())
            where = f"{lost} answers to {action}, call {number}, lost"
            once = lost == 1 and action not in NOT_REPEATED
            assert hit.returncode in ((0,) if once else (0, TRY_AGAIN)), (where, hit)
            if point.verb == "mount":
                assert bool(hit.stdout) == (hit.returncode == 0), (where, hit)
            point.double.replies.clear()
            point.finish(hit, where, THENS[number % 2])
