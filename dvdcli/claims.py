"""One record for one disk: a claim on the storage system's own id, under a lock of its own.

    claims/<provider>/<id>/lock
    claims/<provider>/<id>/claim.json    driver and name of the volume whose record has the disk

A disk can be named in two ways: by id and by name, or through two drivers. A claim counts while the record that it
names is there and has that id, or none yet. Whoever drops it has the record still, so that a killed call's is found;
where a record was lost, the first recover of a boot finds its claim.
"""

from __future__ import annotations

import os

from dvdcli import fastjson, output
from dvdcli.clock import Deadline
from dvdcli.errors import DvdcliError, InUseError, NewerError, UsageError
from dvdcli.linux import files
from dvdcli.locks import Lock, acquire
from dvdcli.names import encode
from dvdcli.state import State, make_root
from dvdcli.volume import SCHEMA, Volume, refuse_newer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from dvdcli.state import Slot
    from dvdcli.volume import Record


class Claim:
    """The claim on the disk *identity* of *provider*."""

    def __init__(self, provider: str, identity: str) -> None:
        self._state = State()
        self.identity = identity
        self._names = encode(provider), encode(identity)
        self.directory = f"{self._state.root}/claims/{'/'.join(self._names)}"
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

    @classmethod
    def at(cls, provider: str, identity: str) -> Claim:
        """Return a claim by the names of its directories."""
        claim = cls(provider, identity)
        claim._names = provider, identity
        claim.directory = f"{claim._state.root}/claims/{provider}/{identity}"
        claim._path = f"{claim.directory}/claim.json"
        return claim

    def drop(self, volume: Volume | None, deadline: Deadline) -> None:
        """Remove the claim of *volume*, whose record is about to go. Raises TryAgainError and OSError."""
        lock = self._lock(deadline)
        try:
            if self._owner() in (None, volume):
                for name in ("claim.json", "claim.json.new", "lock"):
                    files.unlink(f"{self.directory}/{name}")
                files.remove_directory(self.directory)
        finally:
            lock.release()

    def sweep(self) -> bool:
        """Remove the claim if it counts no more, which its volume's lock proves; return whether that could be judged.

        Raises NewerError, TryAgainError, OSError.
        """
        owner = self._owner()
        if owner is None:
            self.drop(None, Deadline(0.0))
            return True
        slot = self._state.slot(owner)
        slot.look_only = True
        lock = slot.acquire(Deadline(0.0))
        try:
            record = slot.load()
            if slot.is_damaged():
                return False
            if record is None or not self._is_of(record):
                self.drop(owner, Deadline(0.0))
            slot.erase_if_empty()
        finally:
            lock.release()
        return True

    def _is_of(self, record: Record) -> bool:
        disks = {record.claim, str(record.handle.get("id", ""))} - {""}
        return self._names in {(encode(record.provider), encode(disk)) for disk in disks}

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


def take_for(slot: Slot, record: Record, identity: str, deadline: Deadline) -> None:
    """Claim the disk *identity* for *record*, and say so there first: through that a killed call's claim is found.

    Raises InUseError, naming the record that has it; TryAgainError and OSError.
    """
    if record.claim != identity:
        record.claim = identity
        slot.save(record, intent=True)
    try:
        # Where the record says so already, too: the call that wrote it can have been killed before it took it.
        Claim(record.provider, identity).take(record.volume, deadline)
    except InUseError:
        record.claim = ""  # only here: what another failure left of the claim goes with the record
        slot.save(record, intent=True)
        raise


def drop_of(slot: Slot, record: Record, deadline: Deadline) -> None:
    """Drop the claim of *record*, which is about to go, and has no disk any more. Raises TryAgainError and OSError."""
    record.handle = {}
    slot.save_failure(record, record.failure)  # before another record can have the disk
    # Where this fails the record stays, without holds: through it alone recover finds the claim.
    try:
        Claim(record.provider, record.claim).drop(record.volume, deadline)
    except NewerError as error:
        output.debug(f"the claim on {record.claim} is void, and stays: {error}")


def sweep() -> bool:
    """Remove the claims that count no more, whose record was lost; return whether every one could be judged."""
    whole = True
    tree = f"{State().root}/claims"
    for provider in files.names_in(tree):
        for identity in files.names_in(f"{tree}/{provider}"):
            try:
                whole = Claim.at(provider, identity).sweep() and whole
            except NewerError:
                continue  # the newer dvdcli's to judge
            except (DvdcliError, OSError):
                whole = False
    return whole


def _read(path: str) -> Mapping[str, Any] | None:
    try:
        fields = fastjson.loads(files.read(path) or b"")
        refuse_newer(path, fields)
        return fields if isinstance(fields["driver"], str) and isinstance(fields["name"], str) else None
    except (ValueError, KeyError, TypeError):
        return None
