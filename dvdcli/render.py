"""What people and their programs see: tables, plain columns, JSON envelopes."""

from __future__ import annotations

import os

from dvdcli import fastjson, output
from dvdcli.errors import Exit

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from dvdcli.errors import DvdcliError

ENVELOPE = 1

_COLUMNS = ("DRIVER", "NAME", "STATUS", "MOUNTPOINT", "HOLDS")
_COLOURS = {"mounted": "green", "mounting": "yellow", "unmounting": "yellow"}


def envelope(command: str, data: dict[str, Any], errors: list[DvdcliError]) -> int:
    """Print the outcome of *command* as one versioned JSON object; return its exit code, the first error's."""
    code = errors[0].code if errors else Exit.DONE
    value = {
        "version": ENVELOPE, "command": command, "status": "error" if errors else "ok", "exit_code": code,
        "data": data, "errors": [{"code": error.code, "message": str(error)} for error in errors],
    }  # fmt: skip
    output.to_stdout(fastjson.dumps(value))
    return code


def mounts(rows: list[dict[str, Any]]) -> None:
    """Print the mounts on record: a table on a terminal, plain columns elsewhere, nothing where there is none."""
    if not rows:
        output.tell("nothing is mounted")
        return
    cells = [[row["driver"], row["name"], row["status"], row["mountpoint"], _holds(row["holds"])] for row in rows]
    output.to_stdout(_table(cells) if os.isatty(1) else _plain(cells))


def _holds(holds: list[str]) -> str:
    return ", ".join(hold.removeprefix("name:") for hold in holds)


def _plain(cells: list[list[str]]) -> str:
    lines = [list(_COLUMNS), *([cell or "-" for cell in row] for row in cells)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(_COLUMNS))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def _table(cells: list[list[str]]) -> str:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    for column in _COLUMNS:
        table.add_column(column, overflow="fold")
    for row in cells:
        driver, name, status, *rest = row
        table.add_row(Text(driver), Text(name), Text(status, style=_COLOURS[status]), *map(Text, rest))
    console = Console()
    with console.capture() as captured:
        console.print(table)
    return captured.get().rstrip("\n")
