"""What a container asks for: exact names, one digit, the original's rules."""

from __future__ import annotations

import json

import pytest

from dvdcli.errors import UsageError
from dvdcli.mesos import Prepare
from dvdcli.wanted import wanted
from tests.isolators import Isolator, variables
from tests.watched import Watched


def asked(home, container_info=None, docker_volumes=True, release="1.11.0", config=None, **given):
    isolator = Isolator(home, release)
    isolator.extra = {"docker_volumes": True} if docker_volumes else {}
    request = isolator.request("c1", variables(**given), container_info=container_info, **(config or {}))
    return wanted(Prepare(request))


def test_nothing(home):
    assert asked(home) == []
    assert asked(home, DRIVER="local", CONTAINERPATH="/x") == [], "no name, no volume"


def test_defaults(home):
    one = asked(home, NAME="v")[0]
    assert (str(one.volume), one.options, one.path, one.read_only, one.explicit) == ("rexray/v", {}, "", False, None)
    assert one.dressed


def test_everything(home):
    one = asked(home, NAME="v", DRIVER="d", OPTS="a=1,b=c=d,", CONTAINERPATH="/x", EXPLICITCREATE="True", MODE="ro")[0]
    assert (str(one.volume), one.options) == ("d/v", {"a": "1", "b": "c=d"})
    assert (one.path, one.read_only, one.explicit) == ("/x", True, True)


def test_each_digit_is_a_volume_and_0_is_the_plain_one(home):
    given = {f"NAME{digit}": f"v{digit}" for digit in range(1, 10)}
    found = asked(home, **given, NAME0="plain", DRIVER="d")
    assert [str(each.volume) for each in found] == ["d/plain", *(f"rexray/v{digit}" for digit in range(1, 10))]
    assert [each.label for each in found][:2] == ["DVDI_VOLUME_NAME", "DVDI_VOLUME_NAME1"]


@pytest.mark.parametrize("name", ["NAMESPACE", "NAME10", "NAME_1", "name", "NAMEX", "DRIVER12", "", "1"])
def test_other_names_are_somebody_elses(home, name):
    assert asked(home, **{name: "x\0\ud800"}) == []


@pytest.mark.root
def test_a_task_does_not_choose_what_root_runs(home):
    """What it names is not run, and in no launch message; the operator finds in the log that it was tried."""
    home.plugin().add("v")
    evil = home.root / "evil"
    evil.write_text(f"#!/bin/sh\ntouch {home.root}/caught\n")
    evil.chmod(0o755)
    isolator, watched = Isolator(home), Watched(home, "")
    given = variables(NAME="v", DRIVER="plug", CONTAINERPATH="data", DVDCLI=str(evil))
    try:
        done = watched.run("mount", "--isolator", said=json.dumps(isolator.request("c1", given)))
    finally:
        watched.close()
    assert (done.code, "launch" in done.out, str(evil) in done.out) == (0, True, False), done
    assert not (home.root / "caught").exists()
    assert any("DVDI_VOLUME_DVDCLI of a task is ignored" in line for line in watched.logged)
    assert isolator.cleanup("c1") == []


@pytest.mark.parametrize("given", [
    {"NAME": ""}, {"NAME": "a\0b"}, {"NAME": "\udcff"}, {"NAME": "v", "DRIVER": "../x"}, {"NAME": "v", "MODE": "r"},
    {"NAME": "v", "MODE": ""}, {"NAME": "v", "EXPLICITCREATE": "1"}, {"NAME": "v", "OPTS": "size"}, {"NAME": None},
    {"NAME": "v", "OPTS": "a=\udcff"}, {"NAME": "x" * 1025},
], ids=ascii)  # fmt: skip
def test_what_is_refused(home, given):
    with pytest.raises(UsageError):
        asked(home, **given)


def test_a_volume_twice(home):
    twice = {"NAME": "v", "NAME1": "v"}
    assert len(asked(home, **twice)) == 1
    for path in ("CONTAINERPATH", "CONTAINERPATH1"):
        with pytest.raises(UsageError, match=r"DVDI_VOLUME_NAME1 and DVDI_VOLUME_NAME both name"):
            asked(home, **twice, **{path: "/x"})
    assert len(asked(home, NAME="v", NAME1="V")) == 2, "names are case-sensitive"


def docker_volume(path="/data", mode="RW", **volume):
    source = {"type": "DOCKER_VOLUME", "docker_volume": {"driver": "d", "name": "v", **volume}}
    return {"container_path": path, "mode": mode, "source": source}


def info(*volumes):
    return {"type": "MESOS", "volumes": list(volumes)}


@pytest.mark.parametrize("release", ["1.0.4", "1.1.3", "1.4.3", "1.5.3", "1.11.0"])
def test_docker_volumes_where_the_parameter_says_so(home, release):
    options = {"parameter": [{"key": "size", "value": "1=2,3"}]}
    given = info(docker_volume(mode="RO", driver_options=options), {"container_path": "x", "host_path": "/y"})
    assert asked(home, given, docker_volumes=False, release=release) == []
    one = asked(home, given, release=release)[0]
    assert (str(one.volume), one.options, one.path, one.read_only) == ("d/v", {"size": "1=2,3"}, "/data", True)
    assert (one.explicit, one.dressed) == (None, False)


@pytest.mark.parametrize("broken", [
    {"driver": None}, {"name": None}, {"name": ""}, {"driver_options": 5}, {"driver_options": {"parameter": [{}]}},
    {"driver_options": {"parameter": 5}},
], ids=str)  # fmt: skip
def test_docker_volumes_that_are_none(home, broken):
    with pytest.raises(UsageError):
        asked(home, info(docker_volume(**broken)))


def test_a_docker_volume_and_a_variable_that_name_the_same(home):
    with pytest.raises(UsageError, match="name it once"):
        asked(home, info(docker_volume()), NAME="v", DRIVER="d")


def test_a_debugging_session_gets_nothing(home):
    assert asked(home, NAME="v", config={"container_class": "DEBUG"}) == []
    assert len(asked(home, NAME="v", config={"container_class": "DEFAULT"})) == 1
