"""dvdcli unmount."""

from __future__ import annotations

from typing import Any

from dvdcli import lifecycle, output
from dvdcli.clock import Deadline
from dvdcli.commands.base import command
from dvdcli.errors import Exit
from dvdcli.flags import FLAGS, HOLD, ISOLATOR, TALK, Asked, timeout_option
from dvdcli.names import check_name
from dvdcli.volume import called


@command(
    "unmount", *FLAGS, HOLD, ISOLATOR, timeout_option(lifecycle.UNMOUNT_TIMEOUT), *TALK,
    example="--volumedriver=local --volumename=db1",
)  # fmt: skip
def command_(hold: str, timeout: float, **flags: Any) -> int:
    """Let go of a volume, and unmount it if nobody else holds it.

    Unmounting what is not mounted is fine.
    """
    asked = Asked(flags)
    volume, _ = asked.volume, asked.options
    who = lifecycle.hold_name(check_name(hold, "hold's name"))
    others = lifecycle.unmount(volume, who, Deadline(timeout))
    if others:
        output.tell(f"{volume} stays mounted, for {called(others)}")
    return Exit.DONE
