"""The calls that change something: create, map, unmap, grow, snapshot, remove."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.doubles.loops import copy
from tests.doubles.scaleio.errors import Error, Violation
from tests.doubles.scaleio.model import KIB_PER_GIB, Mapping, Pool, System, Volume, new_id
from tests.doubles.scaleio.queries import LONGEST_NAME, check_id, find_volume

if TYPE_CHECKING:
    from tests.doubles.scaleio.api import Gateway
    from tests.doubles.scaleio.host import Host


def create(gateway: Gateway, body: dict[str, str]) -> Any:
    pool = next((pool for pool in gateway.pools if pool.id == body["storagePoolId"]), None)
    if pool is None:
        raise Error("no object", "Could not find the Storage Pool")
    if body.get("protectionDomainId", pool.domain.id) != pool.domain.id:
        raise Error("no object", "The Storage Pool is not in the Protection Domain")
    _check_name(gateway, body["name"], pool.domain.system)
    size, rest = divmod(int(body["volumeSizeInKb"]), KIB_PER_GIB)
    if rest:
        raise _granularity(gateway)
    _check_size(gateway, size)
    _take(pool, size)
    return {"id": gateway.make(body["name"], size, pool, body["volumeType"]).id}


def remove(gateway: Gateway, id: str, body: dict[str, str]) -> Any:
    volume = find_volume(gateway, id)
    if volume.mappings:
        raise Error("mapped", "The volume is mapped to SDC. Unmap it before it is removed.")
    del gateway.volumes[volume.id]
    for other in gateway.volumes.values():
        if other.ancestor is volume:
            other.ancestor = volume.ancestor
    if volume.type != "Snapshot":
        volume.pool.free_gib += volume.size_gib
    volume.image.unlink(missing_ok=True)
    return None


def set_size(gateway: Gateway, id: str, body: dict[str, str]) -> Any:
    volume, size = find_volume(gateway, id), int(body["sizeInGB"])
    _check_size(gateway, size)
    if size <= volume.size_gib:
        raise Error("only larger", "Volume capacity can only be increased")
    _take(volume.pool, size - volume.size_gib)
    volume.size_gib = size
    gateway.resize(volume)
    return None


def add_mapped_sdc(gateway: Gateway, id: str, body: dict[str, str]) -> Any:
    volume = find_volume(gateway, id)
    host, sdc = _find_host(gateway, volume, body)
    if volume.mapped_to(sdc):
        raise Error("already mapped", "The volume is already mapped to this SDC")
    if volume.mappings and body.get("allowMultipleMappings", "FALSE") != "TRUE":
        raise Error("another sdc", "Only a single SDC may be mapped to this volume at a time")
    mapping = Mapping(volume, host, sdc, host.devices)
    volume.mappings.append(mapping)
    host.appear(mapping)
    return None


def remove_mapped_sdc(gateway: Gateway, id: str, body: dict[str, str]) -> Any:
    volume = find_volume(gateway, id)
    host, sdc = _find_host(gateway, volume, body)
    mapping = volume.mapped_to(sdc)
    if mapping is None:
        raise Error("not mapped", "The volume is not mapped to SDC")
    if mapping.in_use() and host.connected:
        gateway.faults.append(f"{volume.name} unmapped from {host.name} while in use")
    volume.mappings.remove(mapping)
    host.vanish(mapping)
    return None


def snapshot(gateway: Gateway, system: str, body: dict[str, Any]) -> Any:
    check_id(system)
    if system not in gateway.systems:
        raise Error("no object", "Could not find the System", gateway.not_found_status)
    wanted = [(find_volume(gateway, one["volumeId"]), one["snapshotName"]) for one in body["snapshotDefs"]]
    for volume, name in wanted:
        if volume.system.id != system:
            raise Error("not found", "Could not find the volume")
        _check_name(gateway, name, volume.system)
    group, ids = new_id(), []
    for volume, name in wanted:
        made = gateway.make(name, volume.size_gib, volume.pool, "Snapshot", volume.image.stat().st_size)
        copy(volume.image, made.image)
        made.ancestor, made.vtree, made.group = volume, volume.vtree, group
        ids.append(made.id)
    return {"volumeIdList": ids, "snapshotGroupId": group}


def _find_host(gateway: Gateway, volume: Volume, body: dict[str, str]) -> tuple[Host, str]:
    if ("guid" in body) == ("sdcId" in body):
        raise Violation(f"either guid or sdcId, not {body}")
    for host in gateway.hosts:
        sdc = host.sdcs.get(volume.system.id)
        if sdc and (body.get("sdcId") == sdc or body.get("guid", "").upper() == host.guid.upper()):
            return host, sdc
    raise Error("no sdc", "Could not find the SDC")


def _check_name(gateway: Gateway, name: str, system: System) -> None:
    if len(name) > LONGEST_NAME:
        raise Violation(f"the name {name} has more than {LONGEST_NAME} characters", 500, "name too long")
    if any(volume.name == name and volume.system is system for volume in gateway.volumes.values()):
        raise Error("name taken", "Volume name already in use. Please use a different name.")


def _check_size(gateway: Gateway, size: int) -> None:
    if size < 1 or size % gateway.granularity:
        raise _granularity(gateway)


def _granularity(gateway: Gateway) -> Error:
    return Error("granularity", f"The volume size must be a multiple of {gateway.granularity} GB")


def _take(pool: Pool, size: int) -> None:
    if size > pool.free_gib:
        raise Error("pool full", "Requested volume size exceeds the volume allocation limit")
    pool.free_gib -= size
