"""Bad input of every kind: one line that says what is wrong, the right exit code, and nothing left behind."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from dvdcli.errors import Exit, UsageError
from dvdcli.volume import Volume, parse_options
from tests.conftest import Done, Home
from tests.doubles.plugin import Reply
from tests.expect import one_line, refused

STRANGE_NAMES = (
    "\U0001f40b", "a/b", "/", "a b", " ", "..", ".", "../../etc", "'", '"', "%", "%2F", "~", ".hidden", "-v", "--help",
    "a%2Fb", "A/B", "$(id)", "a\\b", "a=b,c", "é", "e\u0301", "*", "x" * 1024, "x" * 1023 + "y", "\u2028", "[red]",
    "~" * 130,
)  # fmt: skip


def call(home: Home, verb: str, driver: str | bytes, name: str | bytes, *more: str | bytes) -> tuple[str | bytes, ...]:
    return (verb, b"--volumedriver=" + os.fsencode(driver), b"--volumename=" + os.fsencode(name), *more)


@pytest.mark.parametrize("verb", ["mount", "unmount", "create", "remove", "get", "path"])
@pytest.mark.parametrize("name", ["", "a\nb", "\x1b[2J", "a\x7f", "\x85", "x" * 1025, "x" * 4096, "é" * 513, b"a\xffb"])
def test_no_volume_has_such_a_name(home: Home, verb: str, name: str | bytes) -> None:
    plugin = home.plugin()
    for more in ((), ("--timeout=9",)):  # the hook's door, and click's
        refused(home.run(*call(home, verb, "plug", name, *more)), Exit.USAGE)
    assert plugin.calls == []
    assert home.leftovers() == []
    assert not home.state.exists()


@pytest.mark.parametrize(
    "driver", ["../x", "../../x", "/abs", "a//b", "a/", ".", "..", "a/./b", "", "a\nb", b"\xff", "x" * 1025]
)
def test_no_driver_has_such_a_name(home: Home, driver: str | bytes) -> None:
    home.plugin("../x")
    for verb in ("mount", "unmount", "create", "list"):
        refused(home.run(*call(home, verb, driver, "v")), Exit.USAGE)
    assert home.leftovers() == []
    assert not home.state.exists()


def test_a_nul_cannot_be_in_argv_and_is_no_name_elsewhere() -> None:
    for driver, name in (("d", "a\0b"), ("d", "\0"), ("a\0b", "v")):
        with pytest.raises(UsageError, match="control character"):
            Volume(driver, name)
    with pytest.raises(UsageError, match="NUL"):
        parse_options(["a=b\0c"])


@pytest.mark.parametrize(
    "option", ["size", "=v", "=", "", b"a=\xff", "unknown=1", "mode=9", "mode=", "uid=root", "uid=-1", "gid=²"]
)
def test_no_volume_has_such_an_option(home: Home, option: str | bytes) -> None:
    for verb in ("mount", "create"):
        for more in ((), ("-q",)):
            flag = b"--volumeopts=" + os.fsencode(option)
            refused(home.run(*call(home, verb, "local", "v", flag, *more)), Exit.USAGE)
    assert home.leftovers() == []
    assert home.run("list", "--volumedriver=local").out == ""


def test_an_unknown_option_names_the_known_ones(home: Home) -> None:
    told = refused(home.mount("v", "local", "--volumeopts=colour=red"), Exit.USAGE)
    assert "'colour'" in told
    assert "fsType, gid, mode, mountopts, overwriteFs, size, uid" in told


@pytest.mark.parametrize("uid", ["4294967294", "4294967296", "9" * 30, "9" * 5000])
def test_an_owner_beyond_all_numbers(home: Home, uid: str) -> None:
    done = home.mount("v", "local", f"--volumeopts=uid={uid}")
    if done.code != 0:
        refused(done, Exit.USAGE if int(uid[:11]) >= 2**32 else Exit.FAILURE)  # only root can chown
        assert home.leftovers() == []
    assert not list(home.state.glob("mounts/local/.*"))


def test_an_unknown_driver(home: Home) -> None:
    for verb in ("get", "path", "list"):
        assert "'nobody'" in refused(home.run(*call(home, verb, "nobody", "v")), Exit.NOT_FOUND)
    assert "'nobody'" in refused(home.run(*call(home, "mount", "nobody", "v", "--timeout=0.2")), Exit.NOT_FOUND)
    assert home.unmount("v", "nobody").code == 0
    assert home.leftovers() == []


@pytest.mark.parametrize("argv", [["mount", "--bad"], ["nonsense"], [b"\xff"], ["mount", b"--\xff"], ["help", b"\xff"]])
def test_an_unknown_word(home: Home, argv: list[str | bytes]) -> None:
    refused(home.run(*argv), Exit.USAGE)


@pytest.mark.parametrize(
    "mountpoint",
    [
        "", "relative", "./here", "/", "//", "/.", "/./", "/a/../b", "/..", "/a\nb", "/a\x1b[2J", "/a ", " /a",
        None, 7, ["/a"],
    ],
)  # fmt: skip
def test_a_plugin_that_names_no_mountpoint(home: Home, mountpoint: object) -> None:
    plugin = home.plugin()
    plugin.next("Mount", Reply(status=200, body=json.dumps({"Mountpoint": mountpoint, "Err": ""}).encode(), act=True))
    told = refused(home.mount(), Exit.FAILURE)
    assert "plug" in told
    assert plugin.names()[2:] == ["Mount", "Get", "Unmount"]
    assert plugin.mounted() == []
    assert home.leftovers() == []


@pytest.mark.parametrize("mountpoint", ["relative", "/", "/.", "/a\n/b", "/a\x1b[2J"])
def test_path_prints_no_such_mountpoint(home: Home, mountpoint: str) -> None:
    plugin = home.plugin()
    body = json.dumps({"Volume": {"Name": "v", "Mountpoint": mountpoint}, "Err": ""}).encode()
    plugin.always["Get"] = Reply(status=200, body=body)
    done = home.run(*call(home, "path", "plug", "v"))
    if done.code == 0:
        assert repr(done) == repr(Done(0, "", ""))
    else:
        refused(done, Exit.FAILURE)


@pytest.mark.parametrize(
    ("text", "code", "word"),
    [
        ("= junk", Exit.FAILURE, "line 1"),
        ("explicit_create = true\n[drivers.x", Exit.FAILURE, "']'"),
        ("colour = 'red'", Exit.FAILURE, "'colour'"),
        ("explicit_create = 'yes'", Exit.FAILURE, "explicit_create"),
        ("drivers = 3", Exit.FAILURE, "drivers"),
        ("[drivers]\nlocal = 3", Exit.FAILURE, "drivers.local"),
        ("[drivers.local]\npath = '/x'", Exit.FAILURE, "provider"),
        ("[drivers.local]\nprovider = 3", Exit.FAILURE, "provider"),
        ("[drivers.local]\nprovider = 'nonsense'", Exit.NOT_FOUND, "'nonsense'"),
        ("[drivers.local]\nprovider = 'local'\ncolour = 'red'", Exit.USAGE, "'colour'"),
        ("[drivers.local]\nprovider = 'local'\npath = 3", Exit.USAGE, "path"),
        ("[drivers.local]\nprovider = 'local'\npath = 'relative'", Exit.USAGE, "relative"),
        ("[drivers.local]\nprovider = 'local'\npath = '/dev/null/x'", Exit.STATE, "/dev/null"),
        ("[drivers.local]\nprovider = 'local'\npath = \"/a\\u0000b\"", Exit.USAGE, "path"),
        ("[drivers.local]\nprovider = 'docker'\naddress = 'junk'", Exit.USAGE, "junk"),
        ("[drivers.local]\nprovider = 'docker'\naddress = 'tcp://h:99999'", Exit.USAGE, "99999"),
        ("[drivers.local]\nprovider = 'docker'\naddress = 'unix://relative'", Exit.USAGE, "relative"),
        ("[drivers.local]\nprovider = 'docker'\ninsecure = 'yes'", Exit.USAGE, "insecure"),
        ("[drivers.local]\nprovider = 'docker'\nplugin = 'nobody'", Exit.NOT_FOUND, "nobody"),
        ("x = " + "[" * 5000, Exit.FAILURE, "dvdcli.toml"),
        ("# \udcff", Exit.FAILURE, "dvdcli.toml"),
    ],
)  # fmt: skip
def test_a_bad_configuration(home: Home, text: str, code: int, word: str) -> None:
    home.config.write_bytes(os.fsencode(text))
    assert word in refused(home.mount("v", "local"), code)
    assert home.leftovers() == []
    assert home.unmount("v", "local").code == 0  # what was never mounted
    assert home.leftovers() == []


@pytest.mark.parametrize("mode", [0o666, 0o620, 0o602])
def test_a_configuration_that_others_can_write(home: Home, mode: int) -> None:
    home.config.write_text("explicit_create = false")
    home.config.chmod(mode)
    assert "others can write it" in refused(home.mount("v", "local"), Exit.FAILURE)
    assert home.leftovers() == []


def test_a_configuration_that_is_a_directory(home: Home) -> None:
    home.config.mkdir()
    assert "dvdcli.toml" in refused(home.mount("v", "local"), Exit.FAILURE)
    assert home.leftovers() == []


@pytest.mark.parametrize("variable", ["DVDCLI_STATE_DIR", "DVDCLI_CONFIG"])
def test_a_variable_that_names_no_place(home: Home, variable: str) -> None:
    value = {"DVDCLI_STATE_DIR": "relative", "DVDCLI_CONFIG": "/dev/null/x"}[variable]
    done = home.mount("v", "local", env={variable: value})
    assert done.code in (Exit.USAGE, Exit.FAILURE)
    assert value in one_line(done)
    assert not Path("relative").exists()


@pytest.mark.parametrize(
    ("file", "data"),
    [
        ("plug.spec", b""), ("plug.spec", b"junk"), ("plug.spec", b"tcp://host"), ("plug.spec", b"ftp://host:1"),
        ("plug.spec", b"unix://relative"), ("plug.spec", b"tcp://h:0"), ("plug.spec", b"\xff\xfe"),
        ("plug.json", b""), ("plug.json", b"{"), ("plug.json", b"[]"), ("plug.json", b"{}"), ("plug.json", b"null"),
        ("plug.json", b'{"Addr": 7}'), ("plug.json", b'{"Addr": "junk"}'), ("plug.json", b"\xff"),
        ("plug.json", b'{"Addr": "https://127.0.0.1:1", "TLSConfig": {"CAFile": "/nowhere"}}'),
        ("plug/plug.json", b'{"Addr": "tcp://h:1"} x'), ("plug.json", b"[" * 100_000),
    ],
)  # fmt: skip
def test_a_bad_description_of_a_plugin(home: Home, file: str, data: bytes) -> None:
    path = home.specs / file
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)
    done = home.mount()
    assert done.code in (Exit.FAILURE, Exit.USAGE)
    told = refused(done, done.code)
    assert str(path) in told or "127.0.0.1" in told
    assert home.leftovers() == []


@pytest.mark.parametrize("host", ["a..b", "\U0001f40b", "x" * 64, ".", "no-such-host.invalid"])
def test_a_plugin_on_no_host(home: Home, host: str) -> None:
    (home.specs / "plug.spec").write_text(f"tcp://{host}:80")
    assert "tcp://" in refused(home.mount("v", "plug", "--timeout=1"), Exit.TRY_AGAIN)
    assert home.leftovers() == []


@pytest.mark.parametrize("driver", ["local", "plug"])
def test_strange_names_are_names(home: Home, driver: str) -> None:
    plugin = home.plugin()
    paths = {}
    for name in STRANGE_NAMES:
        done = home.mount(name, driver)
        assert (done.code, done.err) == (0, ""), name
        paths[name] = Path(done.out.removesuffix("\n"))
        assert paths[name].is_dir()
        (paths[name] / "who").write_text(name)
    assert len(set(paths.values())) == len(STRANGE_NAMES)
    assert {name: (path / "who").read_text() for name, path in paths.items()} == {name: name for name in STRANGE_NAMES}
    assert sorted(row["name"] for row in home.mounts()) == sorted(STRANGE_NAMES)
    assert sorted(home.run("list", f"--volumedriver={driver}").out.split("\n")[:-1]) == sorted(STRANGE_NAMES)
    assert plugin.mounted() == (sorted(STRANGE_NAMES) if driver == "plug" else [])
    for name in STRANGE_NAMES:
        assert home.unmount(name, driver).code == 0
    assert plugin.mounted() == []
    assert home.leftovers() == []
