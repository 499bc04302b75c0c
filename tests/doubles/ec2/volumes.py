"""The actions on volumes and instances themselves: describe, delete, tag, modify."""

from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING, Any

from tests.doubles.ec2.create import SIZES, check_performance
from tests.doubles.ec2.errors import Error
from tests.doubles.ec2.filters import compile_filters
from tests.doubles.ec2.model import Modification, Volume, check_tags, describe_host, find_host, find_volume, now

if TYPE_CHECKING:
    from tests.doubles.ec2.api import Ec2


def describe_volumes(ec2: Ec2, parameters: dict[str, Any]) -> dict[str, Any]:
    ids, most = parameters.get("VolumeId", []), parameters.get("MaxResults")
    if ids and most is not None:
        message = "The parameter volumeSet cannot be used with the parameter maxResults"
        raise Error("InvalidParameterCombination", message)
    if most is not None and not 5 <= most <= 1000:
        message = f"Value ( {most} ) for parameter maxResults is invalid. Expecting a value from 5 to 1000."
        raise Error("InvalidParameterValue", message)
    matches = compile_filters(parameters.get("Filter", []))
    if ids:
        found = [find_volume(ec2, volume_id) for volume_id in ids]
        return {"volumeSet": [volume.describe() for volume in found if matches(volume)]}
    # As in EC2, the page is cut before the filters are applied: one can be empty, and another come after it.
    query = {name: value for name, value in parameters.items() if name not in ("NextToken", "MaxResults")}
    after = ""
    if "NextToken" in parameters:
        known, after = ec2.pages.get(parameters["NextToken"], (None, ""))
        if known != query:
            raise Error("InvalidParameterValue", "Unable to parse pagination token, or it is another query's")
    rest = sorted(volume_id for volume_id in ec2.volumes if volume_id > after)
    page = rest[: min(ec2.page, most or ec2.page)]
    token = None
    if len(page) < len(rest):
        token = secrets.token_urlsafe(24)
        ec2.pages[token] = (query, page[-1])
    seen = [volume for volume in map(ec2.volumes.__getitem__, page) if volume.visible <= time.monotonic()]
    return {"volumeSet": [volume.describe() for volume in seen if matches(volume)], "nextToken": token}


def describe_instances(ec2: Ec2, parameters: dict[str, Any]) -> dict[str, Any]:
    hosts = [find_host(ec2, instance) for instance in parameters.get("InstanceId", list(ec2.hosts))]
    return {
        "reservationSet": [
            {"reservationId": f"r-{host.id[2:]}", "ownerId": "123456789012", "instancesSet": [describe_host(host)]}
            for host in hosts
        ]
    }


def delete_volume(ec2: Ec2, parameters: dict[str, Any]) -> dict[str, Any]:
    volume = find_volume(ec2, parameters["VolumeId"])
    if volume.attachments:
        holder = volume.attachments[0].host.id
        raise Error("VolumeInUse", f"Volume {volume.id} is currently attached to {holder}")
    if volume.state not in ("available", "error"):
        raise Error("IncorrectState", f"Volume '{volume.id}' is in the '{volume.state}' state.")
    volume.state = "deleting"

    def gone() -> None:
        del ec2.volumes[volume.id]
        volume.state = "deleted"
        volume.image.unlink(missing_ok=True)

    ec2.clock.after(ec2.deleting, gone)
    return {"return": True}


def create_tags(ec2: Ec2, parameters: dict[str, Any]) -> dict[str, Any]:
    tags = check_tags(parameters["Tag"])
    found = [find_volume(ec2, volume_id) for volume_id in parameters["ResourceId"]]
    for volume in found:
        if len(volume.tags.keys() | tags) > 50:
            raise Error("TagLimitExceeded", "The maximum number of Tags for a resource has been reached.")
    for volume in found:
        volume.tags.update(tags)
    return {"return": True}


def modify_volume(ec2: Ec2, parameters: dict[str, Any]) -> dict[str, Any]:
    volume = find_volume(ec2, parameters["VolumeId"])
    if volume.state not in ("available", "in-use"):
        raise Error("IncorrectState", f"Volume '{volume.id}' is in the '{volume.state}' state.")
    if len(parameters) == 1:
        raise Error("MissingParameter", "The request must contain one of size, iops, volumeType, throughput")
    under_way = volume.modification
    if under_way and under_way.state in ("modifying", "optimizing"):
        message = f"Volume {volume.id} cannot be modified in modification state {under_way.state.upper()}"
        raise Error("IncorrectModificationState", message)
    before = {"Size": volume.size, "VolumeType": volume.type, "Iops": volume.iops, "Throughput": volume.throughput}
    kind = parameters.get("VolumeType", volume.type)
    if kind not in SIZES:
        raise Error("InvalidParameterValue", f"Invalid value '{kind}' for volumeType.")
    if kind != volume.type:  # the old type's figures mean nothing for the new one
        gp3 = kind == "gp3"
        after = {**before, "Iops": 3000 if gp3 else None, "Throughput": 125 if gp3 else None, **parameters}
    else:
        after = {**before, **parameters}
    del after["VolumeId"]
    least, most = SIZES[kind]
    if after["Size"] < volume.size:
        raise Error("InvalidParameterValue", "New size cannot be smaller than existing size")
    if not least <= after["Size"] <= most:
        raise Error("InvalidParameterValue", f"{kind} volumes have from {least} to {most}GiB.")
    check_performance(kind, after["Size"], after["Iops"], after["Throughput"])
    volume.modification = Modification(volume, before, after)
    answer = volume.modification.describe()
    ec2.clock.after(ec2.modifying, lambda: _optimize(ec2, volume, after))
    return {"volumeModification": answer}


def _optimize(ec2: Ec2, volume: Volume, after: dict[str, Any]) -> None:
    """Bring the new figures into effect: from now on the volume has its new size."""
    modification = volume.modification
    assert modification
    grown = after["Size"] > volume.size
    volume.size, volume.type = after["Size"], after["VolumeType"]
    volume.iops, volume.throughput = after["Iops"], after["Throughput"]
    modification.state = "optimizing"
    if grown and volume.id in ec2.volumes:
        ec2.resize(volume)

    def complete() -> None:
        modification.state, modification.end = "completed", now()

    ec2.clock.after(ec2.optimizing, complete)


def describe_modifications(ec2: Ec2, parameters: dict[str, Any]) -> dict[str, Any]:
    found = [find_volume(ec2, volume_id) for volume_id in parameters.get("VolumeId", list(ec2.volumes))]
    for volume in found:
        if volume.modification is None and "VolumeId" in parameters:
            message = f"Modification for volume '{volume.id}' does not exist."
            raise Error("InvalidVolumeModification.NotFound", message)
    return {"volumeModificationSet": [one.modification.describe() for one in found if one.modification]}
