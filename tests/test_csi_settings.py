"""CSI: how a driver is found and configured, what volumes take, secrets, and what is refused unsent."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sysconfig
from pathlib import Path

import pytest

from tests.conftest import COMMAND
from tests.csi import FAILURE, IN_USE, NOT_FOUND, PLAIN, USAGE, Cluster, done, refused
from tests.doubles.csi.control import Fail
from tests.examples import of_page
from tests.gate import flags
from tests.test_startup import HOOK_WAY, imported

ROOT = Path(__file__).parents[1]
GRPC = ("grpc", "google", "dvdcli.providers.csi")
SECRET = "s3cr3t-äöü\"\\'-1"
NAME = "double.csi.example.com"

pytestmark = pytest.mark.root


@pytest.fixture
def small(command):
    """A driver whose volumes are directories: they grow without the right to grow a file system."""
    cluster = Cluster(command, instant=True)
    yield cluster
    cluster.close()


@pytest.fixture
def machine(cluster):
    return cluster.machine()


def asked(driver, rpc):
    return [call["request"] for call in driver.calls if call["rpc"] == rpc]


def mount_of(driver, rpc="NodePublishVolume"):
    """Return the capability of the last call."""
    return asked(driver, rpc)[-1]["volume_capability"]


# Where a driver is


@pytest.mark.parametrize("where", ["{0}.sock", "{0}/csi.sock"])
def test_a_driver_that_is_not_configured_is_found_by_its_name(machine, where):
    place = machine.root / "sockets"
    path = place / where.format(NAME)
    path.parent.mkdir(parents=True)
    path.symlink_to(machine.host.socket)
    env = {"DVDCLI_CSI_DIRS": f"{machine.root}/none:{place}"}
    machine.config.unlink()
    mounted = machine.run("mount", *flags("v", NAME), env=env)
    done(mounted, f"{machine.state}/mounts/{NAME}/v\n")
    table = machine.run("list", "--all", env=env).out.splitlines()
    assert [line.split()[:3] for line in table] == [["DRIVER", "NAME", "SIZE"], [NAME, "v", "16M"]]
    done(machine.run("unmount", *flags("v", NAME)))  # the record knows where it is
    done(machine.run("remove", *flags("v", NAME), "--yes", env=env))


def test_a_socket_of_another_driver_under_that_name_is_refused(machine):
    place = machine.root / "sockets"
    place.mkdir()
    (place / "other.example.com.sock").symlink_to(machine.host.socket)
    call = machine.run("mount", *flags("v", "other.example.com"), env={"DVDCLI_CSI_DIRS": str(place)})
    refused(call, FAILURE, NAME, "other.example.com")


def test_a_directory_that_anybody_can_put_sockets_into_is_refused(machine):
    place = machine.root / "sockets"
    place.mkdir()
    (place / f"{NAME}.sock").symlink_to(machine.host.socket)
    place.chmod(0o777)
    refused(machine.run("mount", *flags("v", NAME), env={"DVDCLI_CSI_DIRS": str(place)}), FAILURE, str(place), "chmod")


def test_a_plugin_of_docker_comes_before_a_csi_driver_of_its_name(machine):
    place = machine.root / "sockets"
    place.mkdir()
    (place / "plug.sock").symlink_to(machine.host.socket)
    machine.plugin()
    assert machine.mount(env={"DVDCLI_CSI_DIRS": str(place)}).code == 0
    assert machine.record()["provider"] == "docker"
    done(machine.unmount())


def test_a_driver_is_listed_once_by_its_name_in_the_configuration(machine):
    place = machine.root / "sockets"
    place.mkdir()
    (place / f"{NAME}.sock").symlink_to(machine.host.socket)
    env = {"DVDCLI_CSI_DIRS": str(place)}
    machine.csi("create")
    machine.configure(endpoint=None, plugin=NAME)
    rows = json.loads(machine.run("list", "--all", "--json", env=env).out)["data"]["volumes"]
    assert [(row["driver"], row["name"], row["size"]) for row in rows] == [("csi", "v", 16 << 20)]


# Settings


@pytest.mark.parametrize(("key", "value", "words"), [
    ("endpoint", "tcp://10.0.0.1:9000", "no unix socket"), ("endpoint", "relative.sock", "no unix socket"),
    ("endpoint", "unix:///" + "x" * 110, "107 bytes"), ("controller_endpoint", "unix://csi.sock", "no unix socket"),
    ("access_mode", "ANY", "SINGLE_NODE_WRITER"), ("parameters", {"a": 1}, "table of strings"),
    ("parameters", "a=b", "table of strings"), ("mount_flags", ["ro", 1], "list of strings"),
    ("mount_flags", "noatime", "list of strings"), ("topology", ["a"], "table of strings"),
    ("endpoints", "x", "endpoint"), ("task_options", ["size"], "parameter."), ("task_options", "volumeID", "list"),
])  # fmt: skip
def test_a_setting_that_cannot_be_is_refused_at_a_call_and_by_the_check(machine, key, value, words):
    machine.configure(**{key: value})
    line = machine.csi("mount")
    refused(line, USAGE, key, words)
    told = machine.run("config", "check")
    assert told.code != 0
    assert words in told.err + told.out
    assert machine.host.driver.calls == []


def test_parameters_and_flags_of_the_settings_are_those_of_new_volumes_and_mounts(machine, driver):
    machine.configure(parameters={"type": "fast"}, mount_flags=["noatime", "nodev"], fs_type="xfs")
    done(machine.csi("create", "v", *machine.opts(size="320M", **{"parameter.replicas": "2"})))
    assert asked(driver, "CreateVolume")[0]["parameters"] == {"type": "fast", "replicas": "2"}
    assert asked(driver, "CreateVolume")[0]["capacity_range"] == {"required_bytes": str(320 << 20)}
    done(machine.csi("mount", "v", *machine.opts(mountopts="nodev,noexec")), f"{machine.place}\n")
    assert mount_of(driver)["mount"] == {"fs_type": "xfs", "mount_flags": ["noatime", "nodev", "noexec"]}
    done(machine.csi("unmount"))


@pytest.mark.parametrize(("word", "mode"), [
    ("rwo", "SINGLE_NODE_WRITER"), ("single-node-reader-only", "SINGLE_NODE_READER_ONLY"),
    ("MULTI_NODE_READER_ONLY", "MULTI_NODE_READER_ONLY"),
])  # fmt: skip
def test_an_access_mode_is_known_by_its_names(machine, driver, word, mode):
    driver.change(contexts=False)
    done(machine.csi("create", "v", f"--volumeopts=volumeID={driver.volume('theirs').id}"))
    machine.csi("mount", "v")  # which makes its file system
    machine.csi("unmount", "v")
    assert machine.csi("mount", "v", *machine.opts(accessMode=word)).code == 0
    assert mount_of(driver)["access_mode"] == {"mode": mode}
    assert asked(driver, "NodePublishVolume")[-1].get("readonly", False) is mode.endswith("READER_ONLY")
    done(machine.csi("unmount", "v"))


def test_nothing_can_be_written_to_a_volume_that_is_mounted_read_only(machine, driver):
    path = Path(machine.csi("mount", "v").out.strip())
    (path / "file").write_text("kept")
    done(machine.csi("unmount", "v"))
    done(machine.csi("mount", "v", *machine.opts(mountopts="ro,noatime")), f"{path}\n")
    assert (path / "file").read_text() == "kept"
    with pytest.raises(OSError, match="Read-only"):
        (path / "file").write_text("lost")
    assert asked(driver, "NodePublishVolume")[-1]["readonly"] is True
    assert asked(driver, "ControllerPublishVolume")[-1]["readonly"] is True
    assert mount_of(driver)["mount"]["mount_flags"] == ["noatime"]
    done(machine.csi("unmount", "v"))


def test_a_block_device_is_at_the_path_of_a_block_volume(machine):
    path = Path(machine.csi("mount", "v", *machine.opts(access="block")).out.strip())
    assert path.is_block_device()
    descriptor = os.open(path, os.O_RDWR)
    try:
        os.write(descriptor, b"raw")
        refused(machine.csi("unmount", "v", "--timeout=2"), IN_USE, f"pid {os.getpid()}")
    finally:
        os.close(descriptor)
    assert path.is_block_device(), "nothing in use is unpublished"
    assert machine.recover().code == 0
    assert not path.exists()
    assert machine.leftovers() == []


def test_the_owner_of_a_new_volume_is_the_one_that_was_asked_for_and_no_later_one(machine):
    path = Path(machine.csi("mount", "v", *machine.opts(uid=12, gid=34, mode="750")).out.strip())
    assert (path.stat().st_uid, path.stat().st_gid, path.stat().st_mode & 0o7777) == (12, 34, 0o750)
    done(machine.csi("unmount", "v"))
    machine.csi("mount", "v", *machine.opts(uid=99))
    assert path.stat().st_uid == 12
    done(machine.csi("unmount", "v"))


# Options


@pytest.mark.parametrize(("options", "words"), [
    ({"sise": "1G"}, "size"), ({"parameter.": "x"}, "parameter."), ({"access": "raw"}, "mount, block"),
    ({"accessMode": "RWW"}, "RWX"), ({"access": "block", "fsType": "xfs"}, "fsType"), ({"mode": "999"}, "mode"),
    ({"context.a": "b"}, "volumeID"), ({"volumeID": "v" * 129}, "128"), ({"size": "large"}, "size"),
    ({"parameter.a": "b"}, "task_options"), ({"mountopts": "loop=/etc/shadow"}, "mount option"),
    ({"mountopts": "x-mount.mkdir"}, "mount option"), ({"fsType": "fuse.sh#id"}, "fsType"),
])  # fmt: skip
def test_an_option_that_cannot_be_is_refused_before_anything_is_made(machine, driver, options, words):
    refused(machine.csi("mount", "v", *machine.opts(**options)), USAGE, words)
    assert "CreateVolume" not in driver.names()
    assert machine.leftovers() == []


def test_an_option_that_the_driver_does_not_know_is_refused_by_it_and_is_no_hindrance(machine, driver):
    refused(machine.csi("create", "v", *machine.opts(**{"parameter.typo": "x"})), USAGE, "typo", "CreateVolume")
    done(machine.csi("create", "v", *machine.opts(**{"parameter.type": "fast"})))
    assert driver.named("v").parameters == {"type": "fast"}


def test_parameters_that_are_too_long_are_refused_unsent(machine, driver):
    refused(machine.csi("create", "v", *machine.opts(**{"parameter.a": "x" * 5000})), USAGE, "4096")
    assert "CreateVolume" not in driver.names()


# What a mount may say, whose options a task can have written


@pytest.mark.parametrize("allowed", [None, [], ["context.other", "volumeID"], ["parameter.", "volumeID"]], ids=str)
def test_a_task_tells_no_driver_where_its_storage_is(machine, driver, allowed):
    """The context of a volume can name a server: only the operator, who makes or adopts the volume, says it."""
    machine.configure(task_options=allowed)
    options = machine.opts(volumeID="v1", **{"Context.server": "192.0.2.1"})
    refused(machine.csi("mount", "v", *options), USAGE, "task_options", "dvdcli create")
    assert driver.calls == []
    assert machine.leftovers() == []


def test_a_task_says_what_the_operator_lets_it_say(machine, driver):
    machine.configure(task_options=["parameter.type"])
    refused(machine.csi("mount", "v", *machine.opts(**{"parameter.replicas": "2"})), USAGE, "parameter.replicas")
    refused(machine.csi("mount", "v", *machine.opts(volumeID="v1")), USAGE, "volumeID")
    assert driver.calls == []
    done(machine.csi("mount", "v", *machine.opts(**{"parameter.type": "fast"})), f"{machine.place}\n")
    assert driver.named("v").parameters == {"type": "fast"}
    done(machine.csi("unmount"))


def test_an_operator_says_anything_to_create_and_a_task_mounts_that(machine, driver):
    volume = driver.volume("theirs", context={"lun": "7"})
    machine.configure(task_options=[])
    done(machine.csi("create", "v", *machine.opts(volumeID=volume.id, **{"context.lun": "7"})))
    done(machine.csi("mount"), f"{machine.place}\n")
    assert asked(driver, "NodePublishVolume")[0]["volume_context"] == {"lun": "7"}
    done(machine.csi("unmount"))


def test_a_volume_that_has_a_name_here_is_not_had_by_its_id_under_another(machine, driver):
    """As with the tags of EBS: who is given `mine` is not shown to have `hers`."""
    done(machine.csi("create", "hers"))
    stranger = driver.named("hers").id
    for verb in ("mount", "create"):
        refused(machine.csi(verb, "mine", *machine.opts(volumeID=stranger)), USAGE, "is named 'hers'", "use the name")
    assert [path.name for path in (machine.state / "mounts" / ".csi" / NAME).iterdir()] == ["hers"]


def test_a_volume_that_is_there_is_not_taken_for_another(machine):
    done(machine.csi("create", "v", *machine.opts(size="32M", **{"parameter.type": "fast"})))
    done(machine.csi("create", "v"))
    refused(machine.csi("create", "v", *machine.opts(size="64M")), USAGE, "33554432")
    refused(machine.csi("create", "v", *machine.opts(**{"parameter.type": "slow"})), USAGE, "parameters")
    refused(machine.csi("create", "v", *machine.opts(access="block")), USAGE, "access")


def test_a_name_with_129_bytes_is_refused_unsent(machine, driver):
    refused(machine.csi("create", "n" * 129), USAGE, "129", "128")
    assert driver.calls == []


# Volumes that were made elsewhere


def test_a_volume_made_elsewhere_is_taken_by_its_id(machine, driver):
    volume = driver.volume("theirs")
    context = [f"--volumeopts=context.{key}={value}" for key, value in volume.context.items()]
    done(machine.csi("create", "mine", f"--volumeopts=volumeID={volume.id}", *context))
    path = Path(machine.csi("mount", "mine").out.strip())
    assert path == machine.place.parent / "mine"
    assert asked(driver, "NodePublishVolume")[0]["volume_context"] == volume.context
    refused(machine.csi("mount", volume.id), IN_USE, "csi/mine")
    done(machine.csi("unmount", "mine"))
    assert machine.run("list", "--volumedriver=csi").out == "mine\n"
    gone = machine.csi("remove", "mine", "--yes")
    assert (gone.code, gone.out) == (0, "")
    assert volume.id in gone.err
    assert [each.name for each in driver.volumes.values()] == ["theirs"], "only the name goes"
    assert machine.run("list", "--volumedriver=csi").out == f"{volume.id}\n"
    done(machine.csi("remove", volume.id, "--yes"))
    assert driver.volumes == {}


def test_an_id_is_a_name_too(cluster, machine, driver):
    driver.change(contexts=False)
    volume = driver.volume("theirs")
    done(machine.csi("mount", volume.id, "--explicitcreate=true"), f"{machine.place.parent}/{volume.id}\n")
    done(machine.csi("unmount", volume.id))


def test_an_id_that_is_none_is_not_found(machine):
    nothing = "--volumeopts=volumeID=nothing"
    refused(machine.csi("mount", "v", nothing, "--explicitcreate"), NOT_FOUND, "no volume csi/v")
    refused(machine.csi("create", "v", "--volumeopts=volumeID=nothing"), NOT_FOUND, "nothing")


def test_a_name_is_one_volume_alone(machine, driver):
    volume = driver.volume("theirs")
    done(machine.csi("create", "v"))
    refused(machine.csi("mount", "v", f"--volumeopts=volumeID={volume.id}"), USAGE, volume.id)


def test_a_driver_that_makes_no_volumes_says_so(cluster, machine, driver):
    driver.change(controller=("PUBLISH_UNPUBLISH_VOLUME",))
    refused(machine.csi("create", "v"), NOT_FOUND, "makes none", "volumeID")


# Secrets


def test_secrets_go_with_their_calls_and_are_said_nowhere(small):
    machine, driver = small.machine(), small.driver
    calls = ("CreateVolume", "ControllerPublishVolume", "NodeStageVolume", "NodePublishVolume",
             "ControllerUnpublishVolume", "ControllerExpandVolume", "DeleteVolume")  # fmt: skip
    wanted = {call: {"user": "admin", "key": SECRET} for call in calls}
    driver.change(secrets=wanted)
    machine.secrets(**wanted)
    told = [machine.csi(verb, "v", "-v", *more) for verb, *more in (
        ("create", "--volumeopts=size=16M"), ("mount",), ("resize", "--volumeopts=size=32M", "--yes"), ("unmount",),
        ("mount",),
    )]  # fmt: skip
    assert [each.code for each in told] == [0] * len(told), told
    driver.next("NodeUnpublishVolume", Fail("INTERNAL", f"cannot log in as admin with {SECRET}"))
    told.append(machine.csi("unmount", "v", "-v"))
    assert told[-1].code == FAILURE
    assert "cannot log in as ******** with ********" in told[-1].err
    told += [machine.run(*words) for words in (
        ["list", "--json"], ["inspect", "csi/v"], ["inspect", "csi/v", "--json"], ["check", "csi"], ["config", "show"],
        ["recover", "--json"], ["remove", *flags("v", "csi"), "--yes"],
    )]  # fmt: skip
    for each in told:
        assert SECRET not in each.out + each.err, each
        assert json.dumps(SECRET)[1:-1] not in each.out + each.err, each
    grep = ["grep", "-rlF", "-e", SECRET[:6], str(machine.state)]
    assert subprocess.run(grep, capture_output=True, check=False).stdout == b""
    assert driver.volumes == {}


def test_a_string_at_the_top_goes_with_every_call_and_a_calls_own_comes_before_it(machine, driver):
    machine.secrets(NodeStageVolume={"key": "own"})
    path = machine.root / "secrets.toml"
    path.write_text(f'key = "common"\n{path.read_text()}')
    driver.change(secrets={"CreateVolume": {"key": "common"}, "NodeStageVolume": {"key": "own"}})
    done(machine.csi("mount"), f"{machine.place}\n")
    done(machine.csi("unmount"))


@pytest.mark.parametrize(("text", "words"), [
    (f'key = "{SECRET[:6]}', "is no TOML"), ("key = 1", "key"), ("[a.b]\nc = 'd'", "a"), (None, "No such file"),
], ids=["no TOML", "number", "deep", "missing"])  # fmt: skip
def test_a_file_of_secrets_that_cannot_be_used_is_one_line(machine, text, words):
    machine.secrets()
    path = machine.root / "secrets.toml"
    if text is None:
        path.unlink()
    else:
        path.write_text(text)
    told = machine.csi("mount", "v", "-v") if text is None else machine.csi("mount", "v")
    assert (told.code, told.out) == (FAILURE, "")
    assert words in told.err
    assert SECRET[:6] not in told.err


def test_a_file_of_secrets_that_others_can_read_is_refused(machine, driver):
    machine.secrets(CreateVolume={"key": SECRET})
    (machine.root / "secrets.toml").chmod(0o640)
    refused(machine.csi("mount"), FAILURE, "others can read it", "chmod 600")
    assert driver.calls == []


def test_secrets_that_the_driver_does_not_take_are_named_as_such(machine, driver):
    driver.next("CreateVolume", Fail("UNAUTHENTICATED", "who are you?"))
    refused(machine.csi("mount"), FAILURE, "secrets_file", "who are you?")


# Looking


def test_check_says_what_the_driver_is_and_can(cluster, driver):
    machine = cluster.machine("b", zone="z1")
    driver.change(plugin=("CONTROLLER_SERVICE", "VOLUME_ACCESSIBILITY_CONSTRAINTS"), zones=({"zone": "z1"},))
    told = machine.run("check", "csi")
    assert told.code == 0, told
    for words in (f"{NAME} 0.9.1-double answers at", "make and delete volumes, attach them, list them, resize them",
                  "this is its node b.node.example.com/62 (zone=z1)", "GiB are free for new volumes"):  # fmt: skip
        assert words in told.out, told.out
    assert driver.volumes == {}


def test_check_of_a_driver_that_is_not_there_or_not_ready(machine, driver):
    driver.change(ready="no")
    assert "not ready yet" in machine.run("check", "csi").out
    driver.change(ready="storage is away")
    told = machine.run("check", "csi")
    assert (told.code, "storage is away" in told.out) == (1, True)
    machine.host.stop()
    told = machine.run("check", "csi")
    assert (told.code, "cannot be reached" in told.out) == (1, True)


def test_check_warns_of_a_socket_that_anybody_can_use(machine):
    machine.host.socket.chmod(0o777)
    told = machine.run("check", "csi")
    assert (told.code, "anybody can tell the driver" in told.out) == (0, True)


def test_inspect_has_the_drivers_word_of_how_full_a_volume_is(machine):
    machine.csi("mount")
    told = machine.run("inspect", "csi/v")
    assert re.search(r"driver says: +it exists, mounted at \S+, \d+ of \d+ bytes used", told.out), told
    assert "disagreement" not in told.out
    done(machine.csi("unmount"))


def test_lists_have_names_ids_and_sizes_over_pages(machine, driver):
    driver.change(page=1)
    driver.volume("theirs", 32 << 20)
    for name in ("v", "w"):
        done(machine.csi("create", name))
    names = machine.run("list", "--volumedriver=csi").out.splitlines()
    assert sorted(names) == sorted([driver.named("theirs").id, "v", "w"])
    assert driver.counts()["ListVolumes"] == 3
    rows = json.loads(machine.run("list", "--volumedriver=csi", "--json").out)["data"]["volumes"]
    assert {row["name"]: row["size"] for row in rows}["v"] == 16 << 20


# What it costs who does not use it


def test_nobody_else_imports_csi_and_grpc_stands_at_the_top_of_nothing():
    found = []
    for path in (ROOT / "dvdcli").rglob("*.py"):
        tree = ast.parse(path.read_text())
        inside = {id(node) for each in ast.walk(tree) if isinstance(each, ast.FunctionDef) for node in ast.walk(each)}
        own = path.parent.name == "csi"
        for node in ast.walk(tree):
            names = [name.name for name in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            for name in names:
                if name.startswith(("grpc", "google")) and path.name != "csi_pb2.py":
                    found.append(path.name)
                    assert id(node) in inside, f"{path}:{node.lineno} imports it at its top"
                if name.startswith("dvdcli.providers.csi") and not own:
                    assert id(node) in inside, f"{path}:{node.lineno} imports it at its top"
                    found.append(path.relative_to(ROOT).as_posix())
    assert set(found) == {"client.py", "dvdcli/providers/__init__.py", "dvdcli/survey.py"}


@pytest.fixture
def mounted():
    """A machine whose command is as pip installed it, with a volume mounted, and its driver gone."""
    cluster = Cluster(COMMAND)
    machine = cluster.machine()
    assert machine.csi("mount").code == 0
    yield machine
    assert machine.csi("unmount").code == 0
    cluster.close()


@pytest.mark.parametrize("words", [
    ["list"], ["list", "--json"], ["recover"], ["recover", "--dry-run"], ["mount", *flags("v", "csi")],
], ids=" ".join)  # fmt: skip
def test_a_host_with_a_csi_volume_imports_no_grpc_and_asks_no_driver_for(mounted, words):
    mounted.host.driver.forget()
    if words[0] in ("mount",) or words == ["list", "--json"]:
        modules = imported(mounted, *words)
        assert [name for name in modules if name.partition(".")[0] in ("grpc", "google")] == []
    else:
        assert mounted.run(*words).code == 0
    assert mounted.host.driver.calls == []


def test_a_mount_through_a_plugin_imports_nothing_of_csi(mounted):
    mounted.plugin()
    for verb in ("mount", "unmount"):
        modules = imported(mounted, verb, *flags())
        assert [name for name in modules - HOOK_WAY if name.startswith(GRPC)] == []


# Where the extra is missing


@pytest.fixture
def bare(tmp_path):
    """An environment with dvdcli and no grpc, as `pip install dvdcli` makes it: copied, so that no index is asked."""
    site = Path(sysconfig.get_paths()["purelib"])
    target = tmp_path / "lib" / site.parent.name / "site-packages"
    target.mkdir(parents=True)
    for name in ("dvdcli", "click", "filelock"):
        shutil.copytree(site / name, target / name)
    (tmp_path / "bin").mkdir()
    for name in ("dvdcli", "python3"):
        shutil.copy(COMMAND.parent / name, tmp_path / "bin" / name, follow_symlinks=name == "dvdcli")
    shutil.copy(COMMAND.parent.parent / "pyvenv.cfg", tmp_path / "pyvenv.cfg")
    return tmp_path / "bin" / "dvdcli"


def test_without_grpc_one_line_says_what_to_install(bare, machine):
    machine.command = bare
    for call in (machine.csi("mount"), machine.run("list", "--volumedriver=csi")):
        refused(call, FAILURE, "grpc", "pip install 'dvdcli[csi]'", "python3-grpcio")
    assert machine.leftovers() == []
    done(machine.run("mount", *flags("v", "local")), f"{machine.state}/mounts/local/v/data\n")
    done(machine.run("unmount", *flags("v", "local")))


# The manual


def test_the_example_of_the_manual_is_true(small):
    machine, driver = small.machine(), small.driver
    page = (ROOT / "man/man7/dvdcli-csi.7").read_text().replace("\\&", "")
    blocks = re.findall(r"^\.Bd -literal.*\n((?:.*\n)*?)\.Ed$", page, re.MULTILINE)
    settings, steps = blocks[1], blocks[2].replace("\\-", "-").splitlines()
    secrets = machine.root / "secrets.toml"
    secrets.touch(0o600)
    settings = settings.replace("/run/csi/hostpath.csi.k8s.io.sock", machine.host.endpoint)
    settings = settings.replace("hostpath.csi.k8s.io", NAME).replace("/etc/dvdcli/disks-secrets.toml", str(secrets))
    machine.config.write_text(settings)
    shown = []
    for line in steps:
        if line.startswith("# "):
            shown.append((line[2:].split()[1:], []))
        else:
            shown[-1][1].append(line)
    driver.change(largest=1 << 34)
    for words, lines in shown:
        told = machine.run(*words)
        assert told.code == 0, told
        if words[0] != "check":
            said = told.out.replace(f"{machine.state}/mounts/", "/var/lib/dvdcli-mounts/").splitlines()
            assert said == lines, words
    assert of_page(ROOT / "man/man7/dvdcli-csi.7") == [], "no example that other tests would run without a driver"


def test_a_mount_and_an_unmount_ask_for_no_more_than_they_need(machine, driver):
    done(machine.csi("create"))
    driver.forget()
    done(machine.csi("mount"), f"{machine.place}\n")
    known = ["GetPluginInfo", "GetPluginCapabilities", "ControllerGetCapabilities", "NodeGetCapabilities"]
    steps = ["ControllerPublishVolume", "NodeStageVolume", "NodePublishVolume"]
    assert sorted(driver.names()) == sorted([*known, "NodeGetInfo", "ValidateVolumeCapabilities", *steps])
    assert [name for name in driver.names() if name in steps] == steps
    driver.forget()
    done(machine.csi("mount", "v", "--hold=other"), f"{machine.place}\n")
    done(machine.csi("unmount", "v", "--hold=other"))
    assert driver.names() == []
    done(machine.csi("unmount"))
    assert driver.names() == ["NodeUnpublishVolume", "NodeUnstageVolume", "ControllerUnpublishVolume"]


def test_a_plain_driver_has_no_steps_but_its_own(command):
    cluster = Cluster(command, **PLAIN)
    machine = cluster.machine()
    try:
        done(machine.csi("mount"), f"{machine.place}\n")
        done(machine.csi("unmount"))
        steps = [name for name in cluster.driver.names() if "Publish" in name or "Stage" in name]
        assert steps == ["NodePublishVolume"]
    finally:
        cluster.close()
