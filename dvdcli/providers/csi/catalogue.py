"""The names of a CSI driver's volumes: the specification has no look-up by name, only making one of it again.

    <mounts>/.csi/<plugin>/<volume>/volume.json    what was asked for, and what the driver answered
    <mounts>/.csi/<plugin>/<volume>/staging        where the driver stages it: from before it is attached to after
    <mounts>/<driver>/<volume>                     where it is published

<mounts> is the directory of our mounts, and .csi in it root's alone: what is staged there has the modes of a volume.
<plugin> is what the driver calls itself: names are the same whatever it is called in the configuration. A request is on
disk before it is sent, and is sent again as it was: so it finds the volume that it made.
"""

from __future__ import annotations

import os

from dvdcli import fastjson
from dvdcli.config import mounts_directory
from dvdcli.errors import DvdcliError, NewerError
from dvdcli.linux import files
from dvdcli.linux.mounting import make_mountpoint
from dvdcli.names import encode

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


def published_in(driver: str) -> str:
    """Return the directory that the volumes of the driver *driver* are published in."""
    return f"{os.path.realpath(mounts_directory())}/{encode(driver)}"


def target(driver: str, name: str) -> str:
    """Return where the volume *name* of the driver *driver* is published."""
    return f"{published_in(driver)}/{encode(name)}"


class Catalogue:
    """The entries of the driver *driver*, which calls itself *plugin*.

    The caller has the lock of the volume that it changes.
    """

    def __init__(self, driver: str, plugin: str) -> None:
        self.driver = driver
        self._mounts = os.path.realpath(mounts_directory())
        self._home = f"{self._mounts}/.csi/{encode(plugin)}"

    def target(self, name: str) -> str:
        """Return where the volume *name* is published."""
        return target(self.driver, name)

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
        """Remove the entry of the volume *name*, and what a killed call left in its place; none is fine.

        Raises OSError.
        """
        directory = f"{self._home}/{encode(name)}"
        files.unlink(f"{directory}/volume.json.new")
        files.unlink(f"{directory}/volume.json")
        for path in (f"{directory}/staging", directory):
            try:
                os.rmdir(path)
            except OSError:
                continue  # never made, or in use: what is mounted there says so

    def sweep(self, name: str) -> None:
        """Remove what is left of the volume *name* where it has no entry: a call was killed as it made or dropped it.

        Where it is staged, or was about to be, a record of ours undoes that first.
        """
        if os.path.isdir(f"{self._home}/{encode(name)}") and self.load(name) is None and not self.has_begun(name):
            self.drop(name)

    def begin(self, name: str) -> None:
        """Make the directories in which the volume *name* is staged and published. Raises OSError."""
        self._make(name)
        make_mountpoint(published_in(self.driver))
        staging = self.staging(name)
        try:
            os.mkdir(staging, 0o750)
        except FileExistsError:
            return

    def end(self, name: str) -> None:
        """Take away the directories that the volume *name* was staged and published in, empty ones alone.

        That of a volume without an entry goes with them. Raises OSError: with a staging directory it is half mounted.
        """
        for path in (self.target(name), self.staging(name), os.path.dirname(self.staging(name))):
            try:
                files.remove_directory(path)
            except NotADirectoryError:
                _unlink_empty(path)

    def has_begun(self, name: str) -> bool:
        """Return whether the volume *name* has been staged or published, or was about to be."""
        # Not by a stat, which would ask the file system that is mounted there.
        return "staging" in files.names_in(os.path.dirname(self.staging(name)))

    def _make(self, name: str) -> str:
        if not os.path.isdir(self._mounts):
            make_mountpoint(self._mounts)
            files.sync_directory(os.path.dirname(self._mounts))
        directory = f"{self._home}/{encode(name)}"
        for path in (os.path.dirname(self._home), self._home, directory):
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
    """Remove the file *path* that a driver published a block device over, and left. Raises OSError."""
    if os.path.isfile(path) and not os.path.islink(path) and os.lstat(path).st_size == 0:
        os.unlink(path)
