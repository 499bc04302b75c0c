"""EBS against moto: a second opinion on EC2, by others. Where moto is known to be wrong, a test says how it is.

Those last ones are here to fail one day: then moto has been mended, and what stands beside them can be tested with it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import botocore.exceptions
import pytest

from tests.ebs import Machine
from tests.expect import refused
from tests.moto import GIB, MotoCloud, Server
from tests.waiting import wait_until

FAILURE, USAGE, NOT_FOUND, IN_USE, TRY_AGAIN = 1, 2, 3, 4, 5

pytestmark = pytest.mark.root


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


@pytest.fixture
def moto(server: Server, command: Path) -> Iterator[MotoCloud]:
    cloud = MotoCloud(server.url, command)
    yield cloud
    cloud.close()


@pytest.fixture
def machine(moto: MotoCloud) -> Machine:
    return moto.machine()


def holders(volume: dict[str, Any]) -> list[str]:
    return [each["InstanceId"] for each in volume["Attachments"]]


def mounted(machine: Machine, name: str = "v", *more: str) -> Path:
    done = machine.ebs("mount", name, *more)
    assert (done.code, done.err) == (0, ""), done
    path = Path(done.out.rstrip("\n"))
    assert os.path.ismount(path)
    return path


def unmounted(machine: Machine, name: str = "v") -> None:
    done = machine.ebs("unmount", name)
    assert (done.code, done.out, done.err) == (0, "", "")


# A volume's life


def test_a_volume_is_made_mounted_unmounted_found_again_and_removed(moto, machine):
    path = mounted(machine, "v", *machine.opts(size=2))
    (path / "file").write_text("kept")
    volume = moto.the_volume()
    assert (volume["Size"], volume["VolumeType"], volume["AvailabilityZone"]) == (2, "gp3", "eu-west-1a")
    assert (volume["Tags"], volume["State"]) == ([{"Key": "Name", "Value": "v"}], "in-use")
    assert holders(volume) == [machine.host.id]
    assert volume["Attachments"][0]["Device"] == "/dev/xvdba"
    unmounted(machine)
    assert (moto.the_volume()["State"], holders(moto.the_volume())) == ("available", [])
    assert machine.leftovers() == []
    assert (mounted(machine, "v", "--explicitcreate") / "file").read_text() == "kept"
    unmounted(machine)
    assert machine.ebs("remove").code == 0
    assert moto.own() == []
    refused(machine.ebs("remove"), NOT_FOUND)


def test_what_is_asked_for_is_what_moto_makes(moto, machine):
    options = machine.opts(size=8, volumeType="io2", iops=400, encrypted="true", availabilityZone="eu-west-1b")
    assert machine.ebs("create", "v", *options).code == 0
    volume = moto.the_volume()
    asked = {"Size": 8, "VolumeType": "io2", "Iops": 400, "Encrypted": True, "AvailabilityZone": "eu-west-1b"}
    assert {key: volume[key] for key in asked} == asked
    assert machine.ebs("create", "t", *machine.opts(size=1, throughput=200)).code == 0
    [throughput] = [each.get("Throughput") for each in moto.own() if each["Size"] == 1]
    assert throughput == 200


def test_creating_twice_is_fine_and_with_another_size_an_error(moto, machine):
    assert machine.ebs("create", "v", *machine.opts(size=2)).code == 0
    assert machine.ebs("create", "v", *machine.opts(size=2)).code == 0
    assert machine.ebs("create").code == 0
    assert "2 GiB" in refused(machine.ebs("create", "v", *machine.opts(size=3)), USAGE)
    assert moto.the_volume()["Size"] == 2


def test_a_volume_is_found_by_its_id_and_by_its_name(moto, machine):
    volume_id = moto.volume("v")
    for name in (volume_id, "v"):
        (mounted(machine, name) / name).write_text("")
        assert holders(moto.the_volume()) == [machine.host.id]
        unmounted(machine, name)
    assert {path.name for path in mounted(machine).iterdir()} >= {volume_id, "v"}
    unmounted(machine)
    refused(machine.ebs("mount", "vol-0123456789abcdef0"), NOT_FOUND)
    refused(machine.ebs("mount", "missing", "--explicitcreate"), NOT_FOUND)
    assert len(moto.own()) == 1


def test_one_name_is_not_another_that_begins_or_ends_like_it(moto, machine):
    for name in ("vol-data-21", "a-vol-data-2", "VOL-DATA-2"):
        moto.volume(name)
    refused(machine.ebs("get", "vol-data-2"), NOT_FOUND)
    moto.volume("vol-data-2")
    assert machine.ebs("get", "vol-data-2").out == "vol-data-2\n"


def test_two_volumes_of_one_name_are_an_error_that_lists_both(moto, machine):
    ids = [moto.volume("v"), moto.volume("v", zone="eu-west-1b")]
    said = refused(machine.ebs("mount"), FAILURE)
    assert all(volume_id in said for volume_id in ids)
    assert all(holders(volume) == [] for volume in moto.own())
    assert machine.leftovers() == []


def test_the_list_has_the_names_of_this_zone_and_the_ids_of_what_has_none(moto, machine):
    moto.volume("b")
    moto.volume("elsewhere", zone="eu-west-1b")
    nameless, [root] = moto.volume(), moto.roots()
    done = machine.run("list", "--volumedriver=ebs")
    assert (done.code, done.out.split()) == (0, sorted(["b", nameless, root])), done


def test_a_volume_in_use_elsewhere_is_refused_and_stays_there(moto, machine):
    path, other = mounted(machine), moto.machine("b")
    before = moto.the_volume()
    said = refused(other.ebs("mount"), IN_USE)
    assert machine.host.id in said
    assert moto.the_volume() == before
    assert machine.host.id in refused(other.ebs("remove"), IN_USE)
    assert os.path.ismount(path)
    assert other.leftovers() == []
    unmounted(machine)
    mounted(other)
    unmounted(other)


@pytest.mark.parametrize("deleted", [False, True], ids=["detached", "deleted"])
def test_what_was_detached_behind_our_back_is_unmounted_all_the_same(moto, machine, deleted):
    path = mounted(machine)
    volume_id = moto.the_volume()["VolumeId"]
    moto.client.detach_volume(VolumeId=volume_id, InstanceId=machine.host.id)
    wait_until(lambda: not moto.devices)
    assert moto.faults == [f"{volume_id} detached from {machine.host.id} while in use"]
    moto.faults.clear()
    if deleted:
        moto.client.delete_volume(VolumeId=volume_id)
    unmounted(machine)
    assert not os.path.ismount(path)
    assert machine.leftovers() == []


def test_a_volume_grows_and_so_does_its_mounted_file_system(moto, machine):
    assert machine.ebs("create", "v", *machine.opts(size=1)).code == 0
    assert machine.ebs("resize", "v", "--yes", *machine.opts(size=5)).code == 0
    assert moto.the_volume()["Size"] == 5
    path = mounted(machine, "v", *machine.opts(fsType="xfs"))  # ext4 grows only for who has CAP_SYS_RESOURCE
    before = os.statvfs(path).f_blocks
    assert machine.ebs("resize", "v", "--yes", *machine.opts(size=10)).code == 0
    device = moto.devices[machine.host.id, moto.the_volume()["VolumeId"]]
    wait_until(lambda: int((device.sys / "size").read_text()) * 512 == 10 * GIB)
    # moto says at once that it has grown, and here the device follows a moment later: then the same call again is it.
    done = machine.ebs("resize", "v", "--yes", *machine.opts(size=10))
    assert (done.code, done.err) == (0, ""), done
    assert os.statvfs(path).f_blocks > 1.8 * before
    assert "10 GiB" in refused(machine.ebs("resize", "v", "--yes", *machine.opts(size=9)), USAGE)
    assert moto.the_volume()["Size"] == 10
    unmounted(machine)


def test_two_volumes_of_a_machine_have_names_of_their_own(moto, machine):
    for name in ("v", "w"):
        mounted(machine, name)
    assert sorted(each["Device"] for volume in moto.own() for each in volume["Attachments"]) == [
        "/dev/xvdba", "/dev/xvdbb",
    ]  # fmt: skip
    for name in ("v", "w"):
        unmounted(machine, name)


# Where moto is wrong, and what is right all the same


def refusal(call: Any, **parameters: Any) -> str:
    """Return the error code that moto answers, "" where it carries the call out."""
    try:
        call(**parameters)
    except botocore.exceptions.ClientError as error:
        return str(error.response["Error"]["Code"])
    return ""


@pytest.mark.parametrize("name", [
    *(pytest.param(name, marks=pytest.mark.xfail(strict=True, reason=f"moto {why}")) for name, why in (
        ("a*b", "knows no escape in a filter's value"), ("a?b", "knows no escape in a filter's value"),
        ("a\\b", "knows no escape in a filter's value"), ("a[x]b", "takes brackets for a wildcard"),
    )),
    "a.b", "é ü,x=y+z",
])  # fmt: skip
def test_a_name_with_a_wildcard_in_it_is_found(moto, machine, name):
    moto.volume(name)
    assert machine.ebs("get", name).out == f"{name}\n"


@pytest.mark.parametrize("name", ["a*b", "a?b", "a[x]b", "a.b", "*"])
def test_a_name_with_a_wildcard_in_it_is_no_pattern(moto, machine, name):
    moto.volume("axb")
    moto.volume("x")
    refused(machine.ebs("get", name), NOT_FOUND)


def test_moto_ignores_the_client_token(moto):
    assert moto.volume("v", ClientToken="token") != moto.volume("v", ClientToken="token")


def test_moto_moves_a_volume_to_a_second_instance_and_the_first_does_not_take_it_back(moto, machine):
    other = moto.machine("b")
    path = mounted(machine)
    volume_id = moto.the_volume()["VolumeId"]
    wrong = refusal(moto.client.attach_volume, VolumeId=volume_id, InstanceId=other.host.id, Device="/dev/xvdba")
    assert (wrong, holders(moto.the_volume())) == ("", [other.host.id]), "EC2 says VolumeInUse"
    wait_until(lambda: list(moto.devices) == [(other.host.id, volume_id)])
    moto.faults.clear()  # it was moto
    refused(machine.ebs("mount", "v", "--hold=second"), IN_USE)
    assert holders(moto.the_volume()) == [other.host.id]
    assert os.path.ismount(path), "the first holder still has it"
    wrong = refusal(moto.client.detach_volume, VolumeId=volume_id, InstanceId=machine.host.id)
    assert (wrong, holders(moto.the_volume())) == ("", []), "EC2 says InvalidAttachment.NotFound"


def test_moto_takes_a_device_name_that_is_used(moto, machine):
    for name in ("v", "w"):
        volume_id = moto.volume(name)
        attach = {"VolumeId": volume_id, "InstanceId": machine.host.id, "Device": "/dev/xvdba"}
        assert refusal(moto.client.attach_volume, **attach) == "", "EC2 says InvalidParameterValue"
    mounted(machine, "x")
    [mine] = [each["Attachments"] for each in moto.own() if each.get("Tags") == [{"Key": "Name", "Value": "x"}]]
    assert mine[0]["Device"] == "/dev/xvdbb"
    unmounted(machine, "x")


def test_moto_attaches_across_zones_and_is_not_asked_to(moto, machine):
    volume_id = moto.volume("v", zone="eu-west-1b")
    said = refused(machine.ebs("mount"), FAILURE)
    assert "eu-west-1b" in said
    assert "eu-west-1a" in said
    assert holders(moto.the_volume()) == []
    assert machine.leftovers() == []
    attach = {"VolumeId": volume_id, "InstanceId": machine.host.id, "Device": "/dev/xvdba"}
    assert refusal(moto.client.attach_volume, **attach) == "", "EC2 says InvalidVolume.ZoneMismatch"


def test_moto_has_no_limit_of_attachments(moto):
    instance = moto.client.run_instances(ImageId="ami-12345678", MinCount=1, MaxCount=1)["Instances"][0]["InstanceId"]
    for number in range(41):
        device = f"/dev/sd{number}"  # which no host here makes a device of
        attach = {"VolumeId": moto.volume(), "InstanceId": instance, "Device": device}
        assert refusal(moto.client.attach_volume, **attach) == "", "EC2 says AttachmentLimitExceeded, from 28 or 40 on"


def test_moto_has_no_states_that_take_time(moto, machine):
    made = moto.client.create_volume(AvailabilityZone="eu-west-1a", Size=1)
    assert made["State"] == "available", "EC2 says creating"
    volume_id = made["VolumeId"]
    moto.client.attach_volume(VolumeId=volume_id, InstanceId=machine.host.id, Device="/dev/xvdba")
    [told] = moto.client.describe_volumes(VolumeIds=[volume_id])["Volumes"]
    assert told["Attachments"][0]["State"] == "attached", "EC2 says attaching"
    moto.client.detach_volume(VolumeId=volume_id, InstanceId=machine.host.id)
    [told] = moto.client.describe_volumes(VolumeIds=[volume_id])["Volumes"]
    assert (told["State"], told["Attachments"]) == ("available", []), "EC2 says detaching"
    changed = moto.client.modify_volume(VolumeId=volume_id, Size=2)["VolumeModification"]
    assert changed["ModificationState"] == "completed", "EC2 says modifying"


def test_moto_has_no_pages(moto):
    for _ in range(7):
        moto.volume()
    answer = moto.client.describe_volumes(MaxResults=5)
    assert (len(answer["Volumes"]), answer.get("NextToken")) == (7, None), "EC2 says 5, and a token"


def test_moto_never_throttles(moto):
    # EC2's bucket for calls that change something has 50 of them, and 5 more each second.
    assert {refusal(moto.client.delete_volume, VolumeId=moto.volume()) for _ in range(80)} == {""}


@pytest.mark.parametrize("wrong", [
    {"VolumeType": "gp9"}, {"Size": 0}, {"VolumeType": "gp3", "Iops": 99999999}, {"AvailabilityZone": "nowhere"},
], ids=lambda wrong: next(reversed(wrong)))  # fmt: skip
def test_moto_makes_volumes_that_cannot_be(moto, wrong):
    assert refusal(moto.client.create_volume, **{"AvailabilityZone": "eu-west-1a", "Size": 1, **wrong}) == ""


def test_moto_makes_a_volume_smaller_and_is_not_asked_to(moto, machine):
    volume_id = moto.volume("v", size=3)
    refused(machine.ebs("resize", "v", "--yes", *machine.opts(size=2)), USAGE)
    assert moto.the_volume()["Size"] == 3
    assert refusal(moto.client.modify_volume, VolumeId=volume_id, Size=2) == "", "EC2 says InvalidParameterValue"
