"""`dvdcli list`: what is mounted here, for whom, since when, is it well; and every driver at once."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from dvdcli.linux import mountinfo
from tests.conftest import Home
from tests.doubles.plugin import Reply
from tests.expect import on_terminal, refused
from tests.isolators import Isolator, variables
from tests.sized import Sized, run

USAGE, STATE, TRY_AGAIN = 2, 6, 5


def names(home: Home, *words: str) -> list[str]:
    done = home.run("list", "--json", *words)
    assert done.code == 0, done
    return [row["name"] for row in json.loads(done.out)["data"]["mounts"]]


def test_filters_choose_among_mounts(home: Home) -> None:
    home.plugin()
    for name, driver in (("a", "local"), ("b", "local"), ("c", "plug")):
        assert home.mount(name, driver).code == 0
    assert Isolator(home).prepare("c1", variables(NAME="d", DRIVER="plug")).code == 0
    home.edit_record("b", "local", status="unmounting")
    assert names(home) == ["a", "b", "c", "d"]
    assert names(home, "--driver=local") == ["a", "b"]
    assert names(home, "--driver=local", "--driver", "plug", "--status=mounted") == ["a", "c", "d"]
    assert names(home, "--status=unmounting", "--status=mounting") == ["b"]
    assert names(home, "--container=c1") == ["d"]
    assert names(home, "--container=c1", "--driver=local") == []
    assert names(home, "--container=c") == []
    assert home.run("list", "--driver=local").out.count("local ") == 2
    assert "no mount matches" in on_terminal(home, "list", "--driver=none")
    refused(home.run("list", "--status=well"), USAGE)
    refused(home.run("list", "--volumedriver=local", "--container=c1"), USAGE)
    refused(home.run("list", "--all", "--status=mounted"), USAGE)
    refused(home.run("list", "--all", "--volumedriver=local"), USAGE)


def test_a_container_is_found_by_the_last_part_of_its_id(home: Home) -> None:
    home.plugin()
    home.mount("v")
    home.edit_hold()
    holds = home.slot() / "holds"
    (holds / "container:root%2Fleaf.json").write_text(
        (holds / "name:host.json").read_text().replace("name:host", "container:root/leaf")
    )
    assert names(home, "--container=leaf") == names(home, "--container=root/leaf") == ["v"]
    assert names(home, "--container=root") == []


@pytest.mark.root
def test_device_size_and_use_of_what_has_a_device(sized: Sized) -> None:
    assert sized.mount("size=64M").code == 0
    (sized.path() / "file").write_bytes(bytes(20 << 20))
    subprocess.run(["sync", "-f", sized.path()], check=True)
    (row,) = sized.home.mounts()
    told = shutil.disk_usage(sized.path())
    assert (row["status"], row["file_system"], row["size"]) == ("mounted", "ext4", told.total)
    assert row["used"] > 20 << 20
    assert row["device"] in sized.loops()
    line = sized.home.run("list").out.splitlines()[1]
    assert re.search(r" mounted +\d+s +\d\dM +\d\d% +/dev/loop\d+ +/", line), line
    wide = sized.home.run("list", "--wide").out.splitlines()[1]
    assert re.search(rf" {row['device']} +ext4 +- ", wide), wide
    assert sized.unmount().code == 0


@pytest.mark.root
def test_a_mount_that_somebody_took_away_is_lost(sized: Sized) -> None:
    assert sized.mount("size=16M").code == 0
    run("umount", sized.path())
    assert [row["status"] for row in sized.home.mounts()] == ["lost"]
    assert names(sized.home, "--status=lost") == ["v"]
    assert names(sized.home, "--status=mounted") == []
    shown = on_terminal(sized.home, "list", columns=200)
    assert re.search(r"\x1b\[1;31mlost", shown)
    assert "lost" in on_terminal(sized.home, "list", columns=200, env={"NO_COLOR": "1"})
    assert sized.mount().code == 0
    assert [row["status"] for row in sized.home.mounts()] == ["mounted"]
    assert sized.unmount().code == 0


def test_a_jumping_clock_makes_no_mount_older(home: Home) -> None:
    home.mount("v", "local")
    record = home.record("v", "local")
    since = {"wall": record["since"]["wall"] + 10**6, "uptime": record["since"]["uptime"] - 7384}
    home.edit_record("v", "local", since=since)
    (row,) = home.mounts()
    assert 7384 <= row["age"] < 7384 + 300
    assert " 2h3m " in home.run("list").out
    home.edit_record("v", "local", since={})
    assert home.mounts()[0]["age"] is None


def test_many_records_are_read_by_several_processes(home: Home) -> None:
    """Their rows are the same as those of the table, which one process reads; a damaged one is told all the same."""
    home.mount("v-0000", "local")
    original = home.slot("v-0000", "local")
    record, hold = ((original / path).read_text() for path in ("record.json", "holds/name:host.json"))
    for number in range(1, 1100):
        other = original.with_name(f"v-{number:04}")
        (other / "holds").mkdir(parents=True)
        (other / "record.json").write_text(record.replace("v-0000", other.name))
        (other / "holds/name:host.json").write_text(hold.replace("v-0000", other.name))
    (original.with_name("v-1050") / "record.json").write_text("{")
    done = home.run("list", "--json")
    value = json.loads(done.out)
    rows = value["data"]["mounts"]
    assert [row["name"] for row in rows] == [f"v-{number:04}" for number in range(1100) if number != 1050]
    assert (done.code, len(value["errors"]), "v-1050" in value["errors"][0]["message"]) == (1, 1, True)
    table = home.run("list")
    assert table.code == 1
    assert [line.split()[1] for line in table.out.splitlines()[1:]] == [row["name"] for row in rows]


def test_a_void_hold_beside_a_damaged_record_is_gone_with_the_next_mount(home: Home) -> None:
    home.mount("v", "local", "--hold=old")
    home.edit_hold("name:old", "v", "local", boot="older")
    (home.slot("v", "local") / "record.json").write_text("{")
    assert home.mount("v", "local", "--hold=new").code == 0
    assert [row["holds"] for row in home.mounts()] == [["name:new"]]


def test_the_volumes_of_every_driver_at_once(home: Home) -> None:
    plugin, slow, strange = home.plugin(), home.plugin("slow"), home.plugin("strange")
    plugin.add("p")
    slow.always["List"] = Reply(delay=60)
    strange.always["List"] = Reply(status=500, body=b'{"Err": "out of order"}')
    (home.specs / "gone.spec").write_text(f"unix://{home.root}/nowhere.sock")
    home.config.write_text('[drivers.fast]\nprovider = "local"\npath = "/var/empty/none"\n')
    home.config.chmod(0o600)
    home.mount("l", "local")
    start = time.monotonic()
    done = home.run("list", "--all", "--json", "--timeout=3")
    assert time.monotonic() - start < 40, "one dead driver costs its own deadline"
    data = json.loads(done.out)["data"]
    assert [(row["driver"], row["name"]) for row in data["volumes"]] == [("local", "l"), ("plug", "p")]
    assert [row["driver"] for row in data["failed"]] == ["gone", "slow", "strange"]
    assert done.code == data["failed"][0]["code"] == TRY_AGAIN
    assert "out of order" in data["failed"][2]["message"]
    for reply in (slow, strange):
        reply.always.clear()
    (home.specs / "gone.spec").unlink()
    slow.add("s")
    done = home.run("list", "--all")
    assert (done.code, done.err) == (0, "")
    assert [line.split()[:2] for line in done.out.splitlines()] == [
        ["DRIVER", "NAME"], ["local", "l"], ["plug", "p"], ["slow", "s"],
    ]  # fmt: skip


def test_failures_of_drivers_are_a_line_each(home: Home) -> None:
    for name in ("one", "two"):
        home.plugin(name).always["List"] = Reply(status=500, body=b'{"Err": "out of order"}')
    home.mount("l", "local")
    done = home.run("list", "--all")
    assert (done.code, done.out.splitlines()[1].split()[:2]) == (1, ["local", "l"])
    assert [line.partition(": ")[2].split(":")[0] for line in done.err.splitlines()] == ["list", "list"]
    assert ["one" in line or "two" in line for line in done.err.splitlines()] == [True, True]


@pytest.mark.parametrize("damage", ["nothing", "a record", "the state"])
def test_both_doors_say_the_same(home: Home, damage: str) -> None:
    home.mount("v", "local")
    if damage == "a record":
        (home.slot("v", "local") / "record.json").write_text("{")
    if damage == "the state":
        home.state.chmod(0o777)
    machines, people = home.run("list", "--json"), home.run("list", "--json", "-q")
    ages = re.compile(r'"age": [0-9.]+')
    assert [ages.sub("", done.out) for done in (machines, people)] == [ages.sub("", people.out)] * 2
    assert (machines.code, machines.err) == (people.code, people.err)
    assert (machines.code == 0) == (damage == "nothing")


@pytest.mark.root
def test_a_file_system_that_could_hang_is_not_asked(home: Home, tmp_path: Path) -> None:
    """What a network or FUSE file system is asked, it may never answer: its size is not known."""
    plugin = home.plugin(real=True)
    path = home.mount().out.strip()
    assert any(mount.path == path for mount in mountinfo.read())
    (row,) = home.mounts()
    assert (row["status"], row["size"]) == ("mounted", None)
    assert row["device"]
    assert home.unmount().code == 0
    assert plugin.mounted() == []
