"""`dvdcli inspect`: record, mount table, driver and users side by side, and where they disagree."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from tests.conftest import Home
from tests.doubles.plugin import Reply, err
from tests.expect import refused
from tests.isolators import Isolator, variables
from tests.sized import Sized, run
from tests.waiting import wait_until

NOT_FOUND = 3


def views(home: Home, what: str) -> list[dict[str, Any]]:
    done = home.run("inspect", what, "--json")
    assert done.code == 0, done
    found: list[dict[str, Any]] = json.loads(done.out)["data"]["volumes"]
    return found


def disagreements(home: Home, what: str = "v") -> list[str]:
    (view,) = views(home, what)
    found: list[str] = view["disagreements"]
    return found


def test_a_volume_is_found_by_every_name_it_has(home: Home) -> None:
    home.plugin()
    path = home.mount("a/v").out.strip()
    home.mount("w", "local")
    assert Isolator(home).prepare("c1", variables(NAME="x", DRIVER="plug")).code == 0
    for what in ("a/v", "plug/a/v", path, f"{path}/", f"{path}/deep/../below"):
        assert [view["name"] for view in views(home, what)] == ["a/v"], what
    assert [view["name"] for view in views(home, "c1")] == ["x"]
    for what in ("nothing", "/", "/nowhere", "plug", "none/w", f"{path}x"):
        assert "list" in refused(home.run("inspect", what), NOT_FOUND)
    home.mount("w", "plug")
    assert [view["driver"] for view in views(home, "w")] == ["local", "plug"]


def test_all_is_well(home: Home) -> None:
    home.plugin()
    path = home.mount("v", "plug", "--volumeopts=size=1", "--hold=me").out.strip()
    (view,) = views(home, "v")
    assert view["record"]["path"] == view["provider"]["mountpoint"] == path
    assert [hold["who"] for hold in view["holds"]] == ["name:me"]
    assert 0 <= view["holds"][0]["age"] < 600
    assert (view["disagreements"], view["pending"], view["provider"]["exists"]) == ([], False, True)
    lines = home.run("inspect", "plug/v").out.splitlines()
    facts = {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}
    assert (facts["volume"], facts["status"], facts["mountpoint"]) == ("plug/v", "mounted", path)
    assert facts["holder"].startswith("me (for ")
    assert (facts["options"], facts["driver says"]) == ("size=1", f"it exists, mounted at {path}")
    assert "disagreement" not in facts


def test_what_the_driver_says_otherwise(home: Home) -> None:
    plugin = home.plugin()
    path = home.mount().out.strip()
    plugin.volumes["v"].mountpoint = ""
    plugin.volumes["v"].ids.clear()
    assert disagreements(home) == [f"on record as mounted at {path}; by the driver's word it is mounted nowhere"]
    del plugin.volumes["v"]
    assert disagreements(home)[0] == "it is on record, and the driver has no such volume"
    plugin.always["Get"] = err("out of order")
    (view,) = views(home, "v")
    assert view["provider"]["exists"] is None
    assert "out of order" in view["provider"]["error"]
    assert "out of order" in home.run("inspect", "v").out
    plugin.always["Get"] = Reply(delay=60)
    done = home.run("inspect", "v", timeout=50)
    assert (done.code, "driver says:" in done.out) == (0, True)


def test_what_is_on_no_record(home: Home) -> None:
    plugin = home.plugin()
    plugin.add("v")
    (view,) = views(home, "plug/v")
    assert (view["record"], view["provider"]["exists"], view["disagreements"]) == (None, True, [])
    assert "record:       none" in home.run("inspect", "plug/v").out
    home.mount()
    path = home.record()["path"]
    for file in ("record.json", "holds/name:host.json"):
        (home.slot() / file).unlink()
    assert disagreements(home, "plug/v") == [f"nothing is on record, and the driver has it mounted at {path}"]
    assert home.unmount().code == 0
    assert plugin.mounted() == []


def test_what_the_state_itself_says_otherwise(home: Home) -> None:
    home.plugin()
    assert Isolator(home).prepare("c1", variables(NAME="v", DRIVER="plug")).code == 0
    assert disagreements(home) == []
    (given,) = (home.state / "containers").glob("*/container.json")
    told = json.loads(given.read_text())
    given.write_text(json.dumps({**told, "volumes": [["plug", "other"]]}))
    assert "other volumes" in disagreements(home)[0]
    given.unlink()
    assert "nothing says" in disagreements(home)[0]
    home.edit_record(boot="older")
    assert "earlier boot" in disagreements(home)[0]
    before = (home.slot() / "record.json").read_bytes()
    (home.slot() / "record.json").write_text("{")
    assert "damaged" in disagreements(home)[0]
    assert (home.slot() / "record.json").read_text() == "{", "a look changes nothing"
    (home.slot() / "record.json").write_bytes(before)


def test_nobody_holds_it(home: Home) -> None:
    home.plugin()
    home.mount()
    (home.slot() / "holds/name:host.json").unlink()
    assert disagreements(home) == ["nobody holds it: dvdcli recover unmounts it"]
    assert home.recover().code == 0
    assert home.leftovers() == []


@pytest.mark.root
def test_who_uses_it_and_a_lost_device(sized: Sized) -> None:
    assert sized.mount("size=16M").code == 0
    file = sized.path() / "file"
    code = f"f = open({str(file)!r}, 'w'); print('open', flush=True); input()"
    line = [sys.executable, "-c", code]
    with subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "open\n"
        (view,) = views(sized.home, "v")
        assert [text for text in view["users"] if f"pid {process.pid} " in text and str(file) in text]
        (mount,) = view["mounts"]
        assert (mount["source"], mount["type"], view["disagreements"]) == (sized.loops()[0], "ext4", [])
        assert f"pid {process.pid} " in sized.home.run("inspect", str(file)).out
        process.communicate("\n")
    wait_until(lambda: not views(sized.home, "v")[0]["users"])
    run("umount", sized.path())
    found = disagreements(sized.home)
    assert [text.partition(" ")[0] for text in found] == ["on", "on"]
    assert "its device is not mounted" in found[0]
    assert sized.unmount().code == 0
    assert sized.left() == []


def test_users_of_a_directory(home: Home) -> None:
    path = home.mount("v", "local").out.strip()
    with subprocess.Popen(["sleep", "60"], cwd=path) as process:
        wait_until(lambda: any(f"pid {process.pid} " in text for text in views(home, "v")[0]["users"]))
        process.kill()
