"""dvdcli get."""

from __future__ import annotations

from typing import Any

from dvdcli import inventory, output
from dvdcli.clock import Deadline
from dvdcli.commands.base import command
from dvdcli.errors import Exit
from dvdcli.flags import FLAGS, TALK, Asked, timeout_option


@command(
    "get", *FLAGS, timeout_option(inventory.READ_TIMEOUT), *TALK,
    example="--volumedriver=local --volumename=db1",
)  # fmt: skip
def command_(timeout: float, **flags: Any) -> int:
    """Print the name of a volume that exists."""
    output.to_stdout(inventory.get(Asked(flags).volume, Deadline(timeout)).name)
    return Exit.DONE
