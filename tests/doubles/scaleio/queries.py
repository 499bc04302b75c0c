"""The calls that only ask."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from tests.doubles.scaleio.errors import Error, Violation
from tests.doubles.scaleio.model import Volume, links, new_id

if TYPE_CHECKING:
    from tests.doubles.scaleio.api import Gateway
    from tests.doubles.scaleio.host import Host
    from tests.doubles.scaleio.model import System

KINDS = ("System", "ProtectionDomain", "StoragePool", "Volume", "Sdc")
LONGEST_NAME = 31
NVME_HOST = new_id()


def version(gateway: Gateway) -> Any:
    return gateway.generation


def every(gateway: Gateway, kind: str) -> Any:
    return list(_all(gateway, kind).values())


def one(gateway: Gateway, kind: str, id: str) -> Any:
    check_id(id)
    if kind == "Volume":
        return find_volume(gateway, id).describe(gateway.major)
    found = _all(gateway, kind).get(id)
    if found is None:
        raise Error("no object", f"Could not find the {kind}", gateway.not_found_status)
    return found


def sdcs_of_system(gateway: Gateway, id: str) -> Any:
    one(gateway, "System", id)
    return [sdc for sdc in _all(gateway, "Sdc").values() if sdc["systemId"] == id]


def volumes_of_sdc(gateway: Gateway, id: str) -> Any:
    one(gateway, "Sdc", id)
    return [volume.describe(gateway.major) for volume in gateway.volumes.values() if id in volume.mapped]


def query_id_by_key(gateway: Gateway, body: dict[str, str]) -> Any:
    """Look in the first system first, should two have volumes of that name."""
    if len(body["name"]) > LONGEST_NAME:
        raise Violation(f"no volume can have the name {body['name']}", 500, "not found")
    for system in gateway.systems.values():
        for volume in gateway.volumes.values():
            if volume.system is system and volume.name == body["name"]:
                return volume.id
    raise not_found()


def not_found(status: int = 500) -> Error:
    return Error("not found", "Could not find the volume", status)


def check_id(id: str) -> None:
    if not re.fullmatch("[0-9a-f]{16}", id):
        raise Error("syntax", f"The id {id} is not of the right form", 400)


def find_volume(gateway: Gateway, id: str) -> Volume:
    check_id(id)
    volume = gateway.volumes.get(id)
    if volume is None:
        raise not_found(gateway.not_found_status)
    return volume


def _all(gateway: Gateway, kind: str) -> dict[str, dict[str, Any]]:
    if kind == "System":
        return {system.id: system.describe() for system in gateway.systems.values()}
    if kind == "ProtectionDomain":
        return {domain.id: domain.describe() for domain in gateway.domains}
    if kind == "StoragePool":
        return {pool.id: pool.describe() for pool in gateway.pools}
    if kind == "Volume":
        return {volume.id: volume.describe(gateway.major) for volume in gateway.volumes.values()}
    rows = {}
    if gateway.major >= 4:  # a host that speaks NVMe/TCP has no guid
        row = _sdc(gateway, gateway.systems[gateway.system], NVME_HOST, None)
        rows[NVME_HOST] = {**row, "hostType": "NVMeHost", "nqn": "nqn.2014-08.org.nvmexpress:uuid:0"}
    for host in gateway.hosts:
        for system, id in host.sdcs.items():
            rows[id] = _sdc(gateway, gateway.systems[system], id, host)
    return rows


def _sdc(gateway: Gateway, system: System, id: str, host: Host | None) -> dict[str, Any]:
    connected = host and (host.reachable or host.unnoticed)
    return {
        "id": id,
        "name": host.name if host else "nvme",
        "sdcGuid": gateway.guid_case(host.guid) if host else None,
        "sdcIp": host.ip if host else None,
        "sdcIps": [host.ip] if host else None,
        "sdcApproved": bool(host),
        "mdmConnectionState": ("Connected" if connected else "Disconnected") if host else None,
        "osType": "Linux" if host else None,
        "systemId": system.id,
        **({"hostType": "SdcHost", "nqn": None} if gateway.major >= 4 else {}),
        "links": links("Sdc", id, systemId=f"System::{system.id}"),
    }
