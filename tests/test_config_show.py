"""dvdcli config show and check, through the installed command."""

from __future__ import annotations

import json
import os
import tomllib

import pytest

from dvdcli.clock import Deadline
from dvdcli.config import PLUGIN_DIRECTORIES, Config
from dvdcli.config_check import problems
from dvdcli.config_show import settings as all_settings
from dvdcli.errors import DvdcliError, Exit
from dvdcli.providers import find
from tests.conftest import Done, Home
from tests.test_config import drop_in

MAIN = """\
explicit_create = true

[drivers.fast]
provider = "local"

[drivers."my nas"]
provider = "docker"
address = "https://me:hush1@10.0.0.5:9000"

[drivers.grid]
provider = "scaleio"
endpoint = "https://gateway"
user = "dvdcli"
"""


def shown(done: Done) -> dict[str, object]:
    assert (done.code, done.err) == (0, ""), done
    return tomllib.loads(done.out)


def source(done: Done, key: str) -> str:
    """Return where the first line of *key* says that it comes from."""
    line = next(line for line in done.out.splitlines() if line.split(" = ")[0].strip() == key)
    return line.rpartition("  # ")[2]


def settings(home: Home, **options: object) -> dict[tuple[str, str], dict[str, object]]:
    done = home.run("config", "show", "--json", **options)  # type: ignore[arg-type]
    assert (done.code, done.err) == (0, ""), done
    rows = json.loads(done.out)["data"]["settings"]
    return {(row["section"], row["name"]): row for row in rows}


def wrong(home: Home, *lines: str, code: int = Exit.FAILURE, **options: object) -> None:
    """Assert that config check says exactly these *lines*, without what stands before each."""
    done = home.run("config", "check", **options)  # type: ignore[arg-type]
    assert (done.code, done.out) == (code, ""), done
    assert done.err == "".join(f"dvdcli: {line}\n" for line in lines)


def test_show_prints_what_counts_and_where_it_is_from(home):
    home.config.write_text(MAIN)
    path = drop_in(home, "10.toml", f'\n[drivers.fast]\npath = "{home.root}/a\\"b"\n')
    done = home.run("config", "show", env={"DVDCLI_SCALEIO_PASSWORD": "hush2"})
    found = shown(done)
    assert found["explicit_create"] is True
    assert found["DVDCLI_STATE_DIR"] == str(home.state)
    assert found["drivers"]["fast"] == {"provider": "local", "path": f'{home.root}/a"b'}
    assert found["drivers"]["my nas"]["address"] == "https://me:********@10.0.0.5:9000"
    assert found["drivers"]["grid"]["preempt"] == "never"
    assert found["DVDCLI_SCALEIO_PASSWORD"] == "********"
    assert "hush" not in done.out
    assert source(done, "explicit_create") == f"{home.config}:1"
    assert source(done, "path") == f"{path}:3"
    assert source(done, "user") == f"{home.config}:13"
    assert source(done, "DVDCLI_STATE_DIR") == "environment"
    assert source(done, "DVDCLI_SYSFS") == source(done, "preempt") == source(done, "grace") == "default"
    columns = {line.index(" = ") for line in done.out.partition("[drivers.grid]")[2].splitlines() if line}
    assert len(columns) == 1, "aligned"


def test_show_of_nothing_is_the_defaults(home):
    env = {name: value for name, value in home.env.items() if not name.startswith("DVDCLI_")}
    home.env = {**env, "XDG_STATE_HOME": str(home.root), "DVDCLI_CONFIG": str(home.config)}
    done = home.run("config", "show")
    found = shown(done)
    assert found["DVDCLI_PLUGIN_DIRS"] == PLUGIN_DIRECTORIES
    assert found["explicit_create"] is False
    assert "drivers" not in found
    if os.geteuid() == 0:
        assert found["DVDCLI_STATE_DIR"] == "/var/lib/dvdcli"


def test_show_for_programs(home):
    home.config.write_text(MAIN)
    found = settings(home)
    assert found["", "explicit_create"] == {
        "section": "", "name": "explicit_create", "value": True, "origin": "file", "path": str(home.config), "line": 1,
    }  # fmt: skip
    assert found["drivers.grid", "preempt"]["origin"] == "default"
    assert found["variables", "DVDCLI_CONFIG"]["origin"] == "environment"
    assert found['drivers."my nas"', "address"]["value"] == "https://me:********@10.0.0.5:9000"


def test_secrets_of_an_unknown_provider_are_masked(home):
    home.config.write_text(
        '[drivers.x]\nprovider = "nobodys"\npassword = "hush"\napi = {token = "hush", user = "me", when = 2020-01-01}\n'
        'keys = ["a"]\nkey_id = "AKIA"\n[drivers.y]\nsecret = "a much longer hush"\n'
    )
    done = home.run("config", "show")
    assert (done.code, done.err, "hush" in done.out) == (0, "", False)
    x, y = (tomllib.loads(done.out)["drivers"][name] for name in "xy")
    assert x["api"]["user"] == "me"
    assert x["key_id"] == "AKIA"
    assert x["password"] == x["api"]["token"] == y["secret"] == "********"
    assert "hush" not in home.run("config", "show", "--json").out
    assert "hush" not in home.run("config", "check").err


def test_show_of_what_cannot_be_read_fails(home):
    home.config.write_text("explicit_create = 3")
    done = home.run("config", "show")
    assert (done.code, done.out) == (Exit.FAILURE, "")
    assert "explicit_create" in done.err
    assert json.loads(home.run("config", "show", "--json").out)["exit_code"] == Exit.FAILURE


def test_control_characters_do_not_reach_the_terminal(home):
    home.config.write_text('[drivers.x]\nprovider = "local"\npath = "/a\\u001b[2J\\u009b\\U000e0001b"\n')
    done = home.run("config", "show")
    assert all(c.isprintable() or c == "\n" for c in done.out)
    assert tomllib.loads(done.out)["drivers"]["x"]["path"] == "/a\x1b[2J\x9b\U000e0001b"


# check


@pytest.fixture
def password(home):
    path = home.root / "password"
    path.write_text("hush\n")
    path.chmod(0o600)
    return path


def test_check_says_nothing_where_all_is_right(home, password):
    home.config.write_text(f'{MAIN}password_file = "{password}"\n')
    drop_in(home, "10.toml", '[agent]\nurl = "http://127.0.0.1:5051"\n')
    wrong(home, code=Exit.DONE)
    home.config.write_text(MAIN)
    wrong(home, code=Exit.DONE, env={"DVDCLI_SCALEIO_PASSWORD": "x"})
    home.config.write_text("")
    wrong(home, code=Exit.DONE)


def test_check_says_everything_that_is_wrong(home, password):
    password.chmod(0o644)
    home.config.write_text(
        'explicit_creat = true\nexplicit_create = 1\n[drivers.fast]\nprovider = "locl"\n'
        '[drivers.grid]\nprovider = "scaleio"\npreempt = "allways"\nuser = 3\nendpoint = "https://x"\n'
        f'password_file = "{password}"\n[agent]\nurll = "x"\n[drivers.none]\n'
    )
    drop = drop_in(home, "10.toml", '[drivers.fast]\n[drivers.disk]\nprovider = "ebs"\nzoen = "a"\npreempt = "x"\n')
    torn = drop_in(home, "20.toml", "x = [\n")
    done = home.run("config", "check")
    assert done.code == Exit.FAILURE
    lines = [line.removeprefix("dvdcli: config check: ") for line in done.err.splitlines()]
    assert all(line.startswith(str(home.root)) for line in lines), done.err
    starts = (
        f"{home.config}:1: unknown key 'explicit_creat'; did you mean explicit_create?", f"{home.config}:2: explicit_c",
        f"{torn}: ", f"{home.config}:12: [agent] has an unknown key 'urll'; did you mean url?",
        f"{home.config}:4: there is no provider 'locl' for the driver 'fast'; did you mean local?",
        f"{home.config}:8: [drivers.grid] user is no str",
        f"{home.config}:10: password_file: {password}: others can read it",
        f"{home.config}:7: [drivers.grid] preempt = 'allways' is no policy",
        f"{home.config}:13: [drivers.none] names no provider",
        f"{drop}:4: [drivers.disk] has an unknown setting 'zoen'; did you mean zone?",
        f"{drop}:5: [drivers.disk] preempt = 'x' is no policy",
    )  # fmt: skip
    for start in starts:
        assert sum(line.startswith(start) for line in lines) == 1, (start, done.err)
    about_user = [line for line in lines if "has no endpoint and user" in line]
    assert len(lines) == len(starts) + len(about_user), done.err
    answer = json.loads(home.run("config", "check", "--json").out)
    assert [error["message"] for error in answer["errors"]] == lines


@pytest.mark.parametrize(("text", "word"), [
    ('[drivers.x]\nprovider = "scaleio"', "has no endpoint and user"),
    ('[drivers.x]\nprovider = "scaleio"\nendpoint = "https://h"\nuser = "u"', "DVDCLI_SCALEIO_PASSWORD"),
    ('[drivers.x]\nprovider = "docker"\naddress = "junk"', "junk"),
    ('[drivers.x]\nprovider = "docker"\nca_file = "/nowhere"', "/nowhere: No such file"),
    ('[drivers.x]\nprovider = "docker"\nkey_file = "/dev/null"', "key_file"),
    ('[drivers.x]\nprovider = "local"\npath = "relative"', "relative"),
    ("[drivers]\nx = 3", "[drivers.x] is no table"),
    ("agent = 3", "[agent] is no table"),
    ('[agent]\nprincipal = "me"', "no secret_file"),
    ('[agent]\nurl = "http://me:hush@h:1"', "has a password in it"),
    ('[agent]\nca_file = "/nowhere"', "/nowhere: No such file"),
    ("drivers = 3", "drivers is no table"),
    ("nonsense =\n", "line 1"),
])  # fmt: skip
def test_check_of_one_thing(home, text, word):
    home.config.write_text(text)
    done = home.run("config", "check")
    assert (done.code, done.out) == (Exit.FAILURE, "")
    assert word in done.err
    assert all(line.startswith(f"dvdcli: config check: {home.config}") for line in done.err.splitlines())


def test_check_of_files_that_others_can_write(home):
    path = drop_in(home, "10.toml", "")
    path.chmod(0o666)
    home.config.write_text("")
    home.config.chmod(0o620)
    said = "config check: {0}: others can write it; chown root {0} and chmod go-w it"
    wrong(home, said.format(home.config), said.format(path))


def test_check_of_the_variables(home):
    env = {"DVDCLI_STATEDIR": "x", "DVDCLI_ZZZZZZZ": "x"}
    wrong(
        home, "warning: the variable DVDCLI_STATEDIR means nothing to dvdcli: did you mean DVDCLI_STATE_DIR?",
        "warning: the variable DVDCLI_ZZZZZZZ means nothing to dvdcli",
        "warning: DVDCLI_CONFIG names /nowhere/x, which is not there", code=Exit.DONE,
        env={**env, "DVDCLI_CONFIG": "/nowhere/x"},
    )  # fmt: skip
    home.config.write_text("")
    wrong(home, "config check: DVDCLI_DEV=dev is no absolute path", env={"DVDCLI_DEV": "dev"})


@pytest.mark.parametrize("words", [["--help"], ["show", "--help"], ["check", "-h"]])
def test_help(home, words):
    done = home.run("config", *words)
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith(f"Usage: dvdcli config {words[0] if len(words) > 1 else ''}")


def test_no_question_at_all(home):
    done = home.run("config")
    assert (done.code, done.out) == (Exit.USAGE, "")
    assert done.err == home.run("config", "--help").out


def test_a_question_that_is_none(home):
    done = home.run("config", "shwo")
    assert (done.code, done.out) == (Exit.USAGE, "")
    assert "shwo" in done.err


THIRD = """
from typing import ClassVar
from dvdcli.providers.base import Option, Provider

class Vault(Provider):
    settings: ClassVar = {"pin": Option(str, "", "what opens it", secret=True), "pin_file": Option(str, "", "", True)}
"""


@pytest.fixture
def vault(home, in_process, monkeypatch):
    """Somebody else's provider, as pip would install it, for this very process."""
    site = home.root / "site"
    (site / "vault-1.dist-info").mkdir(parents=True)
    (site / "vault_of_tests.py").write_text(THIRD)
    (site / "vault-1.dist-info" / "METADATA").write_text("Name: vault\nVersion: 1\n")
    points = "[dvdcli.providers]\nvault = vault_of_tests:Vault\nbroken = nobodys_module:X\n"
    (site / "vault-1.dist-info" / "entry_points.txt").write_text(points)
    monkeypatch.syspath_prepend(str(site))
    return home


def test_a_secret_stands_only_where_nobody_else_reads(vault):
    vault.config.write_text('[drivers.x]\nprovider = "vault"\npin = "1234"\n')
    vault.config.chmod(0o644)
    told = [str(error) for error in problems()[0]]
    assert len(told) == 1
    assert told[0].startswith(f"{vault.config}:3: pin: {vault.config}: others can read it")
    with pytest.raises(DvdcliError, match="others can read it"):
        find("x", Config(), Deadline(1), 0.0)
    vault.config.chmod(0o600)
    assert problems()[0] == []
    assert find("x", Config(), Deadline(1), 0.0)[1].pinned == {"pin": "1234"}
    [shown] = [each for each in all_settings() if each.name == "pin"]
    assert (shown.value, shown.source()) == ("********", f"{vault.config}:3")


def test_a_provider_that_cannot_be_imported(vault):
    vault.config.write_text('[drivers.x]\nprovider = "broken"\n')
    [error] = problems()[0]
    assert str(error).startswith(f"{vault.config}:2: the provider 'broken' cannot be imported: ModuleNotFoundError")
    assert [each.value for each in all_settings() if each.section == "drivers.x"] == ["broken"]
