"""Mapping a volume to this host's SDC and unmapping it, and whose it is meanwhile. Source: the REST API."""

from __future__ import annotations

from dvdcli import output
from dvdcli.errors import DvdcliError, InUseError, NotFoundError
from dvdcli.providers.scaleio.gateway import (
    ALREADY_MAPPED,
    NOT_FOUND,
    NOT_MAPPED,
    Gateway,
    GatewayError,
    identifier,
    objects,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from dvdcli.providers.scaleio.volume import ScaleIoVolume

NEVER, STOPPED, FORCE = POLICIES = ("never", "stopped", "force")


class Mapper:
    """Maps to the SDC with the guid *guid*; *look* asks the gateway for a volume by its id.

    *policy* is one of POLICIES: what happens to a volume that another SDC has. `stopped` takes it from one that the MDM
    has lost.
    """

    def __init__(self, gateway: Gateway, policy: str, look: Callable[[str], ScaleIoVolume | None]) -> None:
        self._gateway = gateway
        self._policy = policy
        self._look = look
        self._sdcs: dict[str, dict[str, Any]] = {}

    def is_mapped(self, volume: ScaleIoVolume, guid: str) -> bool:
        """Return whether *volume* is mapped to the SDC *guid*, whoever else has it."""
        return bool(volume.mapped) and self._own_id(volume, guid) in volume.mapped

    def is_mapped_to_others(self, volume: ScaleIoVolume, guid: str) -> bool:
        """Return whether *volume* is mapped to any SDC but *guid*."""
        return bool(volume.mapped) and bool(set(volume.mapped) - {self._own_id(volume, guid)})

    def map(self, volume: ScaleIoVolume, guid: str) -> None:
        """Map *volume* to the SDC *guid*, alone. Raises InUseError, naming the SDC that has it."""
        if self.is_mapped_to_others(volume, guid):
            self._preempt(volume, guid)
        body = {"guid": guid, "allowMultipleMappings": "FALSE"}
        try:
            self._gateway.post(f"instances/Volume::{volume.id}/action/addMappedSdc", body)
        except GatewayError as error:
            if error.api_code in NOT_FOUND:
                raise NotFoundError(f"{volume} is no more", "somebody has removed it") from error
            there = self._look(volume.id)
            if there is not None and self.is_mapped_to_others(there, guid):
                raise self._refusal(there, guid) from error
            if error.api_code not in ALREADY_MAPPED:
                raise

    def unmap(self, volume_id: str, guid: str) -> None:
        """Unmap the volume from the SDC *guid*, and from no other; one that is not mapped to it is fine."""
        self._unmap(volume_id, {"guid": guid})

    def _unmap(self, volume_id: str, body: dict[str, str]) -> None:
        try:
            self._gateway.post(f"instances/Volume::{volume_id}/action/removeMappedSdc", body)
        except GatewayError as error:
            if error.api_code not in NOT_MAPPED | NOT_FOUND:
                raise

    def _preempt(self, volume: ScaleIoVolume, guid: str) -> None:
        """Take *volume* from the SDCs that have it, if the policy says so; else raise InUseError."""
        own = self._own_id(volume, guid)
        others = sorted(set(volume.mapped) - {own})
        refusal = self._refusal(volume, guid)
        if self._policy == NEVER:
            raise refusal
        connected = [each for each in others if self._sdcs.get(each, {}).get("mdmConnectionState") != "Disconnected"]
        if self._policy == STOPPED and connected:
            refusal.hint = "that SDC is connected; unmount the volume there"
            raise refusal
        for each in others:
            output.to_syslog(f"taking {volume} from the SDC {each}: preempt is {self._policy}")
            self._unmap(volume.id, {"sdcId": each})

    def _refusal(self, volume: ScaleIoVolume, guid: str) -> InUseError:
        holders = ", ".join(f"{each} ({name})" if name else each for each, name in sorted(volume.mapped.items())
                            if each != self._own_id(volume, guid))  # fmt: skip
        return InUseError(
            f"{volume} is mapped to the SDC {holders}",
            f"unmount it there, or set preempt for this driver (it is {self._policy})",
        )

    def _own_id(self, volume: ScaleIoVolume, guid: str) -> str:
        """Return the id that the SDC *guid* has in the system of *volume*, "" where it has none."""
        if not self._sdcs:
            answer = self._gateway.get(f"instances/System::{self.system_of(volume)}/relationships/Sdc")
            self._sdcs = {identifier(each): each for each in objects(answer)}
        found = (key for key, each in self._sdcs.items() if str(each.get("sdcGuid") or "").upper() == guid.upper())
        return next(found, "")

    def system_of(self, volume: ScaleIoVolume) -> str:
        """Return the id of the system that *volume* is in: the only one behind the gateway, or its pool's."""
        systems = [identifier(each) for each in objects(self._gateway.get("types/System/instances"))]
        if len(systems) == 1:
            return systems[0]
        pool = self._gateway.get(f"instances/StoragePool::{volume.pool}")
        domain = self._gateway.get(f"instances/ProtectionDomain::{identifier(pool, 'protectionDomainId')}")
        found = identifier(domain, "systemId")
        if found not in systems:
            raise DvdcliError(f"the gateway does not say which system {volume} is in", "see its storage pool")
        return found
