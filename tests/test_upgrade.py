"""A state directory of every released schema is read as it is; one of a newer schema is refused, and not touched.

tests/states/schema-N/ is what a dvdcli of that schema left: @ROOT@ stands for the home, @BOOT@ for the boot.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from dvdcli.claims import Claim
from dvdcli.clock import Deadline
from dvdcli.errors import Exit, NewerError
from dvdcli.names import encode
from dvdcli.state import boot_id
from dvdcli.volume import SCHEMA, Volume
from tests.conftest import Home
from tests.expect import refused
from tests.gate import flags
from tests.isolators import Isolator, variables

STATES = Path(__file__).parent / "states"
LONG = "n" * 200
STRANGE = "dir/é and \u202e so on"
MOUNTED = {"v": ["name:host"], "w": ["container@agent-1:c1", "container@agent-1:c1/nested"], LONG: ["name:host"]}
ELSEWHERE = {"AWS_EC2_METADATA_DISABLED": "true", "AWS_ENDPOINT_URL_EC2": "http://127.0.0.1:1"}  # no storage answers
AGENT = {"release": "1.11.0", "name": "agent-1"}


def settle(home: Home, schema: int, boot: str) -> None:
    """Put the state of *schema* into *home*, as if it had been written there in the *boot*."""
    shutil.copytree(STATES / f"schema-{schema}", home.state)
    for path in sorted(home.state.rglob("*"), key=lambda path: -len(path.parts)):
        path.chmod(0o700 if path.is_dir() else 0o600)
        if path.is_file():
            path.write_text(path.read_text().replace("@ROOT@", str(home.root)).replace("@BOOT@", boot))
        if "@ROOT@" in path.name:
            path.rename(path.with_name(path.name.replace("@ROOT@", encode(str(home.root)))))
    home.state.chmod(0o711)
    for name in ("l", STRANGE):
        (home.state / "mounts" / "local" / encode(name) / "data").mkdir(parents=True)
        (home.state / "mounts" / "local" / encode(name) / "name").write_text(name)
    plugin = home.plugin()
    for name in (*MOUNTED, "x", "y"):
        volume = plugin.add(name)
        record = home.record(encode(name))
        volume.mountpoint, volume.attached = record["path"], True
        volume.ids = {record["handle"]["id"]} if record["handle"] else set()


@pytest.fixture(params=range(1, SCHEMA + 1))
def schema(request: pytest.FixtureRequest) -> int:
    number: int = request.param
    return number


@pytest.fixture
def old(home: Home, schema: int) -> Home:
    settle(home, schema, boot_id())
    return home


@pytest.fixture
def newer(old: Home) -> Home:
    """Every record and hold, every container's file and claim of a schema that is not known yet, in new words."""
    for path in old.state.rglob("*.json"):
        path.write_text(json.dumps({**json.loads(path.read_text()), "schema": SCHEMA + 1, "colour": "red"}))
    return old


def content(home: Home) -> dict[str, tuple[int, int, bytes]]:
    """Return everything in the state, but what the volumes have in them: inode, mode, bytes."""
    found = {}
    for path in home.state.rglob("*"):
        if "mounts" not in path.parts:
            status = path.lstat()
            data = path.read_bytes() if path.is_file() else b""
            found[str(path.relative_to(home.state))] = (status.st_ino, status.st_mode, data)
    return found


def test_there_is_a_state_of_every_schema() -> None:
    assert {path.name for path in STATES.iterdir()} == {f"schema-{number}" for number in range(1, SCHEMA + 1)}
    for path in STATES.iterdir():
        providers = {json.loads(each.read_text())["provider"] for each in path.glob("volumes/*/*/record.json")}
        assert providers >= {"local", "docker", "ebs", "scaleio"}


def test_an_older_state_is_read_and_nothing_of_it_written(old: Home) -> None:
    before = content(old)
    rows = {(row["driver"], row["name"]): row for row in old.mounts()}
    assert {name: rows["plug", name]["holds"] for name in MOUNTED} == MOUNTED
    assert (rows["plug", "x"]["status"], rows["plug", "x"]["failure"]) == ("unmounting", "the plugin 'plug' says: busy")
    assert {driver for driver, _ in rows} == {"plug", "local", "ebs", "scaleio"}
    assert rows["local", "l"]["holds"] == ["name:backup"], "the first records had no claim"
    for driver, name in rows:
        told = old.run("inspect", f"{driver}/{name}", "--json", env=ELSEWHERE)
        assert told.code == 0, told
        [view] = json.loads(told.out)["data"]["volumes"]
        assert view["provider"]["name"] == {"plug": "docker"}.get(driver, driver)
    assert old.run("recover", "--dry-run").code in (0, 1)
    assert content(old) == before


def test_an_older_record_is_written_back_when_it_is_touched(old: Home) -> None:
    """And no other."""
    before = content(old)
    assert old.mount("l", "local", "--hold=second").code == 0
    assert old.unmount("l", "local", "--hold=second").code == 0
    assert old.mount("v", "plug", "--hold=second").code == 0
    after = content(old)
    names = [name for name in before.keys() | after.keys() if before.get(name) != after.get(name)]
    changed = {name.split("/")[2] for name in names if name.count("/") > 1}
    assert changed <= {"l", "v"}
    assert old.unmount("v", "plug", "--hold=second").code == 0


def test_an_older_state_is_undone(old: Home) -> None:
    plugin = old.plugins[0]
    assert old.unmount().code == 0
    assert old.unmount(LONG).code == 0
    assert old.unmount("l", "local", "--hold=backup").code == 0
    assert old.unmount(STRANGE, "local").code == 0
    assert old.recover().code == 0
    isolator = Isolator(old, **AGENT)
    assert isolator.cleanup(["c1", "nested"]) == []
    assert plugin.mounted() == ["w"]
    assert isolator.recover() == []
    assert plugin.mounted() == []
    assert [name for name, volume in plugin.volumes.items() if volume.attached] == []
    for volume in ("ebs/v", "scaleio/v", "local/sized"):
        assert old.run("forget", "--yes", volume).code == 0
    assert old.leftovers() == []


def test_after_the_reboot_that_an_upgrade_can_be(home: Home, schema: int) -> None:
    settle(home, schema, "of-an-earlier-boot")
    plugin = home.plugins[0]
    for volume in ("ebs/v", "scaleio/v"):
        assert home.run("forget", "--yes", volume).code == 0
    plugin.reboot()
    assert home.recover().code == 0
    assert [name for name, volume in plugin.volumes.items() if volume.attached] == []
    assert home.mounts() == []


CALLS = [
    ["mount", *flags()], ["mount", *flags("v", "ebs")], ["mount", *flags("l", "local"), "--hold=other"],
    ["unmount", *flags()], ["unmount", *flags(), "--hold=other"], ["unmount", *flags("l", "local"), "--hold=backup"],
    ["forget", "--yes", "plug/v"], ["remove", "--yes", *flags("l", "local")],
]  # fmt: skip


@pytest.mark.parametrize("call", CALLS, ids=" ".join)
def test_a_newer_state_is_refused_and_not_touched(newer: Home, call: list[str]) -> None:
    before = content(newer)
    plugin = newer.plugins[0]
    mounted = plugin.mounted()
    assert f"newer dvdcli (schema {SCHEMA + 1}); upgrade dvdcli" in refused(newer.run(*call), Exit.STATE)
    assert content(newer) == before
    assert plugin.mounted() == mounted


def test_a_newer_state_is_told_and_not_touched(newer: Home) -> None:
    before = content(newer)
    listed = newer.run("list", "--json")
    assert listed.code == Exit.STATE
    assert {error["code"] for error in json.loads(listed.out)["errors"]} == {Exit.STATE}
    assert "newer dvdcli" in newer.run("list").err
    assert "newer dvdcli" in newer.run("inspect", "plug/v").err
    for words in ([], ["--dry-run"]):
        (newer.state / "boot").unlink(missing_ok=True)  # so that it looks at every record
        done = newer.run("recover", *words)
        assert (done.code, "newer dvdcli" in done.err + done.out) == (Exit.STATE, True), done
        (newer.state / "boot").unlink(missing_ok=True)
    before.pop("boot")
    assert content(newer) == before


def test_a_claim_of_a_newer_schema_is_left_alone(newer: Home, in_process: Callable[[], Home]) -> None:
    in_process()
    before = content(newer)
    path = next(newer.state.glob("claims/ebs/*/claim.json"))
    for volume in (Volume("ebs", "v"), Volume("other", "w")):
        for act in (Claim("ebs", path.parent.name).take, Claim("ebs", path.parent.name).drop):
            with pytest.raises(NewerError, match="newer dvdcli"):
                act(volume, Deadline(5))
    assert content(newer) == before


@pytest.mark.parametrize("whole", [True, False], ids=["all of it newer", "only a volume's record"])
def test_an_isolator_is_refused_what_is_newer(old: Home, whole: bool) -> None:
    """An agent's call drops no hold of a volume whose record it cannot read: the newer dvdcli knows what it holds."""
    path = old.slot("w") / "record.json"
    for each in old.state.rglob("*.json") if whole else [path]:
        each.write_text(json.dumps({**json.loads(each.read_text()), "schema": SCHEMA + 1}))
    before, plugin = content(old), old.plugins[0]
    isolator = Isolator(old, **AGENT)
    request = isolator.envelope(container_id=["c1"])
    assert "newer dvdcli" in refused(isolator.call("unmount", request), Exit.STATE)
    assert "newer dvdcli" in refused(isolator.prepare("c2", variables(NAME="w", DRIVER="plug")), Exit.STATE)
    assert content(old) == before
    pending = isolator.recover()
    assert any("newer dvdcli" in line for line in pending), pending
    kept = {name: state for name, state in content(old).items() if "/w/" in name or name.startswith("containers/")}
    assert kept == {name: state for name, state in before.items() if name in kept}
    assert len(kept) >= 6
    assert "w" in plugin.mounted()
