"""Somebody else's volumes: images with a file system, which nobody may write to."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from tests.doubles.loops import copy

SIZE = 6 << 20


class Decoys:
    """What is shown to *who* instead of the right device, below *root*."""

    def __init__(self, root: Path, who: str) -> None:
        self.root = root
        self.who = who
        self.made: list[tuple[Path, bytes]] = []

    def make(self, not_size: int = 0) -> Path:
        """Make one whose size is another than *not_size*."""
        template = self.root / "decoy.img"
        if not template.exists():
            with template.open("wb") as file:
                file.truncate(SIZE)
            subprocess.run(["mkfs.ext4", "-q", "-F", template], check=True)
        path = self.root / f"decoy-{self.who}-{len(self.made)}.img"
        copy(template, path)
        if not_size == SIZE:
            os.truncate(path, SIZE + (1 << 20))
        self.made.append((path, path.read_bytes()))
        return path

    def check(self) -> list[str]:
        """Return what was done to them."""
        written = [path.name for path, was in self.made if path.read_bytes() != was]
        return [f"the wrong device was written to: {name}" for name in written]
