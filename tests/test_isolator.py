"""The isolators' door: a container's volumes all at once or not at all, held by its full id."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

from dvdcli import group
from dvdcli.mesos import Request
from tests.doubles.plugin import Reply, err
from tests.expect import one_line, refused
from tests.gate import Gate
from tests.isolators import GENERATIONS, Isolator, variables
from tests.waiting import wait_until

USAGE, IN_USE, TRY_AGAIN, STATE = 2, 4, 5, 6
ONE = variables(NAME="v", DRIVER="plug")
NINE = variables(
    **{key + str(d): value for d in range(1, 10) for key, value in (("NAME", f"v{d}"), ("DRIVER", "plug"))}
)


def holds(home):
    return {f"{row['driver']}/{row['name']}": row["holds"] for row in home.mounts()}


@pytest.mark.parametrize("release", GENERATIONS)
def test_life_cycle_in_every_generation(home, release):
    plugin = home.plugin()
    plugin.add("v")
    isolator = Isolator(home, release)
    assert isolator.launch("c1", ONE) is None, "without a container path there is nothing to do at the launch"
    assert holds(home) == {"plug/v": ["container:c1"]}
    assert plugin.mounted() == ["v"]
    assert isolator.cleanup("c1") == []
    assert plugin.mounted() == []
    assert home.leftovers() == []
    assert isolator.recover() == []


def test_a_container_that_wants_nothing(home):
    isolator = Isolator(home)
    assert isolator.launch("c1", variables()) is None
    assert isolator.cleanup("c1") == []
    assert not home.state.exists(), "it costs nothing"


def test_nine_volumes_at_once(home):
    plugin = home.plugin()
    for digit in range(1, 10):
        plugin.add(f"v{digit}")
    plugin.always["Mount"] = Reply(delay=1.0)
    start = time.monotonic()
    isolator = Isolator(home)
    isolator.launch("c1", NINE)
    assert time.monotonic() - start < 8
    assert len(plugin.mounted()) == 9
    del plugin.always["Mount"]
    assert isolator.cleanup("c1") == []
    assert plugin.mounted() == []
    assert home.leftovers() == []


def test_all_or_none(home):
    plugin = home.plugin()
    plugin.add("v1")
    plugin.add("keep")
    assert home.mount("keep").code == 0
    given = variables(NAME="v1", DRIVER="plug", NAME1="keep", DRIVER1="plug", NAME2="no", DRIVER2="plug",
                      EXPLICITCREATE2="true")  # fmt: skip
    done = Isolator(home).prepare("c1", given)
    assert "mount for container c1: plug/no: there is no volume plug/no" in refused(done, 3 if done.code == 3 else 1)
    assert plugin.mounted() == ["keep"]
    assert holds(home) == {"plug/keep": ["name:host"]}
    assert not (home.state / "containers").exists() or os.listdir(home.state / "containers") == []


def test_each_failure_is_told(home):
    plugin = home.plugin()
    for digit in range(1, 10):
        plugin.add(f"v{digit}")
    plugin.always["Mount"] = err("the array is on fire")
    line = refused(Isolator(home).prepare("c1", NINE), 1)
    assert line.count("the array is on fire") == 9
    assert home.leftovers() == []


def test_every_roll_back_is_tried(home):
    plugin = home.plugin()
    for name in ("v1", "v2", "v3"):
        plugin.add(name)
    given = variables(**{key + str(d): v for d in (1, 2, 3) for key, v in (("NAME", f"v{d}"), ("DRIVER", "plug"))},
                      NAME4="no", DRIVER4="plug", EXPLICITCREATE4="true")  # fmt: skip
    plugin.always["Unmount"] = err("busy")
    done = Isolator(home).prepare("c1", given)
    assert done.code != 0
    assert plugin.names().count("Unmount") == 3
    assert holds(home) == {"plug/v1": [], "plug/v2": [], "plug/v3": []}
    del plugin.always["Unmount"]
    assert home.recover().code == 0
    assert plugin.mounted() == []
    assert home.leftovers() == []


def test_two_containers_share_a_volume(home):
    plugin = home.plugin()
    plugin.add("v")
    isolator = Isolator(home)
    for container in ("c1", "c2"):
        isolator.launch(container, ONE)
    assert holds(home) == {"plug/v": ["container:c1", "container:c2"]}
    isolator.cleanup("c1")
    assert plugin.mounted() == ["v"]
    isolator.cleanup("c2")
    assert (plugin.names().count("Mount"), plugin.names().count("Unmount")) == (1, 1)


def test_nested_containers_hold_by_their_full_id(home):
    plugin = home.plugin()
    plugin.add("v")
    isolator = Isolator(home)
    for container in (["c1"], ["c1", "n"], ["c2", "n"]):
        isolator.launch(container, ONE)
    assert holds(home) == {"plug/v": ["container:c1", "container:c1/n", "container:c2/n"]}
    isolator.cleanup(["c1", "n"])
    assert holds(home) == {"plug/v": ["container:c1", "container:c2/n"]}
    isolator.cleanup(["c2", "n"])
    isolator.cleanup("c1")
    assert home.leftovers() == []


@pytest.mark.parametrize("strange", ["a/b", "..", "ü ñ", "a" * 900, "%2F", "~"])
def test_ids_of_any_kind(home, strange):
    home.plugin().add("v")
    isolator = Isolator(home)
    (isolator.work / "slaves" / "x").mkdir(parents=True)
    request = isolator.request("c1", ONE)
    assert isolator.call("mount", {**request, "container_id": [strange]}).code == 0
    assert isolator.call("mount", {**request, "container_id": [strange, "x"]}).code == 0
    assert len(holds(home)["plug/v"]) == 2
    assert isolator.recover([[strange]]) == []
    assert len(holds(home)["plug/v"]) == 1
    assert isolator.cleanup(strange) == []
    assert home.leftovers() == []


def test_prepared_twice(home):
    plugin = home.plugin()
    plugin.add("v")
    isolator = Isolator(home)
    isolator.launch("c1", ONE)
    isolator.launch("c1", ONE)
    more = variables(NAME="v", DRIVER="plug", NAME1="no", DRIVER1="plug", EXPLICITCREATE1="true")
    assert isolator.prepare("c1", more).code != 0
    assert holds(home) == {"plug/v": ["container:c1"]}, "what it had before the failed call it keeps"
    assert isolator.cleanup("c1") == []
    assert home.leftovers() == []


def test_a_lost_answer_undoes_it(home):
    plugin = home.plugin()
    plugin.add("v")
    isolator = Isolator(home)
    source = home.root / "request.json"
    source.write_text(json.dumps(isolator.request("c1", ONE)))
    for out in ("/dev/full",):
        with source.open("rb") as stdin, open(out, "wb") as stdout:
            done = home.run("mount", "--isolator", stdin=stdin, stdout=stdout)
        assert done.code != 0
        assert "standard output" in one_line(done)
        assert plugin.mounted() == []
    with source.open("rb") as stdin:
        done = home.run("mount", "--isolator", stdin=stdin, preexec_fn=lambda: os.close(1))
    assert done.code != 0
    assert plugin.names().count("Mount") == 1, "a closed stdout is known before anything is mounted"
    assert home.leftovers() == []


def test_a_timeout_of_the_request(home):
    plugin = home.plugin()
    plugin.add("v")
    isolator = Isolator(home)
    isolator.extra = {"timeout": 1}
    plugin.always["Mount"] = Reply(delay=5)
    start = time.monotonic()
    assert isolator.prepare("c1", ONE).code == TRY_AGAIN
    assert time.monotonic() - start < 20


@pytest.mark.root
def test_a_fresh_volume_takes_mode_and_owner_of_its_container_path(home):
    """And only a fresh one: the original did it to every volume, each time."""
    plugin = home.plugin(real=True)
    place = Path(tempfile.mkdtemp(dir="/srv"))
    try:
        os.chown(place, 1234, 4321)
        place.chmod(0o1750)
        isolator = Isolator(home)

        def root_of(name, path):
            isolator.launch("c1", variables(NAME=name, DRIVER="plug", CONTAINERPATH=str(path)))
            root = Path(plugin.volumes[name].mountpoint)
            status = root.stat()
            isolator.cleanup("c1")
            return status.st_uid, status.st_gid, status.st_mode & 0o7777

        assert root_of("new", place) == (1234, 4321, 0o1750)
        plugin.add("old")
        assert root_of("old", place) != (1234, 4321, 0o1750)
        assert root_of("made", "data")[:2] == (1000, 1000), "where the path is made, the sandbox's owner"
    finally:
        place.rmdir()


# Requests that are none


@pytest.mark.parametrize("data", [
    b"", b"{", b"[]", b"5", b'"x"', b"null", b"{}", b'{"protocol": 1}', b"\xff", b'{"protocol": 1} x', b"[" * 100000,
    b'{"protocol": 1, "mesos_version": "1.11.0"}', b"\0",
], ids=lambda data: ascii(data[:20]))  # fmt: skip
@pytest.mark.parametrize("verb", ["mount", "unmount"])
def test_junk(home, verb, data):
    line = refused(Isolator(home).call(verb, data), USAGE)
    assert "request" in line or "container id" in line
    assert not home.state.exists()


def test_a_request_that_is_too_long(home):
    assert "bytes" in refused(Isolator(home).call("mount", b" " * (16 << 20) + b"{}"), USAGE)


def test_a_request_of_nearly_16_mib(home):
    home.plugin().add("v")
    isolator = Isolator(home)
    request = isolator.request("c1", variables(NAME="v", DRIVER="plug", X="y" * 8_000_000))
    assert isolator.call("mount", request).code == 0


def test_bytes_that_are_no_utf8(home):
    plugin = home.plugin()
    plugin.add("v")
    isolator = Isolator(home)
    text = json.dumps(isolator.request("c1", ONE))
    foreign = text.replace('"/bin"', '"@"').encode().replace(b"@", b"\xff\xfe")
    assert isolator.call("mount", foreign).code == 0
    isolator.cleanup("c1")
    ours = text.replace('"v"', '"@"').encode().replace(b"@", b"\xff\xfe")
    assert "not UTF-8" in refused(isolator.call("mount", ours), USAGE)
    assert home.leftovers() == []


@pytest.mark.parametrize("words", [
    ["mount", "--isolator", "--timeout=3"], ["mount", "--timeout=3", "--isolator"], ["unmount", "-v", "--isolator"],
    ["recover", "--isolator", "--dry-run"], ["list", "--isolator"], ["mount", "--isolator=1"], ["--isolator", "mount"],
])  # fmt: skip
def test_the_flag_stands_alone(home, words):
    refused(home.run(*words), USAGE)


def test_secrets_stay_where_they_are(home):
    home.plugin().add("v")
    isolator = Isolator(home)
    secret = variables(NAME="v", DRIVER="plug", OPTS="a=b")
    secret["variables"].append({"name": "PASSWORD", "value": "hunter2"})
    done = isolator.prepare("c1", secret)
    assert "hunter2" not in done.out + done.err
    assert b"hunter2" not in b"".join(path.read_bytes() for path in home.state.rglob("*") if path.is_file())


# Unmount


def test_an_unknown_container_is_fine(home):
    assert Isolator(home).cleanup("c1") == []
    assert home.leftovers() == []


def test_what_cannot_be_unmounted_yet_is_told_and_done_later(home):
    plugin = home.plugin()
    plugin.add("v")
    isolator = Isolator(home)
    isolator.launch("c1", ONE)
    plugin.always["Unmount"] = err("busy")
    pending = isolator.cleanup("c1")
    assert len(pending) == 1
    assert pending[0].startswith("plug/v: ")
    assert "busy" in pending[0]
    assert isolator.cleanup("c1") == [], "it has let go of it"
    del plugin.always["Unmount"]
    assert isolator.recover() == []
    assert plugin.mounted() == []
    assert home.leftovers() == []


def test_a_plugin_that_has_gone_does_not_hold_up_a_cleanup(home):
    plugin = home.plugin()
    plugin.add("v")
    isolator = Isolator(home)
    isolator.launch("c1", ONE)
    plugin.stop()
    Path(plugin.where[5:]).unlink()
    assert len(isolator.cleanup("c1")) == 1
    assert holds(home) == {"plug/v": []}


def test_what_was_never_mounted_is_not_unmounted_under_somebody_else(home):
    """The container's call was killed before it got so far; another user of the plugin has the volume mounted."""
    plugin = home.plugin()
    plugin.add("v")
    isolator = Isolator(home)
    isolator.launch("c1", ONE)
    shutil.copytree(home.state / "containers", home.root / "kept")
    isolator.cleanup("c1")
    shutil.copytree(home.root / "kept", home.state / "containers", dirs_exist_ok=True)
    plugin.volumes["v"].ids.add("docker")
    calls = len(plugin.calls)
    assert isolator.cleanup("c1") == []
    assert len(plugin.calls) == calls
    assert home.leftovers() == []


# Recover


def test_recover_keeps_what_lives_and_orphans(home):
    plugin = home.plugin()
    isolator = Isolator(home)
    for name in ("c1", "c2", "c3"):
        plugin.add(name)
        isolator.launch(name, variables(NAME=name, DRIVER="plug"))
    assert isolator.recover([["c1"]], [["c2"]]) == []
    assert plugin.mounted() == ["c1", "c2"]
    assert holds(home) == {"plug/c1": ["container:c1"], "plug/c2": ["container:c2"]}
    isolator.cleanup("c2")
    isolator.cleanup("c1")
    assert home.leftovers() == []


def test_recover_does_not_touch_what_is_not_of_its_agent(home):
    plugin = home.plugin()
    plugin.add("v")
    first, second = Isolator(home, name="one"), Isolator(home, name="two")
    for isolator in (first, second, Isolator(home)):
        isolator.launch("c1", ONE)
    assert home.mount().code == 0
    assert first.recover() == []
    assert holds(home) == {"plug/v": ["container:c1", "container@two:c1", "name:host"]}
    assert second.cleanup("c2") == []
    assert Isolator(home, name="three").recover() == []
    assert len(holds(home)["plug/v"]) == 3


def test_recover_finishes_what_is_pending(home):
    plugin = home.plugin()
    plugin.add("v")
    assert home.mount().code == 0
    plugin.next("Unmount", err("busy"))
    assert home.unmount().code != 0
    assert Isolator(home).recover() == []
    assert plugin.mounted() == []


def test_recover_never_fails_for_one_volumes_sake(home):
    plugin = home.plugin()
    isolator = Isolator(home)
    for name in ("a", "b"):
        plugin.add(name)
        isolator.launch(f"c-{name}", variables(NAME=name, DRIVER="plug"))
    plugin.next("Unmount", err("busy"))
    pending = isolator.recover()
    assert len(pending) == 1
    assert pending[0].startswith("plug/a: failed: ")
    assert plugin.mounted() == ["a"]


def test_recover_after_a_reboot(home):
    plugin = home.plugin()
    plugin.add("v")
    isolator = Isolator(home)
    isolator.launch("c1", ONE)
    home.reboot()
    assert isolator.recover() == []
    assert home.leftovers() == []


def test_recover_keeps_its_deadline(in_process, monkeypatch):
    """The agent does not register before it is answered."""
    home = in_process()
    plugin = home.plugin()
    plugin.add("v")
    isolator = Isolator(home)
    isolator.launch("c1", ONE)
    plugin.always["Unmount"] = plugin.always["Get"] = plugin.always["Path"] = Reply(delay=60)
    monkeypatch.setattr(group, "RECOVER_TIMEOUT", 1.0)
    start = time.monotonic()
    pending = group.recover(Request(isolator.envelope(containers=[], orphans=[])))
    assert time.monotonic() - start < 20
    assert len(pending) == 1
    assert pending[0].startswith("plug/v: ")
    assert holds(home) == {"plug/v": []}
    assert group.RECOVER_TIMEOUT == 1.0


def test_the_deadline_of_recover_is_what_the_isolator_waits_for():
    core = (Path(__file__).parents[1] / "isolators" / "glue.hpp").read_text()
    assert group.RECOVER_TIMEOUT == 30.0
    assert '"recover", request, 45}' in core


def test_an_orphaned_prepare_is_cancelled_not_left_mounted(home):
    plugin = home.plugin()
    plugin.add("v")
    isolator = Isolator(home)
    source = home.root / "request.json"
    source.write_text(json.dumps(isolator.request("c1", ONE)))
    for call in (lambda: isolator.recover(), lambda: None):
        with Gate(plugin, "Mount") as gate, source.open("rb") as stdin:
            process = home.start("mount", "--isolator", stdin=stdin)
            gate.wait()
            if call() is None:  # an orphan's cleanup comes while its prepare still runs
                cleanup = _start(home, isolator, "unmount", isolator.envelope(container_id=["c1"]))
                wait_until(lambda: list(home.state.glob("containers/*/cancelled")))
            else:
                cleanup = None
            gate.open()
            done = home.finish(process)
        assert done.code == TRY_AGAIN, done
        assert "cancelled" in one_line(done)
        if cleanup:
            assert home.finish(cleanup).code == 0
        assert plugin.mounted() == []
        assert home.leftovers() == []


def _start(home, isolator, verb, request) -> subprocess.Popen[bytes]:
    process = home.start(verb, "--isolator", stdin=subprocess.PIPE)
    process.stdin.write(json.dumps(request).encode())
    process.stdin.close()
    process.stdin = None
    return process


def test_a_killed_prepare_is_swept(home):
    plugin = home.plugin()
    plugin.add("v")
    isolator = Isolator(home)
    with Gate(plugin, "Mount") as gate:
        process = _start(home, isolator, "mount", isolator.request("c1", ONE))
        gate.wait()
        process.kill()
        process.communicate()
    plugin.wait_idle()
    assert isolator.recover([["c2"]]) == []
    assert plugin.mounted() == []
    assert home.leftovers() == []


# Damage: records, holds and container files rebuild each other


def test_a_damaged_container_file(home):
    plugin = home.plugin()
    plugin.add("v")
    for finish in (Isolator.cleanup, lambda isolator, _: isolator.recover()):
        isolator = Isolator(home)
        isolator.launch("c1", ONE)
        next(home.state.glob("containers/*/container.json")).write_text("{")
        finish(isolator, "c1")
        assert plugin.mounted() == []
        assert home.leftovers() == []


def test_a_damaged_file_of_a_container_that_lives(home):
    plugin = home.plugin()
    plugin.add("v")
    isolator = Isolator(home)
    isolator.launch("c1", ONE)
    next(home.state.glob("containers/*/container.json")).write_text("{")
    assert isolator.recover([["c1"]]) == []
    assert holds(home) == {"plug/v": ["container:c1"]}
    assert plugin.mounted() == ["v"]


def test_lost_container_files(home):
    plugin = home.plugin()
    plugin.add("v")
    for finish in (Isolator.cleanup, lambda isolator, _: isolator.recover()):
        isolator = Isolator(home)
        isolator.launch("c1", ONE)
        shutil.rmtree(home.state / "containers")
        finish(isolator, "c1")
        assert plugin.mounted() == []
        assert home.leftovers() == []


def test_a_damaged_record_is_made_again_from_the_containers_hold(home):
    plugin = home.plugin()
    plugin.add("v")
    isolator = Isolator(home)
    isolator.launch("c1", ONE)
    (home.slot() / "record.json").write_text("{")
    assert isolator.cleanup("c1") == []
    assert plugin.mounted() == []


def test_a_container_file_of_a_newer_dvdcli(home):
    home.plugin().add("v")
    isolator = Isolator(home)
    isolator.launch("c1", ONE)
    path = next(home.state.glob("containers/*/container.json"))
    path.write_text(json.dumps({**json.loads(path.read_text()), "schema": 99}))
    done = isolator.call("unmount", isolator.envelope(container_id=["c1"]))
    assert "newer dvdcli" in refused(done, STATE)
    assert path.exists()


# At once


def test_many_containers_at_once(home):
    plugin = home.plugin()
    plugin.add("v")
    isolator = Isolator(home)
    starts = [_start(home, isolator, "mount", isolator.request(f"c{n}", ONE)) for n in range(20)]
    assert [home.finish(process).code for process in starts] == [0] * 20
    assert len(holds(home)["plug/v"]) == 20
    assert plugin.names().count("Mount") == 1
    ends = [_start(home, isolator, "unmount", isolator.envelope(container_id=[f"c{n}"])) for n in range(20)]
    assert [home.finish(process).code for process in ends] == [0] * 20
    assert plugin.mounted() == []
    assert home.leftovers() == []
