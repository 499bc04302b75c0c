"""dvdcli bind."""

from __future__ import annotations

from typing import Any

import click

from dvdcli import bind
from dvdcli.commands.base import command
from dvdcli.errors import Exit
from dvdcli.flags import TALK, Asked


@command("bind",
    click.option("--outside", default="", metavar="NAMESPACE", help="A mount namespace in which to refuse."),
    click.option("--make-slave", is_flag=True, help="Keep what is mounted here from appearing elsewhere."),
    click.argument("binds", nargs=-1, required=True, metavar="BIND..."), *TALK,
)  # fmt: skip
def command_(outside: str, make_slave: bool, binds: tuple[str, ...], **flags: Any) -> int:
    """Put mounted volumes into their places in a container.

    The isolators' launch messages run this. BIND is a JSON object with source, base, through, path, owner and
    read_only. No symbolic link on the way to the place is followed out of base.
    """
    Asked(flags)
    bind.bind(list(binds), outside, make_slave)
    return Exit.DONE
