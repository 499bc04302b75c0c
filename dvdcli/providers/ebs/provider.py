"""Amazon EBS, on the instance that we run on. Source: the EC2 API reference."""

from __future__ import annotations

from dvdcli import clock
from dvdcli.errors import DvdcliError, InUseError, NotFoundError, TryAgainError, UsageError
from dvdcli.providers.base import Info, Mounted, Option, SizeOption, check_settings
from dvdcli.providers.block import ALIASES, FILE_SYSTEM_OPTIONS, Attached, BlockProvider
from dvdcli.providers.ebs import devices, making
from dvdcli.providers.ebs.attach import NEVER, POLICIES, Attacher
from dvdcli.providers.ebs.ec2 import Ec2, Ec2Error, Pauses
from dvdcli.providers.ebs.volume import LIVING, Ec2Volume, check_name, is_id, literal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

    from dvdcli.clock import Deadline
    from dvdcli.findings import Finding
    from dvdcli.linux.blockdev import Device
    from dvdcli.providers.base import Note
    from dvdcli.providers.block import Disk
    from dvdcli.volume import Volume

_DEVICE = 30.0  # seconds that the device of a finished attachment is given to appear
_VANISHING = 5.0  # seconds that it is given to go
_DEFAULT_SIZE = 16 << 30
_TYPES = ("gp3", "gp2", "io1", "io2", "st1", "sc1", "standard")
_GONE = frozenset(("IncorrectState", "InvalidAttachment.NotFound", "InvalidVolume.NotFound"))

class EbsProvider(BlockProvider):
    """Volumes of one region, in this instance's zone, by id or by the tag `Name`."""

    settings = {  # noqa: RUF012
        "region": Option(str, "", "the region, by default AWS's own configuration, then the instance's"),
        "zone": Option(str, "", "the availability zone, by default the instance's"),
        "instance": Option(str, "", "this instance's id, by default from the metadata service"),
        "profile": Option(str, "", "a profile of ~/.aws/config"),
        "endpoint": Option(str, "", "the URL of the EC2 API"),
        "preempt": Option(str, "never", "take a volume from another instance: never, stopped or force"),
    }
    options = {  # noqa: RUF012
        "size": SizeOption("the size of a new volume in GiB", _DEFAULT_SIZE),
        "volumeType": Option(str, "gp3", f"the type of a new volume: {', '.join(_TYPES)}"),
        "iops": Option(int, 0, "the operations a second of a new volume"),
        "throughput": Option(int, 0, "the MiB a second of a new volume"),
        "availabilityZone": Option(str, "", "the zone of a new volume, by default this instance's"),
        "encrypted": Option(bool, False, "encrypt a new volume"),
        "kmsKeyId": Option(str, "", "the key that a new volume is encrypted with"),
        "snapshotId": Option(str, "", "the snapshot that a new volume is made from"),
        "volumeID": Option(str, "", "the id of the volume to take, which has that name or none"),
        "multiAttach": Option(bool, False, "an io2 volume that several instances have at once, mounted read-only"),
        **FILE_SYSTEM_OPTIONS,
    }
    aliases = {**ALIASES, "type": "volumeType", "encryptionkey": "kmsKeyId"}  # noqa: RUF012

    def __init__(self, driver: str, settings: Mapping[str, Any], deadline: Deadline, patience: float) -> None:
        super().__init__(driver, settings, deadline, patience)
        check_settings(driver, settings, self.settings)
        self._policy = settings.get("preempt", NEVER)
        for _, fault in self.settings_faults(driver, settings):
            raise fault
        self._ec2 = Ec2(settings, deadline)

    @classmethod
    def settings_faults(cls, driver: str, settings: Mapping[str, Any]) -> Iterator[tuple[str, DvdcliError]]:
        """Return a policy that is none."""
        policy = settings.get("preempt", NEVER)
        if policy not in POLICIES:
            fault = UsageError(f"[drivers.{driver}] preempt = {policy!r} is no policy", f"one of {', '.join(POLICIES)}")
            yield "preempt", fault

    def check(self, options: Mapping[str, str]) -> None:
        """Raise UsageError for an option that is not known, or a value that cannot be."""
        super().check(options)
        if self.option(options, "volumeType") not in _TYPES:
            raise UsageError(f"the volume option volumeType is none of {', '.join(_TYPES)}")
        if self.option(options, "size") % (1 << 30):
            raise UsageError("the volume option size is no whole number of GiB", "EBS has no other sizes")
        if self.option(options, "multiAttach") and "ro" not in self.option(options, "mountopts").split(","):
            raise UsageError(
                "multiAttach=true lets other hosts write to the same blocks",
                "fill the volume without it, then share it with mountopts=ro",
            )
        wanted = self.option(options, "volumeID")
        if wanted and not is_id(wanted):
            raise UsageError(f"the volume option volumeID={wanted} is no volume's id", "vol- and hexadecimal digits")

    # Volumes

    def find(self, name: str) -> Ec2Volume | None:
        """Return the volume whose id or whose tag `Name` is exactly *name*. Raises DvdcliError where two are."""
        if is_id(name):
            return self._by_id(name)
        check_name(name)
        wanted = self.option(self.given, "volumeID")
        if wanted:
            volume = self._by_id(wanted)
            if volume is not None and volume.name not in ("", name):
                raise UsageError(f"{wanted} is named {volume.name!r}, not {name!r}", f"use the name {volume.name!r}")
            return volume
        filters = [{"Name": "tag:Name", "Values": [literal(name)]}, {"Name": "status", "Values": list(LIVING)}]
        answer = self._ec2.pages("describe_volumes", "Volumes", Filters=filters)
        found = [volume for volume in map(Ec2Volume, answer) if volume.name == name]
        if len(found) > 1:
            ids = ", ".join(f"{volume.id} in {volume.zone}" for volume in sorted(found, key=lambda v: v.id))
            raise DvdcliError(f"{len(found)} volumes are named {name!r}: {ids}", "use an id, or name them differently")
        return found[0] if found else None

    def _by_id(self, volume_id: str) -> Ec2Volume | None:
        try:
            answer = self._ec2.call("describe_volumes", VolumeIds=[volume_id])
        except Ec2Error as error:
            if error.api_code in ("InvalidVolume.NotFound", "InvalidParameterValue"):
                return None
            raise
        found = [volume for volume in map(Ec2Volume, answer.get("Volumes", ())) if volume.state in LIVING]
        return found[0] if found else None

    def list(self) -> list[Info]:
        """Return the volumes of this instance's zone, by name, or by id where they have none."""
        filters = [{"Name": "availability-zone", "Values": [self._ec2.here().zone]},
                   {"Name": "status", "Values": list(LIVING)}]  # fmt: skip
        volumes = map(Ec2Volume, self._ec2.pages("describe_volumes", "Volumes", Filters=filters))
        found = (Info(volume.name or volume.id, size=volume.size) for volume in volumes)
        return sorted(found, key=lambda info: info.name)

    def check_ready(self) -> Iterator[Finding]:
        """Ask who this instance is, and EC2 whether it takes the credentials."""
        from dvdcli.providers.ebs import readiness

        yield from readiness.check(self._ec2)
        yield from super().check_ready()

    def scope(self) -> str:
        """Return `global`: other instances see the same volumes."""
        return "global"

    def create(self, name: str, options: Mapping[str, str]) -> None:
        """Create the volume, tagged with its name; one that is there is fine, unless it has another size."""
        self.check(options)
        check_name(name)
        there, size = self.find(name), self.option(options, "size")
        if there is not None:
            if "size" in self.canonical(options) and size != there.size:
                raise UsageError(f"{there} is there, with {there.size >> 30} GiB", "resize it, or take it as it is")
            return
        if is_id(name) or self.option(options, "volumeID"):
            raise NotFoundError(f"there is no volume {self.option(options, 'volumeID') or name}")
        zone = self.option(options, "availabilityZone") or self._ec2.here().zone
        self._disks[name] = making.make(self._ec2, name, zone, self._wanted(options), self._by_id, self.deadline)

    def _wanted(self, options: Mapping[str, str]) -> dict[str, Any]:
        """Return the parameters of CreateVolume that *options* decide."""
        given = self.canonical(options)
        wanted: dict[str, Any] = {"VolumeType": self.option(options, "volumeType")}
        if "size" in given or not given.get("snapshotId"):
            wanted["Size"] = self.option(options, "size") >> 30
        if self.option(options, "multiAttach"):
            if wanted["VolumeType"] != "io2":
                raise UsageError("multiAttach is for volumes of the type io2", "volumeType=io2")
            wanted["MultiAttachEnabled"] = True
        if self.option(options, "encrypted") or given.get("kmsKeyId"):
            wanted["Encrypted"] = True
        for key in ("iops", "throughput", "kmsKeyId", "snapshotId"):
            if self.option(options, key):
                wanted[key[0].upper() + key[1:]] = self.option(options, key)
        return wanted

    def remove(self, name: str) -> None:
        """Delete the volume; one that is not there is fine."""
        volume = self.find(name)
        if volume is None:
            return
        try:
            self._ec2.call("delete_volume", VolumeId=volume.id)
        except Ec2Error as error:
            if error.api_code == "VolumeInUse":
                holders = volume.holders() or "an instance"
                raise InUseError(f"{volume} is attached to {holders}", "unmount it there first") from error
            if error.api_code not in _GONE:
                raise

    def resize(self, name: str, options: Mapping[str, str]) -> None:
        """Make the volume larger, and the file system with it where it is mounted here."""
        size, volume = self.option(options, "size"), self.find(name)
        if volume is None:
            raise NotFoundError(f"there is no volume {name!r}")
        if size < volume.size:
            raise UsageError(f"{volume} has {volume.size >> 30} GiB", "a volume is not made smaller")
        if size > volume.size:
            try:
                self._ec2.call("modify_volume", VolumeId=volume.id, Size=size >> 30)
            except Ec2Error as error:
                if error.api_code in ("IncorrectModificationState", "VolumeModificationRateExceeded"):
                    raise TryAgainError(f"{volume} is being modified: {error.said}", "try again later") from error
                raise
            self._await_modified(volume)
        device = self.locate({"id": volume.id})
        if device is not None:
            self.fill(name, device, volume.id)

    def _await_modified(self, volume: Ec2Volume) -> None:
        pauses = Pauses(self.deadline)
        while True:
            answer = self._ec2.call("describe_volumes_modifications", VolumeIds=[volume.id])
            states = [change.get("ModificationState") for change in answer.get("VolumesModifications", ())]
            if "failed" in states:
                raise DvdcliError(f"EC2 could not resize {volume}", "see its modifications")
            if states and all(state in ("optimizing", "completed") for state in states):
                return
            pauses.wait(f"{volume.id} was not resized")

    # Attachments

    def attach(self, disk: Disk, options: Mapping[str, str], handle: dict[str, Any], note: Note) -> Attached:
        """Attach the volume to this instance, and wait for the device that has its serial number."""
        here = self._ec2.here()
        assert isinstance(disk, Ec2Volume)
        if disk.zone != here.zone:
            raise DvdcliError(f"{disk} is in {disk.zone}, and {here.id} in {here.zone}", "take one of the same zone")
        handle.update(instance=here.id, region=here.region)
        note(handle)
        shared = self.option(options, "multiAttach")
        volume = self._attacher(here.id).attach(disk, shared)
        mine = volume.attachments[here.id]
        handle["asked"] = mine.device
        device, handle["kind"] = self._await_device(volume, mine.device, here.id)
        return Attached(device, _token(volume, here.id), "multiAttach=true" if shared else "")

    def attachment(self, handle: Mapping[str, Any]) -> str:
        """Ask EC2 since when this instance has the volume."""
        self._recall(handle)
        volume = self._by_id(str(handle["id"]))
        return _token(volume, str(handle.get("instance"))) if volume else ""

    def _recall(self, handle: Mapping[str, Any]) -> None:
        """Ask the region of *handle*: the environment of the call that mounted it can have named another."""
        if handle.get("region"):
            self._ec2.use(str(handle["region"]))

    def _attacher(self, instance: str) -> Attacher:
        return Attacher(self._ec2, instance, self._policy, self._by_id, self.deadline)

    def _await_device(self, volume: Ec2Volume, asked: str, instance: str) -> tuple[Device, str]:
        patience, pause = self.deadline.sooner(_DEVICE), 0.02
        while True:
            device = devices.find(volume.id)
            if device is not None:
                return device, devices.NVME
            device = devices.find_xen(asked)
            if device is not None and device.size() == volume.size:
                return device, devices.XEN
            if not patience.left():
                break
            clock.sleep(min(pause, patience.left()))
            pause = min(pause * 2, 0.5)
        there = ", ".join(f"{name} is {serial}" for name, serial in devices.serials())
        seen = f"{device} has another size" if device else there or "there is no EBS device"
        self._attacher(instance).detach(volume.id)
        raise TryAgainError(f"{volume} is attached to {instance}, and no device is that volume: {seen}", "try again")

    def locate(self, handle: Mapping[str, Any]) -> Device | None:
        """Return the device with the volume's serial number; on Xen the one with its name."""
        device = devices.find(str(handle["id"]))
        if device is None and handle.get("kind", devices.XEN) == devices.XEN and handle.get("asked"):
            device = devices.find_xen(str(handle["asked"]))
        return device

    def here(self, name: str) -> Mounted | None:
        """Return what this instance has of the volume, by EC2's word."""
        volume = self.find(name)
        mine = volume.attachments.get(self._ec2.here().id) if volume and volume.attachments else None
        if volume is None or mine is None:
            return None
        handle = {"id": volume.id, "asked": mine.device, "instance": self._ec2.here().id}
        device = self.locate(handle)
        return Mounted(self.place(name, device), {**handle, **({"device": device.to_json()} if device else {})})

    def mounted_at(self, volume: Volume, handle: Mapping[str, Any]) -> str:
        """Return where the volume is mounted, by proof. On Xen a device has no number: EC2 is asked too."""
        path = super().mounted_at(volume, handle)
        if path and handle.get("kind") == devices.XEN:
            return path if self.attachment(handle) == handle.get("attachment") else ""
        return path

    def detach(self, handle: Mapping[str, Any], note: Note) -> None:
        """Detach the volume from this instance, by name, and let the device vanish."""
        if not handle.get("instance"):
            return  # it is on disk before anything is attached
        self._recall(handle)
        self._attacher(str(handle["instance"])).detach(str(handle["id"]))
        moment = self.deadline.sooner(_VANISHING)
        while self.locate(handle) is not None and moment.left():
            clock.sleep(0.02)


def _token(volume: Ec2Volume, instance: str) -> str:
    """Return what tells the attachment of *volume* to *instance* from every other one, "" where there is none."""
    mine = volume.attachments.get(instance)
    return f"{instance} {mine.device} {mine.since}" if mine else ""
