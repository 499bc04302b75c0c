"""Makes coverage's data of what tests/covered.py has noted in .covered: `gather.py ROOT`."""

from __future__ import annotations

import sys
from pathlib import Path

from coverage.data import CoverageData


def lines(notes: Path) -> dict[str, list[int]]:
    """Return the numbers of the lines that ran, for each file named in *notes*."""
    bits: dict[str, int] = {}
    with notes.open() as file:
        for process in file:
            for one in filter(None, process.rstrip("\n").split(" ")):
                name, _, ran = one.partition("\t")
                bits[name] = bits.get(name, 0) | int(ran, 16)
    return {name: [line for line in range(ran.bit_length()) if ran >> line & 1] for name, ran in bits.items()}


def main() -> None:
    """Write ROOT/.coverage.commands, which `coverage combine` takes with the other processes' data."""
    root = Path(sys.argv[1])
    notes = root / ".covered"
    if not notes.exists():
        return
    data = CoverageData(basename=str(root / ".coverage.commands"))
    data.add_lines(lines(notes))
    data.write()
    notes.unlink()


if __name__ == "__main__":
    main()
