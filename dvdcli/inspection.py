"""One volume seen from all sides: the record, the mount table, the provider, who uses it; and where they disagree.

No lock is taken, nothing is changed, and below a mountpoint nothing is touched: a dead file system would hang us.
"""

from __future__ import annotations

import os

from dvdcli import clock, containers, listing, parallel, providers, survey
from dvdcli.clock import Deadline
from dvdcli.config import Config
from dvdcli.errors import DvdcliError, NotFoundError, UsageError, from_os_error
from dvdcli.linux import holders, mountinfo
from dvdcli.state import State, boot_id
from dvdcli.volume import MOUNTED, Volume

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from dvdcli.providers.base import Provider
    from dvdcli.state import Slot
    from dvdcli.volume import Record

TIMEOUT = 10.0  # seconds for each provider


def find(what: str) -> list[Slot]:
    """Return the places of the volumes that *what* means, of which at least one there is.

    That is DRIVER/NAME, a name on record, a container's id, or a path at or below a mountpoint. DRIVER/NAME need not
    be on record where there is such a driver. Raises NotFoundError.
    """
    found = []
    boot = boot_id()
    path = os.path.normpath(what) if what.startswith("/") else ""
    for slot in State().slots():
        slot.look_only = True
        if _has(slot, path) if path else _is_called(slot, what) or _is_held(slot, what, boot):
            found.append(slot)
    if found:
        return found
    unrecorded = _unrecorded(what) if not path else None
    if unrecorded is None:
        raise NotFoundError(
            f"nothing on record is called {what!a}",
            "a volume's name, DRIVER/NAME, a container's id or a mountpoint: see dvdcli list",
        )
    return [State().slot(unrecorded)]


def find_exact(text: str) -> list[Slot]:
    """Return the places of the volumes on record that are called DRIVER/NAME *text*; names can have slashes."""
    found = []
    for slot in State().slots():
        slot.look_only = True
        if _is_called(slot, text) and str(slot.volume) == text:
            found.append(slot)
    return found


def _is_called(slot: Slot, what: str) -> bool:
    if slot.volume is None:
        try:
            slot.load()  # a long name is only in the record
        except DvdcliError:
            return False
    return slot.volume is not None and what in (slot.volume.name, str(slot.volume))


def _is_held(slot: Slot, container: str, boot: str) -> bool:
    return any(listing.is_hold_of(who, {container}) for who in slot.holds.names(boot))


def _has(slot: Slot, path: str) -> bool:
    try:
        record = slot.load()
    except DvdcliError:
        return False
    return bool(record and record.path and (path == record.path or path.startswith(f"{record.path}/")))


def _unrecorded(what: str) -> Volume | None:
    for driver in survey.drivers():
        if what.startswith(f"{driver}/"):
            try:
                return Volume(driver, what.removeprefix(f"{driver}/"))
            except UsageError:
                continue
    return None


def inspect_all(slots: Sequence[Slot]) -> list[dict[str, Any]]:
    """Return inspect() of each of *slots*, whose providers are asked at once. Raises what the first of them raised."""
    views: list[dict[str, Any]] = [{} for _ in slots]

    def one(index: int) -> None:
        views[index] = inspect(slots[index])

    for failure in parallel.each(one, range(len(slots))):
        if failure is not None:
            raise failure
    return views


def inspect(slot: Slot) -> dict[str, Any]:
    """Return what there is to know of one volume, with `disagreements`, a sentence each.

    Raises StateError for a record that is not ours to read.
    """
    record = slot.load()
    volume = slot.volume
    view: dict[str, Any] = {"driver": volume.driver if volume else "", "name": volume.name if volume else str(slot)}
    view["record"] = record.to_json() if record else None
    view["row"] = listing.row_of(slot, record) if record else None
    view["holds"] = _holds(slot)
    view["pending"] = slot.marker.is_left()
    view["mounts"] = _mounts(record) if record else []
    view["users"] = _users(record) if record else []
    view["provider"] = _asked(slot, record)
    view["disagreements"] = list(_disagreements(slot, record, view))
    return view


def _holds(slot: Slot) -> list[dict[str, Any]]:
    boot, uptime = boot_id(), clock.now()["uptime"]
    found = []
    for who, hold in sorted(slot.holds.valid(boot).items()):
        since = hold.data.get("since", {})
        age = round(uptime - since["uptime"], 3) if "uptime" in since else None
        found.append({"who": who, "since": since, "age": age})
    return found


def _mounts(record: Record) -> list[dict[str, Any]]:
    """Return the mounts at the record's path, the lowest first."""
    return [
        {"path": mount.path, "device": mount.device, "source": mount.source, "type": mount.type, "root": mount.root}
        for mount in mountinfo.read_in(record.mount_namespace)
        if record.path and mount.path == record.path
    ]


def _users(record: Record) -> list[str]:
    if not record.path or record.boot != boot_id():
        return []
    mount = mountinfo.at(record.path, mountinfo.read())
    own = tuple(map(str, record.handle.get("own", ())))  # where the driver itself has it mounted
    if mount is not None and mount.root == "/":  # else others have other parts of that file system
        found = holders.all_of(mount.device, record.path)
        return [str(use) for use in found if not (use.is_mount and use.path in own)]
    copies = [str(user) for user in mountinfo.users(record.path) if user.path not in own]
    return [*copies, *map(str, holders.below(record.path))]


def _asked(slot: Slot, record: Record | None) -> dict[str, Any]:
    """Return what the provider says today: whether the volume exists, where it is mounted, or why it cannot tell."""
    deadline = Deadline(TIMEOUT)
    name = record.provider if record else ""
    told: dict[str, Any] = {"name": name, "exists": None, "mountpoint": None, "said": "", "error": ""}
    try:
        provider = _provider(slot, record, deadline)
        told["name"] = told["name"] or provider[0]
        volume = slot.volume
        if volume is None:
            raise DvdcliError("the record that has its name is damaged")
        told["exists"] = provider[1].get(volume.name) is not None
        if told["exists"] and record is not None:
            told["mountpoint"] = provider[1].mounted_at(volume, record.handle)
            told["said"] = provider[1].said(record.handle) if told["mountpoint"] else ""
        elif told["exists"]:
            told["mountpoint"] = provider[1].path(volume.name)
    except DvdcliError as error:
        told["error"] = str(error)
    except OSError as error:
        told["error"] = str(from_os_error(error))
    return told


def _provider(slot: Slot, record: Record | None, deadline: Deadline) -> tuple[str, Provider]:
    if record is not None:
        made = providers.pinned(record.provider, record.volume.driver, record.settings, deadline, 0.0)
        made.given = record.options
        return record.provider, made
    if slot.volume is None:
        raise DvdcliError("nothing says which driver it is of")
    return providers.find(slot.volume.driver, Config(), deadline, 0.0)


def _disagreements(slot: Slot, record: Record | None, view: dict[str, Any]) -> list[str]:
    told, found = view["provider"], []
    if record is None:
        if slot.damaged or slot.is_damaged():
            found.append("the record is damaged: dvdcli recover sets it right")
        elif slot.is_unfinished():
            found.append("a create or a remove of it was interrupted: dvdcli recover finishes it")
        elif told["mountpoint"]:
            found.append(f"nothing is on record, and the driver has it mounted at {told['mountpoint']}")
        return found
    if told["exists"] is False:
        found.append("it is on record, and the driver has no such volume")
    if record.boot != boot_id():
        return [*found, "the record is of an earlier boot: dvdcli recover undoes it"]
    if record.status == MOUNTED:
        if view["row"]["status"] == listing.LOST:
            what = "its device" if "device" in record.handle else "it"
            found.append(f"on record as mounted at {record.path}, where {what} is not mounted")
        if told["mountpoint"] is not None and told["mountpoint"] != record.path:
            where = f"at {told['mountpoint']}" if told["mountpoint"] else "nowhere"
            found.append(f"on record as mounted at {record.path}; by the driver's word it is mounted {where}")
    if len(view["mounts"]) > 1:
        found.append(f"{len(view['mounts'])} mounts lie on each other at {record.path}")
    if not view["holds"]:
        found.append("nobody holds it: dvdcli recover unmounts it")
        if view["users"]:
            found.append("nobody holds it, and it is in use")
    elif view["pending"]:
        found.append(f"recover has something to finish{f': {record.failure}' if record.failure else ''}")
    found += [text for hold in view["holds"] if (text := _without_container(hold["who"], str(slot)))]
    return found


def _without_container(who: str, volume: str) -> str:
    if not who.startswith("container"):
        return ""
    given = containers.Container(containers.directory_name(who)).look()
    if given is None:
        return f"{who} holds it, and nothing says what that container was given"
    return "" if volume in map(str, given.volumes) else f"{who} holds it, and was given other volumes"
