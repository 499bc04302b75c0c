"""The soak, for two minutes in CI; `make soak` runs longer ones. The seed is in the failure, with how to run it again.

DVDCLI_SOAK_SECONDS makes it shorter or longer, DVDCLI_SOAK_SEED another one. From 100 s on it goes on until each kind
of fault has hit, however slow the machine is; it judges nothing but what is there when everything has come to rest.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.conftest import COMMAND
from tests.soak.ledger import Ledger, Watcher
from tests.soak.plan import KINDS, VOLUMES, steps, storms
from tests.soak.soak import Soak
from tests.soak.world import Machine
from tests.waiting import wait_until
from tests.walk import needs_strace
from tests.worlds import close_after_failure

pytestmark = pytest.mark.root
REPOSITORY = Path(__file__).resolve().parent.parent
SEED = int(os.environ.get("DVDCLI_SOAK_SEED", "1"))
SECONDS = float(os.environ.get("DVDCLI_SOAK_SECONDS", "120"))


@needs_strace
def test_nothing_is_lost_or_leaked():
    line = [sys.executable, "-m", "tests.soak", f"--seed={SEED}", f"--seconds={SECONDS}"]
    soak = subprocess.Popen(line, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        out, err = soak.communicate()
    finally:
        soak.terminate()  # by way of taking everything down
        soak.wait()
    print(out)
    assert soak.returncode == 0, err
    assert re.findall(r"(losses|leaks) +(\d+)", out) == [("losses", "0"), ("leaks", "0")]


def test_a_plan_comes_from_its_seed():
    def first(seed):
        plan = storms(seed)
        return [next(plan) for _ in range(9)]

    assert first(3) == first(3) != first(4)
    assert {kind for storm in first(3) for kind in storm.kinds} == set(KINDS)


def test_a_step_leans_to_the_drivers_that_have_trouble():
    step = next(steps(1, 0))._replace(volumes=(("plug", "plug-4"), ("local", "local-5"), ("ebs", "ebs-4")))
    assert step.towards(()) == step
    assert step.towards(("csi",)).volumes == (("csi", "csi-4"), ("local", "local-5")), "each of them once"
    assert step._replace(when=1).choose(VOLUMES, ("csi",))[0] == "csi"
    assert step._replace(when=2, pick=0.0).choose(VOLUMES, ("csi",))[0] == "plug"


def test_a_soak_in_which_nothing_went_wrong_proves_nothing():
    soak = Soak(COMMAND, 1, 120)
    soak.watcher.stop()
    close_after_failure(soak.machine)
    assert {"promises", "kills", *soak.missing()} <= set(soak.unproven())
    soak.saboteur.kills = 1
    soak.ledger.counts["promises"] = 1
    assert not {"promises", "kills"} & set(soak.unproven())


def test_the_watcher_sees_an_unmount_that_was_made_good_at_once():
    machine = Machine(COMMAND)
    try:
        ledger = Ledger(machine)
        volume = next(volume for volume in VOLUMES if volume[0] == "plug")
        place = machine.place(volume)
        assert machine.home.mount(volume[1], "plug").code == 0
        assert ledger.told("name:host", volume, ledger.now(volume))
        watcher = Watcher(ledger)
        kept = machine.plugin.backing / volume[1]
        for command in (["umount", place], ["mount", "--bind", kept, place]):
            subprocess.run(command, check=True)
        wait_until(lambda: watcher.broken)
        watcher.stop()
        assert machine.home.unmount(volume[1], "plug").code == 0
        assert not [each for each in threading.enumerate() if each is watcher.thread]
    finally:
        machine.close()
