"""Volumes, attachments and modifications, and how the API describes them."""

from __future__ import annotations

import re
import secrets
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.doubles.ec2.errors import Error
from tests.doubles.loops import copy

if TYPE_CHECKING:
    from tests.doubles.ec2.api import Ec2
    from tests.doubles.ec2.host import Device, Host

STATE_CODES = {"pending": 0, "running": 16, "shutting-down": 32, "terminated": 48, "stopping": 64, "stopped": 80}
ID = "{}-[0-9a-f]{{8}}(?:[0-9a-f]{{9}})?"


def new_id(kind: str) -> str:
    return f"{kind}-0{secrets.token_hex(8)}"


def now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")


@dataclass(eq=False)
class Attachment:
    volume: Volume
    host: Host
    device: str  # the name that was asked for
    appears: str = "right"  # what comes of it on the host
    state: str = "attaching"
    forced: bool = False  # it is being detached by force
    there: Device | None = None  # the device on the host
    since: str = field(default_factory=now)

    @property
    def instance(self) -> str:
        return self.host.id

    def in_use(self) -> bool:
        """Tell whether the instance runs and still uses the device."""
        runs = self.host.powered and self.host.state not in ("stopped", "terminated")
        return runs and self.there is not None and self.there.loop.in_use()

    def describe(self) -> dict[str, Any]:
        return {
            "volumeId": self.volume.id,
            "instanceId": self.host.id,
            "device": self.device,
            "status": self.state,
            "attachTime": self.since,
            "deleteOnTermination": False,
        }


@dataclass(eq=False)
class Modification:
    volume: Volume
    before: dict[str, Any]
    after: dict[str, Any]
    state: str = "modifying"
    start: str = field(default_factory=now)
    end: str | None = None

    def describe(self) -> dict[str, Any]:
        values = {f"{when}{name}": value for when, side in (("original", self.before), ("target", self.after))
                  for name, value in side.items()}  # fmt: skip
        return {
            "volumeId": self.volume.id,
            "modificationState": self.state,
            **values,
            "progress": {"modifying": 0, "optimizing": 50}.get(self.state, 100),
            "startTime": self.start,
            "endTime": self.end,
        }


@dataclass(eq=False)
class Volume:
    id: str
    zone: str
    size: int  # GiB, as the API has it
    image: Path  # what it contains
    type: str = "gp3"
    iops: int | None = None
    throughput: int | None = None
    encrypted: bool = False
    kms_key: str | None = None
    snapshot: str = ""
    multi_attach: bool = False
    tags: dict[str, str] = field(default_factory=dict)
    own_state: str = "available"
    visible: float = 0  # from when on, by time.monotonic()
    attachments: list[Attachment] = field(default_factory=list)
    modification: Modification | None = None
    created: str = field(default_factory=now)
    copies: int = 0

    @property
    def state(self) -> str:
        return "in-use" if self.attachments and self.own_state == "available" else self.own_state

    @state.setter
    def state(self, value: str) -> None:
        self.own_state = value

    @property
    def name(self) -> str | None:
        return self.tags.get("Name")

    def attached_to(self, instance: str) -> Attachment | None:
        return next((one for one in self.attachments if one.host.id == instance), None)

    def abandon(self) -> None:
        """Go on with a copy: a device that was taken away while in use writes to the old file, to no effect."""
        self.copies += 1
        left = self.image.with_name(f"{self.image.name}.orphan-{self.copies}")
        self.image.rename(left)
        copy(left, self.image)

    def describe(self) -> dict[str, Any]:
        return {
            "volumeId": self.id,
            "size": self.size,
            "snapshotId": self.snapshot,
            "availabilityZone": self.zone,
            "status": self.state,
            "createTime": self.created,
            "attachmentSet": [one.describe() for one in self.attachments],
            "tagSet": tag_set(self.tags),
            "volumeType": self.type,
            "iops": self.iops,
            "throughput": self.throughput,
            "encrypted": self.encrypted,
            "kmsKeyId": self.kms_key,
            "multiAttachEnabled": self.multi_attach,
        }


def tag_set(tags: dict[str, str]) -> list[dict[str, str]] | None:
    return [{"key": key, "value": value} for key, value in tags.items()] or None


def check_tags(tags: list[dict[str, str]]) -> dict[str, str]:
    result: dict[str, str] = {}
    for tag in tags:
        key, value = tag.get("Key", ""), tag.get("Value", "")
        if not key or len(key) > 127:
            raise Error("InvalidParameterValue", f"Tag key exceeds the maximum length of 127 or is empty: {key!r}")
        if len(value) > 255:
            raise Error("InvalidParameterValue", "Tag value exceeds the maximum length of 255 characters")
        if key.lower().startswith("aws:"):
            raise Error("InvalidParameterValue", "Tag keys starting with 'aws:' are reserved for internal use")
        if key in result:
            raise Error("InvalidParameterValue", f"Duplicate tag key '{key}' specified.")
        result[key] = value
    if len(result) > 50:
        raise Error("TagLimitExceeded", "The maximum number of Tags for a resource has been reached.")
    return result


def find_volume(ec2: Ec2, volume_id: str) -> Volume:
    if not re.fullmatch(ID.format("vol"), volume_id):
        message = f"Value ({volume_id}) for parameter volumeId is invalid. Expected: 'vol-...'."
        raise Error("InvalidParameterValue", message)
    volume = ec2.volumes.get(volume_id)
    if volume is None or volume.visible > time.monotonic():
        raise Error("InvalidVolume.NotFound", f"The volume '{volume_id}' does not exist.")
    return volume


def find_host(ec2: Ec2, instance: str) -> Host:
    if not re.fullmatch(ID.format("i"), instance):
        raise Error("InvalidInstanceID.Malformed", f'Invalid id: "{instance}"')
    host = ec2.hosts.get(instance)
    if host is None:
        raise Error("InvalidInstanceID.NotFound", f"The instance ID '{instance}' does not exist")
    return host


def describe_host(host: Host) -> dict[str, Any]:
    entries = [
        {"deviceName": device, "ebs": {"volumeId": volume_id, "status": status, "attachTime": host.since,
                                       "deleteOnTermination": delete}}
        for device, volume_id, status, delete in host.mapping()
    ]  # fmt: skip
    return {
        "instanceId": host.id,
        "imageId": "ami-0123456789abcdef0",
        "instanceState": {"code": STATE_CODES[host.state], "name": host.state},
        "instanceType": host.type,
        "launchTime": host.since,
        "placement": {"availabilityZone": host.zone, "tenancy": "default"},
        "architecture": "x86_64",
        "hypervisor": host.kind,
        "rootDeviceType": "ebs",
        "rootDeviceName": host.root_device,
        "blockDeviceMapping": entries,
    }
