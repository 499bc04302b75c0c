"""What is mounted here, row by row: the record, its age, and what the mount table and the file system say of it.

No lock is taken, nothing is changed, and no file system is asked that could keep the asker waiting.
"""

from __future__ import annotations

import os

from dvdcli import clock, fastjson, output, parallel, render
from dvdcli.errors import DvdcliError, from_os_error
from dvdcli.linux import mountinfo
from dvdcli.state import State, boot_id
from dvdcli.volume import MOUNTED, MOUNTING, UNMOUNTING

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Sequence
    from typing import Any

    from dvdcli.linux.mountinfo import Mount
    from dvdcli.state import Slot
    from dvdcli.volume import Record

    Row = dict[str, Any]

LOST = "lost"  # on record as mounted, and it, or its device, is not mounted there
_SHARE = 500  # records: what a process costs is what it reads of these meanwhile
STATUSES = (MOUNTED, MOUNTING, UNMOUNTING, LOST)


class Filter:
    """Which rows are wanted: those of any of *drivers*, *containers* and *statuses*; what is empty asks for nothing.

    A container is named by its id, or by the last part of a nested one's.
    """

    def __init__(
        self, drivers: Container[str] = (), containers: Container[str] = (), statuses: Container[str] = ()
    ) -> None:
        self.drivers = drivers
        self.containers = containers
        self.statuses = statuses

    def takes_slot(self, slot: Slot) -> bool:
        """Return whether a row of *slot* can be wanted, as far as its place alone tells."""
        return not self.drivers or slot.volume is None or slot.volume.driver in self.drivers

    def takes(self, row: Row) -> bool:
        """Return whether *row* is wanted."""
        return bool(
            (not self.drivers or row["driver"] in self.drivers)
            and (not self.statuses or row["status"] in self.statuses)
            and (not self.containers or [hold for hold in row["holds"] if is_hold_of(hold, self.containers)])
        )


def is_hold_of(hold: str, wanted: Container[str]) -> bool:
    """Return whether *hold* is of one of the containers *wanted*, by the whole id or its last part."""
    kind, _, ids = hold.partition(":")
    return kind.startswith("container") and (ids in wanted or ids.rpartition("/")[2] in wanted)


def mounts(wanted: Filter) -> tuple[list[Row], list[DvdcliError]]:
    """Return the mounts on record that are *wanted*, in the order of their names, and what is unreadable.

    A row has driver, name, status, mountpoint, holds, failure, since; age in seconds, device, file_system, size and
    used in bytes, each None where it is not known. A record without a valid hold counts as unmounting.
    """
    found, errors = _rows(State().slots(), wanted)
    found.sort(key=lambda row: (row["driver"], row["name"]))
    return found, errors


def mounts_as_json(wanted: Filter) -> tuple[str, list[DvdcliError]]:
    """Return the same as mounts() does, the rows as JSON: of many records each CPU reads its share.

    They are in the order of their directories: that of their names, but for characters that no file name has.
    """
    state = State()

    def tell(part: Sequence[tuple[str, str]]) -> bytes:
        rows, errors = _rows((state.slot_at(*place) for place in part), wanted)
        told = fastjson.dumps([[error.code, error.message, error.hint] for error in errors])
        return f"{told}\n{fastjson.dumps(rows)[1:-1]}".encode()

    texts, failures = [], []
    for told in parallel.shares(tell, state.places(), _SHARE):
        errors, _, text = told.decode().partition("\n")
        texts += [text] if text else []
        for code, message, hint in fastjson.loads_text(errors):
            failure = DvdcliError(message, hint)
            failure.code = code
            failures.append(failure)
    return f"[{', '.join(texts)}]", failures


def answer() -> int:
    """Carry out `list --json`, the form that programs call often, and return the exit code."""
    try:
        try:
            rows, errors = mounts_as_json(Filter())
            return render.envelope("list", {}, errors, mounts=rows)
        except (DvdcliError, OSError) as error:
            render.envelope("list", {}, [from_os_error(error) if isinstance(error, OSError) else error])
            raise
    except Exception as error:  # the one place where this door's errors become an exit code
        return output.report("list", error)


def _rows(slots: Iterable[Slot], wanted: Filter) -> tuple[list[Row], list[DvdcliError]]:
    look = _Look()
    found, errors = [], []
    for slot in slots:
        if not wanted.takes_slot(slot):
            continue
        slot.look_only = True
        try:
            record = slot.load()
            if record is None:
                if slot.damaged:
                    raise DvdcliError(f"the record in {slot.directory} is damaged", "dvdcli recover sets it right")
                continue
            row = look.row(slot, record)
        except DvdcliError as error:
            errors.append(error)
            continue
        if wanted.takes(row):
            found.append(row)
    return found, errors


def row_of(slot: Slot, record: Record) -> Row:
    """Return the row of one *record*."""
    return _Look().row(slot, record)


class _Look:
    """One look at this host: what all rows are judged by."""

    def __init__(self) -> None:
        self.boot = boot_id()
        self.uptime = clock.now()["uptime"]
        self.namespace = mountinfo.namespace()
        self.tables: dict[str, dict[str, list[Mount]]] = {}
        self.hanging: set[str] | None = None
        self.parents: dict[str, str] = {}

    def row(self, slot: Slot, record: Record) -> Row:
        today = record.boot == self.boot
        holds = slot.holds.names(self.boot) if today else []
        row: Row = {
            "driver": record.volume.driver, "name": record.volume.name,
            "status": record.status if holds else UNMOUNTING, "mountpoint": record.path if today else "",
            "holds": holds, "failure": record.failure, "since": record.since,
            "age": None, "device": None, "file_system": None, "size": None, "used": None,
        }  # fmt: skip
        if today and "uptime" in record.since:
            row["age"] = round(max(0.0, self.uptime - record.since["uptime"]), 3)
        if today and record.path:
            self._look_at(row, record)
        return row

    def _look_at(self, row: Row, record: Record) -> None:
        table = self._table(record.mount_namespace)
        there = table.get(record.path)
        mount = mountinfo.at(record.path, there) if there else None
        device = record.handle.get("device")
        gone = record.within and record.within not in table and record.within not in self._table("")
        if gone or (isinstance(device, dict) and (mount is None or not mount.is_of(str(device.get("number"))))):
            row["status"] = LOST if row["status"] == MOUNTED else row["status"]
            return
        if mount is None:
            return
        row["device"], row["file_system"] = mount.source, mount.type
        here = record.mount_namespace in ("", self.namespace)
        if here and mount.has_device and not self._is_behind_what_hangs(mount):
            row["size"], row["used"] = usage(record.path)

    def _table(self, namespace: str) -> dict[str, list[Mount]]:
        if namespace not in self.tables:
            table = self.tables[namespace] = {}
            for mount in mountinfo.read_in(namespace):
                table.setdefault(mount.path, []).append(mount)
        return self.tables[namespace]

    def _is_behind_what_hangs(self, mount: Mount) -> bool:
        """Return whether the way to *mount* of this namespace leads through a file system that may never answer."""
        if self.hanging is None:
            table = mountinfo.read() if mountinfo.may_hang() else []
            self.hanging = {each.id for each in table if each.can_hang}
            self.parents = {each.id: each.parent for each in table} if self.hanging else {}
        number = mount.id
        while number in self.parents and number not in self.hanging and number != self.parents[number]:
            number = self.parents[number]
        return number in self.hanging


def usage(path: str) -> tuple[int, int] | tuple[None, None]:
    """Return the size of the file system at *path*, and how much of it is used, in bytes."""
    try:
        told = os.statvfs(path)
    except OSError:
        return None, None
    return told.f_blocks * told.f_frsize, (told.f_blocks - told.f_bfree) * told.f_frsize
