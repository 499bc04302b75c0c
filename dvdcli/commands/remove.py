"""dvdcli remove."""

from __future__ import annotations

from typing import Any

from dvdcli import inventory, lifecycle
from dvdcli.clock import Deadline
from dvdcli.commands.base import YES, command, confirm
from dvdcli.errors import Exit
from dvdcli.flags import FLAGS, TALK, Asked, timeout_option


@command(
    "remove", *FLAGS, YES, timeout_option(lifecycle.MOUNT_TIMEOUT), *TALK,
    example="--volumedriver=local --volumename=db1",
)  # fmt: skip
def command_(yes: bool, timeout: float, **flags: Any) -> int:
    """Destroy a volume and all data in it. One that is mounted is refused.

    On a terminal it asks first; elsewhere it does as it is told, as the Go dvdcli does.
    """
    volume = Asked(flags).volume
    confirm(f"Destroy {volume} and all data in it?", yes, needed=False)
    inventory.remove(volume, Deadline(timeout))
    return Exit.DONE
