"""contrib/ is true: its manifests and its README name what the module has."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import COMMAND, IS_ROOT

ROOT = Path(__file__).parents[1]
README = (ROOT / "contrib" / "README.md").read_text()
MODULE = (ROOT / "isolators" / "module.cpp").read_text()
PARAMETERS = set(re.findall(r'key == "(\w+)"', MODULE)) - {"work_dir", "isolator_command"}
NAMES = set(re.findall(r"Isolator> (\w+)\(", MODULE))
MANIFESTS = sorted((ROOT / "contrib" / "modules").glob("*.json"))


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.name)
def test_manifests(path):
    for library in json.loads(path.read_text())["libraries"]:
        assert re.fullmatch(r"/usr/lib/mesos/modules/libdvdcli_isolator-\d+\.\d+\.\d+\.so", library["file"])
        for module in library["modules"]:
            assert module["name"] in NAMES
            assert {parameter["key"] for parameter in module["parameters"]} <= PARAMETERS
            assert all(isinstance(parameter["value"], str) for parameter in module["parameters"]), "or Mesos refuses it"
    assert f"modules/{path.name}" in README


def test_every_parameter_and_variable_is_documented():
    tables = README.partition("## What a task can say")[2]
    assert len(PARAMETERS) == 5
    for name in PARAMETERS:
        assert f"| `{name}` |" in tables
    from dvdcli.wanted import _KEYS

    assert {name for name in _KEYS if f"`DVDI_VOLUME_{name}`" in tables} == set(_KEYS)
    assert len(NAMES) == 2


# What runs recover

SYSTEMD = ROOT / "contrib" / "systemd"
SERVICE = (SYSTEMD / "dvdcli-recover.service").read_text()
# Each of these gives a service a mount namespace of its own: systemd.exec(5), and exec_needs_mount_namespace().
UNSHARING = {
    "BindPaths", "BindReadOnlyPaths", "DynamicUser", "ExecPaths", "ExtensionDirectories", "ExtensionImages",
    "InaccessiblePaths", "LogNamespace", "MountAPIVFS", "MountFlags", "MountImages", "NoExecPaths", "PrivateDevices",
    "PrivateIPC", "PrivateMounts", "PrivateTmp", "PrivateUsers", "ProcSubset", "ProtectControlGroups", "ProtectHome",
    "ProtectKernelLogs", "ProtectKernelModules", "ProtectKernelTunables", "ProtectProc", "ProtectSystem",
    "ReadOnlyPaths", "ReadWritePaths", "RootDirectory", "RootImage", "TemporaryFileSystem",
}  # fmt: skip


def needs(program):
    return pytest.mark.skipif(shutil.which(program) is None, reason=f"{program} is not installed")


@needs("systemd-analyze")
def test_systemd_finds_nothing_wrong(tmp_path):
    for path in SYSTEMD.glob("dvdcli-recover.*"):
        (tmp_path / path.name).write_text(path.read_text().replace("/usr/bin/dvdcli", str(COMMAND)))
    units = [tmp_path / "dvdcli-recover.service", tmp_path / "dvdcli-recover.timer"]
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", *units], capture_output=True, check=False)
    ours = [line for line in done.stderr.decode().splitlines() if "dvdcli" in line]
    assert (done.returncode, ours) == (0, [])


def test_the_service_stays_in_the_hosts_mount_namespace():
    used = set(re.findall(r"^(\w+)=", SERVICE, re.MULTILINE))
    assert used & UNSHARING == set()
    assert "KillMode=process" in SERVICE, "a mkfs that outlasts the call goes on"


def calls():
    """Return the words of each call of recover in contrib/, without the program's name."""
    cron = (ROOT / "contrib" / "dvdcli.cron").read_text()
    lines = [*SERVICE.splitlines(), *cron.splitlines()]
    found = [re.match(r"ExecStart=(.*)|\*.* root (.*)", line) for line in lines]
    return [shlex.split(each[1] or each[2]) for each in found if each]


@pytest.mark.parametrize("words", calls(), ids=" ".join)
def test_what_is_run_is_a_call_that_there_is(home, words):
    assert (Path(words[0]).name, words[1]) == ("dvdcli", "recover")
    done = home.run(*words[1:], "--help")  # an unknown flag would be told before the help is
    assert (done.code, done.err) == (0, "")


@pytest.mark.parametrize("words", calls(), ids=" ".join)
def test_what_is_run_is_silent_on_a_host_without_an_agent(home, words):
    """Also where volumes are mounted, by hand: nobody is asked who is not there, since no container is on record."""
    assert home.mount("v", "local").code == 0
    words = [word.replace("/run/dvdcli", str(home.root)) for word in words[1:]]
    done = home.run(*words)
    assert (done.code, done.out, done.err) == (0, "", "")
    assert (home.root / "dvdcli.prom").exists() == ("--metrics" in words)


@needs("logrotate")
@pytest.mark.skipif(not IS_ROOT, reason="logrotate wants its file to be root's")
def test_logrotate_reads_its_file(tmp_path):
    path = tmp_path / "dvdcli"
    shutil.copy(ROOT / "contrib" / "dvdcli.logrotate", path)
    path.chmod(0o644)
    done = subprocess.run(["logrotate", "-d", "-s", tmp_path / "state", path], capture_output=True, check=False)
    assert done.returncode == 0, done
    assert "error" not in done.stderr.decode()


@needs("systemd-tmpfiles")
@pytest.mark.skipif(not IS_ROOT, reason="makes root's directories")
def test_tmpfiles_makes_what_dvdcli_would_make(tmp_path):
    text = (SYSTEMD / "dvdcli.tmpfiles").read_bytes()
    subprocess.run(["systemd-tmpfiles", "--create", f"--root={tmp_path}", "-"], input=text, check=True)
    assert (tmp_path / "var/lib/dvdcli").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "var/lib/dvdcli-mounts").stat().st_mode & 0o777 == 0o711


def test_everything_in_contrib_is_in_a_readme():
    told = README + (ROOT / "README.md").read_text()
    for path in (ROOT / "contrib").iterdir():
        assert path.name in told, path.name


@needs("cmake")
@needs("protoc")
def test_the_isolator_is_installed_where_the_readme_and_the_manifests_have_it(tmp_path):
    """Configured by the README's own line, but for the headers: that alone decides where things go."""
    release = re.search(r"-(\d+\.\d+\.\d+)\.so", (ROOT / "contrib/modules/docker-volumes.json").read_text())[1]
    tree = [sys.executable, ROOT / "isolators/testing/tree.py", release, tmp_path / "mesos"]
    subprocess.run(tree, check=True, capture_output=True)
    line = re.search(r"^    (cmake -S isolators (?:.*\\\n)?.*)$", README, re.MULTILINE)[1]
    words = shlex.split(line.replace("\\\n", ""), comments=True)
    words[words.index("-B") + 1] = str(tmp_path / "build")
    words = [f"-DMESOS_ROOT={tmp_path / 'mesos'}" if word.startswith("-DMESOS_ROOT=") else word for word in words]
    subprocess.run(words, cwd=ROOT, check=True, capture_output=True)
    installed = json.loads((tmp_path / "build/modules.json").read_text())["libraries"][0]["file"]
    shown = json.loads((ROOT / "contrib/modules/docker-volumes.json").read_text())["libraries"][0]["file"]
    assert installed == shown
    assert installed.replace(release, "X.Y.Z") in README
    script = (tmp_path / "build/cmake_install.cmake").read_text()
    manifest = re.search(r"\"(/\S+/modules\.json)\"", script)[1]
    assert README.count(f"--modules=file://{manifest}") == 2
