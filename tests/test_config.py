"""The configuration: a file, its drop-ins, and what is said of what is wrong in them."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from dvdcli import config_schema, config_text
from dvdcli.agent_settings import settings
from dvdcli.config import TOP, Config
from dvdcli.errors import DvdcliError, Exit
from dvdcli.nearest import hint, nearest
from tests.conftest import Home
from tests.expect import refused
from tests.gate import flags

IS_ROOT = os.geteuid() == 0
SOURCES = Path(__file__).parents[1] / "dvdcli"


def drop_in(home: Home, name: str, text: str) -> Path:
    directory = Path(f"{home.config}.d")
    directory.mkdir(exist_ok=True)
    (directory / name).write_text(text)
    return directory / name


def test_drop_ins_are_merged_in_the_order_of_their_names(home, in_process):
    home.config.write_text('explicit_create = true\n[drivers.a]\nprovider = "local"\npath = "/main"\n')
    drop_in(home, "b.toml", 'explicit_create = false\n[drivers.a]\npath = "/b"\n[drivers.c]\nprovider = "ebs"\n')
    drop_in(home, "Z.toml", '[drivers.a]\npath = "/Z"\n[agent]\nname = "one"\nurl = "http://h:1"\n')
    drop_in(home, "é.toml", '[agent]\nname = "two"\n')
    drop_in(home, "c.toml.disabled", '[drivers.a]\npath = "/never"\n')
    found = Config()
    assert found.driver("a") == {"provider": "local", "path": "/b"}
    assert found.driver("c") == {"provider": "ebs"}
    assert found.driver("d") is None
    assert found.drivers() == ["a", "c"]
    assert not found.explicit_create()
    assert found.table("agent") == {"name": "two", "url": "http://h:1"}
    assert found.where("drivers", "a", "path") == f"{home.config}.d/b.toml"
    assert found.where("drivers", "a", "provider") == str(home.config)
    assert settings(found).insecure is False


def test_a_drop_in_works_without_the_file_beside_it(home):
    drop_in(home, "10.toml", f'[drivers.fast]\nprovider = "local"\npath = "{home.root}/fast"\n')
    assert home.mount("v", "fast").out == f"{home.root}/fast/v/data\n"
    drop_in(home, "20.toml", "explicit_create = true\n")
    assert "fast/w" in refused(home.mount("w", "fast"), Exit.NOT_FOUND)
    assert home.unmount("v", "fast").code == 0


def test_no_configuration_at_all_has_no_drop_ins(home):
    (home.root / ".d").mkdir()
    (home.root / ".d" / "x.toml").write_text("nonsense")
    assert home.mount("v", "local", env={"DVDCLI_CONFIG": ""}, cwd=home.root).code == 0
    assert home.unmount("v", "local").code == 0


def test_an_error_names_the_file_that_it_is_in(home):
    home.config.write_text('[drivers.fast]\nprovider = "local"\n')
    path = drop_in(home, "10.toml", "explicit_create = 3\n")
    assert f"{path}: explicit_create" in refused(home.mount("v", "fast"), Exit.FAILURE)
    path.write_text("[drivers.fast]\ncolour = 1\n")
    assert f"{path}: [drivers.fast]" in refused(home.mount("v", "fast"), Exit.USAGE)
    path.write_text("= 3\n")
    assert f"{path}: " in refused(home.mount("v", "fast"), Exit.FAILURE)
    path.write_text("")
    path.chmod(0o666)
    assert f"{path}: others can write it" in refused(home.mount("v", "fast"), Exit.FAILURE)
    path.chmod(0o600)
    path.parent.chmod(0o777)
    assert f"{path.parent}: others can write it" in refused(home.mount("v", "fast"), Exit.FAILURE)
    path.parent.chmod(0o700)
    assert home.mount("v", "fast").code == 0
    assert home.unmount("v", "fast").code == 0


@pytest.mark.skipif(not IS_ROOT, reason="only root can give files away")
def test_a_drop_in_of_somebody_else_is_refused(home):
    path = drop_in(home, "10.toml", "")
    os.chown(path, 12345, -1)
    assert f"{path}: others can write it" in refused(home.mount("v", "local"), Exit.FAILURE)


@pytest.mark.parametrize(
    ("text", "code", "word", "meant"),
    [
        ("explicit_creat = true", Exit.FAILURE, "'explicit_creat'", "explicit_create"),
        ("Drivers = {}", Exit.FAILURE, "'Drivers'", "drivers"),
        ("[drivers.local]\nprovider = 'local'\npaht = '/x'", Exit.USAGE, "'paht'", "path"),
        ("[drivers.local]\nprovider = 'scaleio'\npassword = 'hush'", Exit.USAGE, "'password'", "password_file"),
    ],
)  # fmt: skip
def test_an_unknown_key_is_an_error_that_names_the_nearest(home, text, code, word, meant):
    home.config.write_text(text)
    said = refused(home.mount("v", "local"), code)
    assert f"unknown key {word}" in said or f"unknown setting {word}" in said
    assert f"did you mean {meant}?" in said
    assert "hush" not in said


def test_nothing_is_meant_by_what_is_like_nothing():
    assert hint("zzzz", ["path", "agent"]) == "the known ones: agent, path"
    assert hint("zzzz", []) == "the known ones: none"
    assert nearest("VOLUMEtyp", ["volumeType", "size"]) == "volumeType"


@pytest.mark.parametrize("table", [
    "[drivers.bad]\npath = '/x'", "[drivers.bad]\nprovider = 'nonsense'", "[drivers]\nbad = 3",
    "[drivers.bad]\nprovider = 'local'\ncolour = 'red'", "[agent]\ncolour = 'red'", "agent = 3",
])  # fmt: skip
def test_a_bad_table_breaks_no_other_driver(home, table):
    home.config.write_text(table)
    assert home.mount("v", "local").code == 0
    assert home.unmount("v", "local").code == 0
    if "bad" in table:
        assert "bad" in refused(home.mount("v", "bad"), {"'nonsense'": Exit.NOT_FOUND, "colour": Exit.USAGE}.get(
            next((word for word in ("'nonsense'", "colour") if word in table), ""), Exit.FAILURE))  # fmt: skip


@pytest.mark.skipif(not IS_ROOT, reason="the check is on what root reads")
def test_a_key_that_others_can_read_is_not_used(home):
    key = home.root / "key.pem"
    key.write_text("")
    key.chmod(0o644)
    lines = ("[drivers.nas]", 'provider = "docker"', 'address = "https://127.0.0.1:1"', f'cert_file = "{key}"')
    home.config.write_text("\n".join([*lines, f'key_file = "{key}"']))
    assert f"{key}: others can read it" in refused(home.mount("v", "nas"), Exit.FAILURE)
    assert home.leftovers() == []


@pytest.mark.parametrize(("text", "word"), [
    ("nmae = 'x'", "did you mean name"), ("grace = 'x'", "grace"), ("insecure = 1", "insecure"),
    ("grace = -1", "grace"), ("grace = nan", "grace"), ("url = 3", "url is no str"),
])  # fmt: skip
def test_a_wrong_agent_table_is_said(home, in_process, text, word):
    drop_in(home, "10.toml", f"[agent]\n{text}\n")
    with pytest.raises(DvdcliError, match=word) as raised:
        settings(Config())
    assert str(raised.value).startswith(f"{home.config}.d/10.toml: [agent]")


# The schema


def test_every_key_says_what_it_is():
    keys = config_schema.all_keys()
    assert {key.section.partition(".")[0] for key in keys} | {"explicit_create"} == {"", *TOP}
    assert {key.name for key in keys if not key.section} == {"explicit_create"}
    for key in keys:
        assert re.fullmatch(r"[A-Z].*\.", key.meaning), (key.section, key.name)
        assert key.takes(key.default), (key.section, key.name)
        assert key.kind in config_schema.KINDS
    assert {key.name for key in keys if key.secret} == {"key_file", "password_file", "secret_file", "secrets_file"}


def test_the_table_of_variables_is_what_the_source_reads():
    text = "\n".join(path.read_text() for path in SOURCES.rglob("*.py") if path.name != "config_schema.py")
    assert set(re.findall(r"\bDVDCLI_[A-Z_]*[A-Z]", text)) == {each.name for each in config_schema.VARIABLES}


# As text


def test_lines_are_those_of_the_statements():
    text = (
        'explicit_create = true # [x]\n\n[drivers."a b"]\nprovider = "local"\n'
        'path = """\n[drivers.no]\nx = 1\n"""\n\r\n[drivers.c]\nlist = [\n  "[d]",\n  1,\n]\nother.deep = 1\n'
        'agent.url = "x"\n[drivers]\ninline = {provider = "ebs", more = {x = 1}}\n'
    )
    assert config_text.lines(text) == {
        ("explicit_create",): 1, ("drivers",): 3, ("drivers", "a b"): 3, ("drivers", "a b", "provider"): 4,
        ("drivers", "a b", "path"): 5, ("drivers", "c"): 10, ("drivers", "c", "list"): 11,
        ("drivers", "c", "other"): 15, ("drivers", "c", "other", "deep"): 15, ("drivers", "c", "agent"): 16,
        ("drivers", "c", "agent", "url"): 16, ("drivers", "inline"): 18, ("drivers", "inline", "provider"): 18,
        ("drivers", "inline", "more"): 18, ("drivers", "inline", "more", "x"): 18,
    }  # fmt: skip


@pytest.mark.parametrize("name", [
    "password", "PASSWORD", "userPassword", "db_passwd", "secret", "client_secret", "token", "authToken", "api_key",
    "apikey", "key", "accessKey", "secret_access_key", "credentials", "passphrase", "pwd", "secretValue",
])  # fmt: skip
def test_what_is_named_like_a_secret(name):
    assert config_text.is_secret_name(name)
    assert config_text.masked(name, "hush") == "********"
    assert config_text.masked("options", {name: "hush", "list": [{name: ["hush"]}]}) == {
        name: "********", "list": [{name: "********"}],
    }  # fmt: skip


@pytest.mark.parametrize("name", [
    "kmsKeyId", "key_id", "key_file", "password_file", "secret_file", "token_ttl", "user", "path", "insecure",
    "protection_domain", "storage_pool", "keyName", "provider", "",
])  # fmt: skip
def test_what_is_named_like_none(name):
    assert not config_text.is_secret_name(name)
    assert config_text.masked(name, "told") == "told"


def test_a_password_in_a_url_is_one():
    assert config_text.masked("endpoint", "https://me:hush@h/p?a=b@c") == "https://me:********@h/p?a=b@c"
    assert config_text.masked("endpoint", "https://h:443/x@y") == "https://h:443/x@y"
    assert config_text.masked("password", "") == ""


@pytest.mark.parametrize("exists", [True, False], ids=["mounted", "made and mounted"])
def test_a_hook_looks_at_the_configuration_once(installed_home, exists):
    """And at drop-ins that are not there: the driver is looked up in it, and whether a volume may be made."""
    home = installed_home
    plugin = home.plugin()
    if exists:
        plugin.add("v")
    home.config.write_text('[drivers.other]\nprovider = "local"\n')
    log = home.root / "strace"
    argv = ["strace", "-f", "-qq", "-e", "trace=%file", "-o", log, home.command, "mount", *flags("v", "plug")]
    assert subprocess.run(argv, env=home.env, capture_output=True, check=False).returncode == 0
    looks = [line for line in log.read_text().splitlines() if str(home.config) in line]
    assert [f"{home.config}.d" in line for line in looks] == [True, False], looks
    assert home.unmount("v").code == 0
