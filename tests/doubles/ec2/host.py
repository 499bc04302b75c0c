"""What an instance's block devices look like from inside: stand-ins for /sys and /dev, with real loop devices."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from tests.doubles import decoys
from tests.doubles.decoys import Decoys
from tests.doubles.ec2.metadata import Metadata
from tests.doubles.ec2.model import Attachment, Volume, new_id, now
from tests.doubles.loops import Loop, unmount_all, write

if TYPE_CHECKING:
    from tests.doubles.ec2.api import Ec2

MODEL = "Amazon Elastic Block Store"
BY_ID = "nvme-Amazon_Elastic_Block_Store_"


class Device:
    """A block device on a host: a loop device under the name that EC2's kernels would give it."""

    def __init__(self, host: Host, name: str, image: Path, serial: str) -> None:
        self.host = host
        self.name = name
        self.image = image
        self.node = host.dev / name
        self.sys = host.sysfs / "block" / name
        self.loop = Loop(image)
        host.describe_block(name, self.loop.major_minor, image.stat().st_size, serial)
        os.mknod(self.node, 0o660 | 0o060000, self.loop.number)

    def resize(self) -> None:
        self.loop.refresh()
        write(self.sys / "size", f"{self.image.stat().st_size // 512}\n")

    def remove(self) -> bool:
        """Take it away; False when somebody still uses it and will go on with its file."""
        self.node.unlink(missing_ok=True)
        shutil.rmtree(self.sys, ignore_errors=True)
        return self.loop.clear()


class Host:
    """An instance. `mapping` is the API's view of it, `sysfs` and `dev` its own."""

    def __init__(self, ec2: Ec2, instance: str, zone: str, kind: str) -> None:
        self.ec2 = ec2
        self.id = instance
        self.zone = zone
        self.kind = kind
        self.type = "m5.large" if kind == "nitro" else "m4.large"
        self.state = "running"
        self.powered = True
        self.since = now()
        self.sysfs = ec2.root / instance / "sys"
        self.dev = ec2.root / instance / "dev"
        self.devices = "right"  # what the next attachments make appear: right, late, never, wrong
        self.late: float = 2
        self.taken: set[str] = set()
        self.rejects: set[str] = set()
        self.limit = 27
        self.root_device = "/dev/xvda"
        self.root_volume = new_id("vol")
        self.boots = 0
        self.links = 0
        self.decoys = Decoys(ec2.root, instance)
        for path in (self.sysfs / "block", self.dev / "disk/by-id"):
            path.mkdir(parents=True)
        self.root_disk = self._root_disk()
        self.metadata = Metadata(self, ec2.faults)

    def env(self) -> dict[str, str]:
        """Return the environment of a dvdcli on this instance. Its region it has to find out."""
        keys = {} if self.metadata.role else {
            "AWS_ACCESS_KEY_ID": self.ec2.key[0], "AWS_SECRET_ACCESS_KEY": self.ec2.key[1],
        }  # fmt: skip
        return {
            "DVDCLI_SYSFS": str(self.sysfs),
            "DVDCLI_DEV": str(self.dev),
            "AWS_EC2_METADATA_SERVICE_ENDPOINT": self.metadata.url,
            "AWS_ENDPOINT_URL_EC2": self.ec2.url,
            **keys,
        }

    # The API's view

    def attachments(self) -> list[Attachment]:
        return [one for volume in self.ec2.volumes.values() for one in volume.attachments if one.host is self]

    def mapping(self) -> list[tuple[str, str, str, bool]]:
        """Return the device, volume, status and delete-on-termination of everything that is attached."""
        rows = [(self.root_device, self.root_volume, "attached", True)]
        rows += [(device, f"vol-0{n:016x}", "attached", False) for n, device in enumerate(sorted(self.taken))]
        return rows + [(one.device, one.volume.id, one.state, False) for one in self.attachments()]

    # The machine's view

    def device(self, volume: Volume) -> Device | None:
        """Return the device that the volume's attachment to this host made appear."""
        attachment = volume.attached_to(self.id)
        return attachment.there if attachment else None

    def appear(self, attachment: Attachment) -> None:
        """Let the device of an attachment appear, as `devices` said when it was asked for."""
        if not self.powered or self.state != "running" or attachment.appears == "never":
            return
        if attachment.appears == "late":
            attachment.appears = "right"
            self.ec2.clock.after(self.late, lambda: self.appear(attachment))
        elif attachment.state == "attached" and attachment.there is None:
            image, serial = attachment.volume.image, attachment.volume.id.replace("-", "")
            if attachment.appears == "wrong":
                image, serial = self.decoys.make(image.stat().st_size), new_id("vol").replace("-", "")
            attachment.there = Device(self, self._name(attachment), image, serial)
            if self.kind == "nitro":
                self._stale_link(attachment)

    def vanish(self, attachment: Attachment) -> None:
        device, attachment.there = attachment.there, None
        if device and not device.remove():
            self.ec2.orphans.append(device.loop)
            # Where another host has the volume too, its device could not follow: there the orphan still writes to it.
            shared = any(one.there for one in attachment.volume.attachments)
            if device.image == attachment.volume.image and not shared:
                attachment.volume.abandon()

    def die(self) -> None:
        """Lose power: nothing is mounted and no device is there any more; the API still has the attachments."""
        with self.ec2.lock:
            self.powered = False
            for attachment in self.attachments():
                if attachment.there:
                    if unmount_all(attachment.there.loop.major_minor):
                        attachment.there.loop.wait_free()
                    self.vanish(attachment)

    def boot(self) -> None:
        """Come back: everything the API has attached is there again, under other names."""
        with self.ec2.lock:
            if self.powered:
                self.die()
            self.ec2.clock.settle()
            self.powered, self.state = True, "running"
            self.boots += 1
            for attachment in reversed(self.attachments()):
                attachment.appears = "right"
                self.appear(attachment)

    def describe_block(self, name: str, number: str, size: int, serial: str) -> None:
        """Make the entry in sysfs, all at once."""
        path = self.sysfs / f".{name}"
        path.mkdir()
        write(path / "dev", f"{number}\n")
        write(path / "size", f"{size // 512}\n")
        if self.kind == "nitro":
            (path / "device").mkdir()
            write(path / "device/serial", f"{serial:<20}\n")
            write(path / "device/model", f"{MODEL:<40}\n")
        path.rename(self.sysfs / "block" / name)

    def _root_disk(self) -> Device | None:
        """Make the disk that is always there: somebody else's device, too, and where stale links lead."""
        name, number = ("nvme0n1", "259:0") if self.kind == "nitro" else ("xvda", "202:0")
        serial = self.root_volume.replace("-", "")
        if os.geteuid() == 0:
            return Device(self, name, self.decoys.make(), serial)
        self.describe_block(name, number, decoys.SIZE, serial)
        return None

    def _name(self, attachment: Attachment) -> str:
        if self.kind == "xen":
            return re.sub("^sd", "xvd", attachment.device.removeprefix("/dev/"))
        used = {path.name for path in (self.sysfs / "block").iterdir()}
        number = 1 + self.boots
        while f"nvme{number}n1" in used:
            number += 1
        return f"nvme{number}n1"

    def _stale_link(self, attachment: Attachment) -> None:
        """Leave a by-id link that names the volume and leads to another device, as udev sometimes does."""
        assert attachment.there
        own = attachment.there.name
        others = [path.name for path in (self.sysfs / "block").iterdir() if path.name != own]
        self.links += 1
        name = BY_ID + attachment.volume.id.replace("-", "") + ("-ns-1" if self.links % 2 else "")
        link = self.dev / "disk/by-id" / name
        link.unlink(missing_ok=True)
        link.symlink_to(f"../../{max(others)}")

    def check_decoys(self) -> list[str]:
        """Return what was done to devices that were not the caller's."""
        return self.decoys.check()

    def close(self) -> None:
        self.metadata.close()
        if self.root_disk:
            self.root_disk.remove()
        for attachment in self.attachments():
            if attachment.there:
                attachment.there.remove()
                attachment.there = None
