"""dvdcli forget."""

from __future__ import annotations

from typing import Any

import click

from dvdcli import inspection, inventory, listing
from dvdcli.clock import Deadline
from dvdcli.commands.base import YES, command, confirm
from dvdcli.errors import DvdcliError, Exit, UsageError
from dvdcli.flags import TALK, Asked, completed_by, timeout_option
from dvdcli.state import State
from dvdcli.volume import Volume, called

TIMEOUT = 10.0


@command(
    "forget", YES, timeout_option(TIMEOUT), *TALK,
    click.argument(
        "volume", required=True, metavar="DRIVER/NAME", shell_complete=completed_by("recorded_volumes")
    ),
    example="local/db1",
)  # fmt: skip
def command_(volume: str, yes: bool, timeout: float, **flags: Any) -> int:
    """Drop the record of a volume, without touching its storage.

    It is for a driver that is gone. What is mounted stays mounted, what is attached stays attached. Where the
    driver can still be asked, unmount is what you want.
    """
    Asked(flags)
    known = _volume(volume)
    confirm(f"Forget {known}{_consequences(known)}?", yes)
    inventory.forget(known, Deadline(timeout))
    return Exit.DONE


def _volume(text: str) -> Volume:
    """Return the volume DRIVER/NAME: one on record if there is one, since both can have slashes in them."""
    named = [slot.volume for slot in inspection.find_exact(text) if slot.volume is not None]
    if len(named) > 1:
        drivers = ", ".join(each.driver for each in named)
        raise UsageError(f"{text!a} can be a volume of any of the drivers {drivers}", "rename one of them")
    driver, _, name = text.rpartition("/")
    if not named and not driver:
        raise UsageError(f"{text!a} is no DRIVER/NAME", "dvdcli list shows both")
    return named[0] if named else Volume(driver, name)


def _consequences(volume: Volume) -> str:
    slot = State().slot(volume)
    slot.look_only = True
    try:
        record = slot.load()
    except DvdcliError:
        return ""
    if record is None:
        return ""
    row = listing.row_of(slot, record)
    held = f", held by {called(row['holds'])}" if row["holds"] else ""
    stays = f", which stays mounted at {row['mountpoint']}" if row["device"] else ""
    return f"{held}{stays}"
