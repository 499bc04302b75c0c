"""What a volume and a driver allow: capabilities, contexts, sizes, topologies."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from dvdcli.providers.csi import csi_pb2 as pb
from tests.doubles.csi.books import Args, Volume
from tests.doubles.csi.call import Call, Code, Refusal, Sin
from tests.doubles.csi.settings import Settings

Segments = dict[str, str]
MULTI = "MULTI_NODE_"
READERS = ("SINGLE_NODE_READER_ONLY", "MULTI_NODE_READER_ONLY")


def mode(capability: Args) -> str:
    return str(capability["access_mode"]["mode"])


def misfit(settings: Settings, capability: Args) -> str:
    """Return why no volume here can have *capability*, or nothing."""
    if mode(capability) not in settings.modes:
        return f"no volume here has {mode(capability)}"
    if "block" in capability:
        return "" if settings.block else "no volume here is a block device"
    if not settings.fs_types:
        return "no volume here has a file system"
    mount = capability["mount"]
    if mount.get("fs_type") and mount["fs_type"] not in settings.fs_types:
        return f"no volume here has {mount['fs_type']}"
    if mount.get("volume_mount_group") and "VOLUME_MOUNT_GROUP" not in settings.node:
        return "no volume here belongs to a group"
    return ""


def check_capability(call: Call, volume: Volume, code: Code = Code.INVALID_ARGUMENT) -> Args:
    """Return the capability that the call asks for; refuse, with *code*, one that the volume was not made for."""
    wanted: Args = call.args["volume_capability"]
    why = misfit(call.settings, wanted)
    if why:
        raise Refusal(code, why)
    if volume.capabilities and not any(_serves(made, wanted) for made in volume.capabilities):
        raise Refusal(code, f"{volume.id} was not made for {mode(wanted)}, or for that access")
    return wanted


def _serves(made: Args, wanted: Args) -> bool:
    if mode(made) != mode(wanted) or ("block" in made) != ("block" in wanted):
        return False
    types = [capability.get("mount", {}).get("fs_type", "") for capability in (made, wanted)]
    return types[0] == types[1] or "" in types


def check_context(call: Call, volume: Volume) -> None:
    """Refuse a volume_context that is not the one that was handed out."""
    given = call.args.get("volume_context", {})
    if given != volume.context:
        raise Sin(Code.INVALID_ARGUMENT, f"volume_context is {given}, not {volume.context}")


def check_publish_context(call: Call, volume: Volume) -> None:
    """Refuse a call on a node to which the controller has not published, or that has not what it answered."""
    given = call.args.get("publish_context", {})
    if not call.settings.publishes():
        if given:
            raise Sin(Code.INVALID_ARGUMENT, "publish_context without PUBLISH_UNPUBLISH_VOLUME")
        return
    published = volume.published.get(call.node_id)
    if published is None:
        raise Sin(Code.FAILED_PRECONDITION, f"{volume.id} has not been published to {call.node_id}")
    if given != published["context"]:
        raise Sin(Code.INVALID_ARGUMENT, f"publish_context is {given}, not {published['context']}")


def same(first: Args, second: Args) -> bool:
    """Return whether two calls ask the same: what is not said is what it is by default, secrets do not count."""
    return _plain(first) == _plain(second)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        kept = {key: _plain(inner) for key, inner in value.items() if key != "secrets"}
        return {key: inner for key, inner in kept.items() if inner not in ("", False, [], {}) or key in ("mount",)}
    return [_plain(inner) for inner in value] if isinstance(value, list) else value


def size(call: Call, wanted: pb.CapacityRange) -> int:
    """Return the bytes of a volume that is to have *wanted*."""
    settings = call.settings
    least = wanted.required_bytes or min(settings.default, wanted.limit_bytes or settings.default)
    least = max(least, settings.smallest)
    rounded = -(-least // settings.step) * settings.step
    if rounded > settings.largest or (wanted.limit_bytes and rounded > wanted.limit_bytes):
        raise Refusal(Code.OUT_OF_RANGE, f"from {wanted.required_bytes} to {wanted.limit_bytes} bytes cannot be had")
    return rounded


def fits(bytes_there: int, wanted: pb.CapacityRange) -> bool:
    most = wanted.limit_bytes or bytes_there
    return wanted.required_bytes <= bytes_there <= most


def choose_topology(call: Call, wanted: pb.TopologyRequirement) -> list[Segments]:
    """Return where a new volume is to be."""
    zones = [dict(zone) for zone in call.settings.zones]
    if not call.settings.constrained():
        return []
    asked = [dict(one.segments) for one in wanted.preferred] + [dict(one.segments) for one in wanted.requisite]
    for one in asked or zones:
        if one in zones:
            return [one]
    raise Refusal(Code.RESOURCE_EXHAUSTED, f"there is no storage in {asked}")


def reaches(topology: Iterable[Segments], place: Segments) -> bool:
    """Return whether a volume of that *topology* can be used at *place*."""
    every = list(topology)
    return not every or any(all(place.get(key) == value for key, value in one.items()) for one in every)


def satisfies(topology: list[Segments], wanted: pb.TopologyRequirement) -> bool:
    return not wanted.requisite or any(dict(one.segments) in topology for one in wanted.requisite)
