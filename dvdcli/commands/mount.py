"""dvdcli mount."""

from __future__ import annotations

from typing import Any

from dvdcli import lifecycle, output
from dvdcli.clock import Deadline
from dvdcli.commands.base import command
from dvdcli.errors import Exit
from dvdcli.flags import FLAGS, HOLD, ISOLATOR, TALK, Asked, timeout_option
from dvdcli.names import check_name


@command(
    "mount", *FLAGS, HOLD, ISOLATOR, timeout_option(lifecycle.MOUNT_TIMEOUT), *TALK,
    example="--volumedriver=local --volumename=db1 --volumeopts size=10",
)  # fmt: skip
def command_(hold: str, timeout: float, **flags: Any) -> int:
    """Mount a volume and print its path.

    A volume that does not exist is created, unless --explicitcreate or the configuration says otherwise. Mounting
    what is mounted is fine.
    """
    asked = Asked(flags)
    volume, options = asked.volume, asked.options
    who = lifecycle.hold_name(check_name(hold, "hold's name"))
    output.need_stdout()
    lifecycle.mount(volume, options, asked.explicit, who, Deadline(timeout), output.to_stdout)
    return Exit.DONE
