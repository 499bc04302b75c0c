"""Make README's picture of `dvdcli list` on a terminal: `make picture`. With a path as argument, make it there.

The rows are an example; columns, words and colours are those of the command, from its own code.
"""

import io
import sys
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import MONOKAI

from dvdcli import tables

PICTURE = Path(__file__).parents[1] / "contrib" / "list.svg"
GIB = 1 << 30
DEVICES = {"db1": "nvme1n1", "logs": "nvme2n1", "scratch": "loop0"}
CONTAINER = "container:5a9e3b1c-7c2e-4f0b-9d55-3f1a0c6be2d4"


def row(driver: str, name: str, age: float, *, status: str = "mounted", size: int = 0, used: float = 0.0,
        place: str = "", hold: str = CONTAINER) -> dict[str, object]:  # fmt: skip
    """Return a row as listing.mounts() does."""
    path = place or f"/var/lib/dvdcli-mounts/{driver}/{name}"
    device = {"device": f"/dev/{DEVICES[name]}" if name in DEVICES else ""}
    sizes = {"size": size * GIB, "used": int(size * GIB * used)} if size else {"size": None, "used": None}
    known = {"driver": driver, "name": name, "status": status, "age": age, "mountpoint": path, "holds": [hold]}
    return {**known, **sizes, **device}


ROWS = [
    row("ebs", "db1", 951_240, size=197, used=0.64),
    row("ebs", "logs", 7_420, size=49, used=0.93),
    row("local", "scratch", 41, size=10, used=0.01, hold="name:host"),
    row("scaleio", "queue", 263_700, status="lost"),
    row("sshfs", "media", 16, status="mounting", place="/mnt/volumes/media", hold="name:backup"),
]


def main() -> None:
    """Write the picture."""
    console = Console(record=True, width=128, file=io.StringIO(), force_terminal=True)
    console.print("[bold]$[/bold] dvdcli list", highlight=False)
    console.print(tables.table(*tables.cells(ROWS, wide=False)))
    path = Path(sys.argv[1]) if sys.argv[1:] else PICTURE
    path.write_text(console.export_svg(title="dvdcli list", theme=MONOKAI, unique_id="dvdcli"))


if __name__ == "__main__":
    main()
