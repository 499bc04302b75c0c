"""What providers of block devices share: from a disk of the storage system to a mounted file system, and back.

The order of steps, each of which finds what a killed call left: find, claim, attach, hold, prove, format if blank,
check, mount, grow; and back: unmount, prove that nobody uses the device, detach. A provider gives find, attach, locate
and detach. The handle in the record has

    id            the disk's, by the storage system; never changed once it is there
    attachment    what no two attachments of the disk share
    device        path, number and sequence of the device in this boot
    path          where it is mounted; namespace: in which mount namespace
    format        the intent to make a file system, from before mkfs to after it
    fresh         the file system was made for this mount: its owner and mode are still to be set
    overwritten   overwriteFs was carried out: not once more while anybody holds the volume
"""

from __future__ import annotations

import os

from dvdcli import output
from dvdcli.config import mounts_directory
from dvdcli.errors import DvdcliError, NotFoundError, TryAgainError, UsageError
from dvdcli.linux import filesystems, mountinfo, mounting
from dvdcli.names import encode
from dvdcli.providers.base import Info, Mounted, Option, Provider
from dvdcli.providers.formatting import Formatter
from dvdcli.providers.ownership import OWNERSHIP, check_ownership, dress, is_untouched

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

    from dvdcli.clock import Deadline
    from dvdcli.findings import Finding
    from dvdcli.linux.blockdev import Device
    from dvdcli.linux.filesystems import FileSystem
    from dvdcli.providers.base import Note
    from dvdcli.volume import Volume

_MOST_LOST = 3  # times that a device is lost again as soon as it was attached
_LOOK = 2.0  # seconds that somebody who only looks at a device is given

FILE_SYSTEM_OPTIONS = {
    "fsType": Option(str, filesystems.DEFAULT, "the file system that is made on a blank volume"),
    "mountopts": Option(str, "", "mount options, separated by commas"),
    "overwriteFs": Option(bool, False, "make a new file system at every mount, whatever is there: its data is lost"),
    **OWNERSHIP,
}
ALIASES = {"newfstype": "fsType", "mountoptions": "mountopts"}


class Disk:
    """What a storage system says of one of its disks: its *id* and its *size* in bytes."""

    __slots__ = ("id", "size")

    def __init__(self, disk_id: str, size: int) -> None:
        self.id = disk_id
        self.size = size


class Attached:
    """A disk of this host: its *device*, whose identity was proven, and what tells this *attachment* from others.

    *shared* says why no file system can be made on it and nobody can write, "" where it is this host's alone.
    """

    __slots__ = ("attachment", "device", "shared")

    def __init__(self, device: Device, attachment: str, shared: str = "") -> None:
        self.device = device
        self.attachment = attachment
        self.shared = shared


class LostError(TryAgainError):
    """A device is another disk's by now, or nobody's."""


class BlockProvider(Provider):
    """A storage system whose volumes are block devices."""

    options = FILE_SYSTEM_OPTIONS
    aliases = ALIASES

    def __init__(self, driver: str, settings: Mapping[str, Any], deadline: Deadline, patience: float) -> None:
        super().__init__(driver, settings, deadline, patience)
        self._disks: dict[str, Disk] = {}  # what was found or made a moment ago, in this same call of ours

    # What a provider gives

    def find(self, name: str) -> Disk | None:
        """Return the disk that *name* means: a volume's name or a disk's id; None where there is none."""
        raise NotImplementedError

    def attach(self, disk: Disk, options: Mapping[str, str], handle: dict[str, Any], note: Note) -> Attached:
        """Attach *disk* to this host, and prove which device it is; one that is attached is fine.

        What the handle is to remember of the way is put into *handle* and given to *note*.
        """
        raise NotImplementedError

    def locate(self, handle: Mapping[str, Any]) -> Device | None:
        """Return the device that is the disk of *handle* at this moment, proven, without asking the storage system.

        None where this host has none.
        """
        raise NotImplementedError

    def attachment(self, handle: Mapping[str, Any]) -> str:
        """Return what tells the attachment that the disk of *handle* has today from others, "" where it has none."""
        raise NotImplementedError

    def detach(self, handle: Mapping[str, Any], note: Note) -> None:
        """Detach the disk of *handle* from this host, and from no other; one that is not attached is fine."""
        raise NotImplementedError

    # What all share

    def check(self, options: Mapping[str, str]) -> None:
        """Raise UsageError for an option that is not known, or whose value is not possible."""
        super().check(options)
        kind = filesystems.named(self.option(options, "fsType"))
        kinds = [kind] if "fsType" in self.canonical(options) else list(filesystems.FILE_SYSTEMS.values())
        filesystems.check_options(self.option(options, "mountopts"), kinds)
        check_ownership(self, options)

    def of_mount(self, options: Mapping[str, str]) -> list[str]:
        """Return the options for the file system, which is made by the first mount."""
        return sorted(FILE_SYSTEM_OPTIONS.keys() & self.canonical(options).keys())

    def get(self, name: str) -> Info | None:
        """Return the volume *name*, without looking whether it is mounted."""
        disk = self.find(name)
        if disk is None:
            return None
        self._disks[name] = disk
        return Info(name, size=disk.size)

    def identity(self, handle: Mapping[str, Any]) -> str:
        """Return the disk's id: two records cannot have the same."""
        return str(handle.get("id", ""))

    def path(self, name: str) -> str:
        """Return where the volume *name* is mounted on this host."""
        here = self.here(name)
        return here.path if here else ""

    def here(self, name: str) -> Mounted | None:
        """Return what this host has of the volume *name*, mounted or only attached, whether it is on record or not."""
        disk = self.find(name)
        handle = {"id": disk.id} if disk else {}
        device = self.locate(handle) if handle else None
        if device is None:
            return None
        return Mounted(self.place(name, device), {**handle, "device": device.to_json()})

    def place(self, name: str, device: Device | None) -> str:
        """Return the mountpoint of the volume *name*, if *device* is mounted there; else ""."""
        there = mountinfo.at(self.mountpoint(name), mountinfo.read())
        return there.path if device and there and there.is_of(device.number) else ""

    def fill(self, name: str, device: Device, disk_id: str) -> None:
        """Let the file system of the volume *name*, where it is mounted, fill *device*, which *disk_id* has.

        Raises DvdcliError.
        """
        if not self.place(name, device):
            return
        descriptor = self._hold(device, {"id": disk_id})
        try:
            path = self.place(name, device)
            there = mountinfo.at(path, mountinfo.read())
            kind = filesystems.FILE_SYSTEMS.get(there.type) if there is not None else None
            failure = filesystems.grow(kind, device, path, self.deadline, self.guard) if kind else ""
        finally:
            os.close(descriptor)
        if failure:
            raise DvdcliError(
                f"{device} is larger, but the file system at {path} is not: {failure}",
                "it is tried again at the next mount",
            )

    def mounted_at(self, volume: Volume, handle: Mapping[str, Any]) -> str:
        """Return where the volume of *handle* is mounted: the mount is of the disk's own device of today."""
        path = str(handle.get("path", ""))
        there = mountinfo.at(path, mountinfo.read_in(str(handle.get("namespace", "")))) if path else None
        device = self.locate(handle) if there is not None else None
        proven = device is not None and device.is_that_of(handle.get("device"))
        return path if there and device and proven and there.is_of(device.number) else ""

    def check_ready(self) -> Iterator[Finding]:
        """Return whether we can mount, and with which programs."""
        from dvdcli.providers import readiness

        yield from readiness.root()
        yield from readiness.programs()

    def mountpoint(self, name: str) -> str:
        """Return the directory that the volume *name* is mounted at."""
        return f"{os.path.realpath(mounts_directory())}/{encode(self.driver)}/{encode(name)}"

    def mount(self, volume: Volume, options: Mapping[str, str], handle: Mapping[str, Any], note: Note) -> Mounted:
        """Attach, make a file system only on a blank device, mount."""
        state = dict(handle)
        wanted = state.get("id") or volume.name
        disk = self._disks.pop(wanted, None) or self.find(wanted)
        if disk is None:
            raise NotFoundError(f"there is no disk {wanted} for the volume {volume}")
        state["id"] = disk.id
        note(state)
        with output.step(f"attaching {disk.id}", self.deadline):
            attached, descriptor = self._attach_and_hold(disk, options, state, note)
        path = self.mountpoint(volume.name)
        try:
            mounted = self._is_mounted(attached.device, path, state)
            known = {"device": attached.device.to_json(), "attachment": attached.attachment, "path": path}
            if not mounted or {**state, **known} != state:
                state.update(known, namespace=mountinfo.namespace())
                note(state)
            if not mounted:
                self._mount(attached, path, options, state, note)
        finally:
            os.close(descriptor)
        fresh = state.pop("fresh", False) or (not self._is_read_only(options) and is_untouched(path))
        if fresh:
            dress(self, path, options)
        return Mounted(path, state, fresh)

    def _attach_and_hold(
        self, disk: Disk, options: Mapping[str, str], state: dict[str, Any], note: Note
    ) -> tuple[Attached, int]:
        """Return the disk's device and a descriptor, which the caller closes: until then nobody else gets the device.

        Raises as attach, and LostError where the device is given to somebody else each time.
        """
        for _ in range(_MOST_LOST):
            attached = self.attach(disk, options, state, note)
            try:
                return attached, self._hold(attached.device, state)
            except LostError as error:
                lost = error
        raise lost

    def _hold(self, device: Device, handle: Mapping[str, Any]) -> int:
        """Return a descriptor of *device*, which was opened before it was proven once more that it is the disk's.

        A device that nobody has open can be given to another disk at any moment: a loop device is when its last opener
        goes, as whoever looks at it can be. Raises LostError where it was, and OSError.
        """
        descriptor = device.open()
        try:
            today = self.locate(handle)
            if today is not None and today.is_that_of(device.to_json()):
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
        raise LostError(f"{device} was taken off {handle['id']} by somebody", "try again when they are done")

    def _is_read_only(self, options: Mapping[str, str]) -> bool:
        return "ro" in filesystems.split_options(self.option(options, "mountopts"))

    def _is_mounted(self, device: Device, path: str, state: dict[str, Any]) -> bool:
        """Return whether *device* is mounted at *path*; clear away a mount whose device has gone.

        A device that is free is not the one that is mounted there, but one that has got its number.
        """
        there = mountinfo.at(path, mountinfo.read())
        if there is None:
            return False
        if there.is_of(device.number) and not device.is_free():
            return True
        old = str(state.get("device", {}).get("number", ""))
        if not (old and there.is_of(old) and (mounting.is_dead(old) or old != device.number)):
            raise DvdcliError(f"{there.source or there.device} is mounted at {path}", "unmount it by hand")
        mounting.unmount(path, [old], self.deadline, self.guard)
        return False

    def _mount(
        self, attached: Attached, path: str, options: Mapping[str, str], state: dict[str, Any], note: Note
    ) -> None:
        device = attached.device
        asked = filesystems.split_options(self.option(options, "mountopts"))
        read_only = self._is_read_only(options)
        if attached.shared and not read_only:
            raise UsageError(f"{device} is shared: {attached.shared}", "mount it read-only, with mountopts=ro")
        if not read_only and device.is_read_only():
            raise DvdcliError(f"{device} is read-only", "mount it read-only, with mountopts=ro")
        mounting.await_free(device, self.deadline, _LOOK)
        kind = self._file_system(attached, options, read_only, state, note)
        filesystems.check_options(",".join(asked), [kind])
        mounting.make_mountpoint(path)
        if not read_only and filesystems.needs_repair(kind, device):
            self._repair(kind, device)
        try:
            mounting.mount(device, kind, path, asked, self.deadline, self.guard)
        except mounting.RefusedError:
            if read_only or not kind.repair:
                raise
            self._repair(kind, device)
            mounting.mount(device, kind, path, asked, self.deadline, self.guard)
        if not read_only and not state.get("fresh"):
            failure = filesystems.grow(kind, device, path, self.deadline, self.guard)
            if failure:
                output.warn(f"the file system at {path} does not fill its volume: {failure}")

    def _repair(self, kind: FileSystem, device: Device) -> None:
        with output.step(f"checking the file system on {device}", self.deadline):
            filesystems.repair(kind, device, self.deadline, self.guard)

    def _file_system(
        self, attached: Attached, options: Mapping[str, str], read_only: bool, state: dict[str, Any], note: Note
    ) -> FileSystem:
        overwrite = self.option(options, "overwriteFs") and not state.get("overwritten")

        def save(intent: dict[str, Any]) -> None:
            state["format"] = intent
            note(state)

        why = attached.shared or ("the mount is read-only" if read_only else "")
        formatter = Formatter(attached.device, attached.attachment, self.deadline, self.guard)
        wanted = filesystems.named(self.option(options, "fsType"))
        kind, made = formatter.settle(wanted, state.get("format", {}), why, overwrite, save)
        if made or "format" in state:
            state.pop("format", None)
            state["fresh"] = bool(made)
            state["overwritten"] = bool(overwrite)
            note(state)  # from here on the file system counts as used: it is never made again
        return kind

    def unmount(self, volume: Volume, handle: Mapping[str, Any], note: Note) -> bool:
        """Unmount, prove that nobody uses the device, detach."""
        if not handle.get("id"):
            return True  # the id is on disk before anything is attached
        path = str(handle.get("path") or self.mountpoint(volume.name))
        device = self.locate(handle)
        numbers = [str(handle.get("device", {}).get("number", ""))] + ([device.number] if device else [])
        with output.step(f"unmounting {path}", self.deadline):
            mounting.unmount(path, [number for number in numbers if number], self.deadline, self.guard)
        if device is not None:
            with output.step(f"waiting until {device} is free", self.deadline):
                mounting.await_free(device, self.deadline)
            if handle.get("format"):
                self._finish_format(device, handle)
        with output.step(f"detaching {handle['id']}", self.deadline):
            self.detach(handle, note)
        try:
            os.rmdir(path)  # not before: it would take a container's copy of the mount away
        except OSError:
            pass  # something is in it, or it was never made: it is no harm
        return True

    def _finish_format(self, device: Device, handle: Mapping[str, Any]) -> None:
        descriptor = self._hold(device, handle)
        try:
            attachment = self.attachment(handle)
            Formatter(device, attachment, self.deadline, self.guard).finish(handle["format"])
        except TryAgainError:
            raise
        except DvdcliError as error:
            output.warn(f"{device} ({handle['id']}) is left with half a file system on it: {error}")
        finally:
            os.close(descriptor)
