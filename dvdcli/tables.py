"""Tables for people: rich's on a terminal, plain columns in a pipe, the same words in both."""

from __future__ import annotations

import os

from dvdcli import output
from dvdcli.errors import visible
from dvdcli.volume import called

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rich.console import JustifyMethod
    from rich.table import Table

_COLOURS = {
    "mounted": "green", "mounting": "yellow", "unmounting": "yellow", "lost": "bold red",
    "ok": "green", "warning": "yellow", "failed": "bold red",
}  # fmt: skip
_UNITS = "KMGTPE"


def mounts(rows: list[dict[str, Any]], wide: bool, nothing: str) -> None:
    """Print the mounts on record; where there is none, say *nothing* to a terminal alone."""
    if not rows:
        output.tell(nothing)
        return
    show(*cells(rows, wide))


def cells(rows: list[dict[str, Any]], wide: bool) -> tuple[list[str], list[list[str]]]:
    """Return the columns and what is in them for the mounts *rows*."""
    more = ["FSTYPE", "FAILURE"] if wide else []
    columns = ["DRIVER", "NAME", "STATUS", "AGE", "SIZE", "USE", "DEVICE", *more, "MOUNTPOINT", "HOLDERS"]
    return columns, [
        [
            row["driver"], row["name"], row["status"], age(row["age"]), size(row["size"]), use(row),
            row["device"] or "", *([row["file_system"] or "", row["failure"]] if wide else []),
            row["mountpoint"], called(row["holds"]),
        ]
        for row in rows
    ]  # fmt: skip


def volumes(rows: list[dict[str, Any]]) -> None:
    """Print the volumes of many drivers."""
    if not rows:
        output.tell("there are no volumes")
        return
    columns = ["DRIVER", "NAME", "SIZE", "MOUNTPOINT"]
    show(columns, [[row["driver"], row["name"], size(row["size"]), row["mountpoint"]] for row in rows])


def view(told: dict[str, Any]) -> str:
    """Return what inspection.inspect() has to tell of a volume, a fact a line, with the disagreements last."""
    record, row, provider = told["record"], told["row"] or {}, told["provider"]
    lines: list[tuple[str, str]] = [("volume", f"{told['driver']}/{told['name']}")]
    if record:
        held = [f"{called([hold['who']])} (for {age(hold['age']) or 'an unknown time'})" for hold in told["holds"]]
        lines += [
            ("status", row["status"]),
            ("mountpoint", record["path"]),
            ("age", age(row["age"])),
            *(("holder", text) for text in held),
            ("options", ", ".join(f"{key}={value}" for key, value in sorted(record["options"].items()))),
            ("failure", record["failure"]),
            *(("mount", f"{m['source']} ({m['type']}, {m['device']})") for m in told["mounts"]),
            ("size", f"{size(row['size'])}, {use(row)} used" if row["size"] else ""),
            *(("user", text) for text in told["users"]),
        ]
    else:
        lines.append(("record", "none"))
    exists = {True: "it exists", False: "there is no such volume", None: ""}[provider["exists"]]
    where = {None: "", "": "mounted nowhere"}.get(provider["mountpoint"], f"mounted at {provider['mountpoint']}")
    lines.append(("provider", provider["name"]))
    lines.append(("driver says", provider["error"] or ", ".join(filter(None, (exists, where, provider["said"])))))
    lines += [("disagreement", text) for text in told["disagreements"]]
    return "\n".join(f"{f'{name}:':<14}{visible(text)}" for name, text in lines if text)


def age(seconds: float | None) -> str:
    """Return an age of *seconds* in its two largest units: 12s, 5m3s, 2h10m, 3d4h; "" for None."""
    if seconds is None:
        return ""
    left, parts = int(seconds), list[tuple[int, str]]()
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        count, left = divmod(left, length)
        if count or parts:
            parts.append((count, unit))
    return "".join(f"{count}{unit}" for count, unit in parts[:2] if count) or "0s"


def size(number: int | None) -> str:
    """Return *number* bytes in three digits and a unit of 1,024s, as df -h does; "" for None."""
    if number is None:
        return ""
    value, unit = float(number), "B"
    for larger in _UNITS:
        if value < 1000:
            break
        value, unit = value / 1024, larger
    return f"{value:.1f}{unit}" if value < 10 and unit != "B" else f"{value:.0f}{unit}"


def use(row: dict[str, Any]) -> str:
    """Return which part of a file system is used."""
    return f"{100 * row['used'] / row['size']:.0f}%" if row["size"] else ""


def show(columns: list[str], rows: list[list[str]]) -> None:
    """Print *rows*: a table on a terminal, plain columns, with a dash for what is empty, elsewhere.

    What would not be seen, or would turn the line around, is shown escaped: a task chooses its volumes' names.
    """
    rows = [[visible(cell) for cell in row] for row in rows]
    if os.isatty(1):
        output.to_stdout(_on_terminal(columns, rows))
    else:
        output.to_stdout(plain(columns, rows))


def plain(columns: list[str], rows: list[list[str]]) -> str:
    """Return *rows* below *columns*, aligned with spaces."""
    lines = [columns, *([cell or "-" for cell in row] for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(columns))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def _on_terminal(columns: list[str], rows: list[list[str]]) -> str:
    from rich.console import Console

    console = Console()
    with console.capture() as captured:
        console.print(table(columns, rows))
    return captured.get().rstrip("\n")


def table(columns: list[str], rows: list[list[str]]) -> Table:
    """Return *rows* as rich's table: states in colour, long cells folded and never cut."""
    from rich.table import Table
    from rich.text import Text

    made = Table(box=None, pad_edge=False)
    for column in columns:
        numeric = column in ("AGE", "SIZE", "USE")
        short = numeric or column == "STATUS"
        side: JustifyMethod = "right" if numeric else "left"
        made.add_column(column, overflow="fold", justify=side, no_wrap=short, min_width=len(column))
    for row in rows:
        made.add_row(*(Text(cell, style=_COLOURS.get(cell, "")) for cell in row))
    return made
