"""dvdcli create."""

from __future__ import annotations

from typing import Any

from dvdcli import inventory, lifecycle
from dvdcli.clock import Deadline
from dvdcli.commands.base import command
from dvdcli.errors import Exit
from dvdcli.flags import FLAGS, TALK, Asked, timeout_option


@command(
    "create", *FLAGS, timeout_option(lifecycle.MOUNT_TIMEOUT), *TALK,
    example="--volumedriver=local --volumename=db1 --volumeopts size=10",
)  # fmt: skip
def command_(timeout: float, **flags: Any) -> int:
    """Create a volume."""
    asked = Asked(flags)
    inventory.create(asked.volume, asked.options, Deadline(timeout))
    return Exit.DONE
