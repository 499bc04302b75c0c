"""One record for one disk: a claim on the storage system's own id, under a lock of its own.

    claims/<provider>/<id>/lock
    claims/<provider>/<id>/claim.json    driver and name of the volume whose record has the disk

A disk can be named in two ways: by id and by name, or through two drivers. A claim counts while the record that it
names is there and has that id, or none yet; so what a killed call leaves of it needs no clean-up.
"""

from __future__ import annotations

import os

from dvdcli import fastjson
from dvdcli.errors import InUseError, UsageError
from dvdcli.linux import files
from dvdcli.locks import Lock, acquire
from dvdcli.state import State, make_root, refuse_newer, remove_directory
from dvdcli.volume import SCHEMA, Volume, encode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from dvdcli.clock import Deadline


class Claim:
    """The claim on the disk *identity* of *provider*."""

    def __init__(self, provider: str, identity: str) -> None:
        self._state = State()
        self.identity = identity
        self.directory = f"{self._state.root}/claims/{encode(provider)}/{encode(identity)}"
        self._path = f"{self.directory}/claim.json"

    def take(self, volume: Volume, deadline: Deadline) -> None:
        """Claim the disk for the record of *volume*. Raises InUseError, naming the record that has it; OSError."""
        lock = self._lock(deadline)
        try:
            other = self._owner()
            if other is not None and other != volume and self._counts(other):
                raise InUseError(
                    f"{self.identity} is on record as {other} already", f"unmount {other}, or use it by that name"
                )
            if other != volume:
                fields = {"schema": SCHEMA, "driver": volume.driver, "name": volume.name}
                files.replace(self._path, fastjson.dumps(fields).encode(), durable=True)
                files.sync_directory(self.directory)
        finally:
            lock.release()

    def drop(self, volume: Volume, deadline: Deadline) -> None:
        """Remove the claim of *volume*, whose record is gone. Raises TryAgainError and OSError: then it is void."""
        lock = self._lock(deadline)
        try:
            if self._owner() in (None, volume):
                for name in ("claim.json", "claim.json.new", "lock"):
                    files.unlink(f"{self.directory}/{name}")
                remove_directory(self.directory)
        finally:
            lock.release()

    def _lock(self, deadline: Deadline) -> Lock:
        return acquire(f"{self.directory}/lock", deadline, self._make)

    def _make(self) -> None:
        make_root(self._state.root)
        parent = os.path.dirname(self.directory)
        for path in (os.path.dirname(parent), parent, self.directory):
            try:
                os.mkdir(path, 0o700)
            except (FileExistsError, FileNotFoundError):
                continue

    def _owner(self) -> Volume | None:
        fields = _read(self._path)
        try:
            return Volume(fields["driver"], fields["name"]) if fields else None
        except UsageError:
            return None  # damaged

    def _counts(self, owner: Volume) -> bool:
        """Return whether the record of *owner* is there, and has this disk or none yet."""
        record = files.read(f"{self._state.slot(owner).directory}/record.json")
        if record is None:
            return False
        try:
            has = fastjson.loads(record)["handle"].get("id", self.identity)
        except (ValueError, KeyError, TypeError, AttributeError):
            return True  # damaged: recover finds out what it has
        return bool(has == self.identity)


def _read(path: str) -> Mapping[str, Any] | None:
    try:
        fields = fastjson.loads(files.read(path) or b"")
        refuse_newer(path, fields)
        return fields if isinstance(fields["driver"], str) and isinstance(fields["name"], str) else None
    except (ValueError, KeyError, TypeError):
        return None
