"""What a host's block devices look like from inside: stand-ins for /sys and /dev, with real loop devices."""

from __future__ import annotations

import os
import shutil
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

from tests.doubles.decoys import Decoys
from tests.doubles.loops import Loop, unmount_all, write
from tests.doubles.scaleio.driver import Driver
from tests.doubles.scaleio.model import Mapping, Volume, new_id

if TYPE_CHECKING:
    from tests.doubles.scaleio.api import Gateway

LETTERS = "abcdefghijklmnopqrstuvwxyz"


class Device:
    """A block device on a host: a loop device under the name and the link that the SDC and udev would give it."""

    def __init__(self, host: Host, name: str, image: Path, volume: str) -> None:
        self.name = name
        self.image = image
        self.volume = volume  # what it is in truth, as SYSTEM-VOLUME
        self.node = host.dev / name
        self.sys = host.sysfs / "block" / name
        self.links: list[Path] = []
        self.foreign = False  # it is no volume of ours
        self.parted = False  # the volume goes on with another file
        self.loop = Loop(image)
        path = host.sysfs / f".{name}"
        path.mkdir()
        write(path / "dev", f"{self.loop.major_minor}\n")
        write(path / "size", f"{image.stat().st_size // 512}\n")
        path.rename(self.sys)
        os.mknod(self.node, 0o660 | 0o060000, self.loop.number)

    def add_link(self, link: Path) -> None:
        new = link.with_name(f".{link.name}")
        new.unlink(missing_ok=True)
        new.symlink_to(f"../../{self.name}")
        new.rename(link)
        self.links.append(link)

    def resize(self) -> None:
        self.loop.refresh()
        write(self.sys / "size", f"{self.image.stat().st_size // 512}\n")

    def remove(self) -> bool:
        """Take it away; False when somebody still uses it and will go on with its file."""
        for link in self.links:
            if link.is_symlink() and os.readlink(link) == f"../../{self.name}":
                link.unlink()
        if self.foreign:
            os.fsync(self.loop.fd)  # or what was written to it, and not synced, would go unseen
        self.node.unlink(missing_ok=True)
        shutil.rmtree(self.sys, ignore_errors=True)
        return self.loop.clear()


class Host:
    """A machine with an SDC. `sdcs` are its ids by system, as the gateway has them."""

    def __init__(self, gateway: Gateway, guid: str | None, name: str | None, number: int) -> None:
        self.gateway = gateway
        self.guid = guid or str(uuid.uuid4()).upper()
        self.name = name
        self.ip = f"10.0.0.{number}"
        self.root = gateway.root / f"host-{number}"
        self.sdcs: dict[str, str] = {}
        self.sysfs = self.root / "sys"
        self.dev = self.root / "dev"
        self.by_id = self.dev / "disk/by-id"
        self.devices = "right"  # what the next mappings make appear: right, late, never, wrong
        self.late: float = 2  # math.inf: only after a rescan
        self.leaving: float = 0  # how long a device stays after its volume was unmapped; math.inf: to the next boot
        self.resizing: float = 0  # how long a device keeps its old size; math.inf: to the next rescan
        self.powered = True
        self.unnoticed = False  # the MDM still calls it connected when it has lost power
        self._connected = True
        self.boots = 0
        self.left: dict[str, tuple[Device, Volume]] = {}  # by link, what is there still after it was unmapped
        self.grown: set[Device] = set()
        self.decoys = Decoys(gateway.root, f"host-{number}")
        for path in (self.sysfs / "block", self.by_id):
            path.mkdir(parents=True)
        self.driver = Driver(self)

    @property
    def sdc(self) -> str:
        """Its id in the first system."""
        return self.sdcs[self.gateway.system]

    @property
    def drv_cfg(self) -> Path:
        return self.driver.path

    def env(self) -> dict[str, str]:
        """Return the environment of a dvdcli on this host."""
        return {"DVDCLI_SYSFS": str(self.sysfs), "DVDCLI_DEV": str(self.dev)}

    # The gateway's view

    def mappings(self) -> list[Mapping]:
        return [one for volume in self.gateway.volumes.values() for one in volume.mappings if one.host is self]

    @property
    def connected(self) -> bool:
        """Whether the gateway can reach it. What is mapped and unmapped without it, it learns when it is back."""
        return self._connected

    @connected.setter
    def connected(self, value: bool) -> None:
        with self.gateway.lock:
            self._connected = value
            self.catch_up()

    @property
    def reachable(self) -> bool:
        return self.powered and self.connected

    # The machine's view

    def device(self, volume: Volume) -> Device | None:
        """Return the device that the volume's mapping to this host made appear."""
        return next((one.there for one in self.mappings() if one.volume is volume), None)

    def link(self, volume: Volume) -> Path:
        return self.by_id / volume.link

    def appear(self, mapping: Mapping) -> None:
        """Let the device of a mapping appear, as `devices` said when it was asked for."""
        volume = mapping.volume
        if not self.reachable or mapping.there or mapping not in volume.mappings or mapping.appears == "never":
            return
        if mapping.appears == "late":
            mapping.appears = "pending"
            self.gateway.clock.after(self.late, lambda: self._late(mapping))
        elif mapping.appears in ("right", "wrong"):
            self._forget(volume.link)
            if mapping.appears == "right":
                truth = f"{volume.system.id}-{volume.id}"
                mapping.there = Device(self, self._name(), volume.image, truth)
            else:
                image, truth = self.decoys.make(volume.image.stat().st_size), f"{volume.system.id}-{new_id()}"
                mapping.there = Device(self, self._name(), image, truth)
                mapping.there.foreign = True
                mapping.there.add_link(self.by_id / f"emc-vol-{truth}")
            mapping.there.add_link(self.link(volume))

    def vanish(self, mapping: Mapping) -> None:
        """Let the device of what was unmapped go, at once, late, or when the host hears of it."""
        device, mapping.there = mapping.there, None
        volume = mapping.volume
        if device is None:
            return
        self._forget(volume.link)
        self.left[volume.link] = (device, volume)
        if not self.reachable:
            self._part(device, volume)  # so that what the host goes on writing has no effect
        elif self.leaving == 0:
            self._forget(volume.link)
        else:
            self.gateway.clock.after(self.leaving, lambda: self._leave(volume.link, device))

    def rescan(self) -> None:
        """What drv_cfg --rescan does: ask the gateway for what has not been heard of."""
        for mapping in self.mappings():
            if mapping.appears == "pending":
                self._late(mapping)
        for device in self.grown:
            device.resize()
        self.grown.clear()

    def grow(self, device: Device) -> None:
        if self.resizing == 0:
            device.resize()
            return
        self.grown.add(device)
        self.gateway.clock.after(self.resizing, lambda: self._grown(device))

    def catch_up(self) -> None:
        """Hear from the gateway what happened meanwhile."""
        if self.reachable:
            for link in list(self.left):
                self._forget(link)
            for mapping in self.mappings():
                self.appear(mapping)

    def die(self) -> None:
        """Lose power: nothing is mounted and no device is there any more; the gateway still has the mappings."""
        with self.gateway.lock:
            self.powered = False
            self.grown.clear()
            for link, (device, _) in list(self.left.items()):
                unmount_all(device.loop.major_minor)
                self._forget(link)
            for mapping in self.mappings():
                device, mapping.there = mapping.there, None
                if device:
                    if unmount_all(device.loop.major_minor):
                        device.loop.wait_free()
                    self._remove(device, mapping.volume)

    def boot(self) -> None:
        """Come back: everything that is mapped is there again, under other names."""
        with self.gateway.lock:
            if self.powered:
                self.die()
            self.gateway.clock.settle()
            self.powered = True
            self.boots += 1
            for mapping in reversed(self.mappings()):
                mapping.appears = "right"
                self.appear(mapping)

    def close(self) -> None:
        for link in list(self.left):
            self._forget(link)
        for mapping in self.mappings():
            if mapping.there:
                mapping.there.remove()
                mapping.there = None

    def _late(self, mapping: Mapping) -> None:
        if mapping.appears == "pending":
            mapping.appears = "right"
            self.appear(mapping)

    def _grown(self, device: Device) -> None:
        if device in self.grown:
            self.grown.discard(device)
            device.resize()

    def _leave(self, link: str, device: Device) -> None:
        if self.left.get(link, (None, None))[0] is device:
            if device.loop.in_use():
                self.gateway.faults.append(f"{link} taken into use on {self.name} after it was unmapped")
            self._forget(link)

    def _forget(self, link: str) -> None:
        if link in self.left:
            self._remove(*self.left.pop(link))

    def _remove(self, device: Device, volume: Volume) -> None:
        self.grown.discard(device)
        if not device.remove():
            self.gateway.orphans.append(device.loop)
            self._part(device, volume)

    def _part(self, device: Device, volume: Volume) -> None:
        """Give the volume another file than the device's."""
        # Where another host has the volume too, its device could not follow: there the orphan still writes to it.
        shared = any(one.there for one in volume.mappings)
        there = volume.id in self.gateway.volumes
        if there and not shared and device.image == volume.image and not device.parted:
            volume.abandon()
            device.parted = True

    def _name(self) -> str:
        used = {path.name for path in (self.sysfs / "block").iterdir()}
        names = [f"scini{first}{last}" for first in ("", *LETTERS) for last in LETTERS]
        return next(name for name in names[self.boots :] if name not in used)

