"""Making, finding and deleting the volumes of a CSI driver, of which the catalogue knows the names.

A call that was killed between the request and its answer has left an entry that says what was asked for. The same
request is sent again then, and the driver answers with the volume that it made.
"""

from __future__ import annotations

from dvdcli import output
from dvdcli.errors import DvdcliError, NotFoundError, TryAgainError, UsageError
from dvdcli.providers.csi.catalogue import ADOPTED, MADE, MAKING, REMOVING, Entry
from dvdcli.providers.csi.errors import REFUSED, status_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from dvdcli.providers.csi.catalogue import Catalogue
    from dvdcli.providers.csi.driver import Driver

LONGEST = 128  # bytes: the specification's limit for a string
_LARGEST = 4096  # bytes: its limit for a table of strings


class Wanted:
    """What a new volume is to be like: *size* in bytes, 0 for any; *parameters*; *capability*, as a message's fields.

    *given* are those of the three that the call asked for itself, by name.
    """

    __slots__ = ("capability", "given", "parameters", "size", "topology")

    def __init__(
        self, size: int, parameters: Mapping[str, str], capability: dict[str, Any], topology: Mapping[str, str],
        given: frozenset[str],
    ) -> None:  # fmt: skip
        self.size = size
        self.parameters = dict(parameters)
        self.capability = capability
        self.topology = dict(topology)
        self.given = given

    def check(self) -> None:
        """Raise UsageError for parameters that are longer than the specification allows."""
        if sum(len(text.encode()) for pair in self.parameters.items() for text in pair) > _LARGEST:
            raise UsageError("the parameters of a new volume are too long", f"at most {_LARGEST} bytes are possible")


def check_name(name: str) -> None:
    """Raise UsageError for a name, or an id, that is longer than the specification allows."""
    size = len(name.encode())
    if size > LONGEST:
        raise UsageError(f"the volume name has {size} bytes", f"a CSI volume's has at most {LONGEST}")


class Maker:
    """The volumes of *driver*, whose names are in *catalogue*."""

    def __init__(self, driver: Driver, catalogue: Catalogue) -> None:
        self._driver = driver
        self._catalogue = catalogue

    def find(
        self, name: str, volume_id: str, context: Mapping[str, str], capability: Mapping[str, Any]
    ) -> Entry | None:
        """Return what *name* means, None for nothing: an entry, *volume_id* where it is not "", or an id of its own.

        What is no entry yet has the *context* of the call. The driver is asked whether the volume is there, where it
        can be asked; an id as a name needs its list.
        """
        check_name(name)
        entry = self._catalogue.load(name)
        if entry is not None and volume_id not in ("", entry.id):
            if entry.is_there:
                raise UsageError(f"the volume {name!r} is {entry.id}, not {volume_id}", "give that one its own name")
            raise UsageError(f"the volume {name!r} is half made, or half deleted", "finish that, with create or remove")
        if entry is not None and not entry.is_there:
            return None
        if entry is None:
            if volume_id:
                self._check_nameless(volume_id, name)
            entry = Entry(name, ADOPTED, volume_id=volume_id or name)
            entry.context = dict(context)
            if not volume_id:  # a name is an id only by the driver's list: it may say yes to any
                return entry if self._driver.lists(name) else None
        return None if self._driver.is_there(entry.id, capability, entry.context) is False else entry

    def _check_nameless(self, volume_id: str, name: str) -> None:
        """Raise UsageError where the volume *volume_id* has another name here: a second would hide whose it is."""
        other = next((entry.name for entry in self._catalogue.entries() if entry.id == volume_id), name)
        if other != name:
            raise UsageError(f"{volume_id} is named {other!r}, not {name!r}", f"use the name {other!r}")

    def make(self, name: str, wanted: Wanted) -> Entry:
        """Make the volume *name*, or return the one that is there, if it is as *wanted*."""
        check_name(name)
        wanted.check()
        entry = self._catalogue.load(name)
        if entry is not None and entry.status == REMOVING:
            self._delete(entry)
            entry = None
        if entry is not None and entry.is_there:
            there = self._driver.is_there(entry.id, wanted.capability, entry.context)
            if there or there is None:
                self._compare(entry, wanted)
                return entry
            if entry.status == ADOPTED:
                raise NotFoundError(f"the volume {name!r} is {entry.id}, which is not there", "remove it, by its name")
        if not self._driver.controls("CREATE_DELETE_VOLUME"):
            raise NotFoundError(
                f"there is no volume {name!r}, and the driver {self._driver.name} makes none",
                "name one that is there by its id, with the volume option volumeID",
            )
        if entry is None or wanted.given:  # what was asked for before had the same name: the driver knows it, or not
            entry = Entry(name, MAKING, self._request(name, wanted))
        return self._send(entry)

    def adopt(self, entry: Entry) -> None:
        """Keep *entry*, of a volume that is there, under its name."""
        if self._catalogue.load(entry.name) is None:
            self._catalogue.save(entry)

    def complete(self, name: str) -> None:
        """Bring to its end what a killed call has begun with the volume *name*: it is made, or it is gone."""
        entry = self._catalogue.load(name)
        if entry is not None and entry.status == MAKING:
            try:
                self._send(entry)
            except DvdcliError as error:
                if status_of(error) in REFUSED:
                    return
                if not isinstance(error, TryAgainError):
                    error.hint = f"{error.hint}; once a create with other options has made it, it can be removed"
                raise
        elif entry is not None and entry.status == REMOVING:
            self._delete(entry)
        elif entry is None:
            self._catalogue.sweep(name)

    def remove(self, name: str) -> None:
        """Delete the volume *name*; none is fine. Of one with another's id, only the name goes."""
        check_name(name)
        self.complete(name)
        entry = self._catalogue.load(name)
        if entry is None:
            if self._driver.lists(name):
                self._delete(Entry(name, ADOPTED, volume_id=name))
            return
        if entry.status == ADOPTED and entry.id != name:
            self._catalogue.drop(name)
            output.warn(f"the volume {entry.id} stays, without the name {name}: remove it by its id")
            return
        before, entry.status = entry.status, REMOVING
        try:
            self._catalogue.save(entry)
        except OSError:
            self._keep(entry, before)
            raise
        try:
            self._delete(entry)
        except DvdcliError as error:
            if not isinstance(error, TryAgainError):
                self._keep(entry, before)
            raise

    def _keep(self, entry: Entry, status: str) -> None:
        """Take back that *entry* is being removed: no later call deletes it unasked. Raises OSError."""
        entry.status = status
        self._catalogue.save(entry)

    def _delete(self, entry: Entry) -> None:
        if not self._driver.controls("CREATE_DELETE_VOLUME"):
            raise DvdcliError(f"the driver {self._driver.name} deletes no volumes", "delete it where it was made")
        gone = frozenset(("NOT_FOUND",))
        with output.step(f"deleting volume {entry.id}", self._driver.deadline):
            self._driver.controller.call("DeleteVolume", f"volume {entry.id}", gone, volume_id=entry.id)
        self._catalogue.drop(entry.name)

    def _request(self, name: str, wanted: Wanted) -> dict[str, Any]:
        request: dict[str, Any] = {
            "name": name, "parameters": wanted.parameters, "volume_capabilities": [wanted.capability],
        }  # fmt: skip
        if wanted.size:
            request["capacity_range"] = {"required_bytes": wanted.size}
        segments = wanted.topology or self._driver.segments()
        if segments and self._driver.is_constrained():
            place = {"segments": segments}
            request["accessibility_requirements"] = {"requisite": [place], "preferred": [place]}
        return request

    def _send(self, entry: Entry) -> Entry:
        was_there = self._catalogue.load(entry.name) is not None
        try:
            self._catalogue.save(entry)
        except OSError:
            if not was_there:
                self._forget(entry.name)
            raise
        try:
            with output.step(f"making volume {entry.name}", self._driver.deadline):
                answer = self._driver.controller.call("CreateVolume", f"volume {entry.name}", **entry.request)
        except DvdcliError as error:
            if not was_there and status_of(error) in REFUSED | {"ALREADY_EXISTS"}:
                self._catalogue.drop(entry.name)
            raise
        if not answer.volume.volume_id:
            what = f"the driver {self._driver.name} gives volume {entry.name} no id"
            raise DvdcliError(what, "report it to its maker")
        entry.status, entry.dressed = MADE, False
        entry.take(answer.volume)
        self._catalogue.save(entry)
        return entry

    def _forget(self, name: str) -> None:
        """Drop the entry of a request that was never sent, where the file system lets us."""
        try:
            self._catalogue.drop(name)
        except OSError as error:
            output.debug(f"the entry of volume {name} stays: {error}")

    def _compare(self, entry: Entry, wanted: Wanted) -> None:
        """Raise UsageError where the volume of *entry*, which is there, is not as *wanted*."""
        asked = entry.request.get("capacity_range", {}).get("required_bytes", 0)
        if "size" in wanted.given and wanted.size not in (entry.size, asked):
            raise UsageError(
                f"the volume {entry.name!r} is there, with {entry.size} bytes", "resize it, or take it as it is"
            )
        if entry.status != MADE:
            return
        if "parameters" in wanted.given and wanted.parameters != entry.request.get("parameters"):
            raise UsageError(f"the volume {entry.name!r} is there, with other parameters", "take it as it is")
        if "capability" in wanted.given and [wanted.capability] != entry.request.get("volume_capabilities"):
            raise UsageError(f"the volume {entry.name!r} is there, for another access", "take it as it is")
