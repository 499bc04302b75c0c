"""A secret reaches nobody: not argv, stdout, stderr, syslog, the state, nor the programs that we run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Done
from tests.doubles.ec2 import Ec2, Error
from tests.ebs import Cloud, Machine
from tests.gate import flags
from tests.watched import Watched

KEY = "AKIASECRETKEYID00001"
SECRET = "wJalrXUtnFEMI/SECRET/bPxRfiCYEXAMPLEKEY"
ROLE_KEY = "ASIASECRETROLEID0002"
ROLE_SECRET = "je7MtGbClwBF/ROLESECRET/2Zp9Utk/h3yCo8nv"
TOKEN = "IQoJb3JpZ2luX2VjEJrROLETOKEN//////////wEaCXVzLWVhc3QtMSJHMEUCIQ=="
SECRETS = (KEY, SECRET, ROLE_KEY, ROLE_SECRET, TOKEN)
KMS = "arn:aws:kms:eu-west-1:123456789012:key/5ec4e700-0000-4000-8000-00000000beef"  # no secret, but nobody's business
DENIED = Error("UnauthorizedOperation", "You are not authorized to perform this operation.", 403)

pytestmark = [pytest.mark.root, pytest.mark.namespace]


class Instance(Watched):
    """A machine of EBS."""

    def __init__(self, machine: Machine) -> None:
        super().__init__(machine, own="credentials")

    def ebs(self, verb: str, name: str, *more: str, env: dict[str, str] | None = None) -> Done:
        return self.run(verb, *flags(name, "ebs"), *more, env=env)


@pytest.fixture
def cloud(command: Path) -> Iterator[Cloud]:
    cloud = Cloud(command)
    cloud.ec2.key, cloud.ec2.role_key = (KEY, SECRET), (ROLE_KEY, ROLE_SECRET, TOKEN)
    yield cloud
    cloud.close()


@pytest.fixture
def ec2(cloud: Cloud) -> Ec2:
    return cloud.ec2


@pytest.fixture(params=["environment", "file", "role"])
def watched(request: pytest.FixtureRequest, cloud: Cloud) -> Iterator[Instance]:
    """A machine whose credentials come from there; its EC2 takes those alone."""
    machine = cloud.machine()
    if request.param != "environment":
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            machine.env.pop(name)
    if request.param == "file":
        (machine.root / ".aws").mkdir()
        text = f"[default]\naws_access_key_id = {KEY}\naws_secret_access_key = {SECRET}\n"
        (machine.root / ".aws" / "credentials").write_text(text)
    if request.param == "role":
        machine.host.metadata.role = "agents"
    watched = Instance(machine)
    yield watched
    watched.close()


def check(watched: Watched) -> None:
    watched.check(SECRETS)
    assert [each["env"] for each in watched.children() if "AWS" in each["env"]] == []


def test_a_volumes_life_tells_no_secret(watched, ec2):
    new = [f"--volumeopts=kmsKeyId={KMS}", "--volumeopts=size=1"]
    calls = [
        (0, watched.ebs("mount", "v", *new)),
        (0, watched.ebs("mount", "v", "-v", "--hold=second")),
        (0, watched.run("list", "--json")),
        (0, watched.run("list", "--volumedriver=ebs", "--json", "-v")),
        (0, watched.ebs("path", "v", "-v")),
        (0, watched.run("recover", "-v")),
        (0, watched.ebs("unmount", "v", "-v", "--hold=second")),
        (0, watched.ebs("unmount", "v")),
        (0, watched.ebs("mount", "w", "-v", "--volumeopts=size=1")),
        (0, watched.ebs("unmount", "w", "-v")),
        (0, watched.ebs("remove", "w", "-v")),
    ]
    assert [done for code, done in calls if done.code != code] == []
    assert [volume.kms_key for volume in ec2.volumes.values()] == [KMS]
    check(watched)
    assert any("created the volume ebs/v" in line for line in watched.logged)
    ran = {each["program"].rpartition("/")[2] for each in watched.children()}
    assert {"mkfs.ext4", "mount", "umount", "blkid"} <= ran
    # The key's id is an option of the volume: the record has it, and nobody else is told.
    assert KMS in watched.states[0]
    quiet = [done for _, done in calls[:1] + calls[2:3] + calls[7:8]]
    said = [text for done in quiet for text in (done.out, done.err)] + watched.logged
    handed_on = [each["argv"] + each["env"] for each in watched.children()]
    assert [text for text in said + handed_on if KMS in text] == []


def test_failures_tell_no_secret(watched, ec2):
    ec2.always["CreateVolume"] = DENIED
    failed = [watched.ebs("mount", "v", *verbose, f"--volumeopts=kmsKeyId={KMS}") for verbose in ([], ["-v"])]
    assert ["iam-policy" in done.err for done in failed] == [True, True]
    del ec2.always["CreateVolume"]
    ec2.volume("w")
    assert watched.ebs("mount", "w").code == 0
    ec2.always["DetachVolume"] = DENIED
    failed += [watched.ebs("unmount", "w"), watched.ebs("unmount", "w", "-v"), watched.run("recover", "-v")]
    assert watched.run("list", "--json").code == 0
    assert "UnauthorizedOperation" in watched.states[-1], "the failure is on record"
    del ec2.always["DetachVolume"]
    assert watched.run("recover").code == 0
    ec2.always["DescribeVolumes"] = Error("AuthFailure", "AWS was not able to validate the credentials", 401)
    failed += [watched.ebs("mount", "w", "-v"), watched.ebs("get", "w", "-v"), watched.ebs("unmount", "x", "-v")]
    del ec2.always["DescribeVolumes"]
    refusing = {"AWS_ENDPOINT_URL_EC2": "http://127.0.0.1:1"}
    failed.append(watched.ebs("mount", "w", "-v", env=refusing))
    assert [done.code for done in failed if not done.err] == []
    assert all(volume.state == "available" for volume in ec2.volumes.values())
    check(watched)


def test_without_credentials_those_that_are_elsewhere_are_not_told(watched, ec2):
    watched.machine.host.metadata.role = ""
    env = {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": "", "AWS_EC2_METADATA_DISABLED": "true", "HOME": "/"}
    done = watched.ebs("mount", "v", "-v", env=env)
    assert done.code == 1
    assert "redentials" in done.err
    assert [secret for text in (*watched.outputs, *watched.states) for secret in SECRETS if secret in text] == []
