"""dvdcli config."""

from __future__ import annotations

from typing import Any

import click

from dvdcli import config_check, config_show, config_text, output, render
from dvdcli.commands.base import HelpMixin, command, report_all
from dvdcli.config_show import VARIABLES, Setting
from dvdcli.errors import Exit
from dvdcli.flags import JSON, TALK, Asked


class _Group(HelpMixin, click.Group):
    """The two questions about the configuration."""


@click.group("config", cls=_Group, invoke_without_command=True)
@click.pass_context
def command_(ctx: click.Context) -> int:
    """Show the configuration, or check it.

    It is in /etc/dvdcli/dvdcli.toml, in dvdcli.toml.d/*.toml beside it, and in DVDCLI_* variables.
    """
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help(), err=True)
        return Exit.USAGE
    return Exit.DONE


@command("show", JSON, *TALK)
def show(as_json: bool, **flags: Any) -> int:
    """Print every value and where it comes from.

    Where several files have a key, the value that counts. Secrets are masked.
    """
    Asked(flags)
    found = list(config_show.settings())
    if as_json:
        return render.envelope("config show", {"settings": [each.to_json() for each in found]}, [])
    sections: dict[str, list[Setting]] = {}
    for each in found:
        sections.setdefault(each.section, []).append(each)
    output.to_stdout("\n\n".join(_section(name, rows) for name, rows in sections.items()))
    return Exit.DONE


def _section(name: str, rows: list[Setting]) -> str:
    cells = [(config_text.key(row.name), config_text.value(row.value), row.source()) for row in rows]
    keys, values = (max(len(cell[column]) for cell in cells) for column in (0, 1))
    lines = [f"{key.ljust(keys)} = {value.ljust(values)}  # {source}" for key, value, source in cells]
    return "\n".join([*_heading(name), *lines])


def _heading(name: str) -> list[str]:
    if name == VARIABLES:
        return ["# variables of the environment"]
    return [f"[{name}]"] if name else []


@command("check", JSON, *TALK)
def check(as_json: bool, **flags: Any) -> int:
    """Say what is wrong in the configuration.

    All of it, a line each; nothing where all is right. No storage system is asked: see dvdcli check for that.
    """
    Asked(flags)
    errors, warnings = config_check.problems()
    if as_json:
        return render.envelope("config check", {"warnings": warnings}, errors)
    for warning in warnings:
        output.to_stderr(f"warning: {warning}")
    return report_all("config check", errors)


command_.add_command(show)
command_.add_command(check)
