"""What the storage system and each node have on their books: files, which outlive the driver's processes."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

Args = dict[str, Any]  # of a call, as JSON


@dataclass
class Volume:
    """A volume. `format` is empty, `making` while mkfs may be at work, then the type of its file system."""

    id: str
    name: str
    size: int
    image: str
    context: dict[str, str] = field(default_factory=dict)
    parameters: dict[str, str] = field(default_factory=dict)
    capabilities: list[Args] = field(default_factory=list)  # none: it was there before, with whatever may be asked
    topology: list[dict[str, str]] = field(default_factory=list)
    published: dict[str, Args] = field(default_factory=dict)  # by node: what ControllerPublishVolume asked and got
    format: str = ""
    copies: int = 0


@dataclass
class Book:
    """The storage system's."""

    volumes: dict[str, Volume] = field(default_factory=dict)
    count: int = 0

    def named(self, name: str) -> Volume | None:
        return next((volume for volume in self.volumes.values() if volume.name == name), None)


@dataclass
class NodeBook:
    """One node's, until it boots."""

    staged: dict[str, Args] = field(default_factory=dict)  # by volume
    published: dict[str, dict[str, Args]] = field(default_factory=dict)  # by volume, by target
    loops: dict[str, str] = field(default_factory=dict)  # by volume, the device of what is used as a block device
    made: list[str] = field(default_factory=list)  # the targets that it has made, or is about to


class Books:
    """The files below *root*. Whatever is changed is changed under one lock, by a rename."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "images").mkdir(exist_ok=True)
        (root / "locks").mkdir(exist_ok=True)

    def read(self) -> Book:
        found = _load(self.root / "book.json")
        volumes = {id: Volume(**fields) for id, fields in found.get("volumes", {}).items()}
        return Book(volumes, found.get("count", 0))

    @contextlib.contextmanager
    def change(self) -> Iterator[Book]:
        """Yield the book, and keep it as it is left; raising leaves it as it was."""
        with self._locked():
            book = self.read()
            yield book
            _store(self.root / "book.json", asdict(book))

    def read_node(self, node: str) -> NodeBook:
        return NodeBook(**_load(self._of(node)))

    @contextlib.contextmanager
    def change_node(self, node: str) -> Iterator[NodeBook]:
        with self._locked():
            book = self.read_node(node)
            yield book
            _store(self._of(node), asdict(book))

    def forget_node(self, node: str) -> None:
        """Forget what a node had, as when it boots; the directories that it has made are still there."""
        made = self.read_node(node).made
        with self.change_node(node) as book:
            book.staged, book.published, book.loops, book.made = {}, {}, {}, made

    def nodes(self) -> list[str]:
        return sorted(path.stem.removeprefix("node-") for path in self.root.glob("node-*.json"))

    def image(self, volume: Volume) -> Path:
        return self.root / "images" / volume.image

    def _of(self, node: str) -> Path:
        return self.root / f"node-{node}.json"

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        fd = os.open(self.root / "book.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield
        finally:
            os.close(fd)


def _load(path: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(path.read_text())
    except FileNotFoundError:
        return {}
    return found


def _store(path: Path, content: dict[str, Any]) -> None:
    new = path.with_name(f".{path.name}")
    new.write_text(json.dumps(content, indent=1))
    new.rename(path)
