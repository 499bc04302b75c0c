"""EBS against a strict EC2 double, through the real boto3 and real block devices."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.doubles.ec2 import Drop, Ec2, Error
from tests.ebs import Cloud, Machine

FAILURE, USAGE, NOT_FOUND, IN_USE, TRY_AGAIN = 1, 2, 3, 4, 5

pytestmark = pytest.mark.root


@pytest.fixture
def cloud(command: Path) -> Iterator[Cloud]:
    cloud = Cloud(command)
    yield cloud
    cloud.close()


@pytest.fixture
def ec2(cloud: Cloud) -> Ec2:
    return cloud.ec2


@pytest.fixture
def machine(cloud: Cloud) -> Machine:
    return cloud.machine()


def test_a_new_volume_is_made_attached_formatted_mounted_and_all_of_it_undone(machine, ec2):
    done = machine.ebs("mount", "v", *machine.opts(size=2, mode=1777))
    assert (done.code, done.err) == (0, ""), done
    assert done.out == f"{machine.place}\n"
    assert os.path.ismount(machine.place)
    (machine.place / "file").write_text("kept")
    [volume] = ec2.volumes.values()
    assert (volume.name, volume.size, volume.type, volume.zone) == ("v", 2, "gp3", "eu-west-1a")
    assert (machine.place.stat().st_mode & 0o7777) == 0o1777
    assert [attachment.instance for attachment in volume.attachments] == [machine.host.id]
    undone = machine.ebs("unmount")
    assert (undone.code, undone.out, undone.err) == (0, "", "")
    assert volume.state == "available"
    assert not machine.place.exists()
    assert machine.leftovers() == []
    again = machine.ebs("mount", "v", "--explicitcreate")
    assert (again.code, (machine.place / "file").read_text()) == (0, "kept")
    assert machine.ebs("unmount").code == 0
    assert ec2.names().count("CreateVolume") == 1


def test_calls_per_mount_and_unmount_of_what_exists(machine, ec2):
    ec2.volume("v")
    assert machine.ebs("mount").code == 0
    assert ec2.names() == ["DescribeVolumes", "DescribeInstances", "AttachVolume", "DescribeVolumes"]
    ec2.calls.clear()
    assert machine.ebs("mount", "v", "--hold=b").code == 0
    assert machine.ebs("unmount", "v", "--hold=b").code == 0
    assert machine.run("recover").code == 0
    assert machine.run("list").code == 0
    assert ec2.names() == []
    assert machine.ebs("unmount").code == 0
    assert ec2.names() == ["DetachVolume", "DescribeVolumes"]
