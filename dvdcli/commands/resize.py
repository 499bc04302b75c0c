"""dvdcli resize."""

from __future__ import annotations

from typing import Any

from dvdcli import inventory, lifecycle
from dvdcli.clock import Deadline
from dvdcli.commands.base import command
from dvdcli.errors import Exit
from dvdcli.flags import FLAGS, TALK, Asked, timeout_option


@command("resize", *FLAGS, timeout_option(lifecycle.MOUNT_TIMEOUT), *TALK)
def command_(timeout: float, **flags: Any) -> int:
    """Make a volume larger, to --volumeopts size=SIZE, and its file system where it is mounted here.

    Where it is not, the file system grows at the next mount.
    """
    asked = Asked(flags)
    inventory.resize(asked.volume, asked.options, Deadline(timeout))
    return Exit.DONE
