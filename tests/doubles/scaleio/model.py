"""Systems, protection domains, pools, volumes and mappings, and how the API describes them."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.doubles.loops import copy

if TYPE_CHECKING:
    from tests.doubles.scaleio.host import Device, Host

KIB_PER_GIB = 1 << 20


def new_id() -> str:
    return secrets.token_hex(8)


def links(kind: str, id: str, **parents: str) -> list[dict[str, str]]:
    rows = [{"rel": "self", "href": f"/api/instances/{kind}::{id}"}]
    for name, value in parents.items():
        other, parent = value.split("::")
        rows.append({"rel": f"/api/parent/relationship/{name}", "href": f"/api/instances/{other}::{parent}"})
    return rows


@dataclass(eq=False)
class System:
    name: str | None
    version: str
    id: str = field(default_factory=new_id)

    def describe(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "name": self.name,
            "installId": self.id[::-1],
            "systemVersionName": f"DellEMC ScaleIO Version: R{self.version.replace('.', '_')}.100",
            "mdmClusterState": "ClusteredNormal",
            "mdmCluster": {"id": str(int(self.id, 16)), "clusterState": "ClusteredNormal", "clusterMode": "ThreeNodes",
                           "goodNodesNum": 3, "goodReplicasNum": 2},
            "links": links("System", self.id),
        }  # fmt: skip


@dataclass(eq=False)
class Domain:
    name: str
    system: System
    id: str = field(default_factory=new_id)

    def describe(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "name": self.name,
            "systemId": self.system.id,
            "protectionDomainState": "Active",
            "links": links("ProtectionDomain", self.id, systemId=f"System::{self.system.id}"),
        }


@dataclass(eq=False)
class Pool:
    name: str
    domain: Domain
    free_gib: int
    zero_padding: bool = True
    id: str = field(default_factory=new_id)

    def describe(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "name": self.name,
            "protectionDomainId": self.domain.id,
            "zeroPaddingEnabled": self.zero_padding,
            "mediaType": "SSD",
            "links": links("StoragePool", self.id, protectionDomainId=f"ProtectionDomain::{self.domain.id}"),
        }


@dataclass(eq=False)
class Mapping:
    volume: Volume
    host: Host
    sdc: str
    appears: str = "right"  # what comes of it on the host
    there: Device | None = None  # the device on the host

    def in_use(self) -> bool:
        return self.host.powered and self.there is not None and self.there.loop.in_use()


@dataclass(eq=False)
class Volume:
    id: str
    name: str | None
    size_gib: int  # as the API has it
    image: Path  # what it contains
    pool: Pool
    type: str = "ThinProvisioned"
    ancestor: Volume | None = None
    group: str | None = None
    mappings: list[Mapping] = field(default_factory=list)
    vtree: str = field(default_factory=new_id)
    created: int = field(default_factory=lambda: int(time.time()))
    copies: int = 0

    @property
    def system(self) -> System:
        return self.pool.domain.system

    @property
    def mapped(self) -> list[str]:
        """The ids of the SDCs that it is mapped to."""
        return [one.sdc for one in self.mappings]

    @property
    def link(self) -> str:
        return f"emc-vol-{self.system.id}-{self.id}"

    def mapped_to(self, sdc: str) -> Mapping | None:
        return next((one for one in self.mappings if one.sdc == sdc), None)

    def abandon(self) -> None:
        """Go on with a copy: a device that was taken away while in use writes to the old file, to no effect."""
        self.copies += 1
        left = self.image.with_name(f"{self.image.name}.orphan-{self.copies}")
        self.image.rename(left)
        copy(left, self.image)

    def describe(self, major: int) -> dict[str, Any]:
        return {
            "id": self.id,
            "name": self.name,
            "sizeInKb": self.size_gib * KIB_PER_GIB,
            "volumeType": self.type,
            "storagePoolId": self.pool.id,
            "vtreeId": self.vtree,
            "ancestorVolumeId": self.ancestor.id if self.ancestor else None,
            "consistencyGroupId" if major < 4 else "snplIdOfSourceVolume": self.group,
            "creationTime": self.created,
            "isObfuscated": False,
            "useRmcache": False,
            **({"mappingToAllSdcsEnabled": False} if major < 4 else {"lockedAutoSnapshot": False, "nsid": 1}),
            "mappedSdcInfo": [self._mapped(one, major) for one in self.mappings] or None,
            "links": links("Volume", self.id, storagePoolId=f"StoragePool::{self.pool.id}",
                           vtreeId=f"VTree::{self.vtree}"),
        }  # fmt: skip

    def _mapped(self, mapping: Mapping, major: int) -> dict[str, Any]:
        return {
            "sdcId": mapping.sdc,
            "sdcIp": mapping.host.ip,
            "sdcName": mapping.host.name,
            "limitIops": 0,
            "limitBwInMbps": 0,
            **({"accessMode": "ReadWrite", "hostType": "SdcHost", "nqn": None} if major >= 4 else {}),
        }
