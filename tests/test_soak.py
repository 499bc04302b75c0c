"""The soak, for two minutes in CI; `make soak` runs longer ones. The seed is in the failure, with how to run it again.

DVDCLI_SOAK_SECONDS makes it shorter or longer, DVDCLI_SOAK_SEED another one. From 100 s on it goes on until each kind
of fault has hit, however slow the machine is; it judges nothing but what is there when everything has come to rest.
"""

from __future__ import annotations

import os
import subprocess
import threading

import pytest

from tests.conftest import COMMAND
from tests.soak.ledger import Ledger, Watcher
from tests.soak.plan import KINDS, VOLUMES, storms
from tests.soak.soak import WHOLE, Soak
from tests.soak.world import Machine
from tests.waiting import wait_until
from tests.walk import needs_strace

pytestmark = pytest.mark.root
SEED = int(os.environ.get("DVDCLI_SOAK_SEED", "1"))
SECONDS = float(os.environ.get("DVDCLI_SOAK_SECONDS", "120"))


@needs_strace
def test_nothing_is_lost_or_leaked():
    print(f"seed {SEED}")
    soak = Soak(COMMAND, SEED, SECONDS)
    print(soak.run())
    assert (soak.losses, soak.leaks) == (0, 0)
    assert soak.ledger.counts["promises"] > 0
    assert soak.watcher.changes > 0
    assert soak.saboteur.kills > 0
    assert SECONDS < WHOLE or soak.missing() == []


def test_a_plan_comes_from_its_seed():
    def first(seed):
        plan = storms(seed)
        return [next(plan) for _ in range(9)]

    assert first(3) == first(3) != first(4)
    assert {kind for storm in first(3) for kind in storm.kinds} == set(KINDS)


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
