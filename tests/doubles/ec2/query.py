"""The EC2 query protocol: flat form parameters into nested ones, checked against what each action takes."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import parse_qsl

from tests.doubles.ec2.errors import Violation
from tests.doubles.web import Request

VERSION = "2016-11-15"
TAGS = [{"Key": str, "Value": str}]
ACTIONS: dict[str, dict[str, Any]] = {
    "DescribeVolumes": {
        "VolumeId": [str], "Filter": [{"Name": str, "Value": [str]}], "MaxResults": int, "NextToken": str,
    },
    "DescribeInstances": {"InstanceId": [str]},
    "CreateVolume": {
        "AvailabilityZone": str, "Size": int, "SnapshotId": str, "VolumeType": str, "Iops": int, "Throughput": int,
        "MultiAttachEnabled": bool, "Encrypted": bool, "KmsKeyId": str, "ClientToken": str,
        "TagSpecification": [{"ResourceType": str, "Tag": TAGS}],
    },
    "DeleteVolume": {"VolumeId": str},
    "AttachVolume": {"VolumeId": str, "InstanceId": str, "Device": str},
    "DetachVolume": {"VolumeId": str, "InstanceId": str, "Device": str, "Force": bool},
    "CreateTags": {"ResourceId": [str], "Tag": TAGS},
    "ModifyVolume": {"VolumeId": str, "Size": int, "VolumeType": str, "Iops": int, "Throughput": int},
    "DescribeVolumesModifications": {"VolumeId": [str]},
}  # fmt: skip
REQUIRED = {
    "CreateVolume": ["AvailabilityZone"],
    "DeleteVolume": ["VolumeId"],
    "AttachVolume": ["VolumeId", "InstanceId", "Device"],
    "DetachVolume": ["VolumeId"],
    "CreateTags": ["ResourceId", "Tag"],
    "ModifyVolume": ["VolumeId"],
}
CREDENTIAL = re.compile(
    r"AWS4-HMAC-SHA256 Credential=(?P<key>[^/,]+)/\d{8}/(?P<region>[^/,]+)/ec2/aws4_request, ?"
    r"SignedHeaders=[a-z0-9;-]+, ?Signature=[0-9a-f]{64}"
)


def form(request: Request) -> dict[str, str]:
    """Return the flat parameters of a request that is one at all."""
    for wrong, what in (
        (request.method != "POST", f"method {request.method}"),
        (request.path != "/", f"path {request.path}"),
        (not request.headers.get("host"), "no Host"),
        (not request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"), "content type"),
    ):
        if wrong:
            raise Violation("InvalidRequest", what)
    pairs = parse_qsl(request.body.decode(), keep_blank_values=True, strict_parsing=True)
    flat = dict(pairs)
    if len(flat) != len(pairs):
        raise Violation("InvalidParameter", "a parameter is given twice")
    return flat


def signer(request: Request, region: str) -> str:
    """Return the id of the key that signed."""
    match = CREDENTIAL.fullmatch(request.headers.get("authorization", ""))
    if not match or not re.fullmatch(r"\d{8}T\d{6}Z", request.headers.get("x-amz-date", "")):
        raise Violation("AuthFailure", "The request is not signed with SigV4 for ec2", 401)
    if match["region"] != region:
        message = f"Credential should be scoped to a valid region, not {match['region']}."
        raise Violation("AuthFailure", message, 401)
    return match["key"]


def decode(action: str, flat: dict[str, str]) -> dict[str, Any]:
    """Return nested parameters: lists, numbers and booleans as such, under the names of the query protocol."""
    if flat.get("Version") != VERSION:
        raise Violation("InvalidParameterValue", f"Version {flat.get('Version')}")
    tree: dict[str, Any] = {}
    for key, value in flat.items():
        if key in ("Action", "Version"):
            continue
        *path, last = key.split(".")
        node = tree
        for part in path:
            node = node.setdefault(part, {})
            if not isinstance(node, dict):
                raise Violation("InvalidParameter", key)
        node[last] = value
    parameters: dict[str, Any] = _convert(tree, ACTIONS[action], "")
    for name in REQUIRED.get(action, []):
        if name not in parameters:
            raise Violation("MissingParameter", f"The request must contain the parameter {name}")
    return parameters


def _convert(value: Any, kind: Any, where: str) -> Any:
    if isinstance(kind, (dict, list)) != isinstance(value, dict):
        raise Violation("InvalidParameter", f"{where} has the wrong form")
    if isinstance(kind, dict):
        for name in value:
            if name not in kind:
                raise Violation("UnknownParameter", f"The parameter {where}{name} is not recognized")
        return {name: _convert(inner, kind[name], f"{where}{name}.") for name, inner in value.items()}
    if isinstance(kind, list):
        names = [str(number) for number in range(1, len(value) + 1)]
        if set(names) != set(value):
            raise Violation("InvalidParameter", f"{where} is not numbered from 1 on: {sorted(value)}")
        return [_convert(value[name], kind[0], f"{where}{name}.") for name in names]
    if kind is int and re.fullmatch(r"-?\d{1,9}", value):
        return int(value)
    if kind is bool and value in ("true", "false"):
        return value == "true"
    if kind is str:
        return value
    raise Violation("InvalidParameterValue", f"Value ({value}) for parameter {where[:-1]} is invalid.")
