"""dvdcli remove."""

from __future__ import annotations

from typing import Any

from dvdcli import inventory, lifecycle
from dvdcli.clock import Deadline
from dvdcli.commands.base import command
from dvdcli.errors import Exit
from dvdcli.flags import FLAGS, TALK, Asked, timeout_option


@command("remove", *FLAGS, timeout_option(lifecycle.MOUNT_TIMEOUT), *TALK)
def command_(timeout: float, **flags: Any) -> int:
    """Destroy a volume and all data in it. One that is mounted is refused."""
    inventory.remove(Asked(flags).volume, Deadline(timeout))
    return Exit.DONE
