"""What tests of block devices share: images, loop devices, what is on them."""

from __future__ import annotations

import subprocess
from pathlib import Path


def backing_files() -> list[str]:
    """Return the image files that are on loop devices at this moment."""
    found = []
    for path in Path("/sys/block").glob("loop*/loop/backing_file"):
        try:
            found.append(path.read_text().strip())
        except OSError:
            continue
    return found


def backing_files_below(root: Path) -> list[str]:
    """Return the names of the loop devices whose image files are below *root*."""
    found = []
    for path in Path("/sys/block").glob("loop*/loop/backing_file"):
        try:
            if path.read_text().startswith(f"{root}/"):
                found.append(path.parents[1].name)
        except OSError:
            continue
    return found


def content(path: Path) -> dict[str, str]:
    """Return what blkid says of the image or device at *path*."""
    done = subprocess.run(["blkid", "-p", "-o", "export", path], capture_output=True, text=True, check=False)
    return dict(line.partition("=")[::2] for line in done.stdout.splitlines())


def format_by_hand(path: Path, kind: str) -> None:
    """Make a file system on the image or device at *path*."""
    force = ["-F"] if kind.startswith("ext") else ["-f"]
    subprocess.run([f"mkfs.{kind}", "-q", *force, path], check=True, capture_output=True)
