"""What the specification asks of a request's fields, whatever the volume: presence, sizes, characters, secrets."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator

from google.protobuf.message import Message

from dvdcli.providers.csi import csi_pb2 as pb
from tests.doubles.csi.call import Call, Code, Refusal, Sin

LONGEST, LARGEST_MAP, LONGEST_NODE = 128, 4096, 256  # bytes
LONGEST_CALL = 3600  # seconds
PATHS = ("staging_target_path", "target_path", "volume_path")
BANNED = re.compile("[\0-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")  # in a volume's name
SECRET_KEY = re.compile(r"[A-Za-z0-9._-]+")
SEGMENT = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")
TOPOLOGY_KEY = re.compile(r"([a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?/)?[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")
REQUIRED = {
    "CreateVolume": ("name", "volume_capabilities"),
    "DeleteVolume": ("volume_id",),
    "ControllerPublishVolume": ("volume_id", "node_id", "volume_capability"),
    "ControllerUnpublishVolume": ("volume_id",),
    "ValidateVolumeCapabilities": ("volume_id", "volume_capabilities"),
    "ControllerGetVolume": ("volume_id",),
    "ControllerExpandVolume": ("volume_id", "capacity_range"),
    "NodeStageVolume": ("volume_id", "staging_target_path", "volume_capability"),
    "NodeUnstageVolume": ("volume_id", "staging_target_path"),
    "NodePublishVolume": ("volume_id", "target_path", "volume_capability"),
    "NodeUnpublishVolume": ("volume_id", "target_path"),
    "NodeGetVolumeStats": ("volume_id", "volume_path"),
    "NodeExpandVolume": ("volume_id", "volume_path"),
}


def check(call: Call, request: Message) -> None:
    """Refuse a request that no driver has to understand."""
    if (call.context.time_remaining() or math.inf) > LONGEST_CALL:
        call.fault("a call without a deadline")
    for name in REQUIRED.get(call.rpc, ()):
        if name not in call.args:
            raise Sin(Code.INVALID_ARGUMENT, f"{name} is missing")
    for path, message in _messages(request, ""):
        _check_message(call, path, message)
    for name in PATHS:
        _check_path(call, name, call.args.get(name, ""))
    if BANNED.search(call.args.get("name", "")):
        raise Sin(Code.INVALID_ARGUMENT, f"a name with a control character: {call.args['name']!r}")
    _check_secrets(call, request)


def _messages(message: Message, path: str) -> Iterator[tuple[str, Message]]:
    yield path, message
    for field, value in message.ListFields():
        if field.message_type is None or field.message_type.GetOptions().map_entry:
            continue
        for inner in [value] if isinstance(value, Message) else value:
            yield from _messages(inner, f"{path}{field.name}.")


def _check_message(call: Call, path: str, message: Message) -> None:
    for field, value in message.ListFields():
        where = f"{path}{field.name}"
        if isinstance(value, str):
            most = LONGEST_NODE if field.name == "node_id" else LONGEST
            if field.name not in PATHS and len(value.encode()) > most:
                raise Sin(Code.INVALID_ARGUMENT, f"{where} has {len(value.encode())} bytes, more than {most}")
        elif field.message_type is not None and field.message_type.GetOptions().map_entry:
            _check_map(where, value)
    if isinstance(message, pb.VolumeCapability):
        _check_capability(path, message)
    elif isinstance(message, pb.CapacityRange):
        _check_range(path, message)
    elif isinstance(message, pb.Topology):
        _check_topology(call, path, message)
    elif isinstance(message, pb.TopologyRequirement):
        _check_requirement(call, message)


def _check_map(where: str, value: dict[str, str]) -> None:
    size = sum(len(key.encode()) + len(text.encode()) for key, text in value.items())
    if size > LARGEST_MAP:
        raise Sin(Code.INVALID_ARGUMENT, f"{where} has {size} bytes, more than {LARGEST_MAP}")


def _check_capability(path: str, capability: pb.VolumeCapability) -> None:
    if not capability.WhichOneof("access_type"):
        raise Sin(Code.INVALID_ARGUMENT, f"{path}access_type is missing")
    if capability.access_mode.mode not in pb.VolumeCapability.AccessMode.Mode.values()[1:]:
        raise Sin(Code.INVALID_ARGUMENT, f"{path}access_mode is missing, or unknown")
    flags = sum(len(flag.encode()) for flag in capability.mount.mount_flags)
    if flags > LARGEST_MAP:
        raise Sin(Code.INVALID_ARGUMENT, f"{path}mount.mount_flags have {flags} bytes, more than {LARGEST_MAP}")


def _check_range(path: str, wanted: pb.CapacityRange) -> None:
    least, most = wanted.required_bytes, wanted.limit_bytes
    if least < 0 or most < 0 or not (least or most) or (most and least > most):
        raise Sin(Code.INVALID_ARGUMENT, f"{path[:-1]} is from {least} to {most}")


def _check_topology(call: Call, path: str, topology: pb.Topology) -> None:
    if not call.settings.constrained():
        raise Sin(Code.INVALID_ARGUMENT, f"{path[:-1]} without VOLUME_ACCESSIBILITY_CONSTRAINTS")
    segments = dict(topology.segments)
    right = all(TOPOLOGY_KEY.fullmatch(key) and SEGMENT.fullmatch(value) for key, value in segments.items())
    if not segments or not right or len({key.lower() for key in segments}) < len(segments):
        raise Sin(Code.INVALID_ARGUMENT, f"{path[:-1]} is {segments}")


def _check_requirement(call: Call, wanted: pb.TopologyRequirement) -> None:
    if not call.settings.constrained():
        raise Sin(Code.INVALID_ARGUMENT, "accessibility_requirements without VOLUME_ACCESSIBILITY_CONSTRAINTS")
    if not wanted.requisite and not wanted.preferred:
        raise Sin(Code.INVALID_ARGUMENT, "accessibility_requirements are empty")
    if wanted.requisite and any(one not in wanted.requisite for one in wanted.preferred):
        raise Sin(Code.INVALID_ARGUMENT, "a preferred topology that is not among the requisite ones")


def _check_path(call: Call, name: str, path: str) -> None:
    if path and (not path.startswith("/") or os.path.normpath(path) != path or path.startswith("//") or path == "/"):
        raise Sin(Code.INVALID_ARGUMENT, f"{name} is {path}")
    if len(os.fsencode(path)) > call.settings.longest_path:
        raise Refusal(Code.INVALID_ARGUMENT, f"{name} has more than {call.settings.longest_path} bytes")


def _check_secrets(call: Call, request: Message) -> None:
    given: dict[str, str] = call.args.get("secrets", {})
    wanted = call.settings.secrets
    for key in given:
        if not SECRET_KEY.fullmatch(key):
            raise Sin(Code.INVALID_ARGUMENT, f"the secret {key!r} has a character that none may have")
        if not any(key in secrets for secrets in wanted.values()):
            raise Refusal(Code.INVALID_ARGUMENT, f"the secret {key} is not known here")
    rest = {key: value for key, value in call.args.items() if key != "secrets"}
    for secrets in wanted.values():
        if any(value in str(rest) for value in secrets.values()):
            raise Sin(Code.INVALID_ARGUMENT, "a secret stands where none may")
    needed = wanted.get(call.rpc, {})
    if needed and "secrets" not in call.args:
        raise Refusal(Code.UNAUTHENTICATED, f"secrets are required: {', '.join(sorted(needed))}")
    if any(given.get(key) != value for key, value in needed.items()):
        raise Refusal(Code.UNAUTHENTICATED, "the secrets are not right")
