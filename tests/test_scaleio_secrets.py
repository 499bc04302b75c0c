"""ScaleIO's password, tokens and Authorization headers reach nobody: not argv, stdout, stderr, syslog or the state."""

from __future__ import annotations

import base64
import json
import urllib.parse
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Done
from tests.doubles.scaleio import Error, Gateway, Raw
from tests.gate import flags
from tests.scaleio import Grid, Machine
from tests.watched import Watched

WRONG = "Wr0ng-Passw0rd: 2%"
PASSWORD = "DVDCLI_SCALEIO_PASSWORD"

pytestmark = [pytest.mark.root, pytest.mark.namespace]


class Node(Watched):
    """A machine of ScaleIO, whose password comes from a *source*: file or environment."""

    machine: Machine

    def __init__(self, machine: Machine, source: str) -> None:
        super().__init__(machine, own="password")
        self.source = source
        if source == "environment":
            machine.configure(password_file=None)
            machine.env[PASSWORD] = machine.host.gateway.password

    def scaleio(self, verb: str, name: str, *more: str) -> Done:
        return self.run(verb, *flags(name, "scaleio"), *more)

    def set_password(self, password: str) -> None:
        if self.source == "environment":
            self.machine.env[PASSWORD] = password
        else:
            self.machine.password_file.write_text(f"{password}\n")

    def secrets(self) -> list[str]:
        """Return all that is secret, in every form that it is sent or could be told in."""
        gateway = self.machine.host.gateway
        found = []
        for password in (gateway.password, WRONG):
            found += [password, json.dumps(password)[1:-1], urllib.parse.quote(password), basic(gateway.user, password)]
        for text, token in gateway.tokens.known.items():
            found += [text, token.refresh, basic("", text), urllib.parse.quote(token.refresh)]
        assert len(gateway.tokens.known) > 5
        return found


def basic(user: str, secret: str) -> str:
    return base64.b64encode(f"{user}:{secret}".encode()).decode()


@pytest.fixture(params=["both", "new"])
def grid(request: pytest.FixtureRequest, command: Path) -> Iterator[Grid]:
    """A gateway of 4.x that takes the way to log in of all generations, or its own alone."""
    grid = Grid(command, "4.5", login=request.param)
    yield grid
    grid.close()


@pytest.fixture
def gateway(grid: Grid) -> Gateway:
    return grid.gateway


@pytest.fixture(params=["file", "environment"])
def watched(request: pytest.FixtureRequest, grid: Grid) -> Iterator[Node]:
    watched = Node(grid.machine(), request.param)
    yield watched
    watched.close()


def test_a_volumes_life_tells_no_secret(watched, gateway):
    calls = [
        watched.scaleio("mount", "v", "--volumeopts=size=8"),
        watched.scaleio("mount", "v", "-v", "--hold=second"),
        watched.run("list", "--json"),
        watched.run("list", "--volumedriver=scaleio", "--json", "-v"),
        watched.scaleio("path", "v", "-v"),
        watched.run("recover", "-v"),
        watched.scaleio("unmount", "v", "-v", "--hold=second"),
        watched.scaleio("unmount", "v", "-v"),
        watched.scaleio("mount", "w", "-v", "--volumeopts=snapshotId=v"),
        watched.scaleio("unmount", "w", "-v"),
        watched.scaleio("remove", "w", "-v"),
    ]
    assert [done for done in calls if done.code != 0] == []
    watched.check(watched.secrets())
    assert any("created the volume scaleio/v" in line for line in watched.logged)
    assert any(f"GET {gateway.url}/api/instances/Volume::" in done.err for done in calls), "-v says what is asked"
    ran = {each["program"].rpartition("/")[2] for each in watched.children()}
    assert {"drv_cfg", "mkfs.ext4", "mount", "umount", "blkid"} <= ran
    assert gateway.tokens.open() == []


def test_failures_tell_no_secret(watched, gateway):
    gateway.always["createVolume"] = Error(1234, "no")
    failed = [watched.scaleio("mount", "v", *verbose, "--volumeopts=size=8") for verbose in ([], ["-v"])]
    del gateway.always["createVolume"]
    gateway.volume("w")
    assert watched.scaleio("mount", "w").code == 0
    gateway.always["removeMappedSdc"] = Error(1234, "no")
    failed += [watched.scaleio("unmount", "w"), watched.scaleio("unmount", "w", "-v"), watched.run("recover", "-v")]
    assert watched.run("list", "--json").code == 0
    assert "error 1234" in watched.states[-1], "the failure is on record"
    del gateway.always["removeMappedSdc"]
    gateway.always["logout"] = Error(0, "no", 500)
    assert watched.run("recover", "-v").code == 0
    gateway.always.clear()
    gateway.expire_after(1)
    failed += [watched.scaleio("get", "never", "-v")]
    gateway.next("login", Raw(200, b"<html>", "text/html"))
    failed += [watched.scaleio("get", "w", "-v")]
    watched.set_password(WRONG)
    failed += [watched.scaleio("mount", "w", "-v"), watched.scaleio("mount", "w")]
    watched.set_password(gateway.password)
    watched.machine.configure(ca_file=None)
    failed += [watched.scaleio("mount", "w", "-v"), watched.scaleio("unmount", "w", "-v")]
    assert [done.err for done in failed if not done.err] == []
    assert gateway.named("w").mapped == []
    watched.check(watched.secrets())
