"""What people and their programs see: tables on a terminal, plain columns in a pipe, JSON envelopes."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from dvdcli.errors import Exit
from tests.conftest import Done, Home
from tests.doubles.plugin import Reply
from tests.expect import on_terminal, one_line, refused

COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def test_list_of_a_driver(home: Home) -> None:
    plugin = home.plugin()
    for name in ("b", "a", "c d"):
        plugin.add(name)
    done = home.run("list", "--volumedriver=plug")
    assert (done.code, done.out, done.err) == (0, "a\nb\nc d\n", "")
    assert home.run("--volumedriver", "plug", "list").out == done.out
    value = json.loads(home.run("list", "--volumedriver=plug", "--json").out)
    assert (value["data"]["driver"], value["data"]["scope"]) == ("plug", "global")
    assert [row["name"] for row in value["data"]["volumes"]] == ["a", "b", "c d"]
    assert home.run("list", "--volumedriver=nobody").code == Exit.NOT_FOUND


def test_list_in_a_pipe(home: Home) -> None:
    done = home.run("list")
    assert (done.code, done.out, done.err) == (0, "", "")
    mounted = home.mount("v w", "local").out.strip()
    home.mount("longer-than-the-other", "local", "--hold=cron")
    header, first, second = home.run("list", env={"FORCE_COLOR": "1", "COLUMNS": "30"}).out.splitlines()
    assert header.split() == ["DRIVER", "NAME", "STATUS", "AGE", "SIZE", "USE", "DEVICE", "MOUNTPOINT", "HOLDERS"]
    assert first.split()[0::8] == ["local", "cron"]
    assert second.split("  ")[0] == "local"
    cells = re.split(r" {2,}", second)
    assert re.fullmatch(r"\d+s|\d+m(\d+s)?", cells.pop(3))
    assert cells == ["local", "v w", "mounted", "-", "-", "-", mounted, "host"]
    assert second.index("mounted") == header.index("STATUS") == first.index("mounted")


def envelope(done: Done, command: str, code: int = 0) -> dict[str, Any]:
    value = json.loads(done.out)
    assert done.out.count("\n") == 1
    assert value.keys() == {"version", "command", "status", "exit_code", "data", "errors"}
    assert (value["version"], value["command"], value["exit_code"], done.code) == (1, command, code, code)
    assert value["status"] == ("error" if code else "ok")
    assert bool(value["errors"]) == bool(code)
    assert all(error.keys() == {"code", "message"} and error["message"] for error in value["errors"])
    data: dict[str, Any] = value["data"]
    return data


def test_list_json(home: Home) -> None:
    assert envelope(home.run("list", "--json"), "list") == {"mounts": []}
    mounted = home.mount("\U0001f40b", "local", "--hold=cron").out.strip()
    (row,) = envelope(home.run("list", "--json"), "list")["mounts"]
    since = row.pop("since")
    assert 0 <= row.pop("age") < 600
    assert since.keys() == {"wall", "uptime"}
    assert all(isinstance(value, int | float) and value > 0 for value in since.values())
    assert row == {
        "driver": "local", "name": "\U0001f40b", "status": "mounted", "mountpoint": mounted,
        "holds": ["name:cron"], "failure": "", "device": None, "file_system": None, "size": None, "used": None,
    }  # fmt: skip
    (home.slot(next((home.state / "volumes/local").iterdir()).name, "local") / "record.json").write_text("{")
    assert envelope(home.run("list", "--json"), "list", Exit.FAILURE) == {"mounts": []}


def test_recover_json(home: Home) -> None:
    plugin = home.plugin()
    assert envelope(home.run("recover", "--json"), "recover") == {"dry_run": False, "outcomes": []}
    home.mount()
    home.reboot()
    dry = envelope(home.run("recover", "--dry-run", "--json"), "recover")
    assert dry["dry_run"] is True
    assert "Unmount" not in plugin.names()
    wet = envelope(home.run("recover", "--json"), "recover")
    assert wet["outcomes"] == dry["outcomes"] == [
        {"kind": "volume", "volume": "plug/v", "action": "unmounted", "detail": "of an earlier boot"}
    ]  # fmt: skip
    assert home.leftovers() == []
    home.mount("w")
    home.reboot()
    plugin.always["Unmount"] = Reply(status=500, body=b'{"Err": "no way"}')
    (outcome,) = envelope(home.run("recover", "--json"), "recover", Exit.FAILURE)["outcomes"]
    assert (outcome["volume"], outcome["action"]) == ("plug/w", "failed")
    assert "no way" in outcome["detail"]


def test_a_terminal_shows_a_table(home: Home) -> None:
    home.mount("long-" * 20, "local")
    home.mount("[red]x", "local")
    shown = on_terminal(home, "list")
    lines = COLOUR.sub("", shown).splitlines()
    assert COLOUR.search(shown)
    assert "[red]x" in shown  # a name is no markup
    assert lines[0].split() == ["DRIVER", "NAME", "STATUS", "AGE", "SIZE", "USE", "DEVICE", "MOUNTPOINT", "HOLDERS"]
    assert max(map(len, lines)) <= 80
    assert len(lines) > 3  # folded, not cut
    assert COLOUR.sub("", shown).count("long-") >= 20
    plain = on_terminal(home, "list", env={"NO_COLOR": "1"})
    assert set(COLOUR.findall(plain)) <= {"\x1b[0m", "\x1b[1m"}  # bold is no colour
    assert json.loads(on_terminal(home, "list", "--json"))["version"] == 1


@pytest.mark.parametrize("columns", [80, 200])
@pytest.mark.parametrize("look", ["dark", "without colour", "dumb"])
def test_a_table_fits_its_terminal(home: Home, columns: int, look: str) -> None:
    """Nothing is cut or wider than the terminal, states are words too, and colour is only where it is wanted."""
    name = "0123456789" * 4
    home.mount(name, "local", "--hold=somebody")
    env = {"dark": {}, "without colour": {"NO_COLOR": "1"}, "dumb": {"TERM": "dumb"}}[look]
    wide = ["--wide"] if columns == 200 and look != "dumb" else []
    shown = on_terminal(home, "list", *wide, columns=columns, env=env)
    lines = COLOUR.sub("", shown).splitlines()
    assert max(map(len, lines)) <= columns
    assert bool(re.search(r"\x1b\[32mmounted", shown)) == (look == "dark")
    assert "mounted" in lines[1]
    assert lines[0].split()[-2:] == ["MOUNTPOINT", "HOLDERS"]
    if wide:
        assert len(lines) == 2
        assert name in lines[1]


def test_the_picture_of_list_is_what_list_shows(tmp_path: Path) -> None:
    root = Path(__file__).parents[1]
    made = tmp_path / "made.svg"
    subprocess.run([sys.executable, root / "tools/picture.py", made], check=True)
    words = [re.findall(r">([^<>]+)</text>", path.read_text()) for path in (made, root / "contrib/list.svg")]
    assert words[0] == words[1], "make picture"
    assert "lost" in "".join(words[0])


def test_an_empty_list_is_said_on_a_terminal_only(home: Home) -> None:
    assert on_terminal(home, "list") == "dvdcli: nothing is mounted\n"
    assert on_terminal(home, "list", "-q") == ""


def test_a_failure_is_an_envelope_too(home: Home) -> None:
    done = home.run("list", "--json", "--volumedriver=nobody")
    assert envelope(done, "list", Exit.NOT_FOUND) == {}
    assert "'nobody'" in one_line(done)
    refused(home.run("get", "--volumedriver=nobody", "--volumename", "--json"), Exit.NOT_FOUND)  # a name, no flag


@pytest.mark.parametrize("argv", [("list", "--json"), ("list", "--json", "--volumedriver=nobody")])
def test_an_envelope_that_cannot_be_printed(home: Home, argv: tuple[str, ...]) -> None:
    with open("/dev/full", "w") as full:
        assert "No space left" in refused(home.run(*argv, stdout=full), Exit.FAILURE)
    assert "closed" in refused(home.run(*argv, stdout=None, preexec_fn=lambda: os.close(1)), Exit.FAILURE)
