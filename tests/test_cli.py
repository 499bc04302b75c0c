"""The people's door, through the installed command in real processes."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest

from dvdcli import __version__, commands, output
from dvdcli.cli import COMMANDS
from dvdcli.errors import Exit
from tests.conftest import Done, Home
from tests.doubles.plugin import Plugin, Reply
from tests.expect import can_be_interrupted, one_line, refused
from tests.waiting import wait_until

LOCAL = ("--volumedriver=local", "--volumename=v")


def asked(plugin: Plugin, method: str) -> list[dict[str, object]]:
    return [arguments for name, arguments in plugin.calls if name == method]


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_every_command(home: Home, name: str) -> None:
    done = home.run(name, "--help")
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith(f"Usage: dvdcli {name} ")
    assert home.run(name, "-h").out == done.out


def test_version_as_a_flag(home: Home) -> None:
    assert home.run("--version").out == f"dvdcli {__version__}\n"


def test_the_help_names_all_commands(home: Home) -> None:
    done = home.run("--help")
    assert (done.code, done.err) == (0, "")
    assert re.findall(r"^  (\w+)  ", done.out.partition("Commands:")[2], re.MULTILINE) == list(COMMANDS)
    assert "..." not in done.out.partition("Commands:")[2], "a first sentence is too long for the list"
    modules = {path.stem for path in Path(commands.__file__).parent.glob("*.py")}
    assert modules - {"__init__", "base"} == set(COMMANDS)


def test_help_is_a_command_too(home: Home) -> None:
    assert home.run("help").out == home.run("--help").out
    assert home.run("help", "mount").out == home.run("mount", "--help").out
    assert "'nonsense'" in refused(home.run("help", "nonsense"), Exit.USAGE)


def test_version(home: Home) -> None:
    done = home.run("version")
    lines = done.out.splitlines()
    assert (done.code, done.err) == (0, "")
    assert [line.partition(": ")[0] for line in lines] == ["Binary", "SemVer", "OsArch", "Branch", "Commit", "Formed"]
    assert all(line.partition(": ")[2] for line in lines)
    assert lines[1] == f"SemVer: {__version__}"
    assert os.access(lines[0].removeprefix("Binary: "), os.X_OK)


def test_flags_before_and_after_the_command(home: Home) -> None:
    plugin = home.plugin()
    done = home.run(
        "--volumedriver", "nobody", "--volumename=mount", "--volumeopts", "a=1", "--volumeopts=b=1",
        "mount", "--volumeopts=b=2", "--volumename", "x", "--volumedriver=plug", "--volumename=v",
    )  # fmt: skip
    assert done.code == 0, done
    assert asked(plugin, "Create") == [{"Name": "v", "Opts": {"a": "1", "b": "2"}}]
    assert home.run("--volumename=v", "--volumedriver=plug", "unmount").code == 0
    assert plugin.mounted() == []


def test_a_value_that_is_spelt_like_a_command(home: Home) -> None:
    plugin = home.plugin()
    assert home.run("--volumename", "mount", "--volumedriver", "plug", "mount").code == 0
    assert home.run("mount", "--volumename", "--volumename", "--volumedriver", "plug", "-v").code == 0
    assert plugin.mounted() == ["--volumename", "mount"]


@pytest.mark.parametrize("flag", ["--explicitcreate", "--explicitCreate"])
@pytest.mark.parametrize("place", ["before", "after", "click"])
def test_explicit_create(home: Home, flag: str, place: str) -> None:
    plugin = home.plugin()

    def mount(name: str, *flags: str) -> int:
        named = ("--volumedriver=plug", f"--volumename={name}")
        last = ("--timeout=30",) if place == "click" else ()
        return home.run(*((*flags, "mount", *named) if place == "before" else ("mount", *flags, *named, *last))).code

    assert mount("a", flag) == Exit.NOT_FOUND
    assert mount("a", f"{flag}=true") == Exit.NOT_FOUND
    assert mount("a", f"{flag}=false", flag) == Exit.NOT_FOUND
    assert plugin.volumes == {}
    assert mount("a", flag, f"{flag}=false") == 0
    plugin.add("there")
    assert mount("there", flag) == 0
    assert home.run("mount", *LOCAL, flag, "false").code == Exit.USAGE  # only after `=` does it have a value


@pytest.mark.parametrize(
    "argv",
    [
        ["nonsense"], ["--nonsense"], ["mount", "--nonsense"], ["mount", "--volumedriver=local"],
        ["mount", "--volumename=v"], ["mount", *LOCAL, "extra"], ["mount", "--volumedriver"], ["unmount"], ["get"],
        ["create"], ["remove"], ["path"], ["list", "--nonsense"], ["recover", *LOCAL], ["version", "extra"],
        ["mount", *LOCAL, "--explicitcreate=maybe"], ["mount", *LOCAL, "--hold="], ["mount", *LOCAL, "--hold=a\nb"],
        ["mount", *LOCAL, "--json"],
        *(["mount", *LOCAL, f"--timeout={seconds}"] for seconds in ("0", "-1", "soon", "")),
    ],
)  # fmt: skip
def test_a_wrong_call_gets_one_line(home: Home, argv: list[str]) -> None:
    refused(home.run(*argv), Exit.USAGE)
    assert home.leftovers() == []


def test_no_command_at_all_shows_the_help(home: Home) -> None:
    done = home.run()
    assert (done.code, done.out) == (Exit.USAGE, "")
    assert done.err == home.run("--help").out


def test_create_get_path_remove(home: Home) -> None:
    plugin = home.plugin()
    named = ("--volumedriver=plug", "--volumename=v")
    assert repr(home.run("create", *named, "--volumeopts=a=b=c")) == repr(Done(0, "", ""))
    assert asked(plugin, "Create") == [{"Name": "v", "Opts": {"a": "b=c"}}]
    assert repr(home.run("get", *named)) == repr(Done(0, "v\n", ""))
    assert repr(home.run("path", *named)) == repr(Done(0, "", ""))
    mounted = home.mount().out
    assert home.run("path", *named).out == mounted
    assert home.run("remove", *named).code == Exit.IN_USE
    assert repr(home.unmount()) == repr(Done(0, "", ""))
    assert repr(home.run("remove", *named)) == repr(Done(0, "", ""))
    assert home.run("get", *named).code == Exit.NOT_FOUND
    assert home.leftovers() == []


def test_holds(home: Home) -> None:
    plugin = home.plugin()
    first = home.mount("v", "plug", "--hold=cron")
    assert home.mount("v", "plug", "--hold", "me").out == first.out
    assert [row["holds"] for row in home.mounts()] == [["name:cron", "name:me"]]
    assert home.run("list").out.splitlines()[1].endswith("cron, me")
    done = home.unmount("v", "plug", "--hold=cron", "-v")
    assert (done.code, done.out) == (0, "")
    assert "stays mounted" in done.err
    assert "me" in done.err
    assert home.unmount("v", "plug", "--hold=nobody").code == 0
    assert (plugin.mounted(), plugin.mounts_made) == (["v"], 1)
    assert home.unmount("v", "plug", "--hold=me").code == 0
    assert plugin.mounted() == []
    assert home.leftovers() == []


def test_timeout(home: Home) -> None:
    plugin = home.plugin()
    plugin.next("Mount", Reply(pieces=1, gap=1))
    started = time.monotonic()
    done = home.mount("v", "plug", "--timeout=0.5")
    assert time.monotonic() - started < 10
    refused(done, Exit.TRY_AGAIN)
    assert plugin.mounted() == []
    assert home.leftovers() == []


@pytest.mark.parametrize("seconds", ["inf", "nan", "1e300", "1e10"])
def test_a_timeout_beyond_all_clocks(home: Home, seconds: str) -> None:
    home.plugin()
    done = home.mount("v", "plug", f"--timeout={seconds}")
    if done.code != 0:
        refused(done, Exit.USAGE)


def test_verbose_says_what_is_done_and_why_it_failed(home: Home) -> None:
    home.config.write_text("= junk")
    quiet = home.run("get", "--volumedriver=plug", "--volumename=v")
    assert quiet.code == Exit.FAILURE
    assert "Traceback" not in one_line(quiet)
    for argv in (["-v", "get"], ["get", "--verbose"]):
        done = home.run(*argv, "--volumedriver=plug", "--volumename=v")
        assert done.err.startswith(quiet.err)
        assert "TOMLDecodeError" in done.err
        assert all(line.startswith("dvdcli: ") for line in done.err.splitlines())
    home.config.unlink()
    plugin = home.plugin()
    assert plugin.url in home.mount("v", "plug", "-v").err


def test_quiet_leaves_only_failures(home: Home) -> None:
    plugin = home.plugin()
    plugin.always["Get"] = Reply(status=500, body=b"sick")
    loud, quiet = home.unmount(), home.unmount("v", "plug", "-q")
    assert (loud.code, quiet.code, quiet.err) == (0, 0, "")
    assert "sick" in one_line(loud)
    assert "sick" in one_line(home.mount("v", "plug", "-q"))


@pytest.mark.parametrize("more", [(), ("--timeout=60",)])
def test_an_interrupted_mount_is_undone(home: Home, more: tuple[str, ...]) -> None:
    plugin = home.plugin()
    plugin.next("Mount", Reply(pieces=1, gap=0.3))
    named = ("--volumedriver=plug", "--volumename=v")
    process = home.start("mount", *named, *more, preexec_fn=can_be_interrupted)
    wait_until(plugin.mounted)
    process.send_signal(signal.SIGINT)
    assert refused(home.finish(process), Exit.INTERRUPTED) == "dvdcli: mount plug/v: interrupted\n"
    assert plugin.mounted() == []
    assert home.leftovers() == []


def test_an_interrupted_recover_is_one_line(home: Home) -> None:
    plugin = home.plugin()
    home.mount()
    home.reboot()
    gate = threading.Event()
    plugin.before = lambda method: None if method != "Unmount" else (gate.wait(20), None)[1]
    process = home.start("recover", preexec_fn=can_be_interrupted)
    wait_until(lambda: "Unmount" in plugin.names())
    process.send_signal(signal.SIGINT)
    done = home.finish(process)
    gate.set()
    assert refused(done, Exit.INTERRUPTED) == "dvdcli: recover: interrupted\n"
    assert home.recover().code == 0
    assert home.leftovers() == []


def test_a_name_means_the_same_volume_in_every_locale(installed_home: Home) -> None:
    home = installed_home
    locale = home.root / "de_DE.ISO-8859-1"
    made = subprocess.run(["localedef", "-i", "de_DE", "-f", "ISO-8859-1", locale], capture_output=True, check=False)
    if not locale.is_dir():
        pytest.skip(f"localedef made no Latin-1 locale: {made.stderr.decode().strip()}")
    for name in ("é", "\U0001f40b"):
        done = home.mount(name, "local")
        for env in ({"LC_ALL": locale.name, "LOCPATH": str(home.root)}, {"LC_ALL": "C"}, {"LC_ALL": "C.UTF-8"}):
            assert repr(home.mount(name, "local", env=env)) == repr(Done(0, done.out, ""))
            assert name in home.run("list", "--volumedriver=local", env=env).out.splitlines()


def test_an_installation_that_is_not_whole_is_no_bug(capfd: pytest.CaptureFixture[str]) -> None:
    assert output.report("mount d/v", ModuleNotFoundError("No module named 'requests'")) == 1
    said = capfd.readouterr().err
    assert "dvdcli: mount d/v: dvdcli, or what it needs, is not whole: No module named 'requests'; " in said
    assert "bug" not in said
