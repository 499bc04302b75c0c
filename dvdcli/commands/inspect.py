"""dvdcli inspect."""

from __future__ import annotations

from typing import Any

import click

from dvdcli import inspection, output, render, tables
from dvdcli.commands.base import command
from dvdcli.errors import Exit
from dvdcli.flags import JSON, TALK, Asked, completed_by


@command(
    "inspect", JSON, *TALK,
    click.argument(
        "what", required=True, metavar="VOLUME|CONTAINER|MOUNTPOINT", shell_complete=completed_by("whatever")
    ),
    example="local/db1",
)  # fmt: skip
def command_(what: str, as_json: bool, **flags: Any) -> int:
    """Show what is known of a volume, and by whom.

    That is what is on record, and what the mount table, the driver and its users say.

    A volume is named as DRIVER/NAME, or by its name alone; a container by its id, which shows all that it holds; a
    path by the mountpoint at or above it. Where the sides disagree, a line says so.
    """
    Asked(flags)
    views = inspection.inspect_all(inspection.find(what))
    if as_json:
        return render.envelope("inspect", {"volumes": views}, [])
    output.to_stdout("\n\n".join(tables.view(view) for view in views))
    return Exit.DONE
