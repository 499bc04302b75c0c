"""A plugin's word that a volume is mounted is held against the mount table, where that has shown the mount before."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.doubles.plugin import Plugin, Volume
from tests.expect import refused

FAILURE = 1
pytestmark = pytest.mark.root


class Looking(Plugin):
    """A plugin that looks at the mount table at each Mount, as some do; Get goes by its books all the same."""

    def _on_volume(self, method: str, volume: Volume, mount_id: str) -> dict[str, object]:
        if method == "Mount" and volume.mountpoint and not os.path.ismount(volume.mountpoint):
            self._mount(volume)
        return super()._on_volume(method, volume, mount_id)


class Inside(Looking):
    """A plugin that hands out a directory inside of what it mounts, as REX-Ray does."""

    def _describe(self, volume: Volume) -> dict[str, object]:
        return {"Name": volume.name, "Mountpoint": inner(volume.mountpoint)}

    def _on_volume(self, method: str, volume: Volume, mount_id: str) -> dict[str, object]:
        answer = super()._on_volume(method, volume, mount_id)
        return {**answer, "Mountpoint": inner(volume.mountpoint)} if method == "Mount" else answer


def inner(mountpoint: str) -> str:
    if mountpoint:
        Path(mountpoint, "data").mkdir(exist_ok=True)
    return mountpoint and f"{mountpoint}/data"


def start(home, kind):
    plugin = kind(f"unix:{home.sockets}/plug.sock", home.root / "mnt", real=True)
    home.plugins.append(plugin)
    return plugin


def by_hand(plugin):
    subprocess.run(["umount", plugin.volumes["v"].mountpoint], check=True)


def status(home):
    [row] = home.mounts()
    return row["status"]


@pytest.mark.parametrize("kind", [Looking, Inside])
def test_what_was_unmounted_by_hand_is_mounted_again(home, kind):
    plugin = start(home, kind)
    path = home.mount("v", "plug", "--hold=first").out
    by_hand(plugin)
    assert status(home) == "lost"
    done = home.mount("v", "plug", "--hold=second")
    assert (done.code, done.out, done.err) == (0, path, "")
    assert os.path.ismount(plugin.volumes["v"].mountpoint)
    assert plugin.mounts_made == 2
    assert status(home) == "mounted"
    for hold in ("first", "second"):
        assert home.unmount("v", "plug", f"--hold={hold}").code == 0
    assert home.leftovers() == []


def test_a_plugin_that_only_says_so_is_not_believed(home):
    """And the call takes no hold. Once everybody has let go, the next mount is a real one."""
    plugin = start(home, Plugin)
    home.mount("v", "plug", "--hold=first")
    by_hand(plugin)
    line = refused(home.mount("v", "plug", "--hold=second"), FAILURE)
    assert plugin.volumes["v"].mountpoint in line
    assert "somebody unmounted it" in line
    assert status(home) == "mounting"
    assert [row["holds"] for row in home.mounts()] == [["name:first"]]
    assert home.recover().code == FAILURE
    assert home.unmount("v", "plug", "--hold=first").code == 0
    path = Path(home.mount("v", "plug", "--hold=second").out.strip())
    assert path.is_mount()
    assert home.unmount("v", "plug", "--hold=second").code == 0
    assert home.leftovers() == []


def test_a_directory_that_never_was_a_mount_is_believed(home):
    plugin = home.plugin()
    path = home.mount("v", "plug", "--hold=first").out
    assert json.loads((home.slot("v", "plug") / "record.json").read_text())["within"] != path.strip()
    assert home.mount("v", "plug", "--hold=second").out == path
    assert plugin.names().count("Mount") == 1
    assert status(home) == "mounted"


def test_inspect_says_so(home):
    plugin = start(home, Plugin)
    home.mount()
    by_hand(plugin)
    [view] = json.loads(home.run("inspect", "plug/v", "--json").out)["data"]["volumes"]
    assert "where it is not mounted" in " ".join(view["disagreements"])
