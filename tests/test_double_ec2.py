"""The double of EC2 itself: what a test relies on when it trusts the double, asked with the real boto3."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import threading

import boto3
import pytest
import requests
from botocore.config import Config
from botocore.exceptions import ClientError, ConnectionClosedError, EndpointConnectionError

from tests.doubles.ec2 import Drop, Ec2, Error
from tests.waiting import wait_until

ZONE = "eu-west-1a"
HERE, THERE = "i-0aaaaaaaaaaaaaaaa", "i-0bbbbbbbbbbbbbbbb"


@pytest.fixture
def ec2(tmp_path):
    ec2 = Ec2(tmp_path / "ec2")
    ec2.gib = 8 << 20
    ec2.expected = []  # the faults that the test is about
    yield ec2
    ec2.close()
    assert ec2.faults == ec2.expected


@pytest.fixture
def host(ec2):
    return ec2.host(HERE)


@pytest.fixture
def api(ec2):
    return client(ec2)


def client(ec2, **more):
    options = {"region_name": ec2.region, "aws_access_key_id": ec2.key[0], "aws_secret_access_key": ec2.key[1], **more}
    config = Config(retries={"total_max_attempts": 1}, read_timeout=20)
    return boto3.client("ec2", endpoint_url=ec2.url, config=config, **options)


def refused(call, **parameters):
    with pytest.raises(ClientError) as caught:
        call(**parameters)
    return caught.value.response["Error"]["Code"]


def create(api, token="t", **more):
    return api.create_volume(**{"AvailabilityZone": ZONE, "Size": 1, "ClientToken": token, **more})["VolumeId"]


def attach(api, volume, host, device="/dev/xvdba"):
    return api.attach_volume(VolumeId=volume.id, InstanceId=host.id, Device=device)


def detach(api, volume, host, **more):
    return api.detach_volume(VolumeId=volume.id, InstanceId=host.id, **more)


def state(api, volume):
    return api.describe_volumes(VolumeIds=[volume.id])["Volumes"][0]["State"]


def names(api, *filters):
    pages = api.get_paginator("describe_volumes").paginate(
        Filters=[{"Name": name, "Values": list(values)} for name, *values in filters]
    )
    return sorted(tag["Value"] for page in pages for volume in page["Volumes"] for tag in volume.get("Tags", []))


# Requests


def test_an_unsigned_request_is_a_fault(ec2):
    answer = requests.post(ec2.url, data={"Action": "DescribeVolumes", "Version": "2016-11-15"}, timeout=20)
    assert (answer.status_code, "AuthFailure" in answer.text) == (401, True)
    ec2.expected = ["DescribeVolumes: AuthFailure: The request is not signed with SigV4 for ec2"]


def test_a_request_signed_for_another_region_is_a_fault(ec2):
    assert refused(client(ec2, region_name="eu-west-2").describe_volumes) == "AuthFailure"
    ec2.expected = ec2.faults[:1]


def test_unknown_keys_are_refused(ec2):
    assert refused(client(ec2, aws_access_key_id="other").describe_volumes) == "AuthFailure"


@pytest.mark.parametrize(
    ("method", "parameters", "code"),
    [
        ("describe_snapshots", {}, "InvalidAction"),
        ("describe_volumes", {"DryRun": True}, "UnknownParameter"),
        ("create_volume", {"Size": 1, "ClientToken": "t"}, "MissingParameter"),
        ("describe_instances", {"MaxResults": 5}, "UnknownParameter"),
    ],
)
def test_what_the_double_does_not_know_is_a_fault(ec2, api, method, parameters, code):
    assert refused(getattr(api, method), **parameters) == code
    assert len(ec2.faults) == 1
    ec2.expected = ec2.faults[:]
    assert bool(ec2.unknown_calls) == (code == "InvalidAction")


def test_calls_are_recorded_decoded(ec2, api):
    volume = ec2.volume("v")
    api.create_tags(Resources=[volume.id], Tags=[{"Key": "a", "Value": "b & <c>\r\n"}])
    assert ec2.calls == [
        ("CreateTags", {"ResourceId": [volume.id], "Tag": [{"Key": "a", "Value": "b & <c>\r\n"}]})
    ]  # fmt: skip
    assert (ec2.names(), ec2.counts()["CreateTags"]) == (["CreateTags"], 1)
    assert api.describe_volumes()["Volumes"][0]["Tags"][1] == {"Key": "a", "Value": "b & <c>\r\n"}


# Creating


def test_the_same_token_makes_one_volume(ec2, api):
    assert create(api) == create(api)
    assert refused(create, api=api, Size=2) == "IdempotentParameterMismatch"
    assert refused(create, api=api, AvailabilityZone="eu-west-1b") == "IdempotentParameterMismatch"
    assert create(api, "another") != create(api)
    assert len(ec2.volumes) == 2


def test_a_token_outlives_its_volume(api):
    first = create(api)
    api.delete_volume(VolumeId=first)
    assert create(api) == first
    assert refused(api.describe_volumes, VolumeIds=[first]) == "InvalidVolume.NotFound"


def test_a_volume_without_a_token_of_ours_is_a_fault(ec2, api):
    api.create_volume(AvailabilityZone=ZONE, Size=1)  # boto3 makes one up
    ec2.expected = ec2.faults[:1]
    assert "is not idempotent" in ec2.faults[0]


@pytest.mark.parametrize(
    ("code", "parameters"),
    [
        ("InvalidZone.NotFound", {"AvailabilityZone": "eu-west-1z"}),
        ("InvalidParameterValue", {"VolumeType": "gp9"}),
        ("InvalidParameterValue", {"Size": 0}),
        ("InvalidParameterValue", {"Size": 16385}),
        ("InvalidParameterValue", {"VolumeType": "st1", "Size": 124}),
        ("MissingParameter", {"VolumeType": "io2", "Size": 4}),
        ("InvalidParameterCombination", {"VolumeType": "gp2", "Iops": 3000}),
        ("InvalidParameterCombination", {"VolumeType": "gp2", "Throughput": 125}),
        ("InvalidParameterValue", {"VolumeType": "gp3", "Throughput": 124}),
        ("InvalidParameterCombination", {"VolumeType": "gp3", "MultiAttachEnabled": True}),
        ("InvalidParameterDependency", {"KmsKeyId": "alias/k"}),
        ("InvalidSnapshot.NotFound", {"SnapshotId": "snap-0123456789abcdef0"}),
        ("InvalidParameterValue", {"ClientToken": "x" * 65}),
        ("InvalidParameterValue", {"ClientToken": "é"}),
    ],
)
def test_a_volume_that_cannot_be(ec2, api, code, parameters):
    assert refused(create, api=api, **parameters) == code
    assert ec2.volumes == {}


def tagged(*tags):
    return [{"ResourceType": "volume", "Tags": [{"Key": key, "Value": value} for key, value in tags]}]


@pytest.mark.parametrize(
    "tags", [[("k" * 128, "v")], [("k", "v" * 256)], [("k", "1"), ("k", "2")], [("aws:k", "v")], [("", "v")]]
)
def test_tags_that_cannot_be(api, tags):
    assert refused(create, api=api, TagSpecifications=tagged(*tags)) == "InvalidParameterValue"


def test_a_volume_of_a_snapshot(ec2, api, tmp_path):
    image = tmp_path / "image"
    image.write_bytes(b"snapshot")
    ec2.snapshots["snap-0123456789abcdef0"] = (2, image)
    volume = ec2.volumes[create(api, Size=3, SnapshotId="snap-0123456789abcdef0")]
    assert (volume.size, volume.image.stat().st_size, volume.image.read_bytes()[:9]) == (3, 3 * ec2.gib, b"snapshot\0")
    assert refused(create, api=api, token="u", Size=1, SnapshotId=volume.snapshot) == "InvalidParameterValue"


def test_a_new_volume_takes_its_time(ec2, api, host):
    ec2.invisible, ec2.creating = math.inf, math.inf
    volume = ec2.volumes[create(api)]
    assert refused(api.describe_volumes, VolumeIds=[volume.id]) == "InvalidVolume.NotFound"
    assert api.describe_volumes()["Volumes"] == []
    volume.visible = 0
    assert state(api, volume) == "creating"
    assert refused(attach, api=api, volume=volume, host=host) == "IncorrectState"
    ec2.creating = 0.05
    second = ec2.volumes[create(api, "u")]
    second.visible = 0
    wait_until(lambda: state(api, second) == "available")


def test_deleting(ec2, api):
    volume = ec2.volume()
    ec2.deleting = 0.05
    api.delete_volume(VolumeId=volume.id)
    wait_until(lambda: volume.id not in ec2.volumes)
    assert refused(api.delete_volume, VolumeId=volume.id) == "InvalidVolume.NotFound"
    assert not volume.image.exists()


# Describing


def test_filters(ec2, api):
    for name in ("vol-data-2", "vol-data-21", "a*b", "aXb", "a?b", "Vol-Data-2"):
        ec2.volume(name)
    ec2.volume("other", zone="eu-west-1b")
    assert names(api, ("tag:Name", "vol-data-2")) == ["vol-data-2"]
    assert names(api, ("tag:Name", "vol-data-*")) == ["vol-data-2", "vol-data-21"]
    assert names(api, ("tag:Name", "a*b")) == ["a*b", "a?b", "aXb"]
    assert names(api, ("tag:Name", r"a\*b", r"a\?b")) == ["a*b", "a?b"]
    assert names(api, ("tag-key", "Name"), ("availability-zone", "eu-west-1b"), ("status", "avail*")) == ["other"]
    assert names(api, ("tag:Name", "other"), ("availability-zone", ZONE)) == []
    with pytest.raises(ClientError, match="InvalidParameterValue"):
        names(api, ("tags:Name", "x"))
    with pytest.raises(ClientError, match="FilterLimitExceeded"):
        names(api, ("tag:Name", *map(str, range(201))))


def test_pages_of_one_may_be_empty(ec2, api):
    ec2.page = 1
    for number in range(4):
        ec2.volume("twin" if number % 2 else "other")
    assert names(api, ("tag:Name", "twin")) == ["twin", "twin"]
    assert len(ec2.calls) == 4
    first = api.describe_volumes(MaxResults=5)
    assert len(first["Volumes"]) == 1
    other = {"NextToken": first["NextToken"], "Filters": [{"Name": "status", "Values": ["x"]}]}
    assert refused(api.describe_volumes, **other) == "InvalidParameterValue"


def test_describe_volumes_limits(ec2, api):
    volume = ec2.volume()
    both = {"VolumeIds": [volume.id], "MaxResults": 5}
    assert refused(api.describe_volumes, **both) == "InvalidParameterCombination"
    assert refused(api.describe_volumes, MaxResults=4) == "InvalidParameterValue"
    assert refused(api.describe_volumes, VolumeIds=["vol-xyz"]) == "InvalidParameterValue"
    assert refused(api.describe_volumes, VolumeIds=["vol-0123456789abcdef0"]) == "InvalidVolume.NotFound"


def test_describe_instances(ec2, api, host):
    host.taken.add("/dev/xvdbb")
    ec2.attaching = math.inf
    volume = ec2.volume()
    attach(api, volume, host)
    found = api.describe_instances(InstanceIds=[host.id])["Reservations"][0]["Instances"][0]
    assert (found["State"]["Name"], found["Placement"]["AvailabilityZone"]) == ("running", ZONE)
    mapping = {row["DeviceName"]: row["Ebs"]["Status"] for row in found["BlockDeviceMappings"]}
    assert mapping == {"/dev/xvda": "attached", "/dev/xvdbb": "attached", "/dev/xvdba": "attaching"}
    assert refused(api.describe_instances, InstanceIds=[THERE]) == "InvalidInstanceID.NotFound"


# Attaching and detaching, as the API has it


def test_attaching_what_cannot_be(ec2, api, host):
    other, far = ec2.host(THERE), ec2.volume(zone="eu-west-1b")
    host.devices = "never"
    one, two = ec2.volume(), ec2.volume()
    assert refused(attach, api=api, volume=far, host=host) == "InvalidVolume.ZoneMismatch"
    for device in ("/dev/xvda", "/dev/xvdaa", "/dev/sdb", "/dev/nvme1n1", "xvdba", "/dev/xvdbaa"):
        assert refused(attach, api=api, volume=one, host=host, device=device) == "InvalidParameterValue"
    host.taken.add("/dev/xvdbb")
    host.rejects.add("/dev/xvdbc")
    for device in ("/dev/xvdbb", "/dev/xvdbc"):
        assert refused(attach, api=api, volume=one, host=host, device=device) == "InvalidParameterValue"
    attach(api, one, host)
    assert refused(attach, api=api, volume=one, host=host, device="/dev/xvdbd") == "VolumeInUse"
    assert refused(attach, api=api, volume=one, host=other) == "VolumeInUse"
    assert refused(attach, api=api, volume=two, host=host) == "InvalidParameterValue"
    host.limit = 1
    with pytest.raises(ClientError, match=r"AttachmentLimitExceeded.* limit of 1"):
        attach(api, two, host, "/dev/xvdbd")
    assert refused(api.delete_volume, VolumeId=one.id) == "VolumeInUse"
    other.state = "stopping"
    assert refused(attach, api=api, volume=two, host=other) == "IncorrectState"


def test_one_name_is_given_once(ec2, api, host):
    """Two callers that chose the same name at the same time: one is refused."""
    host.devices = "never"
    both = threading.Barrier(2)
    ec2.before = lambda action, when: when == "before" and both.wait(20)
    results = []

    def call():
        try:
            results.append(attach(client(ec2), ec2.volume(), host)["State"])
        except ClientError as error:
            results.append(error.response["Error"]["Code"])

    threads = [threading.Thread(target=call) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(results) == ["InvalidParameterValue", "attaching"]


def test_detaching_what_is_not_attached(ec2, api, host):
    other, volume = ec2.host(THERE), ec2.volume()
    host.devices = "never"
    with pytest.raises(ClientError, match=r"IncorrectState.* is in the 'available' state"):
        detach(api, volume, host)
    attach(api, volume, host)
    assert refused(detach, api=api, volume=volume, host=other) == "InvalidAttachment.NotFound"
    api.detach_volume(VolumeId=volume.id)
    ec2.expected = [f"detach that does not name the instance: {{'VolumeId': '{volume.id}'}}"]
    assert refused(detach, api=api, volume=volume, host=host) == "IncorrectState"
    gone = {"VolumeId": "vol-0123456789abcdef0", "InstanceId": host.id}
    assert refused(api.detach_volume, **gone) == "InvalidVolume.NotFound"


def test_states_that_take_time(ec2, api, host):
    host.devices = "never"
    volume = ec2.volume()
    ec2.attaching = ec2.detaching = 0.1
    assert attach(api, volume, host)["State"] == "attaching"
    assert (state(api, volume), volume.attachments[0].state) == ("in-use", "attaching")
    wait_until(lambda: volume.attachments[0].state == "attached")
    assert detach(api, volume, host)["State"] == "detaching"
    assert state(api, volume) == "in-use"
    wait_until(lambda: state(api, volume) == "available")


def test_an_attachment_that_hangs_can_be_detached(ec2, api, host):
    ec2.attaching = math.inf
    volume = ec2.volume()
    attach(api, volume, host)
    assert state(api, volume) == "in-use"
    detach(api, volume, host)
    assert (state(api, volume), host.device(volume)) == ("available", None)


def test_multi_attach(ec2, api, host):
    other, volume = ec2.host(THERE), ec2.volume(type="io2", multi_attach=True)
    host.devices = other.devices = "never"
    attach(api, volume, host)
    assert refused(attach, api=api, volume=volume, host=host, device="/dev/xvdbb") == "VolumeInUse"
    attach(api, volume, other)
    assert [one.instance for one in volume.attachments] == [HERE, THERE]
    detach(api, volume, host)
    assert state(api, volume) == "in-use"


# Modifying


def test_a_volume_only_grows(ec2, api):
    volume = ec2.volume(size=2)
    assert refused(api.modify_volume, VolumeId=volume.id, Size=1) == "InvalidParameterValue"
    code = refused(api.describe_volumes_modifications, VolumeIds=[volume.id])
    assert code == "InvalidVolumeModification.NotFound"
    ec2.modifying = 0.1
    assert api.modify_volume(VolumeId=volume.id, Size=4)["VolumeModification"]["ModificationState"] == "modifying"
    assert refused(api.modify_volume, VolumeId=volume.id, Size=5) == "IncorrectModificationState"
    assert volume.image.stat().st_size == 2 * ec2.gib

    def progress():
        return api.describe_volumes_modifications(VolumeIds=[volume.id])["VolumesModifications"][0]

    wait_until(lambda: progress()["ModificationState"] == "completed")
    assert (progress()["OriginalSize"], progress()["TargetSize"], volume.size) == (2, 4, 4)
    assert volume.image.stat().st_size == 4 * ec2.gib


# What goes wrong on demand


def test_errors_instead_of_answers(ec2, api):
    volume = ec2.volume()
    ec2.next("DescribeVolumes", None, Error("RequestLimitExceeded", "Request limit exceeded.", 503))
    assert state(api, volume) == "available"
    assert refused(api.describe_volumes) == "RequestLimitExceeded"
    ec2.always["DeleteVolume"] = Error("UnauthorizedOperation", "no", 403)
    assert [refused(api.delete_volume, VolumeId=volume.id) for _ in range(2)] == ["UnauthorizedOperation"] * 2
    assert volume.id in ec2.volumes


def test_an_error_after_the_fact(ec2, api):
    ec2.next("CreateVolume", Error("InternalError", "", 500, act=True))
    assert refused(create, api=api) == "InternalError"
    (volume,) = ec2.volumes.values()
    assert create(api) == volume.id


@pytest.mark.parametrize("act", [False, True])
def test_a_dropped_connection(ec2, api, act):
    ec2.next("CreateVolume", Drop(act=act))
    with pytest.raises(ConnectionClosedError):
        create(api)
    assert len(ec2.volumes) == act
    create(api)
    assert len(ec2.volumes) == 1


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_caller_killed_in_between(ec2, when):
    """What a dead caller asked for is carried out all the same."""
    script = (
        f"import boto3; boto3.client('ec2', endpoint_url='{ec2.url}', region_name='{ec2.region}', aws_access_key_id="
        f"'test-key', aws_secret_access_key='s').create_volume(AvailabilityZone='{ZONE}', Size=1, ClientToken='t')"
    )
    seen = []

    def kill(action, at):
        if at == when:
            seen.append(len(ec2.volumes))
            os.kill(caller.pid, signal.SIGKILL)
            caller.wait(20)

    ec2.before = kill
    caller = subprocess.Popen([sys.executable, "-c", script])
    wait_until(lambda: seen)
    ec2.wait_idle()
    assert (caller.returncode, seen, len(ec2.volumes)) == (-signal.SIGKILL, [when == "after"], 1)


def test_closing_twice_is_fine(ec2, host):
    ec2.close()
    ec2.close()
    with pytest.raises(EndpointConnectionError):
        client(ec2).describe_volumes()


# The instance metadata service

TTL = "X-aws-ec2-metadata-token-ttl-seconds"
TOKEN = "X-aws-ec2-metadata-token"


def metadata_token(host, **headers):
    return requests.put(f"{host.metadata.url}/latest/api/token", headers={TTL: "60", **headers}, timeout=20)


def test_metadata_wants_a_token(ec2, host):
    page = f"{host.metadata.url}/latest/meta-data/instance-id"
    assert requests.get(page, timeout=20).status_code == 401
    assert requests.get(page, headers={TOKEN: "x"}, timeout=20).status_code == 401
    ec2.expected = ["metadata: GET /latest/meta-data/instance-id without a valid token"] * 2
    token = metadata_token(host).text
    assert requests.get(page, headers={TOKEN: token}, timeout=20).text == host.id
    page = f"{host.metadata.url}/latest/dynamic/instance-identity/document"
    document = requests.get(page, headers={TOKEN: token}, timeout=20).json()
    assert (document["instanceId"], document["region"], document["availabilityZone"]) == (host.id, ec2.region, ZONE)
    assert host.metadata.calls[-1] == ("GET", "/latest/dynamic/instance-identity/document")


def test_metadata_tokens_that_are_not_to_be_had(ec2, host):
    for ttl in ("0", "21601", "x"):
        assert metadata_token(host, **{TTL: ttl}).status_code == 400
    ec2.expected = ec2.faults[:3]
    assert metadata_token(host, **{"X-Forwarded-For": "10.0.0.1"}).status_code == 403
    host.metadata.disabled = True
    assert metadata_token(host).status_code == 403


def test_metadata_out_of_reach(host):
    host.metadata.hop_limited = True
    with pytest.raises(requests.exceptions.ReadTimeout):
        requests.put(f"{host.metadata.url}/latest/api/token", headers={TTL: "60"}, timeout=0.2)
    host.metadata.hop_limited, host.metadata.off = False, True
    with pytest.raises(requests.exceptions.ConnectionError):
        metadata_token(host)
    host.metadata.off = False
    assert metadata_token(host).status_code == 200


def test_the_role_of_an_instance_signs(ec2, host, monkeypatch):
    host.metadata.role = "the-role"
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in host.env().items():
        monkeypatch.setenv(name, value)
    assert boto3.session.Session().client("ec2", region_name=ec2.region).describe_volumes()["Volumes"] == []
    assert "AWS_ACCESS_KEY_ID" not in host.env()
    host.metadata.role = ""
    assert "AWS_ACCESS_KEY_ID" in host.env()


# What the host sees


def serials(host):
    return {path.parts[-3]: path.read_text() for path in host.sysfs.glob("block/*/device/serial")}


def formatted(api, volume, host, mountpoint):
    """Attach a volume, format it, mount it; return its device node."""
    attach(api, volume, host)
    node = host.device(volume).node
    subprocess.run(["mkfs.ext4", "-q", "-F", node], check=True)
    mountpoint.mkdir(exist_ok=True)
    subprocess.run(["mount", node, mountpoint], check=True)
    return node


@pytest.fixture
def mountpoint(tmp_path):
    path = tmp_path / "mnt"
    yield path
    for place in (path, path.with_name("second")):
        if os.path.ismount(place):
            subprocess.run(["umount", "-l", place], check=True)


@pytest.mark.root
def test_the_device_has_the_serial(ec2, api, host):
    volume, second = ec2.volume(), ec2.volume(size=2)
    attach(api, volume, host)
    attach(api, second, host, "/dev/xvdbb")
    wanted = volume.id.replace("-", "")
    assert serials(host)["nvme1n1"] == f"{wanted:<20}\n"
    assert serials(host)["nvme2n1"].strip() == second.id.replace("-", "")
    assert wanted not in serials(host)["nvme0n1"]
    number = (host.dev / "nvme2n1").stat().st_rdev
    assert (host.sysfs / "block/nvme2n1/dev").read_text() == f"{os.major(number)}:{os.minor(number)}\n"
    assert int((host.sysfs / "block/nvme2n1/size").read_text()) * 512 == 2 * ec2.gib
    links = [path for path in (host.dev / "disk/by-id").iterdir() if wanted in path.name]
    assert [link.resolve() for link in links] == [host.dev / "nvme0n1"]  # stale
    detach(api, volume, host)
    assert "nvme1n1" not in serials(host)
    assert not (host.dev / "nvme1n1").exists()


@pytest.mark.root
def test_xen_has_names_and_no_serials(ec2, api):
    host, volume = ec2.host(HERE, kind="xen"), ec2.volume()
    attach(api, volume, host)
    assert (serials(host), (host.dev / "xvdba").is_block_device()) == ({}, True)
    assert int((host.sysfs / "block/xvdba/size").read_text()) * 512 == ec2.gib


@pytest.mark.root
def test_devices_late_and_never(ec2, api, host):
    volume, second = ec2.volume(), ec2.volume()
    host.devices, host.late = "late", 0.2
    attach(api, volume, host)
    assert (volume.attachments[0].state, host.device(volume)) == ("attached", None)
    wait_until(lambda: host.device(volume))
    host.devices = "never"
    attach(api, second, host, "/dev/xvdbb")
    assert (second.attachments[0].state, host.device(second)) == ("attached", None)


@pytest.mark.root
@pytest.mark.parametrize("kind", ["nitro", "xen"])
def test_the_wrong_device_must_not_be_written_to(ec2, api, kind):
    host, volume = ec2.host(HERE, kind=kind), ec2.volume()
    host.devices = "wrong"
    attach(api, volume, host)
    device = host.device(volume)
    assert volume.id.replace("-", "") not in "".join(serials(host).values())
    assert int((device.sys / "size").read_text()) * 512 != ec2.gib
    assert subprocess.run(["blkid", "-p", device.node], capture_output=True, check=False).returncode == 0
    assert host.check_decoys() == []
    subprocess.run(["mkfs.ext4", "-q", "-F", device.node], check=True)
    ec2.expected = [f"the wrong device was written to: {device.image.name}"]


@pytest.mark.root
def test_data_stays_on_the_volume(ec2, api, host, mountpoint):
    volume, other = ec2.volume(), ec2.host(THERE)
    formatted(api, volume, host, mountpoint)
    (mountpoint / "file").write_text("kept")
    subprocess.run(["umount", mountpoint], check=True)
    detach(api, volume, host)
    attach(api, volume, other)
    subprocess.run(["mount", other.device(volume).node, mountpoint], check=True)
    assert (mountpoint / "file").read_text() == "kept"
    subprocess.run(["umount", mountpoint], check=True)


@pytest.mark.root
def test_detaching_what_is_in_use_is_a_sin(ec2, api, host, mountpoint):
    volume = ec2.volume()
    node = formatted(api, volume, host, mountpoint)
    detach(api, volume, host)
    ec2.expected = [f"{volume.id} detached from {host.id} while in use"]
    assert (volume.attachments[0].state, state(api, volume), node.exists()) == ("busy", "in-use", True)
    subprocess.run(["umount", mountpoint], check=True)
    wait_until(lambda: state(api, volume) == "available")
    assert not node.exists()


@pytest.mark.root
def test_what_was_taken_away_by_force_cannot_write_to_the_volume(ec2, api, host, mountpoint):
    volume, other = ec2.volume(), ec2.host(THERE)
    formatted(api, volume, host, mountpoint)
    (mountpoint / "before").write_text("")
    os.sync()
    detach(api, volume, host, Force=True)
    assert (state(api, volume), len(ec2.orphans)) == ("available", 1)
    (mountpoint / "after").write_text("lost")  # the old mount goes on
    os.sync()
    second = mountpoint.with_name("second")
    attach(api, volume, other)
    second.mkdir()
    subprocess.run(["mount", other.device(volume).node, second], check=True)
    assert sorted(path.name for path in second.iterdir()) == ["before", "lost+found"]
    subprocess.run(["umount", second], check=True)
    subprocess.run(["umount", mountpoint], check=True)
    wait_until(ec2.orphans[0].clear)


@pytest.mark.root
def test_a_stopped_host_lets_go(ec2, api, host, mountpoint):
    volume = ec2.volume()
    formatted(api, volume, host, mountpoint)
    ec2.stop(host)
    detach(api, volume, host)
    assert state(api, volume) == "available"


@pytest.mark.root
def test_a_device_grows_with_its_volume(ec2, api, host):
    volume = ec2.volume()
    attach(api, volume, host)
    device = host.device(volume)
    api.modify_volume(VolumeId=volume.id, Size=3)
    with device.node.open("rb") as file:
        assert file.seek(0, os.SEEK_END) == 3 * ec2.gib
    assert int((device.sys / "size").read_text()) * 512 == 3 * ec2.gib


@pytest.mark.root
def test_power_lost_and_back(ec2, api, host, mountpoint):
    volume, second = ec2.volume(), ec2.volume()
    attach(api, second, host, "/dev/xvdbb")
    node = formatted(api, volume, host, mountpoint)
    was = {one: host.device(one).name for one in (volume, second)}
    host.die()
    assert (os.path.ismount(mountpoint), node.exists(), state(api, volume)) == (False, False, "in-use")
    host.boot()
    assert {one: host.device(one).name for one in (volume, second)} != was
    for one in (volume, second):
        assert serials(host)[host.device(one).name].strip() == one.id.replace("-", "")
    subprocess.run(["mount", host.device(volume).node, mountpoint], check=True)
    subprocess.run(["umount", mountpoint], check=True)


@pytest.mark.root
def test_no_loop_device_is_left(ec2, api, host):
    volume = ec2.volume()
    attach(api, volume, host)
    images = (str(volume.image), str(host.root_disk.image))
    assert all(image in bound() for image in images)
    ec2.close()
    assert not any(image in bound() for image in images)


def bound():
    return subprocess.run(["losetup", "--list", "--noheadings", "-O", "BACK-FILE"], capture_output=True, text=True,
                          check=True).stdout  # fmt: skip
