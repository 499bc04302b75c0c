"""A hold that is dropped without the volume's lock, while a recover has it and is about to leave the volume alone.

The isolator's recover does not wait for a lock: it leaves a marker. Whoever has the lock must not take that away.
"""

from __future__ import annotations

import json
import subprocess

import pytest

from tests.conftest import NO_PROCESS
from tests.gate import Gate
from tests.isolators import Isolator, variables
from tests.waiting import wait_until
from tests.walk import needs_strace


@pytest.fixture
def isolator(home):
    """An agent with a container that has the volume v, which is marked for recover."""
    plugin = home.plugin()
    plugin.add("v")
    isolator = Isolator(home, name="a")
    assert isolator.prepare("c1", variables(NAME="v", DRIVER="plug")).code == 0
    assert home.recover().code == 0  # the first look of this boot, at everything
    (home.state / "pending" / "plug" / "v").touch()
    return isolator


def nothing_left(home):
    assert [plugin.mounted() for plugin in home.plugins] == [[]]
    assert (home.mounts(), home.leftovers()) == ([], [])


@pytest.mark.parametrize(("method", "status"), [("Get", "mounted"), ("Mount", "mounting")])
def test_a_hold_that_goes_while_recover_looks_at_the_volume(home, isolator, method, status):
    if status == "mounting":
        home.edit_record(status=status)
    with Gate(home.plugins[0], method) as gate:
        looking = home.start("recover")
        gate.wait()  # it has seen the hold
        assert isolator.recover() == ["plug/v: busy: another call is at work on it"]
    done = home.finish(looking)
    assert (done.code, "plug/v: unmounted" in done.out) == (0, True), done
    nothing_left(home)


@needs_strace
def test_a_hold_that_goes_after_recover_has_seen_it(home, isolator):
    """The agent's recover has left its marker, and is slow to drop the hold."""
    marker, [hold] = home.state / "pending" / "plug" / "v", (home.slot() / "holds").iterdir()
    marker.unlink()
    request = home.root / "request"
    request.write_text(json.dumps(isolator.envelope(containers=[], orphans=[])))
    delay = ["-e", "trace=unlink", "-P", hold, "-e", "inject=unlink:delay_enter=2000000"]
    with request.open("rb") as stdin:
        dropping = subprocess.Popen(
            ["strace", "-o", "/dev/null", *delay, home.command, "recover", "--isolator"],
            env=home.env, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
    wait_until(marker.exists)
    assert "plug/v: verified" in home.recover("-v").out
    assert hold.exists()
    done = home.finish(dropping)
    assert (done.code, json.loads(done.out)) == (0, {"protocol": 1}), done
    nothing_left(home)


@pytest.mark.parametrize("held", [True, False])
def test_a_recover_that_was_killed_when_the_marker_was_away(home, isolator, held):
    marker = home.state / "pending" / "plug" / "v"
    marker.rename(marker.with_name(f".v.{NO_PROCESS}"))
    if not held:
        (home.state / "containers" / "@a:c1").rename(home.root / "gone")
        [hold] = (home.slot() / "holds").iterdir()
        hold.unlink()
    for _ in range(2):
        assert home.recover().code == 0
    assert home.places("pending") == []
    assert isolator.recover() == []
    nothing_left(home)
