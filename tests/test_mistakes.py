"""The mistakes that everybody makes once: each is told in one line, which says what to type instead."""

from __future__ import annotations

import os
import re
import shlex

import pytest

from dvdcli import cli
from dvdcli.errors import Exit
from tests.conftest import COMMAND, Home
from tests.expect import refused

VOLUME = ["--volumedriver=local", "--volumename=v"]
NAMED = "a volume is named by --volumedriver and --volumename; see dvdcli help mount"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (["unmout"], "there is no command 'unmout': did you mean unmount?; see dvdcli help"),
        (["xyzzy"], "there is no command 'xyzzy'; see dvdcli help"),
        (["help", "moun"], "there is no command 'moun'; did you mean mount?"),
        (["mount"], "--volumedriver is missing; name the volume: --volumedriver=DRIVER --volumename=NAME"),
        (["mount", "v"], f"unexpected extra argument (v): {NAMED}"),
        (["list", "v"], "unexpected extra argument (v); see dvdcli help list"),
        (["mount", *VOLUME, "--size=5"], "there is no option --size: a volume's own options are given as --volumeopts"),
        (["mount", "--volumedrver=local"], "there is no option --volumedrver: did you mean --volumedriver?"),
        (["inspect", "--foo", "v"], "there is no option --foo; see dvdcli help inspect"),
        (["mount", *VOLUME, "--timeout=soon"], "'soon' is not a valid number of seconds"),
        (["mount", *VOLUME, "--volumeopts=size=5x"], "size=5x is no size; one is a whole number of GiB, or has M,"),
        (["mount", *VOLUME, "--volumeopts=size=5,uid=1"], "each option takes a --volumeopts of its own"),
        (["mount", *VOLUME, "--volumeopts=mode=rwx"], "mode=rwx is no octal mode; one is like 750"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)  # fmt: skip
def test_a_wrong_call(home: Home, line: list[str], said: str) -> None:
    assert said in refused(home.run(*line), Exit.USAGE)


@pytest.mark.parametrize(
    ("driver", "hint"),
    [
        ("locl", "did you mean local? else start the Docker volume plugin of that name, or describe it in dvdcli.toml"),
        ("fats", "did you mean fast?"),
        ("nas", "there is no driver 'nas'; start the Docker volume plugin of that name, or describe it"),
        ("csi", 'give yours a name in dvdcli.toml: [drivers.NAME] with provider = "csi"'),
        ("docker", 'give yours a name in dvdcli.toml: [drivers.NAME] with provider = "docker"'),
        ("shelf", "there is no provider 'lokal' for the driver 'shelf'; did you mean local? else install it"),
    ],
)
def test_a_driver_that_there_is_not(home: Home, driver: str, hint: str) -> None:
    home.config.write_text('[drivers.fast]\nprovider = "local"\n[drivers.shelf]\nprovider = "lokal"\n')
    done = home.run("get", f"--volumedriver={driver}", "--volumename=v")
    assert hint in refused(done, Exit.NOT_FOUND)


def test_a_policy_that_is_none_names_those_there_are(home: Home) -> None:
    for provider in ("ebs", "scaleio"):
        home.config.write_text(f'[drivers.disks]\nprovider = "{provider}"\npreempt = "always"\n')
        done = home.run("get", "--volumedriver=disks", "--volumename=v")
        assert "preempt = 'always' is no policy; one of never, stopped, force" in refused(done, Exit.USAGE)


def test_a_tls_file_that_is_not_there_is_named(home: Home) -> None:
    home.config.write_text(
        '[drivers.far]\nprovider = "docker"\naddress = "https://127.0.0.1:9"\nca_file = "/nonexistent/ca.pem"\n'
    )
    done = home.run("get", "--volumedriver=far", "--volumename=v")
    said = "a TLS file cannot be used: /nonexistent/ca.pem: No such file or directory; see its path and mode"
    assert said in refused(done, Exit.FAILURE)


def test_an_agent_that_does_not_run(home: Home) -> None:
    done = home.run("check", "--agent", "http://127.0.0.1:9", "local")
    assert "http://127.0.0.1:9/state cannot be asked: Connection refused; see that the agent runs" in done.out


@pytest.mark.root
@pytest.mark.skipif(not os.path.exists("/dev/loop-control"), reason="there is no /dev/loop-control: modprobe loop")
def test_a_size_without_root(home: Home) -> None:
    """In words of what to do, and not only of a loop device."""
    home.command = COMMAND  # what measures coverage in its stead is root's alone
    os.chown(home.root, 65534, 65534)
    nobody = {"user": 65534, "group": 65534, "extra_groups": []}
    line = refused(home.run("mount", *VOLUME, "--volumeopts=size=32M", **nobody), Exit.FAILURE)
    assert "cannot be put on a loop device" in line
    assert line.endswith("; run dvdcli as root\n")


def test_every_help_has_an_example_that_is_a_call(home: Home) -> None:
    """Each is typed as it stands: no flag in it is unknown, and no word too many."""
    shown = {}
    for name in cli.COMMANDS:
        text = home.run(name, "--help").out
        found = re.search(r"^  For example:\n    dvdcli (.*)$", text, re.MULTILINE)
        if found:
            shown[name] = shlex.split(found[1])
    assert {"bind", "config", "version", "help"} == set(cli.COMMANDS) - set(shown)
    for name, words in shown.items():
        assert words[0] == name
        done = home.run(*words, "--help")  # an unknown flag would be told before the help is
        assert (done.code, done.err) == (0, ""), words
