"""The Node service: what is staged and published on this machine."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from pathlib import Path

from google.protobuf.json_format import ParseDict

from dvdcli.providers.csi import csi_pb2 as pb
from tests.doubles.csi import compatible, controller, disks
from tests.doubles.csi.books import Args, NodeBook, Volume
from tests.doubles.csi.call import Call, Code, Refusal, Sin, node_id


def stage(call: Call, request: pb.NodeStageVolumeRequest) -> pb.NodeStageVolumeResponse:
    volume = _volume(call)
    compatible.check_publish_context(call, volume)
    wanted = compatible.check_capability(call, volume, Code.FAILED_PRECONDITION)
    place, book = request.staging_target_path, call.books.read_node(call.node)
    _check_directory("staging_target_path", Path(place))
    _check_apart(book, volume.id, place)
    staged = book.staged.get(volume.id)
    if staged and staged["staging_target_path"] != place:
        raise Sin(Code.FAILED_PRECONDITION, f"{volume.id} is staged at {staged['staging_target_path']}")
    if staged and not compatible.same(staged, call.args):
        raise Refusal(Code.ALREADY_EXISTS, f"{volume.id} is staged there in another way")
    if "block" in wanted:
        _attach(call, volume)
    elif not disks.is_mounted(place):
        if os.listdir(place):
            raise Sin(Code.INVALID_ARGUMENT, f"{place} is not empty")
        readonly = compatible.mode(wanted) in compatible.READERS and not call.settings.deaf
        disks.mount_volume(call, volume, wanted["mount"], place, readonly)
    with call.books.change_node(call.node) as book:
        book.staged[volume.id] = _without_secrets(call.args)
    call.at("staged")
    return pb.NodeStageVolumeResponse()


def unstage(call: Call, request: pb.NodeUnstageVolumeRequest) -> pb.NodeUnstageVolumeResponse:
    id, place, book = request.volume_id, request.staging_target_path, call.books.read_node(call.node)
    if call.settings.forgets and id not in book.staged:
        return pb.NodeUnstageVolumeResponse()
    targets = [target for target in book.published.get(id, {}) if os.path.lexists(target)]
    if targets:
        raise Sin(Code.FAILED_PRECONDITION, f"{id} is still published at {targets}")
    if id not in call.books.read().volumes and id not in book.staged:
        raise Refusal(Code.NOT_FOUND, f"there is no volume {id}")
    if id in book.staged and book.staged[id]["staging_target_path"] != place:
        call.fault(f"unstaged from {place}, where it is not staged")
        return pb.NodeUnstageVolumeResponse()
    disks.unmount(place)
    call.at("unmounted")
    _detach(call, id)
    with call.books.change_node(call.node) as book:
        book.staged.pop(id, None)
    call.at("unstaged")
    return pb.NodeUnstageVolumeResponse()


def publish(call: Call, request: pb.NodePublishVolumeRequest) -> pb.NodePublishVolumeResponse:
    volume = _volume(call)
    compatible.check_publish_context(call, volume)
    wanted = compatible.check_capability(call, volume, Code.FAILED_PRECONDITION)
    book = call.books.read_node(call.node)
    _check_stage(call, book, volume, request.staging_target_path)
    _check_directory("the parent of target_path", Path(request.target_path).parent)
    _check_second(call, book, volume, wanted)
    _check_other_nodes(call, volume, wanted)
    _make_target(call, Path(request.target_path), "block" in wanted)
    call.at("target made")
    with call.books.change_node(call.node) as book:
        book.published.setdefault(volume.id, {})[request.target_path] = _without_secrets(call.args)
    _mount_target(call, volume, wanted, request)
    call.at("published")
    return pb.NodePublishVolumeResponse()


def _mount_target(call: Call, volume: Volume, wanted: Args, request: pb.NodePublishVolumeRequest) -> None:
    target, readonly = request.target_path, request.readonly or compatible.mode(wanted) in compatible.READERS
    readonly = readonly and not call.settings.deaf
    there = disks.is_mounted(target)
    if "block" in wanted:
        if not there:
            disks.run("mount", "--bind", _attach(call, volume), target)
    elif not call.settings.stages():
        if not there:
            disks.mount_volume(call, volume, wanted["mount"], target, readonly)
    else:
        if not there:
            disks.bind(Path(request.staging_target_path), target)
        call.at("bound")
        if readonly:
            disks.run("mount", "-o", "remount,bind,ro", target)


def unpublish(call: Call, request: pb.NodeUnpublishVolumeRequest) -> pb.NodeUnpublishVolumeResponse:
    id, target, book = request.volume_id, request.target_path, call.books.read_node(call.node)
    if call.settings.forgets and target not in book.published.get(id, {}):
        return pb.NodeUnpublishVolumeResponse()
    if id not in call.books.read().volumes and id not in book.published:
        raise Refusal(Code.NOT_FOUND, f"there is no volume {id}")
    owner = next((each for each, targets in book.published.items() if target in targets), id)
    if owner != id:
        raise Sin(Code.INVALID_ARGUMENT, f"{target} is where {owner} is published")
    disks.unmount(target, 1 if call.settings.reckless else 0)
    call.at("unmounted")
    if call.settings.reckless:
        shutil.rmtree(target, ignore_errors=True)
        if os.path.lexists(target):
            raise Refusal(Code.INTERNAL, f"remove {target}: device or resource busy")
    if target in book.made and os.path.lexists(target):
        (os.rmdir if stat.S_ISDIR(os.lstat(target).st_mode) else os.unlink)(target)
    call.at("target removed")
    if not call.settings.stages():
        _detach(call, id)
    with call.books.change_node(call.node) as book:
        book.published.get(id, {}).pop(target, None)
        if not book.published.get(id):
            book.published.pop(id, None)
        book.made = [each for each in book.made if each != target]
    call.at("unpublished")
    return pb.NodeUnpublishVolumeResponse()


def stats(call: Call, request: pb.NodeGetVolumeStatsRequest) -> pb.NodeGetVolumeStatsResponse:
    volume, book = _volume(call, contexts=False), call.books.read_node(call.node)
    places = [*book.published.get(volume.id, {}), book.staged.get(volume.id, {}).get("staging_target_path")]
    if request.volume_path not in places or not disks.is_mounted(request.volume_path):
        raise Refusal(Code.NOT_FOUND, f"{volume.id} is not at {request.volume_path}")
    told = pb.NodeGetVolumeStatsResponse()
    if os.path.isdir(request.volume_path):
        room, units = os.statvfs(request.volume_path), pb.VolumeUsage
        size = room.f_frsize
        told.usage.add(available=room.f_bavail * size, total=room.f_blocks * size,
                       used=(room.f_blocks - room.f_bfree) * size, unit=units.BYTES)  # fmt: skip
        told.usage.add(available=room.f_favail, total=room.f_files, used=room.f_files - room.f_ffree, unit=units.INODES)
    else:
        told.usage.add(total=volume.size, unit=pb.VolumeUsage.BYTES)
    if "VOLUME_CONDITION" in call.settings.node:
        lost = call.settings.publishes() and call.node_id not in volume.published
        told.volume_condition.abnormal = lost
        told.volume_condition.message = "the volume was taken away" if lost else "all is well"
    return told


def expand(call: Call, request: pb.NodeExpandVolumeRequest) -> pb.NodeExpandVolumeResponse:
    volume, book = _volume(call, contexts=False), call.books.read_node(call.node)
    places = [*book.published.get(volume.id, {}), book.staged.get(volume.id, {}).get("staging_target_path")]
    if request.volume_path not in places:
        raise Sin(Code.NOT_FOUND, f"{volume.id} is not at {request.volume_path}")
    if request.capacity_range.required_bytes > volume.size:
        raise Sin(Code.OUT_OF_RANGE, f"{volume.id} has {volume.size} bytes: the controller was not asked before")
    if os.path.isdir(request.volume_path):
        disks.grow(call.books.image(volume), request.volume_path)
    return pb.NodeExpandVolumeResponse(capacity_bytes=volume.size)


def capabilities(call: Call, request: pb.NodeGetCapabilitiesRequest) -> pb.NodeGetCapabilitiesResponse:
    found = [{"rpc": {"type": name}} for name in call.settings.node]
    return ParseDict({"capabilities": found}, pb.NodeGetCapabilitiesResponse())


def info(call: Call, request: pb.NodeGetInfoRequest) -> pb.NodeGetInfoResponse:
    told = pb.NodeGetInfoResponse(node_id=call.node_id, max_volumes_per_node=call.settings.most_volumes)
    if call.settings.constrained():
        told.accessible_topology.segments.update(call.settings.places.get(call.node, {}))
    return told


# What a call must find


def _volume(call: Call, contexts: bool = True) -> Volume:
    volume = controller.find(call.books.read(), call.args["volume_id"])
    if contexts:
        compatible.check_context(call, volume)
    place = call.settings.places.get(call.node, {})
    if not compatible.reaches(volume.topology, place):
        raise Refusal(Code.INVALID_ARGUMENT, f"{volume.id} is in {volume.topology}, this node in {place}")
    return volume


def _check_stage(call: Call, book: NodeBook, volume: Volume, place: str) -> None:
    if not call.settings.stages():
        if place:
            raise Sin(Code.INVALID_ARGUMENT, "staging_target_path without STAGE_UNSTAGE_VOLUME")
        return
    staged = book.staged.get(volume.id)
    if not place:
        raise Sin(Code.FAILED_PRECONDITION, "staging_target_path is missing")
    if staged is None or staged["staging_target_path"] != place:
        raise Sin(Code.FAILED_PRECONDITION, f"{volume.id} is not staged at {place}")
    if not compatible.same(staged["volume_capability"], call.args["volume_capability"]):
        raise Refusal(Code.FAILED_PRECONDITION, f"{volume.id} is staged for another use")
    if "mount" in staged["volume_capability"] and not disks.is_mounted(place):
        raise Refusal(Code.FAILED_PRECONDITION, f"{volume.id} is not staged at {place} any more")


def _check_directory(what: str, path: Path) -> None:
    if path.is_symlink() or not path.is_dir():
        raise Sin(Code.INVALID_ARGUMENT, f"{what} is no directory: {path}")


def _check_apart(book: NodeBook, id: str, place: str) -> None:
    others = [args["staging_target_path"] for other, args in book.staged.items() if other != id]
    others += [target for targets in book.published.values() for target in targets]
    for other in others:
        if os.path.commonpath([other, place]) in (other, place):
            raise Sin(Code.INVALID_ARGUMENT, f"{place} and {other} lie within each other")


def _check_second(call: Call, book: NodeBook, volume: Volume, wanted: Args) -> None:
    target, published = call.args["target_path"], book.published.get(volume.id, {})
    if target in published:
        if not compatible.same(published[target], call.args):
            raise Refusal(Code.ALREADY_EXISTS, f"{volume.id} is published at {target} in another way")
        return
    mode = compatible.mode(wanted)
    if published and not mode.startswith(compatible.MULTI) and mode != "SINGLE_NODE_MULTI_WRITER":
        raise Refusal(Code.FAILED_PRECONDITION, f"{volume.id} is published at {[*published]}, and only there")
    for other in [target for targets in book.published.values() for target in targets]:
        if os.path.commonpath([other, target]) in (other, target):
            raise Sin(Code.INVALID_ARGUMENT, f"{target} and {other} lie within each other")
    staging = call.args.get("staging_target_path")
    if staging and os.path.commonpath([staging, target]) in (staging, target):
        raise Sin(Code.INVALID_ARGUMENT, f"{target} and {staging} lie within each other")


def _check_other_nodes(call: Call, volume: Volume, wanted: Args) -> None:
    """Where no controller knows who has a volume, its nodes do."""
    if call.settings.publishes() or compatible.mode(wanted).startswith(compatible.MULTI):
        return
    for node in call.books.nodes():
        if node != call.node and call.books.read_node(node).published.get(volume.id):
            raise Refusal(Code.FAILED_PRECONDITION, f"{volume.id} is published on the node {node_id(node)}")


def _make_target(call: Call, target: Path, block: bool) -> None:
    with call.books.change_node(call.node) as book:
        if str(target) not in book.made:
            if os.path.lexists(target):
                call.fault(f"{target} is there: to make it is the driver's part")
            book.made.append(str(target))
    if block and not target.exists():
        target.touch()
    elif not block:
        target.mkdir(exist_ok=True)


def _without_secrets(args: Args) -> Args:
    return {key: value for key, value in args.items() if key != "secrets"}


# Block devices


def _attach(call: Call, volume: Volume) -> str:
    """Return the device of a volume that is used as one, which outlives this process."""
    image = call.books.image(volume)
    there = disks.devices(image)
    if not there:
        disks.run("losetup", "--find", image)
        there = disks.devices(image)
    with call.books.change_node(call.node) as book:
        book.loops[volume.id] = there[0]
    return there[0]


def _detach(call: Call, id: str) -> None:
    with call.books.change_node(call.node) as book:
        device = book.loops.pop(id, "")
    if device:
        subprocess.run(["losetup", "--detach", device], capture_output=True, check=False)


RPCS = {
    "NodeStageVolume": stage, "NodeUnstageVolume": unstage, "NodePublishVolume": publish,
    "NodeUnpublishVolume": unpublish, "NodeGetVolumeStats": stats, "NodeExpandVolume": expand,
    "NodeGetCapabilities": capabilities, "NodeGetInfo": info,
}  # fmt: skip
NEEDS = {
    "NodeStageVolume": "STAGE_UNSTAGE_VOLUME", "NodeUnstageVolume": "STAGE_UNSTAGE_VOLUME",
    "NodeGetVolumeStats": "GET_VOLUME_STATS", "NodeExpandVolume": "EXPAND_VOLUME",
}  # fmt: skip
