"""The Controller service: volumes, and which node has them."""

from __future__ import annotations

import secrets
from pathlib import Path

from google.protobuf.json_format import ParseDict
from google.protobuf.wrappers_pb2 import Int64Value

from dvdcli.providers.csi import csi_pb2 as pb
from tests.doubles.csi import compatible, disks
from tests.doubles.csi.books import Args, Book, NodeBook, Volume
from tests.doubles.csi.call import Call, Code, Refusal, Sin, node_id
from tests.doubles.loops import copy


def create(call: Call, request: pb.CreateVolumeRequest) -> pb.CreateVolumeResponse:
    parameters = dict(request.parameters)
    unknown = sorted(set(parameters) - set(call.settings.parameters))
    if unknown:
        raise Refusal(Code.INVALID_ARGUMENT, f"parameters that are not known here: {', '.join(unknown)}")
    wanted: list[Args] = call.args["volume_capabilities"]
    for capability in wanted:
        why = compatible.misfit(call.settings, capability)
        if why:
            raise Refusal(Code.INVALID_ARGUMENT, why)
    with call.books.change() as book:
        volume = book.named(request.name)
        if volume is None:
            size = compatible.size(call, request.capacity_range)
            topology = compatible.choose_topology(call, request.accessibility_requirements)
            taken = sum(each.size for each in book.volumes.values())
            if taken + size > call.settings.pool:
                raise Refusal(Code.RESOURCE_EXHAUSTED, "the pool is full")
            volume = make(call.books.root, book, request.name, size, call.settings.contexts)
            volume.parameters, volume.capabilities, volume.topology = parameters, wanted, topology
        elif not _is_as_asked(volume, request, wanted):
            raise Refusal(Code.ALREADY_EXISTS, f"the volume {request.name} is there, and is another")
    call.at("made")
    return pb.CreateVolumeResponse(volume=describe(volume))


def _is_as_asked(volume: Volume, request: pb.CreateVolumeRequest, wanted: list[Args]) -> bool:
    made = volume.capabilities  # else it was there before, and was not asked for in any way
    if made and (dict(request.parameters) != volume.parameters or not compatible.same({"": wanted}, {"": made})):
        return False
    fits = compatible.fits(volume.size, request.capacity_range)
    return fits and compatible.satisfies(volume.topology, request.accessibility_requirements)


def make(root: Path, book: Book, name: str, size: int, contexts: bool) -> Volume:
    """Put a new blank volume into the book."""
    book.count += 1
    id = f"vol-{secrets.token_hex(4)}-{book.count}"
    context = {"lun": str(book.count), "storage.example.com/größe": f"{size} bytes"} if contexts else {}
    volume = Volume(id, name, size, f"{id}.img", context)
    with (root / "images" / volume.image).open("wb") as file:
        file.truncate(size)
    book.volumes[id] = volume
    return volume


def describe(volume: Volume) -> pb.Volume:
    topology = [pb.Topology(segments=segments) for segments in volume.topology]
    return pb.Volume(
        capacity_bytes=volume.size, volume_id=volume.id, volume_context=volume.context, accessible_topology=topology
    )


def delete(call: Call, request: pb.DeleteVolumeRequest) -> pb.DeleteVolumeResponse:
    volume = call.books.read().volumes.get(request.volume_id)
    if volume is None:
        return pb.DeleteVolumeResponse()
    if volume.published or used_by(call, volume):
        raise Sin(Code.FAILED_PRECONDITION, f"{volume.id} is in use by {[*volume.published] or used_by(call, volume)}")
    image = call.books.image(volume)
    if disks.in_use(image, call.settings.patience):
        raise Sin(Code.FAILED_PRECONDITION, f"{volume.id} is in use by somebody in a mount namespace of its own")
    with call.books.change() as book:
        del book.volumes[volume.id]
    call.at("forgotten")
    image.unlink(missing_ok=True)
    return pb.DeleteVolumeResponse()


def used_by(call: Call, volume: Volume) -> list[str]:
    """Return the ids of the nodes that have the volume staged or published."""

    def has(book: NodeBook) -> bool:
        return volume.id in book.staged or bool(book.published.get(volume.id))

    return [node_id(node) for node in call.books.nodes() if has(call.books.read_node(node))]


def publish(call: Call, request: pb.ControllerPublishVolumeRequest) -> pb.ControllerPublishVolumeResponse:
    if request.readonly and "PUBLISH_READONLY" not in call.settings.controller:
        raise Sin(Code.INVALID_ARGUMENT, "readonly without PUBLISH_READONLY")
    with call.books.change() as book:
        volume = find(book, request.volume_id)
        places = {node_id(node): call.settings.places.get(node, {}) for node in call.books.nodes()}
        if request.node_id not in places:
            raise Refusal(Code.NOT_FOUND, f"there is no node {request.node_id}")
        if not compatible.reaches(volume.topology, places[request.node_id]):
            raise Refusal(Code.INVALID_ARGUMENT, f"{volume.id} is in {volume.topology}, {request.node_id} is not")
        compatible.check_context(call, volume)
        wanted = compatible.check_capability(call, volume)
        asked = {"capability": wanted, "readonly": request.readonly}
        published = volume.published.get(request.node_id)
        if published is None:
            _check_others(call, book, volume, request.node_id, asked)
            context = {"device": secrets.token_hex(6), "über": volume.name} if call.settings.contexts else {}
            published = volume.published[request.node_id] = {**asked, "context": context}
        elif not compatible.same(asked, {key: published[key] for key in asked}):
            raise Refusal(Code.ALREADY_EXISTS, f"{volume.id} is published to {request.node_id} in another way")
    call.at("published")
    return pb.ControllerPublishVolumeResponse(publish_context=published["context"])


def find(book: Book, id: str) -> Volume:
    if id not in book.volumes:
        raise Refusal(Code.NOT_FOUND, f"there is no volume {id}")
    return book.volumes[id]


def _check_others(call: Call, book: Book, volume: Volume, node: str, asked: Args) -> None:
    """Refuse a second node where there may be one, and one volume more than a node can have."""
    everyone = [asked, *volume.published.values()]
    modes = {compatible.mode(each["capability"]) for each in everyone}
    if volume.published:
        writers = [each for each in everyone if not each["readonly"]]
        alone = not all(mode.startswith(compatible.MULTI) for mode in modes)
        if alone or ("MULTI_NODE_SINGLE_WRITER" in modes and len(writers) > 1):
            others = ", ".join(volume.published)
            raise Refusal(Code.FAILED_PRECONDITION, f"{volume.id} is published to the node {others}")
    most = call.settings.most_volumes
    if most and sum(node in each.published for each in book.volumes.values()) >= most:
        raise Refusal(Code.RESOURCE_EXHAUSTED, f"{node} has {most} volumes, and can have no more")


def unpublish(call: Call, request: pb.ControllerUnpublishVolumeRequest) -> pb.ControllerUnpublishVolumeResponse:
    volume = call.books.read().volumes.get(request.volume_id)
    if not request.node_id:
        call.fault("from whichever nodes have the volume")
    if volume is None:
        return pb.ControllerUnpublishVolumeResponse()
    nodes = [node for node in volume.published if request.node_id in ("", node)]
    users = sorted({*used_by(call, volume)} & set(nodes))
    image = call.books.image(volume)
    shared = len(volume.published) > len(nodes)
    if users or (nodes and not shared and disks.in_use(image, call.settings.patience)):
        _take_away(call, volume, f"{volume.id} is in use by {', '.join(users) or 'somebody in a mount namespace'}")
    with call.books.change() as book:
        for node in nodes:
            book.volumes[volume.id].published.pop(node, None)
    call.at("unpublished")
    return pb.ControllerUnpublishVolumeResponse()


def _take_away(call: Call, volume: Volume, why: str) -> None:
    """Refuse to, unless the test has said that it will happen: then what is still mounted writes to no effect."""
    permit = call.root / "permits" / volume.name
    if not permit.exists():
        raise Sin(Code.FAILED_PRECONDITION, why)
    permit.unlink()
    image = call.books.image(volume)
    with call.books.change() as book:
        book.volumes[volume.id].copies += 1
        left = image.with_name(f"{image.name}.orphan-{volume.copies + 1}")
        image.rename(left)
        copy(left, image)


def validate(call: Call, request: pb.ValidateVolumeCapabilitiesRequest) -> pb.ValidateVolumeCapabilitiesResponse:
    if call.rpc not in call.settings.echoes:
        volume = find(call.books.read(), request.volume_id)
    if call.rpc not in call.settings.echoes and request.volume_context:
        compatible.check_context(call, volume)
    for capability in call.args["volume_capabilities"]:
        why = compatible.misfit(call.settings, capability)
        if why:
            return pb.ValidateVolumeCapabilitiesResponse(message=why)
    confirmed = pb.ValidateVolumeCapabilitiesResponse.Confirmed(
        volume_context=request.volume_context, volume_capabilities=request.volume_capabilities,
        parameters=request.parameters,
    )  # fmt: skip
    return pb.ValidateVolumeCapabilitiesResponse(confirmed=confirmed)


def list_volumes(call: Call, request: pb.ListVolumesRequest) -> pb.ListVolumesResponse:
    if request.max_entries < 0:
        raise Sin(Code.INVALID_ARGUMENT, f"max_entries is {request.max_entries}")
    if call.settings.most and request.max_entries > call.settings.most:
        raise Refusal(Code.INVALID_ARGUMENT, f"max_entries is more than {call.settings.most}")
    every = list(call.books.read().volumes.values())
    first = 0
    if request.starting_token:
        kind, _, number = request.starting_token.partition("/")
        if kind != f"page of {len(every)}" or not number.isdigit() or int(number) >= len(every):
            raise Refusal(Code.ABORTED, f"starting_token {request.starting_token} is not valid: start again")
        first = int(number)
    limits = [limit for limit in (request.max_entries, call.settings.page) if limit]
    last = min([first + limit for limit in limits] + [len(every)])
    token = f"page of {len(every)}/{last}" if last < len(every) else ""
    entries = []
    for volume in every[first:last]:
        status = pb.ListVolumesResponse.VolumeStatus(published_node_ids=_shown(call, volume))
        entries.append(pb.ListVolumesResponse.Entry(volume=describe(volume), status=status))
    return pb.ListVolumesResponse(entries=entries, next_token=token)


def get(call: Call, request: pb.ControllerGetVolumeRequest) -> pb.ControllerGetVolumeResponse:
    book = call.books.read()
    if request.volume_id not in book.volumes and call.rpc in call.settings.echoes:
        told = pb.ControllerGetVolumeResponse(volume=pb.Volume(volume_id=request.volume_id))
        told.status.volume_condition.abnormal = True
        told.status.volume_condition.message = "the volume was not found"
        return told
    volume = find(book, request.volume_id)
    status = pb.ControllerGetVolumeResponse.VolumeStatus(published_node_ids=_shown(call, volume))
    return pb.ControllerGetVolumeResponse(volume=describe(volume), status=status)


def _shown(call: Call, volume: Volume) -> list[str]:
    shows = "LIST_VOLUMES_PUBLISHED_NODES" in call.settings.controller
    return [*volume.published] if shows else ["what is here means nothing"]


def capacity(call: Call, request: pb.GetCapacityRequest) -> pb.GetCapacityResponse:
    settings = call.settings
    left = settings.pool - sum(volume.size for volume in call.books.read().volumes.values())
    wanted = call.args.get("volume_capabilities", [])
    zone = dict(request.accessible_topology.segments)
    if any(compatible.misfit(settings, each) for each in wanted) or (zone and zone not in map(dict, settings.zones)):
        left = 0
    return pb.GetCapacityResponse(
        available_capacity=left, maximum_volume_size=Int64Value(value=settings.largest),
        minimum_volume_size=Int64Value(value=settings.smallest),
    )  # fmt: skip


def capabilities(call: Call, request: pb.ControllerGetCapabilitiesRequest) -> pb.ControllerGetCapabilitiesResponse:
    found = [{"rpc": {"type": name}} for name in call.settings.controller]
    return ParseDict({"capabilities": found}, pb.ControllerGetCapabilitiesResponse())


def expand(call: Call, request: pb.ControllerExpandVolumeRequest) -> pb.ControllerExpandVolumeResponse:
    if not call.settings.expansion:
        raise Sin(Code.UNIMPLEMENTED, "volumes here do not grow")
    with call.books.change() as book:
        volume = find(book, request.volume_id)
        if request.HasField("volume_capability"):
            compatible.check_capability(call, volume)
        if request.capacity_range.required_bytes > volume.size:
            if call.settings.expansion == "OFFLINE" and (volume.published or used_by(call, volume)):
                raise Sin(Code.FAILED_PRECONDITION, f"{volume.id} is published, and grows only while it is not")
            volume.size = compatible.size(call, request.capacity_range)
            with call.books.image(volume).open("r+b") as file:
                file.truncate(volume.size)
    call.at("expanded")
    needed = "EXPAND_VOLUME" in call.settings.node and "block" not in call.args.get("volume_capability", {})
    return pb.ControllerExpandVolumeResponse(capacity_bytes=volume.size, node_expansion_required=needed)


RPCS = {
    "CreateVolume": create, "DeleteVolume": delete, "ControllerPublishVolume": publish,
    "ControllerUnpublishVolume": unpublish, "ValidateVolumeCapabilities": validate, "ListVolumes": list_volumes,
    "ControllerGetVolume": get, "GetCapacity": capacity, "ControllerGetCapabilities": capabilities,
    "ControllerExpandVolume": expand,
}  # fmt: skip
NEEDS = {
    "CreateVolume": "CREATE_DELETE_VOLUME", "DeleteVolume": "CREATE_DELETE_VOLUME",
    "ControllerPublishVolume": "PUBLISH_UNPUBLISH_VOLUME", "ControllerUnpublishVolume": "PUBLISH_UNPUBLISH_VOLUME",
    "ListVolumes": "LIST_VOLUMES", "ControllerGetVolume": "GET_VOLUME", "GetCapacity": "GET_CAPACITY",
    "ControllerExpandVolume": "EXPAND_VOLUME",
}  # fmt: skip
