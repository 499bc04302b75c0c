"""ScaleIO, now PowerFlex, through its gateway, on a host with the SDC. NVMe/TCP hosts of 4.x are out of scope."""

from __future__ import annotations

from dvdcli import clock, output
from dvdcli.errors import InUseError, NotFoundError, TryAgainError, UsageError
from dvdcli.linux.files import unique
from dvdcli.providers.base import Info, Mounted, Option, SizeOption, check_settings
from dvdcli.providers.block import ALIASES, FILE_SYSTEM_OPTIONS, Attached, BlockProvider
from dvdcli.providers.scaleio import sdc
from dvdcli.providers.scaleio.gateway import NOT_FOUND, Gateway, GatewayError, identifier, objects
from dvdcli.providers.scaleio.mapping import NEVER, POLICIES, Mapper
from dvdcli.providers.scaleio.sdc import Sdc
from dvdcli.providers.scaleio.volume import GRAIN, ScaleIoVolume, check_name, is_id, rounded

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

    from dvdcli.clock import Deadline
    from dvdcli.errors import DvdcliError
    from dvdcli.findings import Finding
    from dvdcli.linux.blockdev import Device
    from dvdcli.providers.base import Note
    from dvdcli.providers.block import Disk

_DEVICE = 30.0  # seconds that the device of a mapped volume is given to appear
_RESCAN = 2.0  # seconds between two requests to look for it
_VANISHING = 10.0  # seconds that it is given to go
_DEFAULT_SIZE = 16 << 30
_KINDS = {"thin": "ThinProvisioned", "thick": "ThickProvisioned",
          "thinprovisioned": "ThinProvisioned", "thickprovisioned": "ThickProvisioned"}  # fmt: skip


class ScaleIoProvider(BlockProvider):
    """The volumes that one gateway knows, by name or by id."""

    settings = {  # noqa: RUF012
        "endpoint": Option(str, "", "the gateway's URL, https://…"),
        "user": Option(str, "", "who logs in"),
        "password_file": Option(str, "", "a file with the password, which root alone can read", secret=True),
        "ca_file": Option(str, "", "the CA that signed the gateway's certificate"),
        "insecure": Option(bool, False, "do not verify the gateway's certificate"),
        "drv_cfg": Option(str, "", "the path of the SDC's drv_cfg"),
        "storage_pool": Option(str, "", "the pool of new volumes, by name or id"),
        "protection_domain": Option(str, "", "the protection domain that the pool is in, by name or id"),
        "preempt": Option(str, NEVER, "take a volume from another SDC: never, stopped or force"),
    }
    options = {  # noqa: RUF012
        "size": SizeOption("the size of a new volume in GiB, rounded up to a multiple of 8 before 5.0", _DEFAULT_SIZE),
        "volumeType": Option(str, "thin", "how a new volume has its space: thin or thick"),
        "storagePool": Option(str, "", "the pool of a new volume, by default the setting storage_pool"),
        "protectionDomain": Option(str, "", "the protection domain that the pool is in"),
        "snapshotId": Option(str, "", "the snapshot or volume that a new volume is made from, by name or id"),
        **FILE_SYSTEM_OPTIONS,
    }
    aliases = {**ALIASES, "type": "volumeType"}  # noqa: RUF012

    def __init__(self, driver: str, settings: Mapping[str, Any], deadline: Deadline, patience: float) -> None:
        super().__init__(driver, settings, deadline, patience)
        check_settings(driver, settings, self.settings)
        self._policy = settings.get("preempt", NEVER)
        if self._policy not in POLICIES:
            raise _no_policy(driver, self._policy)
        self._gateway = Gateway(driver, settings, deadline)
        self._sdc = Sdc(settings.get("drv_cfg", ""), deadline)

    @classmethod
    def settings_faults(cls, driver: str, settings: Mapping[str, Any]) -> Iterator[tuple[str, DvdcliError]]:
        """Return a policy that is none, and what a login needs and is not there."""
        if settings.get("preempt", NEVER) not in POLICIES:
            yield "preempt", _no_policy(driver, settings["preempt"])
        yield from Gateway(driver, settings, clock.Deadline(0.0)).settings_faults()

    def close(self) -> None:
        """Log out."""
        self._gateway.close()

    def check(self, options: Mapping[str, str]) -> None:
        """Raise UsageError for an option that is not known, or a value that cannot be."""
        super().check(options)
        if self.option(options, "volumeType").lower() not in _KINDS:
            raise UsageError("the volume option volumeType is neither thin nor thick")
        if self.option(options, "size") % (1 << 30):
            raise UsageError("the volume option size is no whole number of GiB")

    # Volumes

    def find(self, name: str) -> ScaleIoVolume | None:
        """Return the volume with the name or the id *name*."""
        if is_id(name):
            found = self._by_id(name)
            if found is not None:
                return found
        check_name(name)
        try:
            told = self._gateway.post("types/Volume/instances/action/queryIdByKey", {"name": name})
        except GatewayError as error:
            if error.api_code in NOT_FOUND:
                return None
            raise
        return self._by_id(identifier({"id": told}))

    def _by_id(self, volume_id: str) -> ScaleIoVolume | None:
        try:
            return ScaleIoVolume(self._gateway.get(f"instances/Volume::{volume_id}"))
        except GatewayError as error:
            if error.api_code in NOT_FOUND or error.status == 404:
                return None
            raise

    def list(self) -> list[Info]:
        """Return the volumes of all systems behind the gateway."""
        volumes = map(ScaleIoVolume, objects(self._gateway.get("types/Volume/instances")))
        found = (Info(volume.name or volume.id, size=volume.size) for volume in volumes)
        return sorted(found, key=lambda info: info.name)

    def check_ready(self) -> Iterator[Finding]:
        """Ask the gateway, and this host's SDC."""
        from dvdcli.findings import warning
        from dvdcli.providers.scaleio import readiness

        yield from readiness.check(self._gateway, self._sdc, lambda: self._pool({}))
        if self.pinned.get("insecure"):
            yield warning("the gateway's certificate is not verified", "name its CA with ca_file")
        yield from super().check_ready()

    def scope(self) -> str:
        """Return `global`: every host sees the same volumes."""
        return "global"

    def create(self, name: str, options: Mapping[str, str]) -> None:
        """Create the volume; one that is there is fine, unless it has another size."""
        self.check(options)
        check_name(name)
        there = self.find(name)
        given = self.canonical(options)
        size = rounded(self.option(options, "size"), self._gateway.version()) if not there or "size" in given else 0
        if there is not None:
            _check_size(there, size)
            return
        if size != self.option(options, "size"):
            output.warn(f"the volume {name} gets {size >> 30} GiB: its system makes multiples of {GRAIN >> 30} GiB")
        source = self.option(options, "snapshotId")
        try:
            made = self._copied(name, source) if source else self._made(name, size, options)
        except GatewayError:
            there = self.find(name)
            if there is None:
                raise
            _check_size(there, size if "size" in given else 0)  # another host has made it meanwhile
            return
        volume = self._by_id(made)
        if volume is None:
            raise TryAgainError(f"the gateway does not know {made}, which it has just made", "try again later")
        self._disks[name] = volume

    def _made(self, name: str, size: int, options: Mapping[str, str]) -> str:
        body = {
            "name": name, "volumeSizeInKb": str(size >> 10), "storagePoolId": self._pool(options),
            "volumeType": _KINDS[self.option(options, "volumeType").lower()],
        }  # fmt: skip
        # Not asked for again: a lost answer can be of a volume that was made. The next call finds it by its name.
        answer = self._gateway.post("types/Volume/instances", body, again=False)
        return identifier(answer)

    def _copied(self, name: str, source: str) -> str:
        volume = self.find(source)
        if volume is None:
            raise NotFoundError(f"there is no snapshot or volume {source!r}")
        definition = {"volumeId": volume.id, "snapshotName": name}
        path = f"instances/System::{self._mapper().system_of(volume)}/action/snapshotVolumes"
        answer = self._gateway.post(path, {"snapshotDefs": [definition]}, again=False)
        made = answer.get("volumeIdList") if isinstance(answer, dict) else None
        return identifier({"id": made[0] if isinstance(made, list) and made else None})

    def _pool(self, options: Mapping[str, str]) -> str:
        """Return the id of the storage pool of a new volume. Raises UsageError where none is named, or two are."""
        pool = self.option(options, "storagePool") or self.pinned.get("storage_pool", "")
        domain = self.option(options, "protectionDomain") or self.pinned.get("protection_domain", "")
        if not pool:
            raise UsageError("a new ScaleIO volume needs a storage pool", "the volume option storagePool")
        wanted = ""
        if domain:
            domains = objects(self._gateway.get("types/ProtectionDomain/instances"))
            wanted = next((identifier(each) for each in domains if domain in (each.get("id"), each.get("name"))), "")
            if not wanted:
                raise NotFoundError(f"there is no protection domain {domain!r}")
        pools = [
            each for each in objects(self._gateway.get("types/StoragePool/instances"))
            if pool in (each.get("id"), each.get("name")) and wanted in ("", each.get("protectionDomainId"))
        ]  # fmt: skip
        if len(pools) != 1:
            what = "there is no" if not pools else f"there are {len(pools)}"
            raise NotFoundError(f"{what} storage pool {pool!r}", "name it with its protectionDomain, or by its id")
        return identifier(pools[0])

    def remove(self, name: str) -> None:
        """Remove the volume; one that is not there is fine."""
        volume = self.find(name)
        if volume is None:
            return
        if volume.mapped:
            raise InUseError(f"{volume} is mapped to the SDC {', '.join(volume.mapped)}", "unmount it there first")
        try:
            self._gateway.post(f"instances/Volume::{volume.id}/action/removeVolume", {"removeMode": "ONLY_ME"})
        except GatewayError as error:
            if error.api_code not in NOT_FOUND:
                raise

    def resize(self, name: str, options: Mapping[str, str]) -> None:
        """Make the volume larger, and the file system with it where it is mounted here."""
        volume = self.find(name)
        if volume is None:
            raise NotFoundError(f"there is no volume {name!r}")
        size = rounded(self.option(options, "size"), self._gateway.version())
        if size < volume.size:
            raise UsageError(f"{volume} has {volume.size >> 30} GiB", "a volume is not made smaller")
        if size > volume.size:
            self._grow(volume, size)
        device = sdc.find(volume.id)
        if device is not None:
            patience = self.deadline.sooner(_DEVICE)
            while device.size() < size and patience.left():
                self._sdc.rescan()
                clock.sleep(0.2)
            self.fill(name, device, volume.id)

    def _grow(self, volume: ScaleIoVolume, size: int) -> None:
        try:
            self._gateway.post(f"instances/Volume::{volume.id}/action/setVolumeSize", {"sizeInGB": str(size >> 30)})
        except GatewayError:
            now = self._by_id(volume.id)
            if now is None or now.size < size:  # else its first answer was lost, and it was refused when sent again
                raise

    # Mappings

    def _mapper(self) -> Mapper:
        return Mapper(self._gateway, self._policy, self._by_id)

    def attach(self, disk: Disk, options: Mapping[str, str], handle: dict[str, Any], note: Note) -> Attached:
        """Map the volume to this host's SDC, and wait for its device."""
        assert isinstance(disk, ScaleIoVolume)
        handle["sdc"] = self._sdc.guid()
        mapper = self._mapper()
        mapped = mapper.is_mapped(disk, handle["sdc"])
        if not mapped or mapper.is_mapped_to_others(disk, handle["sdc"]) or "mapping" not in handle:
            handle["mapping"] = unique()  # whatever is on record of another mapping is void from here on
            note(handle)
            mapper.map(disk, handle["sdc"])
        device = self._await_device(disk, handle["sdc"])
        return Attached(device, self.attachment(handle))

    def _await_device(self, volume: ScaleIoVolume, guid: str) -> Device:
        patience, pause, asked = self.deadline.sooner(_DEVICE), 0.02, self.deadline.sooner(0.1)
        while True:
            device = sdc.find(volume.id)
            if device is not None and self._sdc.confirms(device, volume.id):
                return device
            if not patience.left():
                break
            if not asked.left():
                self._sdc.rescan()
                asked = self.deadline.sooner(_RESCAN)
            clock.sleep(min(pause, patience.left()))
            pause = min(pause * 2, 0.5)
        seen = f"{device} is another" if device else "there is none by its id alone"
        self._mapper().unmap(volume.id, guid)
        raise TryAgainError(f"{volume} is mapped to this host, and no device is that volume: {seen}", "see the SDC")

    def attachment(self, handle: Mapping[str, Any]) -> str:
        """Return what we called the mapping when we made it, and the kernel its device: the gateway has no word."""
        device = self.locate(handle)
        return f"{handle.get('sdc')} {handle.get('mapping')} {device.sequence if device else ''}"

    def locate(self, handle: Mapping[str, Any]) -> Device | None:
        """Return the device that has the volume's id."""
        return sdc.find(str(handle["id"]))

    def here(self, name: str) -> Mounted | None:
        """Return what this host has of the volume, by the gateway's word."""
        volume = self.find(name)
        guid = self._sdc.guid() if volume is not None and volume.mapped else ""
        if volume is None or not guid or not self._mapper().is_mapped(volume, guid):
            return None
        device = sdc.find(volume.id)
        handle = {"id": volume.id, "sdc": guid}
        return Mounted(self.place(name, device), {**handle, **({"device": device.to_json()} if device else {})})

    def detach(self, handle: Mapping[str, Any], note: Note) -> None:
        """Unmap the volume from this host's SDC, and wait until its device has gone."""
        if not handle.get("sdc"):
            return  # it is on disk before anything is mapped
        self._mapper().unmap(str(handle["id"]), str(handle["sdc"]))
        moment = self.deadline.sooner(_VANISHING)
        while self.locate(handle) is not None:
            if not moment.left():
                raise TryAgainError(f"{self.locate(handle)} is there still, and its volume unmapped", "see the SDC")
            clock.sleep(0.02)


def _check_size(there: ScaleIoVolume, size: int) -> None:
    """Raise UsageError for a *size* in bytes that is not the volume's; 0 is any."""
    if size and size != there.size:
        raise UsageError(f"{there} is there, with {there.size >> 30} GiB", "resize it, or take it as it is")


def _no_policy(driver: str, policy: Any) -> UsageError:
    return UsageError(f"[drivers.{driver}] preempt = {policy!r} is no policy", f"one of {', '.join(POLICIES)}")
