"""EBS against a strict EC2 double, through the real boto3 and real block devices."""

from __future__ import annotations

import math
import os
import subprocess

import pytest

from tests.blocks import content, format_by_hand
from tests.doubles.ec2 import Drop, Error
from tests.doubles.ec2.attach import finish
from tests.ebs import FAILURE, IN_USE, NOT_FOUND, TRY_AGAIN, USAGE, refused

THROTTLED = Error("RequestLimitExceeded", "Request limit exceeded.", 503)

pytestmark = pytest.mark.root


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


# Which volume


def test_a_name_is_matched_exactly(machine, ec2):
    for name in ("vol-data-21", "VOL-DATA-2", "vol-data-2 ", "vol-dataX2"):
        ec2.volume(name)
    assert machine.ebs("get", "vol-data-2").code == NOT_FOUND
    assert machine.ebs("get", "vol-data*2").code == NOT_FOUND
    assert machine.ebs("get", "vol?data-21").code == NOT_FOUND
    wanted = ec2.volume("v*?\\v")
    ec2.volume("vXY\\v")
    assert machine.ebs("mount", "v*?\\v").code == 0
    assert wanted.attachments
    assert machine.ebs("unmount", "v*?\\v").code == 0


def test_two_volumes_of_one_name_are_an_error_that_lists_them(machine, ec2):
    one, two = ec2.volume("v"), ec2.volume("v", zone="eu-west-1b")
    refused(machine.ebs("mount"), FAILURE, one.id, two.id, "eu-west-1b")
    refused(machine.ebs("remove"), FAILURE, one.id, two.id)
    assert machine.ebs("mount", one.id).code == 0
    assert machine.ebs("unmount", one.id).code == 0
    assert machine.leftovers() == []


def test_a_volume_by_its_id_is_never_made(machine, ec2):
    volume = ec2.volume("other name")
    assert machine.ebs("mount", volume.id).code == 0
    assert machine.ebs("unmount", volume.id).code == 0
    refused(machine.ebs("mount", "vol-0123456789abcdef0"), NOT_FOUND, "vol-0123456789abcdef0")
    assert list(ec2.volumes) == [volume.id]
    assert machine.leftovers() == []


def test_volume_id_as_an_option_takes_that_volume_if_it_is_not_named_otherwise(machine, ec2):
    mine, named = ec2.volume(), ec2.volume("somebody's")
    assert machine.ebs("mount", "v", f"--volumeopts=volumeID={mine.id}").code == 0
    assert mine.attachments
    assert machine.ebs("unmount").code == 0
    assert not mine.attachments
    refused(machine.ebs("mount", "w", f"--volumeopts=volumeid={named.id}"), USAGE, named.id, "somebody's")
    assert len(ec2.volumes) == 2


def test_one_disk_by_id_and_by_name_is_on_record_once(machine, ec2):
    volume = ec2.volume("v")
    assert machine.ebs("mount").code == 0
    refused(machine.ebs("mount", volume.id), IN_USE, "on record as ebs/v")
    machine.configure("[drivers.more]\nprovider = 'ebs'")
    refused(machine.mount("v", "more"), IN_USE, "on record as ebs/v")
    assert machine.unmount("v", "more").code == 0
    assert machine.ebs("unmount", volume.id).code == 0
    assert os.path.ismount(machine.place)
    assert [row["name"] for row in machine.mounts()] == ["v"]
    assert machine.ebs("unmount").code == 0
    assert machine.mount("v", "more").code == 0
    assert machine.unmount("v", "more").code == 0
    assert machine.leftovers() == []


def test_a_volume_of_another_zone_is_refused(machine, ec2):
    ec2.volume("v", zone="eu-west-1b")
    refused(machine.ebs("mount"), FAILURE, "eu-west-1b", "eu-west-1a", machine.host.id)
    assert machine.leftovers() == []


def test_list_spans_pages_and_shows_this_zone(machine, ec2):
    ec2.page = 1
    for name in ("c", "a", "b"):
        ec2.volume(name)
    nameless = ec2.volume()
    ec2.volume("elsewhere", zone="eu-west-1b")
    assert machine.run("list", "--volumedriver=ebs").out.splitlines() == ["a", "b", "c", nameless.id]
    assert machine.ebs("get", "b").out == "b\n"
    assert machine.ebs("mount", "b").code == 0
    assert machine.ebs("unmount", "b").code == 0


def test_get_path_and_remove(machine, ec2):
    ec2.volume("v")
    assert (machine.ebs("path").code, machine.ebs("path").out) == (0, "")
    machine.ebs("mount")
    assert machine.ebs("path").out == f"{machine.place}\n"
    refused(machine.ebs("remove"), IN_USE, "host")
    machine.ebs("unmount")
    assert machine.ebs("remove").code == 0
    assert machine.ebs("get").code == NOT_FOUND
    assert machine.ebs("remove").code == NOT_FOUND
    assert machine.leftovers() == []


# Making one


def test_every_option_reaches_ec2(machine, ec2):
    options = machine.opts(SIZE=8, Type="io2", iops=500, Encrypted="true", encryptionKey="alias/k")
    assert machine.ebs("create", "v", *options).code == 0
    [made] = [call for name, call in ec2.calls if name == "CreateVolume"]
    assert {key: made[key] for key in ("Size", "VolumeType", "Iops", "Encrypted", "KmsKeyId")} == {
        "Size": 8, "VolumeType": "io2", "Iops": 500, "Encrypted": True, "KmsKeyId": "alias/k",
    }  # fmt: skip
    assert made["TagSpecification"][0]["Tag"][0] == {"Key": "Name", "Value": "v"}
    assert machine.ebs("create", "w", *machine.opts(throughput=250, availabilityzone="eu-west-1b")).code == 0
    [made] = [call for name, call in ec2.calls if name == "CreateVolume"][1:]
    assert (made["Size"], made["Throughput"], made["AvailabilityZone"]) == (16, 250, "eu-west-1b")


def test_create_twice_is_fine_and_another_size_is_not(machine, ec2):
    assert machine.ebs("create", "v", *machine.opts(size=3)).code == 0
    assert machine.ebs("create", "v", *machine.opts(size=3)).code == 0
    assert machine.ebs("create", "v").code == 0
    refused(machine.ebs("create", "v", *machine.opts(size=4)), USAGE, "3 GiB")
    assert len(ec2.volumes) == 1


def test_what_ec2_refuses_makes_nothing(machine, ec2):
    refused(machine.ebs("mount", "v", *machine.opts(type="io2", size=5)), FAILURE, "CreateVolume".lower()[:6])
    refused(machine.ebs("mount", "v", *machine.opts(iops=100, type="gp2")), FAILURE, "InvalidParameterCombination")
    assert ec2.volumes == {}
    assert machine.leftovers() == []


def test_a_new_volume_that_ec2_does_not_show_yet_is_waited_for_and_not_made_twice(machine, ec2):
    ec2.invisible, ec2.creating = 1.5, 1.0
    assert machine.ebs("mount", "v", *machine.opts(size=1)).code == 0
    assert machine.ebs("unmount").code == 0
    assert len(ec2.volumes) == 1


def test_two_hosts_that_make_one_volume_at_once_make_one(cloud, ec2):
    one, two = cloud.machine("a"), cloud.machine("b")
    ec2.invisible = 1.0
    both = [machine.start("create", "--volumedriver=ebs", "--volumename=v") for machine in (one, two)]
    assert [one.finish(process).code for process in both] == [0, 0]
    assert len(ec2.volumes) == 1


def test_a_terminated_holder_that_ec2_has_forgotten_counts_as_stopped(cloud, ec2):
    a, b = cloud.machine("a"), cloud.machine("b")
    a.ebs("mount", "v", *a.opts(size=1))
    a.host.die()
    ec2.terminate(a.host)
    b.configure('preempt = "stopped"')
    ec2.next("DescribeInstances", Error("InvalidInstanceID.NotFound", "The instance ID does not exist"))
    assert b.ebs("mount").code == 0
    assert b.ebs("unmount").code == 0


def test_a_burned_token_is_passed_over(machine, ec2):
    for size in (1, 2):
        assert machine.ebs("create", "v", *machine.opts(size=size)).code == 0
        assert machine.ebs("remove").code == 0
    assert machine.ebs("create", "v", *machine.opts(size=3)).code == 0
    assert [volume.size for volume in ec2.volumes.values()] == [3]


def test_the_token_of_a_deleted_volume_is_passed_over_once_ec2_does_not_know_it(machine, ec2):
    assert machine.ebs("create", "v", *machine.opts(size=1)).code == 0
    assert machine.ebs("remove").code == 0
    assert machine.ebs("create", "v", *machine.opts(size=1)).code == 0
    assert len(ec2.volumes) == 1
    assert machine.ebs("mount").code == 0
    assert machine.ebs("unmount").code == 0


def test_from_a_snapshot_its_file_system_and_data_are_there(cloud, machine, ec2):
    image = cloud.root / "snapshot.img"
    with image.open("wb") as file:
        file.truncate(64 << 20)
    format_by_hand(image, "ext4")
    ec2.snapshots["snap-0123456789abcdef0"] = (1, image)
    options = machine.opts(snapshotID="snap-0123456789abcdef0", fsType="xfs")
    assert machine.ebs("mount", "v", *options).code == 0
    [volume] = ec2.volumes.values()
    assert (volume.size, content(volume.image)["UUID"]) == (1, content(image)["UUID"])
    assert machine.ebs("unmount").code == 0
    refused(machine.ebs("mount", "w", *machine.opts(snapshotID="snap-00000000")), FAILURE, "InvalidSnapshot.NotFound")


# Attaching


def test_states_take_their_time(machine, ec2):
    ec2.creating = ec2.attaching = ec2.detaching = 1.2
    assert machine.ebs("mount", "v", *machine.opts(size=1)).code == 0
    assert machine.ebs("unmount").code == 0
    [volume] = ec2.volumes.values()
    assert volume.state == "available"


def test_device_names_in_use_are_passed_over_in_order(machine, ec2):
    volume = ec2.volume("v")
    machine.host.taken = {"/dev/xvdba", "/dev/sdf"}
    machine.host.rejects = {"/dev/xvdbb", "/dev/xvdbc"}
    assert machine.ebs("mount").code == 0
    asked = [call["Device"] for name, call in ec2.calls if name == "AttachVolume"]
    assert asked == ["/dev/xvdbb", "/dev/xvdbc", "/dev/xvdbd"]
    assert volume.attachments
    assert machine.ebs("unmount").code == 0


def test_a_device_name_once_refused_is_tried_last(machine, ec2):
    ec2.volume("v")
    machine.host.taken = {f"/dev/xvd{a}{b}" for a in "bcd" for b in "abcdefghijklmnopqrstuvwxyz"} - {"/dev/xvdcc"}
    used = Error("InvalidParameterValue", "Invalid value '/dev/xvdcc' for unixDevice. It is already in use")
    ec2.next("AttachVolume", used)
    assert machine.ebs("mount").code == 0
    assert machine.ebs("unmount").code == 0
    machine.host.taken.add("/dev/xvdcc")
    refused(machine.ebs("mount"), FAILURE, machine.host.id, "no device name")


def test_the_attach_limit_is_in_the_error(machine, ec2):
    ec2.volume("v")
    machine.host.limit = 0
    refused(machine.ebs("mount"), FAILURE, machine.host.id, "no more volumes", "limit")
    assert machine.leftovers() == []


def test_a_device_that_comes_late_is_waited_for(machine, ec2):
    ec2.volume("v")
    machine.host.devices, machine.host.late = "late", 1.5
    assert machine.ebs("mount").code == 0
    assert machine.ebs("unmount").code == 0


@pytest.mark.parametrize("kind", ["nitro", "xen"])
@pytest.mark.parametrize("devices", ["never", "wrong"])
def test_a_device_that_does_not_come_or_is_another_is_never_touched(cloud, ec2, kind, devices):
    machine = cloud.machine(kind=kind)
    ec2.gib = 1 << 30
    volume = ec2.volume("v")
    machine.host.devices = devices
    refused(machine.ebs("mount", "v", "--timeout=4"), TRY_AGAIN, volume.id)
    assert not volume.attachments
    assert machine.leftovers() == []
    assert content(volume.image) == {}
    machine.host.devices = "right"
    assert machine.ebs("mount").code == 0
    assert machine.ebs("unmount").code == 0


def test_on_xen_the_device_has_the_name_that_was_asked_for(cloud, ec2):
    machine = cloud.machine(kind="xen")
    ec2.gib = 1 << 30
    volume = ec2.volume("v")
    assert machine.ebs("mount").code == 0
    assert machine.ebs("mount", "v", "--hold=b").code == 0
    handle = machine.record("v", "ebs")["handle"]
    assert (handle["kind"], handle["device"]["path"]) == ("xen", f"{machine.host.dev}/xvdba")
    assert machine.ebs("unmount").code == 0
    assert machine.ebs("unmount", "v", "--hold=b").code == 0
    assert not volume.attachments
    assert machine.leftovers() == []


def test_an_attachment_that_stays_in_attaching_is_taken_back(machine, ec2):
    volume = ec2.volume("v")
    ec2.attaching = math.inf
    refused(machine.ebs("mount", "v", "--timeout=4"), TRY_AGAIN, volume.id)
    assert not volume.attachments
    assert machine.leftovers() == []
    ec2.attaching = 0
    assert machine.ebs("mount").code == 0
    assert machine.ebs("unmount").code == 0


def test_a_detach_that_does_not_end_is_finished_later(machine, ec2):
    volume = ec2.volume("v")
    machine.ebs("mount")
    ec2.detaching = math.inf
    refused(machine.ebs("unmount", "v", "--timeout=3"), TRY_AGAIN, volume.id)
    assert machine.record("v", "ebs")["status"] == "unmounting"
    refused(machine.ebs("mount", "v", "--timeout=3"), TRY_AGAIN, "last unmount", volume.id)
    ec2.detaching = 0
    with ec2.lock:
        finish(ec2, volume.attachments[0])
    assert machine.run("recover").code == 0
    assert machine.leftovers() == []


def test_what_is_attached_here_already_is_used(machine, ec2):
    """By an earlier call that was killed before it wrote anything down, or by hand."""
    volume = ec2.volume("v")
    by_hand(ec2, machine, volume)
    ec2.calls.clear()
    assert machine.ebs("mount").code == 0
    assert "AttachVolume" not in ec2.names()
    assert machine.ebs("unmount").code == 0
    assert not volume.attachments


def by_hand(ec2, machine, volume, device="/dev/xvdbz"):
    import boto3

    client = boto3.client(
        "ec2", endpoint_url=ec2.url, region_name=ec2.region, aws_access_key_id=ec2.key[0],
        aws_secret_access_key=ec2.key[1],
    )  # fmt: skip
    client.attach_volume(VolumeId=volume.id, InstanceId=machine.host.id, Device=device)
    return client


def test_what_is_attached_without_a_record_is_detached_by_unmount(machine, ec2):
    """The state was lost, or an agent's checkpoint outlived it: "not mounted" never skips the detach."""
    volume = ec2.volume("v")
    by_hand(ec2, machine, volume)
    assert machine.ebs("unmount").code == 0
    assert not volume.attachments
    assert machine.leftovers() == []
    assert machine.ebs("unmount", "never heard of").code == 0


def test_a_lost_state_is_made_up_for(machine, ec2):
    volume = ec2.volume("v")
    machine.ebs("mount")
    machine.slot("v", "ebs").rename(machine.root / "lost")
    assert machine.ebs("unmount").code == 0
    assert not os.path.ismount(machine.place)
    assert not volume.attachments


def test_a_damaged_record_is_made_up_for(machine, ec2):
    volume = ec2.volume("v")
    machine.ebs("mount")
    (machine.slot("v", "ebs") / "record.json").write_text("{")
    assert machine.ebs("unmount").code == 0
    assert not volume.attachments
    assert not os.path.ismount(machine.place)


def test_throttling_is_waited_out(machine, ec2):
    ec2.volume("v")
    for action in ("DescribeVolumes", "AttachVolume", "DescribeInstances"):
        ec2.next(action, THROTTLED, THROTTLED)
    assert machine.ebs("mount").code == 0
    assert machine.ebs("unmount").code == 0
    ec2.always["DescribeVolumes"] = THROTTLED
    refused(machine.ebs("mount", "v", "--timeout=3"), TRY_AGAIN, "EC2")
    ec2.always.clear()
    assert machine.leftovers() == []


@pytest.mark.parametrize("action", ["DescribeVolumes", "CreateVolume", "DescribeInstances", "AttachVolume"])
@pytest.mark.parametrize("act", [True, False])
def test_a_lost_answer_is_asked_for_again(machine, ec2, action, act):
    ec2.next(action, Drop(act=act))
    assert machine.ebs("mount", "v", *machine.opts(size=1)).code == 0
    ec2.next("DetachVolume", Drop(act=act))
    assert machine.ebs("unmount").code == 0
    [volume] = ec2.volumes.values()
    assert volume.state == "available"


def test_a_denied_call_says_which_and_what_to_do(machine, ec2):
    ec2.volume("v")
    ec2.next("AttachVolume", Error("UnauthorizedOperation", "You are not authorized to perform this operation."))
    refused(machine.ebs("mount"), FAILURE, "attach_volume", "contrib/iam-policy.json")
    assert machine.leftovers() == []


# Growing


@pytest.mark.parametrize("mounted", [True, False])
def test_resize_grows_the_volume_and_the_file_system(machine, ec2, mounted):
    ec2.gib = 400 << 20
    ec2.modifying = 0.5
    machine.ebs("mount", "v", *machine.opts(size=1, fsType="xfs"))
    before = os.statvfs(machine.place).f_blocks
    if not mounted:
        machine.ebs("unmount")
    assert machine.ebs("resize", "v", "--yes", *machine.opts(size=2)).code == 0
    if not mounted:
        machine.ebs("mount")
    assert os.statvfs(machine.place).f_blocks > 1.8 * before
    refused(machine.ebs("resize", "v", "--yes", *machine.opts(size=1)), USAGE, "2 GiB")
    assert machine.ebs("resize", "v", "--yes", *machine.opts(size=2)).code == 0
    assert machine.ebs("unmount").code == 0


# Several instances


def test_multi_attach_is_for_io2_when_asked_for_and_read_only(cloud, ec2):
    one, two = cloud.machine("a"), cloud.machine("b")
    refused(one.ebs("mount", "v", *one.opts(multiAttach="true", type="io2")), USAGE, "mountopts=ro")
    refused(one.ebs("create", "v", *one.opts(multiAttach="true", mountopts="ro")), USAGE, "io2")
    volume = ec2.volume("v", size=4, type="io2", multi_attach=True)
    assert one.ebs("mount").code == 0
    (one.place / "file").write_text("kept")
    refused(two.ebs("mount"), IN_USE, one.host.id)
    assert one.ebs("unmount").code == 0
    for each in (one, two):
        assert each.ebs("mount", "v", *each.opts(multiAttach="true", mountopts="ro,noload")).code == 0
        assert (each.place / "file").read_text() == "kept"
    assert {attachment.instance for attachment in volume.attachments} == {one.host.id, two.host.id}
    assert one.ebs("unmount").code == 0
    refused(one.ebs("mount"), IN_USE, two.host.id)
    assert two.ebs("unmount").code == 0
    assert volume.state == "available"


def test_a_volume_of_another_driver_on_the_same_host_is_not_detached_by_a_failed_mount(machine, ec2):
    volume = ec2.volume("v")
    machine.ebs("mount")
    machine.configure("[drivers.more]\nprovider = 'ebs'")
    for _ in range(2):
        assert machine.mount(volume.id, "more").code == IN_USE
        assert machine.run("recover").code == 0
    assert os.path.ismount(machine.place)
    subprocess.run(["touch", machine.place / "file"], check=True)
    assert machine.ebs("unmount").code == 0
