"""The worlds without block devices of ours, a Docker plugin's and directories; `WALKED` are all that are walked."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.conftest import IS_ROOT, Home
from tests.doubles.plugin import Reply, err
from tests.worlds import WORLDS, LocalWorld, PlainCsiWorld, World


class PluginWorld(World):
    """A Docker volume plugin, which mounts where it likes; its volumes are empty once they are unmounted."""

    driver = "plug"
    claimed = False
    keeps_data = False

    def __init__(self, command: Path) -> None:
        self.home = Home(Path(tempfile.mkdtemp(prefix="dvd")), command)
        self.double = self.plugin = self.home.plugin(real=IS_ROOT)

    def volumes(self) -> list[str]:
        return sorted(self.plugin.volumes)

    def attached(self) -> list[str]:
        assert self.plugin.mounted() == sorted(v.name for v in self.plugin.volumes.values() if v.attached)
        return self.plugin.mounted()

    def mounts(self) -> list[str]:
        return [path for path in super().mounts() if path != str(self.plugin.root)]

    def check_books(self, rows: dict[str, dict[str, Any]]) -> None:
        if IS_ROOT:
            super().check_books(rows)
        else:
            assert self.attached() == sorted(rows)

    def strays(self) -> list[str]:
        return []

    def seed(self, name: str = "v") -> str:
        return ""

    def settle(self) -> None:
        self.plugin.wait_idle()

    def reboot(self) -> None:
        self.home.reboot()

    def watch(self, seen: Callable[[str, str], None]) -> None:
        self.plugin.before = lambda method: seen(method, "before")
        self.plugin.after = lambda method: seen(method, "after")

    def answer(self, name: str, before: int, replies: list[Any]) -> None:
        self.plugin.next(name, *[Reply()] * before, *replies)

    def lost(self, carried_out: bool) -> Any:
        return Reply(raw=b"", act=carried_out)

    def error(self, lasting: bool) -> Any:
        return err("something failed", 200 if lasting else 500)

    def told(self) -> list[str]:
        return [name for name, _ in self.plugin.calls]

    def forget(self) -> None:
        self.plugin.calls.clear()

    def close(self) -> None:
        self.home.close()


class DirectoryWorld(LocalWorld):
    """`local` without a size: nothing is mounted, a volume is in its place as long as there is one."""

    options = ()
    larger = ()
    claimed = False

    def volumes(self) -> list[str]:
        return sorted(path.parent.name for path in self.place.glob("[!.]*/name"))

    def check_books(self, rows: dict[str, dict[str, Any]]) -> None:
        assert self.mounts() == []
        assert [name for name, row in rows.items() if not os.path.isdir(str(row["mountpoint"]))] == []

    def seed(self, name: str = "v") -> str:
        return ""


WALKED: dict[str, Callable[[Path], World]] = {
    "docker": PluginWorld, "directory": DirectoryWorld, **WORLDS, "csi-publish": PlainCsiWorld,
}  # fmt: skip
