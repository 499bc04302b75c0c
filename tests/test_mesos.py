"""What Mesos releases differ in: for each of them a request, and the exact launch message."""

from __future__ import annotations

import json

import pytest

from dvdcli import mesos
from dvdcli.bind import Bind
from dvdcli.errors import DvdcliError, UsageError
from dvdcli.linux import mountinfo
from dvdcli.linux.mountflags import MS_NODEV, MS_NOSUID
from tests.isolators import RELEASES, Isolator, number, variables

COMMAND = "/opt/dvd cli/dvdcli"
PLAIN = mesos.Plain("/vols/a", "/srv/it's", False, 0)
READ_ONLY = mesos.Plain("/vols/b", "/srv/b", True, MS_NOSUID | MS_NODEV)
BIND = Bind("/vols/c", "/work", "", "runs/c1/data", (1, 2), False)
HERE = mountinfo.namespace()
WORD = '{"base": "/work", "owner": [1, 2], "path": "runs/c1/data", "source": "/vols/c"}'

BINDS = [COMMAND, "bind", f"--outside={HERE}"]
MOUNTS = [
    ["/bin/mount", "-n", "--make-rslave", "/"],
    ["/bin/mount", "-n", "--rbind", "/vols/a", "/srv/it's"],
    ["/bin/mount", "-n", "--rbind", "/vols/b", "/srv/b"],
    ["/bin/mount", "-n", "-o", "remount,bind,ro,nosuid,nodev", "/vols/b", "/srv/b"],
]
SHELL = (
    f"[ \"$(/bin/readlink /proc/self/ns/mnt)\" != '{HERE}' ]"
    " && /bin/mount -n --make-rslave /"
    " && /bin/mount -n --rbind /vols/a '/srv/it'\"'\"'s'"
    " && /bin/mount -n --rbind /vols/b /srv/b"
    " && /bin/mount -n -o remount,bind,ro,nosuid,nodev /vols/b /srv/b"
    f" && '{COMMAND}' bind '--outside={HERE}' --make-slave '{WORD}'"
)
SHELL_COMMAND = {"shell": True, "value": SHELL}
ARGV = [{"shell": False, "value": c[0], "arguments": c} for c in [*MOUNTS, [*BINDS, "--make-slave", WORD]]]


def expected(release):
    """The whole message, spelled out from the facts, not from the table under test."""
    at = number(release)
    if at < (0, 24):
        return SHELL_COMMAND
    if at < (0, 25):
        return {"commands": [SHELL_COMMAND]}
    if at < (1, 0):
        return {"commands": [SHELL_COMMAND], "namespaces": 131072}
    if at < (1, 0, 1):
        return {"pre_exec_commands": [SHELL_COMMAND], "namespaces": 131072}
    if at < (1, 2):
        return {"pre_exec_commands": ARGV, "namespaces": 131072}
    if at < (1, 5):
        return {"pre_exec_commands": ARGV, "clone_namespaces": [131072]}
    return {
        "mounts": [
            {"source": "/vols/a", "target": "/srv/it's", "flags": 0x5000},
            {"source": "/vols/b", "target": "/srv/b", "flags": 0x5000},
            {"target": "/srv/b", "flags": 0x1021 | 0x6},
        ],
        "pre_exec_commands": [{"shell": False, "value": COMMAND, "arguments": [*BINDS, WORD]}],
        "clone_namespaces": [131072],
    }


def test_the_list_has_every_release():
    assert len(RELEASES) == 18 + 36


@pytest.mark.parametrize("release", RELEASES)
def test_launch_message_of_every_release(release):
    assert mesos.launch(mesos.dialect(release), [PLAIN, READ_ONLY], [BIND], COMMAND) == expected(release)


@pytest.mark.parametrize("release", RELEASES)
def test_nothing_to_place_is_no_message(release):
    assert mesos.launch(mesos.dialect(release), [], [], COMMAND) is None


@pytest.mark.parametrize("release", RELEASES)
def test_request_of_every_release(home, release):
    asked = mesos.Prepare(Isolator(home, release).request("c1", variables(NAME="v", OPTS="a=b"), user="joe"))
    assert asked.environment() == [("PATH", "/bin"), ("DVDI_VOLUME_NAME", "v"), ("DVDI_VOLUME_OPTS", "a=b")]
    assert asked.directory == str(Isolator(home, release).sandbox("c1"))
    assert (asked.id, asked.is_nested, asked.rootfs, asked.volumes(), asked.timeout) == (["c1"], False, "", [], None)


@pytest.mark.parametrize("release", RELEASES)
def test_volume_messages_of_every_release(home, release):
    info = {"type": "MESOS", "volumes": [{"container_path": "x", "mode": "RW"}]}
    asked = mesos.Prepare(Isolator(home, release).request("c1", variables(), container_info=info))
    assert asked.volumes() == info["volumes"]


@pytest.mark.parametrize("release", [r for r in RELEASES if number(r) >= (1, 1)])
def test_a_nested_container_has_its_own_environment(home, release):
    asked = mesos.Prepare(Isolator(home, release).request(["c1", "n1"], variables(NAME="mine")))
    assert asked.is_nested
    assert dict(asked.environment())["DVDI_VOLUME_NAME"] == "mine"


def test_a_standalone_container_has_no_executor(home):
    request = Isolator(home).request("c1", variables(NAME="mine"))
    del request["container_config"]["executor_info"]
    assert dict(mesos.Prepare(request).environment())["DVDI_VOLUME_NAME"] == "mine"


def test_text_of_0_23_comes_as_one_character_a_byte(home):
    # What picojson of that release makes of the UTF-8 of "größe".
    mangled = "größe".encode().decode("latin-1")
    asked = mesos.Prepare(Isolator(home, "0.23.0").request("c1", variables(NAME=mangled)))
    assert dict(asked.environment())["DVDI_VOLUME_NAME"] == "größe"
    later = mesos.Prepare(Isolator(home, "0.24.0").request("c1", variables(NAME="größe")))
    assert dict(later.environment())["DVDI_VOLUME_NAME"] == "größe"


def test_arguments_of_0_23_come_as_they_are(home):
    request = {**Isolator(home, "0.23.0").request("c1", variables()), "directory": "/größe", "rootfs": "/übel"}
    asked = mesos.Prepare(request)
    assert (asked.directory, asked.rootfs) == ("/größe", "/übel")


# Images

IMAGE = {"type": "MESOS", "mesos": {"image": {"type": "DOCKER"}}}
IN_SANDBOX = {**IMAGE, "volumes": [{"container_path": ".rootfs", "host_path": "/x", "mode": "RW"}]}


@pytest.mark.parametrize("release", [r for r in RELEASES if (0, 24) <= number(r) < (0, 27)])
def test_an_image_that_the_release_hides_is_an_error(home, release):
    with pytest.raises(DvdcliError, match="does not tell where"):
        _ = mesos.Prepare(Isolator(home, release).request("c1", variables(), container_info=IMAGE)).rootfs


@pytest.mark.parametrize("release", [r for r in RELEASES if (0, 26) <= number(r) < (0, 28, 2)])
def test_a_command_task_enters_the_image_in_its_sandbox(home, release):
    isolator = Isolator(home, release)
    more = {} if number(release) < (0, 28) else {"rootfs": "/provisioned"}
    asked = mesos.Prepare(isolator.request("c1", variables(), container_info=IN_SANDBOX, **more))
    assert asked.rootfs == f"{isolator.sandbox('c1')}/.rootfs"
    assert asked.has_rootfs_in_sandbox


@pytest.mark.parametrize("release", [r for r in RELEASES if number(r) >= (0, 27)])
def test_otherwise_the_config_says_where_the_image_is(home, release):
    asked = mesos.Prepare(Isolator(home, release).request("c1", variables(), rootfs="/provisioned"))
    assert asked.rootfs == "/provisioned"
    assert not asked.has_rootfs_in_sandbox


# Bad requests


@pytest.mark.parametrize("version", ["1.12.0", "2.0.0", "1.12.0-rc3", "1.12.0+build"])
def test_a_newer_release_speaks_as_the_newest(version):
    newest = mesos.dialect("1.11.0")
    assert all(getattr(mesos.dialect(version), key) == getattr(newest, key) for key in mesos.Dialect.__slots__)


@pytest.mark.parametrize("version", ["0.22.9", "", "1", "1.2", "1.2.x", "1.2.3.4", "-1.2.3", "1.2.99999999999"])
def test_a_version_that_is_none(version):
    with pytest.raises(UsageError):
        mesos.dialect(version)


@pytest.mark.parametrize("change", [
    {"protocol": 2}, {"protocol": "1"}, {"protocol": None}, {"mesos_version": 1}, {"agent": "a/b"}, {"agent": 5},
    {"agent": "a" * 65}, {"container_config": []}, {"container_config": {"directory": 5}}, {"container_config": {}},
    {"container_config": {"directory": "relative"}}, {"sandbox_directory": "relative"},
], ids=str)  # fmt: skip
def test_a_request_that_is_none(home, change):
    with pytest.raises(UsageError):
        mesos.Prepare({**Isolator(home).request("c1", variables()), **change})


@pytest.mark.parametrize("ids", [None, "c1", [], [""], [1], ["a", "b\0"], ["a\ud800"], {"value": "c1"}], ids=ascii)
def test_an_id_that_is_none(home, ids):
    with pytest.raises(UsageError):
        _ = mesos.Request({**Isolator(home).envelope(), "container_id": ids}).id


@pytest.mark.parametrize("seconds", [0, -1, 86401, 1.5, "5", True])
def test_a_timeout_that_is_none(home, seconds):
    with pytest.raises(UsageError):
        _ = mesos.Request({**Isolator(home).envelope(), "timeout": seconds}).timeout


@pytest.mark.parametrize("broken", [
    {"command": 5}, {"command": {"environment": {"variables": {}}}}, {"command": {"environment": {"variables": [5]}}},
    {"command": {"environment": {"variables": [{"name": 5}]}}}, {"command": {"environment": {"variables": [{}]}}},
], ids=str)  # fmt: skip
def test_messages_that_are_none(home, broken):
    request = Isolator(home).request("c1", variables())
    request["container_config"]["executor_info"] = broken
    with pytest.raises(UsageError):
        mesos.Prepare(request).environment()


def test_quoting_for_a_shell():
    import subprocess

    words = ["", "a b", "it's", '"$(id)"', "`id`", "a\\b", "*", "ü", "~", "!x", "x\ty", ";", "a=b", "mnt:[1]"]
    line = "printf '%s\\0' " + " ".join(mesos.quote(word) for word in words)
    told = subprocess.run(["sh", "-c", line], capture_output=True, check=True).stdout.decode()
    assert told.split("\0")[:-1] == words


def test_a_message_is_json_without_nulls():
    for release in RELEASES:
        text = json.dumps(mesos.launch(mesos.dialect(release), [PLAIN], [BIND], COMMAND))
        assert "null" not in text
