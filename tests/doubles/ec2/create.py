"""CreateVolume: what it takes, and what it answers to a token it knows."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any

from tests.doubles.ec2.errors import Error
from tests.doubles.ec2.model import Volume, check_tags, new_id
from tests.doubles.loops import copy

if TYPE_CHECKING:
    from tests.doubles.ec2.api import Ec2

SIZES = {
    "gp2": (1, 16384), "gp3": (1, 16384), "io1": (4, 16384), "io2": (4, 16384), "st1": (125, 16384),
    "sc1": (125, 16384), "standard": (1, 1024),
}  # fmt: skip
IOPS = {"gp3": (3000, 16000, 500), "io1": (100, 64000, 50), "io2": (100, 64000, 500)}  # least, most, most per GiB
UUID4 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", re.IGNORECASE)


def create_volume(ec2: Ec2, parameters: dict[str, Any]) -> dict[str, Any]:
    token = parameters.get("ClientToken")
    rest = {name: value for name, value in parameters.items() if name != "ClientToken"}
    if token is None:
        ec2.faults.append("CreateVolume is not idempotent: it has no ClientToken")
    elif UUID4.fullmatch(token):
        ec2.faults.append(f"CreateVolume is not idempotent: ClientToken {token} is random, as boto3 fills it in")
    elif len(token) > 64 or not token.isascii() or not token:
        raise Error("InvalidParameterValue", "ClientToken must have 1 to 64 ASCII characters")
    fields = _check(ec2, parameters)
    if token in ec2.tokens:
        known, answer, volume_id = ec2.tokens[token]
        if known != rest:
            message = "Arguments on this idempotent request are inconsistent with those of a previous request."
            raise Error("IdempotentParameterMismatch", message)
        volume = ec2.volumes.get(volume_id)
        return _created(volume.describe()) if volume else answer
    volume = _make(ec2, fields)
    answer = _created(volume.describe())
    if token is not None:
        ec2.tokens[token] = (rest, answer, volume.id)
    return answer


def _created(description: dict[str, Any]) -> dict[str, Any]:
    """CreateVolume's answer has no attachments, even those it should have by now."""
    return {**description, "attachmentSet": None}


def _make(ec2: Ec2, fields: dict[str, Any]) -> Volume:
    volume_id = new_id("vol")
    volume = Volume(volume_id, image=ec2.root / f"{volume_id}.img", own_state="creating", **fields)
    if volume.snapshot:
        copy(ec2.snapshots[volume.snapshot][1], volume.image)
    else:
        volume.image.touch()
    ec2.resize(volume)
    volume.visible = time.monotonic() + ec2.invisible
    ec2.volumes[volume_id] = volume

    def ready() -> None:
        if volume.own_state == "creating":
            volume.own_state = "available"

    ec2.clock.after(ec2.creating, ready)
    return volume


def _check(ec2: Ec2, parameters: dict[str, Any]) -> dict[str, Any]:
    """Return what the new volume is to be like."""
    zone, kind = parameters["AvailabilityZone"], parameters.get("VolumeType", "gp2")
    if zone not in ec2.zones:
        raise Error("InvalidZone.NotFound", f"The zone '{zone}' does not exist.")
    if kind not in SIZES:
        raise Error("InvalidParameterValue", f"Invalid value '{kind}' for volumeType.")
    size = _size(ec2, parameters, kind)
    check_performance(kind, size, parameters.get("Iops"), parameters.get("Throughput"))
    multi = parameters.get("MultiAttachEnabled", False)
    if multi and kind not in ("io1", "io2"):
        raise Error("InvalidParameterCombination", f"Multi-Attach is not supported for {kind} volumes.")
    encrypted, key = parameters.get("Encrypted", False), parameters.get("KmsKeyId")
    if key and not encrypted:
        raise Error("InvalidParameterDependency", "The parameter KmsKeyId requires the parameter Encrypted to be set.")
    gp3 = kind == "gp3"
    return {
        "zone": zone,
        "size": size,
        "type": kind,
        "iops": parameters.get("Iops", 3000 if gp3 else None),
        "throughput": parameters.get("Throughput", 125 if gp3 else None),
        "encrypted": encrypted,
        "kms_key": key or ("arn:aws:kms:eu-west-1:123456789012:key/default" if encrypted else None),
        "snapshot": parameters.get("SnapshotId", ""),
        "multi_attach": multi,
        "tags": _tags(parameters.get("TagSpecification", [])),
    }


def _size(ec2: Ec2, parameters: dict[str, Any], kind: str) -> int:
    size: int | None = parameters.get("Size")
    snapshot = parameters.get("SnapshotId")
    least, most = SIZES[kind]
    if snapshot is not None:
        if snapshot not in ec2.snapshots:
            raise Error("InvalidSnapshot.NotFound", f"The snapshot '{snapshot}' does not exist.")
        has = ec2.snapshots[snapshot][0]
        size = has if size is None else size
        if size < has:
            message = f"The size {size} is smaller than the size of the snapshot, {has}GiB."
            raise Error("InvalidParameterValue", message)
    if size is None:
        raise Error("MissingParameter", "The request must contain the parameter size/snapshot")
    if not least <= size <= most:
        message = f"Volume of {size}GiB is invalid; {kind} volumes have from {least} to {most}GiB."
        raise Error("InvalidParameterValue", message)
    return size


def check_performance(kind: str, size: int, iops: int | None, throughput: int | None) -> None:
    if iops is None:
        if kind in ("io1", "io2"):
            raise Error("MissingParameter", f"The parameter iops must be specified for {kind} volumes.")
    elif kind not in IOPS:
        raise Error("InvalidParameterCombination", f"The parameter iops is not supported for {kind} volumes.")
    else:
        least, most, ratio = IOPS[kind]
        if not least <= iops <= most:
            raise Error("InvalidParameterValue", f"Volume iops of {iops} is not from {least} to {most}.")
        if iops > max(ratio * size, 3000 if kind == "gp3" else 0):
            raise Error("InvalidParameterValue", f"Iops to volume size ratio is too high; maximum is {ratio}.")
    if throughput is None:
        return
    if kind != "gp3":
        raise Error("InvalidParameterCombination", f"The parameter throughput is not supported for {kind} volumes.")
    if not 125 <= throughput <= 1000:
        raise Error("InvalidParameterValue", f"Throughput of {throughput} is not from 125 to 1000.")
    if throughput * 4 > (iops or 3000):
        raise Error("InvalidParameterValue", "Throughput to iops ratio is too high; maximum is 0.25 MiB/s per iops.")


def _tags(specifications: list[dict[str, Any]]) -> dict[str, str]:
    tags: list[dict[str, str]] = []
    for one in specifications:
        if one.get("ResourceType") != "volume":
            message = f"'{one.get('ResourceType')}' is not a valid taggable resource type for this operation."
            raise Error("InvalidParameterValue", message)
        tags += one.get("Tag", [])
    return check_tags(tags)
