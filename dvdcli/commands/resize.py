"""dvdcli resize."""

from __future__ import annotations

from typing import Any

from dvdcli import inventory, lifecycle
from dvdcli.clock import Deadline
from dvdcli.commands.base import YES, command, confirm
from dvdcli.errors import Exit
from dvdcli.flags import FLAGS, TALK, Asked, timeout_option


@command(
    "resize", *FLAGS, YES, timeout_option(lifecycle.MOUNT_TIMEOUT), *TALK,
    example="--volumedriver=local --volumename=db1 --volumeopts size=20",
)  # fmt: skip
def command_(yes: bool, timeout: float, **flags: Any) -> int:
    """Make a volume larger, and its file system.

    The size is --volumeopts size=SIZE. Where the volume is not mounted on this host, the file system grows at the
    next mount. On a terminal it asks first; elsewhere it needs --yes.
    """
    asked = Asked(flags)
    volume, options = asked.volume, asked.options
    wanted = next((f" to {value}" for key, value in options.items() if key.lower() == "size"), "")
    confirm(f"Make {volume} larger{wanted}? It cannot be made smaller again.", yes)
    inventory.resize(volume, options, Deadline(timeout))
    return Exit.DONE
