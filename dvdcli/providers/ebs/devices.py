"""Which block device an EBS volume is: by the serial number that the device itself has, never by a name or a link.

Source: "Amazon EBS and NVMe", AWS's EC2 guide. On a Nitro instance a volume is an NVMe device whose serial number is
its id without the dash; its name says nothing. On a Xen instance it has the name that it was attached with, and no
number: then its size has to be right, and what EC2 says of the attachment has to be asked.
"""

from __future__ import annotations

import os

from dvdcli import config
from dvdcli.errors import DvdcliError
from dvdcli.linux import files
from dvdcli.linux.blockdev import Device

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_SERIAL = "vol"  # that of any other NVMe device, an instance store's say, begins otherwise
NVME, XEN = "nvme", "xen"


def find(volume_id: str) -> Device | None:
    """Return the NVMe device that has the serial number of *volume_id*, None where there is none."""
    wanted = volume_id.replace("-", "")
    names = [name for name, serial in serials() if serial == wanted]
    found = [device for device in map(_device, names) if device is not None]
    return found[0] if len(found) == 1 else None


def find_xen(asked: str) -> Device | None:
    """Return the device that a Xen instance has for a volume attached as *asked* ("/dev/xvdba"), None for none."""
    if any(True for _ in serials()):
        return None  # a Nitro instance: whatever has that name there is something else
    name = asked.rpartition("/")[2]
    for candidate in (name, name.replace("sd", "xvd", 1)):
        device = _device(candidate) if candidate else None
        if device is not None:
            return device
    return None


def serials() -> Iterator[tuple[str, str]]:
    """Return the name and the serial number of each EBS volume that is an NVMe device."""
    directory = f"{config.sysfs_directory()}/block"
    for name in files.names_in(directory):
        if name.startswith("nvme"):
            serial = _read(f"{directory}/{name}/device/serial") or _read(f"{directory}/{name}/serial")
            if serial.startswith(_SERIAL):
                yield name, serial


def _device(name: str) -> Device | None:
    """Return the device *name*, if its node is the one that the kernel means."""
    number = _read(f"{config.sysfs_directory()}/block/{name}/dev")
    try:
        device = Device(f"{config.device_directory()}/{name}")
    except DvdcliError:
        return None  # its node has not been made yet
    return device if number in ("", device.number) else None


def _read(path: str) -> str:
    try:
        return (files.read(os.path.realpath(path)) or b"").decode("utf-8", "replace").strip()
    except OSError:
        return ""  # it went while we looked
