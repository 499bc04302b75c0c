"""boto3 costs more than all the rest of a call: who imports it, and that nobody pays who asks nothing of EC2."""

from __future__ import annotations

import ast
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import COMMAND, Done
from tests.ebs import Cloud, Machine
from tests.gate import flags
from tests.test_startup import HOOK_WAY, NEVER, imported

SOURCE = Path(__file__).parents[1] / "dvdcli"
AWS = ("boto3", "botocore", "s3transfer", "jmespath")
# What a mount of a mounted EBS volume imports beside what one of a plugin's does.
EBS_WAY = {
    "dvdcli.linux.blank", "dvdcli.linux.blockdev", "dvdcli.linux.filesystems", "dvdcli.linux.holders",
    "dvdcli.linux.mounting", "dvdcli.linux.process", "dvdcli.providers.block", "dvdcli.providers.ebs",
    "dvdcli.providers.ebs.attach", "dvdcli.providers.ebs.devices", "dvdcli.providers.ebs.ec2",
    "dvdcli.providers.ebs.imds", "dvdcli.providers.ebs.making", "dvdcli.providers.ebs.provider",
    "dvdcli.providers.ebs.volume", "dvdcli.providers.formatting", "dvdcli.providers.ownership",
}  # fmt: skip


@pytest.fixture
def machine() -> Iterator[Machine]:
    """A machine with an EBS volume mounted and on record, whose command is exactly as pip installed it."""
    cloud = Cloud(COMMAND)
    machine = cloud.machine()
    cloud.ec2.volume("v")
    assert machine.ebs("mount").code == 0
    yield machine
    assert machine.ebs("unmount").code == 0
    cloud.close()


def traced(machine: Machine, *words: str) -> tuple[Done, list[str]]:
    """Run a call; return what it came to and the files of AWS's packages that its processes opened."""
    log = machine.root / "strace"
    process = subprocess.Popen(
        ["strace", "-f", "-qq", "-z", "-e", "trace=open,openat", "-o", log, machine.command, *words],
        env=machine.env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    done = machine.finish(process)
    paths = [line.split('"')[1] for line in log.read_text().splitlines() if '"' in line]
    assert any("/site-packages/dvdcli/" in path for path in paths), "the trace shows what is imported"
    return done, [path for path in paths if any(f"/site-packages/{name}/" in path for name in AWS)]


def test_one_module_alone_imports_boto3_and_only_when_it_is_asked_something() -> None:
    found = []
    for path in SOURCE.rglob("*.py"):
        tree = ast.parse(path.read_text())
        inside = {id(node) for each in ast.walk(tree) if isinstance(each, ast.FunctionDef) for node in ast.walk(each)}
        for node in ast.walk(tree):
            names = [name.name for name in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            if any(name.partition(".")[0] in AWS for name in names):
                assert id(node) in inside, f"{path}:{node.lineno} imports it at its top"
                found.append(path.name)
    assert set(found) == {"ec2.py"}


@pytest.mark.root
@pytest.mark.parametrize("words", [
    ["list"], ["list", "--json"], ["recover"], ["recover", "--dry-run"], ["mount", *flags("v", "ebs")],
], ids=" ".join)  # fmt: skip
def test_a_host_with_an_ebs_volume_imports_nothing_of_aws_for(machine, words):
    calls = len(machine.host.ec2.calls)
    done, opened = traced(machine, *words)
    assert (done.code, done.err, opened) == (0, "", []), done
    assert len(machine.host.ec2.calls) == calls


@pytest.mark.root
def test_a_second_hold_comes_and_goes_without_aws(machine):
    for verb in ("mount", "unmount"):
        done, opened = traced(machine, verb, *flags("v", "ebs"), "--hold=second")
        assert (done.code, done.err, opened) == (0, "", []), done


@pytest.mark.root
def test_a_plugins_volume_comes_and_goes_without_aws(machine):
    machine.plugin().add("p")
    for verb in ("mount", "unmount"):
        modules = imported(machine, verb, *flags("p"))
        assert modules - HOOK_WAY == set()
        assert modules & NEVER == set()
    assert machine.plugins[0].names() == ["Get", "Mount", "Get", "Unmount"]


@pytest.mark.root
def test_modules_of_a_mount_of_what_is_mounted(machine):
    modules = imported(machine, "mount", *flags("v", "ebs"))
    assert {"dvdcli.providers.ebs.provider", "dvdcli.providers.ebs.devices"} <= modules
    assert modules - HOOK_WAY - EBS_WAY == set()
    assert modules & NEVER == set()


@pytest.mark.root
def test_a_call_that_asks_ec2_imports_boto3_once(machine):
    machine.host.ec2.volume("w")
    for words in (["mount", *flags("w", "ebs")], ["unmount", *flags("w", "ebs")], ["get", *flags("w", "ebs")]):
        done, opened = traced(machine, *words)
        assert (done.code, done.err) == (0, ""), done
        for name in ("boto3", "botocore"):
            assert len([path for path in opened if f"/{name}/__pycache__/__init__." in path]) == 1, words
