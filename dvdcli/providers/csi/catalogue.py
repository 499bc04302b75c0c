"""The names of a CSI driver's volumes: the specification has no look-up by name, only making one of it again.

    <root>/.csi/<volume>/volume.json    what was asked for, and what the driver answered
    <root>/.csi/<volume>/staging        where the driver stages it: there from before it is attached to after
    <root>/<volume>                     where it is published

<root> is the driver's directory among our mounts, and .csi in it root's alone: what is staged there has the modes of
a volume. A request is on disk before it is sent, and is sent again as it was: so it finds the volume that it made.
"""

from __future__ import annotations

import os

from dvdcli import fastjson
from dvdcli.config import mounts_directory
from dvdcli.errors import DvdcliError, NewerError
from dvdcli.linux import files
from dvdcli.linux.mounting import make_mountpoint
from dvdcli.volume import encode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

SCHEMA = 1
MAKING, MADE, ADOPTED, REMOVING = "making", "made", "adopted", "removing"
_FIELDS: dict[str, type] = {
    "name": str, "status": str, "request": dict, "id": str, "context": dict, "size": int, "topology": list,
    "expand": int, "dressed": bool,
}  # fmt: skip


class Entry:
    """What is known of the volume *name*.

    *status* is making (its request is meant to be sent), made, adopted (a volume of another's making, by its id), or
    removing. *request* has the fields of CreateVolume but for secrets. *id*, *context*, *size* in bytes and *topology*,
    a list of segments, are the driver's answer. *expand* is the size in bytes that its file system is still to grow
    to, and *dressed* says that its owner and mode are set.
    """

    def __init__(self, name: str, status: str, request: dict[str, Any] | None = None, volume_id: str = "") -> None:
        self.name = name
        self.status = status
        self.request: dict[str, Any] = request or {}
        self.id = volume_id
        self.context: dict[str, str] = {}
        self.size = 0
        self.topology: list[dict[str, str]] = []
        self.expand = 0
        self.dressed = False

    @property
    def is_there(self) -> bool:
        """Whether the volume has been made, and is not half deleted."""
        return self.status in (MADE, ADOPTED)

    def take(self, volume: Any) -> None:
        """Note what the driver says of the *volume*, the message Volume."""
        self.id, self.context = volume.volume_id, dict(volume.volume_context)
        self.size = volume.capacity_bytes or self.request.get("capacity_range", {}).get("required_bytes", 0)
        self.topology = [dict(each.segments) for each in volume.accessible_topology]


class Catalogue:
    """The entries of the driver *driver*. The caller has the lock of the volume that it changes."""

    def __init__(self, driver: str) -> None:
        self.root = f"{os.path.realpath(mounts_directory())}/{encode(driver)}"
        self._home = f"{self.root}/.csi"

    def target(self, name: str) -> str:
        """Return where the volume *name* is published."""
        return f"{self.root}/{encode(name)}"

    def staging(self, name: str) -> str:
        """Return where the volume *name* is staged."""
        return f"{self._home}/{encode(name)}/staging"

    def load(self, name: str) -> Entry | None:
        """Return the entry of the volume *name*, None where there is none. Raises DvdcliError, OSError."""
        return self._read(f"{self._home}/{encode(name)}/volume.json")

    def entries(self) -> list[Entry]:
        """Return all entries that can be read. Raises OSError."""
        found = []
        for directory in files.names_in(self._home):
            try:
                entry = self._read(f"{self._home}/{directory}/volume.json")
            except DvdcliError:
                continue  # who asks for that volume is told
            if entry is not None:
                found.append(entry)
        return found

    def save(self, entry: Entry) -> None:
        """Make *entry* durable. Raises OSError."""
        directory = self._make(entry.name)
        data = {"schema": SCHEMA, **{key: getattr(entry, key) for key in _FIELDS}}
        files.replace(f"{directory}/volume.json", fastjson.dumps(data).encode(), durable=True)
        files.sync_directory(directory)

    def drop(self, name: str) -> None:
        """Remove the entry of the volume *name*; none is fine. Raises OSError."""
        directory = f"{self._home}/{encode(name)}"
        files.unlink(f"{directory}/volume.json.new")
        files.unlink(f"{directory}/volume.json")
        for path in (f"{directory}/staging", directory):
            try:
                os.rmdir(path)
            except OSError:
                return  # never made, or in use: what is mounted there says so

    def begin(self, name: str) -> str:
        """Make the directory in which the volume *name* is staged, and return it. Raises OSError."""
        self._make(name)
        staging = self.staging(name)
        try:
            os.mkdir(staging, 0o750)
        except FileExistsError:
            pass
        return staging

    def end(self, name: str) -> None:
        """Take away the directories that the volume *name* was staged and published in, empty ones alone."""
        for path in (self.target(name), self.staging(name)):
            try:
                os.rmdir(path)
            except NotADirectoryError:
                _unlink_empty(path)
            except OSError:
                continue

    def has_begun(self, name: str) -> bool:
        """Return whether the volume *name* has been staged or published, or was about to be."""
        # Not by a stat, which would ask the file system that is mounted there.
        return "staging" in files.names_in(os.path.dirname(self.staging(name)))

    def _make(self, name: str) -> str:
        if not os.path.isdir(self.root):
            make_mountpoint(self.root)
            parent = os.path.dirname(self.root)
            for path in (parent, os.path.dirname(parent)):
                files.sync_directory(path)
        directory = f"{self._home}/{encode(name)}"
        for path in (self._home, directory):
            try:
                os.mkdir(path, 0o700)
            except FileExistsError:
                continue
            files.sync_directory(os.path.dirname(path))
        return directory

    def _read(self, path: str) -> Entry | None:
        data = files.read(path)
        if data is None:
            return None
        try:
            fields = fastjson.loads(data)
            if fields["schema"] > SCHEMA:
                raise NewerError(f"{path} is of a newer dvdcli", "use that one")
            entry = Entry(fields["name"], fields["status"])
            for key, kind in _FIELDS.items():
                if type(fields[key]) is not kind:
                    raise ValueError(key)
                setattr(entry, key, fields[key])
        except (ValueError, KeyError, TypeError) as error:
            hint = "move it away, and take the volume by its id, with volumeID"
            raise DvdcliError(f"{path} is damaged: {error!r}", hint) from error
        return entry


def _unlink_empty(path: str) -> None:
    """Remove the file *path* that a driver published a block device over, and left."""
    try:
        if os.lstat(path).st_size == 0 and os.path.isfile(path) and not os.path.islink(path):
            os.unlink(path)
    except OSError:
        return
