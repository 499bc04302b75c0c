"""This host's SDC: its guid, and which block device a volume is. Source: the PowerFlex SDC's drv_cfg and udev rules."""

from __future__ import annotations

import os

from dvdcli import config
from dvdcli.errors import DvdcliError
from dvdcli.linux import files, process
from dvdcli.linux.blockdev import Device

TYPE_CHECKING = False
if TYPE_CHECKING:
    from dvdcli.clock import Deadline

_PLACES = ("/opt/emc/scaleio/sdc/bin/drv_cfg", "/bin/emc/scaleio/drv_cfg")
_ANSWER = 10.0  # seconds
_HEXADECIMAL = frozenset("0123456789abcdefABCDEF-")


class Sdc:
    """The SDC that *program*, a path of drv_cfg or "" for the usual ones, is about. Raises DvdcliError."""

    def __init__(self, program: str, deadline: Deadline) -> None:
        self._program = program
        self._deadline = deadline

    def guid(self) -> str:
        """Return the guid by which the MDM knows this host, in upper case."""
        done = self._run("--query_guid")
        guid = done.strip().upper()
        if not guid or not _HEXADECIMAL.issuperset(guid):
            raise DvdcliError(f"{self._path()} does not tell the guid of this host's SDC", "see that the SDC is set up")
        return guid

    def rescan(self) -> None:
        """Let the SDC look for volumes that were mapped to it."""
        self._run("--rescan")

    def confirms(self, device: Device, volume_id: str) -> bool:
        """Return whether the SDC says that *device* is the volume, as udev asks it; an older one says nothing."""
        flags = ["--query_block_device_id", "--block_device", device.path]
        done = process.run([self._path(), *flags], self._deadline.sooner(_ANSWER))
        said = done.output.strip().lower()
        return done.code != 0 or not said or said.endswith(volume_id.lower())

    def _path(self) -> str:
        for path in (self._program,) if self._program else _PLACES:
            if os.access(path, os.X_OK):
                return path
        where = self._program or " or ".join(_PLACES)
        raise DvdcliError(f"there is no {where} on this host", "install the SDC, or set drv_cfg for this driver")

    def _run(self, flag: str) -> str:
        path = self._path()
        done = process.run([path, flag], self._deadline.sooner(_ANSWER))
        if done.code != 0:
            raise DvdcliError(f"{path} {flag} failed: {done.said}", "see that the SDC runs")
        return done.output


def find(volume_id: str) -> Device | None:
    """Return the device of the volume *volume_id* on this host, None where there is none or it cannot be told.

    udev names it by the ids of its system and its volume. A node that has two such names is nobody's, as one of them is
    stale; and so is a volume that two systems have.
    """
    directory = f"{config.device_directory()}/disk/by-id"
    targets: dict[str, list[str]] = {}
    for name in files.names_in(directory):
        if name.startswith("emc-vol-") and "-part" not in name:
            targets.setdefault(os.path.realpath(f"{directory}/{name}"), []).append(name)
    ours = [target for target, names in targets.items() if any(name.endswith(f"-{volume_id}") for name in names)]
    return _device(ours[0]) if len(ours) == 1 and len(targets[ours[0]]) == 1 else None


def _device(path: str) -> Device | None:
    try:
        return Device(path)
    except DvdcliError:
        return None  # it went while we looked
