"""dvdcli path."""

from __future__ import annotations

from typing import Any

from dvdcli import inventory, output
from dvdcli.clock import Deadline
from dvdcli.commands.base import command
from dvdcli.errors import Exit
from dvdcli.flags import FLAGS, TALK, Asked, timeout_option


@command(
    "path", *FLAGS, timeout_option(inventory.READ_TIMEOUT), *TALK,
    example="--volumedriver=local --volumename=db1",
)  # fmt: skip
def command_(timeout: float, **flags: Any) -> int:
    """Print where a volume is mounted on this host, or nothing."""
    found = inventory.path(Asked(flags).volume, Deadline(timeout))
    if found:
        output.to_stdout(found)
    return Exit.DONE
