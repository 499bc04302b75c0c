"""What waits for recover: the volumes with a marker, the places half made or removed, and once a boot every record.

    pending/    see marker.py
    boot        the boot whose first recover has looked at every record
    boot.new    the boot whose first recover is at it
"""

from __future__ import annotations

import os

from dvdcli.clock import Deadline
from dvdcli.errors import TryAgainError
from dvdcli.linux import files
from dvdcli.marker import maker
from dvdcli.state import make_root

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from dvdcli.state import Slot, State


def slots(state: State) -> Iterator[Slot]:
    """Return the places of the volumes that need recover; no other is looked at."""
    return state.slots("pending")


def finish_places(state: State, boot: str) -> None:
    """Remove the places that a killed process was making or removing, where nobody is at work on them."""
    for slot, marker, pid in _begun(state):
        try:
            if slot.exists():
                lock = slot.acquire(Deadline(0.0))
                try:
                    slot.erase_if_empty()
                    if slot.is_idle(boot):
                        slot.marker.leave()
                finally:
                    lock.release()
            if not _is_running(pid):
                files.unlink(marker)
        except (TryAgainError, OSError):
            continue  # the next recover comes by again


def _begun(state: State) -> Iterator[tuple[Slot, str, str]]:
    """Return the places whose making or removal was begun, the path of the marker that tells so, and whose it is."""
    tree = f"{state.root}/pending"
    for driver in files.names_in(tree):
        for file_name in files.names_in(f"{tree}/{driver}"):
            name, pid = maker(file_name)
            if name:
                yield state.slot_at(driver, name), f"{tree}/{driver}/{file_name}", pid


def _is_running(pid: str) -> bool:
    """Return whether the process can still do something: one that waits for its parent alone has no program."""
    try:
        os.readlink(f"/proc/{pid}/exe")
    except (FileNotFoundError, ProcessLookupError):
        return False
    except OSError:
        return True
    return True


def is_first_look(state: State, boot: str) -> bool:
    """Return whether no recover of this *boot* has looked at every record yet."""
    return (files.read(f"{state.root}/boot") or b"").decode("ascii", "replace") != boot


def look(state: State, boot: str) -> None:
    """Note that in this *boot* every record is about to be looked at."""
    try:
        make_root(state.root)
        files.write(f"{state.root}/boot.new", boot.encode())
    except OSError:
        return  # the next recover looks at everything once more


def looked(state: State, whole: bool) -> None:
    """Note that every record has been looked at, if *whole* says so and look_again() was not called meanwhile."""
    try:
        if whole:
            os.rename(f"{state.root}/boot.new", f"{state.root}/boot")
        else:
            files.unlink(f"{state.root}/boot.new")
    except OSError:
        return
