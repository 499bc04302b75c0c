"""dvdcli help."""

from __future__ import annotations

import click

from dvdcli import output
from dvdcli.commands.base import command
from dvdcli.errors import Exit, UsageError
from dvdcli.flags import completed_by
from dvdcli.nearest import hint


@command(
    "help",
    click.argument("about", required=False, metavar="[COMMAND]", shell_complete=completed_by("command_names")),
    click.pass_context,
)  # fmt: skip
def command_(ctx: click.Context, about: str | None) -> int:
    """Show help on a command."""
    top = ctx.find_root()
    root = top.command
    assert isinstance(root, click.Group)
    if about is None:
        output.to_stdout(top.get_help())
        return Exit.DONE
    found = root.get_command(ctx, about)
    if found is None:
        raise UsageError(f"there is no command {about!r}", hint(about, root.list_commands(ctx)))
    with click.Context(found, info_name=about, parent=top) as inner:
        output.to_stdout(found.get_help(inner))
    return Exit.DONE
