"""Storage that stops answering, in the middle of everything: every command keeps its deadline and says what is stuck.

The plugin's volumes are FUSE file systems of the double, which count what they are asked once they are stuck: nothing,
where the mount table tells as well. For who asks a stuck one waits in the kernel, and cannot be killed.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dvdcli.clock import Deadline
from dvdcli.errors import Exit, TryAgainError
from dvdcli.linux import aside, mountinfo
from tests.conftest import Done, Home
from tests.doubles.fuse import Fuse
from tests.doubles.plugin import Plugin, Reply, Volume
from tests.expect import refused
from tests.isolators import Isolator, variables

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(not os.path.exists("/dev/fuse"), reason="there is no /dev/fuse: modprobe fuse"),
]
SECONDS = 30  # no call takes that long, deadline or not


class FusePlugin(Plugin):
    """A plugin whose volumes are FUSE file systems; its own server is what sticks. *inside* is what it names."""

    def __init__(self, where: str, root: Path) -> None:
        super().__init__(where, root)
        self.systems: dict[str, Fuse] = {}
        self.inside = ""
        self.sticks_at_once = False
        self.hangs = threading.Event()

    def _mount(self, volume: Volume) -> None:
        path = self.root / volume.name
        path.mkdir(parents=True, exist_ok=True)
        self.systems[volume.name] = Fuse(path)
        if self.sticks_at_once:
            self.systems[volume.name].stick()
        volume.mountpoint, volume.attached = f"{path}{self.inside}", True

    def _unmount(self, volume: Volume) -> None:
        self.systems[volume.name].detach()
        volume.mountpoint, volume.attached = "", False

    def hang_at(self, *methods: str) -> None:
        """Answer these no more, until the test is over."""
        self.before = lambda method: self.hangs.wait(SECONDS) and None if method in methods else None

    def asked(self) -> list[str]:
        return [name for system in self.systems.values() for name in system.asked()]

    def close(self) -> None:
        self.hangs.set()
        for system in self.systems.values():
            system.close()
        super().close()


@pytest.fixture
def plugin(home: Home) -> Iterator[FusePlugin]:
    plugin = FusePlugin(f"unix:{home.sockets}/plug.sock", home.root / "mnt")
    home.plugins.append(plugin)
    yield plugin
    plugin.close()
    home.plugins.remove(plugin)


@pytest.fixture
def stuck(home: Home, plugin: FusePlugin) -> FusePlugin:
    """A volume that is mounted, and then its file system stops answering."""
    assert home.mount().code == 0
    plugin.systems["v"].stick()
    return plugin


def quick(home: Home, *words: str, **more: Any) -> Done:
    began = time.monotonic()
    done = home.run(*words, timeout=SECONDS, **more)
    assert time.monotonic() - began < SECONDS / 2
    return done


def test_list_tells_of_it_without_asking_it(home: Home, stuck: FusePlugin) -> None:
    [row] = json.loads(quick(home, "list", "--json").out)["data"]["mounts"]
    assert (row["status"], row["mountpoint"]) == ("mounted", stuck.volumes["v"].mountpoint)
    assert (row["file_system"], row["size"], row["used"]) == ("fuse.double", None, None)
    assert quick(home, "list").code == 0
    assert quick(home, "list", "--all").code == 0
    assert stuck.asked() == []


@pytest.mark.parametrize("below", ["", "/data/x"])
def test_inspect_tells_of_it_without_asking_it(home: Home, stuck: FusePlugin, below: str) -> None:
    done = quick(home, "inspect", f"{stuck.volumes['v'].mountpoint}{below}", "--json")
    assert done.code == 0, done
    [view] = json.loads(done.out)["data"]["volumes"]
    assert view["row"]["status"] == "mounted"
    assert view["mounts"][0]["type"] == "fuse.double"
    assert stuck.asked() == []


def test_check_looks_elsewhere(home: Home, stuck: FusePlugin) -> None:
    assert "a volume plugin answers" in quick(home, "check").out
    assert stuck.asked() == []


def test_another_mount_of_it_and_its_unmount(home: Home, stuck: FusePlugin) -> None:
    assert quick(home, "mount", "--volumedriver=plug", "--volumename=v", "--hold=b").code == 0
    assert home.unmount("v", "plug", "--hold=b", timeout=SECONDS).code == 0
    assert home.unmount(timeout=SECONDS).code == 0
    assert stuck.mounted() == home.leftovers() == []
    assert stuck.asked() == []


def test_recover_leaves_it_to_the_plugin(home: Home, stuck: FusePlugin) -> None:
    home.edit_record(status="mounting", adding="name:host")
    (home.state / "boot").unlink(missing_ok=True)
    done = quick(home, "recover", "--dry-run")
    assert "unmounted" in done.out + done.err, done
    assert quick(home, "recover").code == 0
    assert stuck.mounted() == home.leftovers() == []
    assert stuck.asked() == []


@pytest.mark.parametrize("method", ["Activate", "Get", "Unmount"])
def test_a_plugin_that_is_stuck_too(home: Home, stuck: FusePlugin, method: str) -> None:
    stuck.hang_at(method)
    error = refused(home.unmount("v", "plug", "--timeout=1", timeout=SECONDS), Exit.TRY_AGAIN)
    assert "plug.sock did not answer within 1 s" in error
    assert home.record()["status"] == "unmounting"
    [row] = json.loads(quick(home, "list", "--json").out)["data"]["mounts"]
    assert row["status"] == "unmounting"
    assert "did not answer" in row["failure"]
    assert stuck.asked() == []


def test_recover_of_what_both_will_not_give_back_keeps_its_deadline(home: Home, stuck: FusePlugin) -> None:
    stuck.hang_at("Unmount")
    home.unmount("v", "plug", "--timeout=1", timeout=SECONDS)
    done = quick(home, "recover", "--timeout=1", "--json")
    [outcome] = json.loads(done.out)["data"]["outcomes"]
    assert (done.code, outcome["action"]) == (Exit.TRY_AGAIN, "failed")
    assert "plug.sock did not answer" in outcome["detail"]
    assert stuck.asked() == []


# A container's volumes

def test_a_container_is_given_and_rid_of_it_without_asking_it(home: Home, plugin: FusePlugin) -> None:
    plugin.add("v")  # nothing has to be dressed
    plugin.sticks_at_once = True
    isolator = Isolator(home)
    assert isolator.launch("c1", variables(DRIVER="plug", NAME="v", CONTAINERPATH="data")) is not None
    assert isolator.cleanup("c1") == []
    assert plugin.mounted() == home.leftovers() == []
    assert plugin.asked() == []


def mount_isolator(home: Home, path: str, timeout: int = 1) -> Done:
    isolator = Isolator(home)
    request = isolator.request("c1", variables(DRIVER="plug", NAME="v", CONTAINERPATH=path))
    request["timeout"] = timeout
    process = home.start("mount", "--isolator", stdin=-1)
    out, err = process.communicate(json.dumps(request).encode(), timeout=SECONDS)
    return Done(process.returncode, out.decode(), err.decode())


@pytest.mark.parametrize("inside", ["", "/data"], ids=["to be given an owner", "named below its root"])
def test_where_it_has_to_be_asked_a_child_does(home: Home, plugin: FusePlugin, inside: str) -> None:
    if inside:
        plugin.add("v")
    plugin.sticks_at_once, plugin.inside = True, inside
    error = refused(mount_isolator(home, "data"), Exit.TRY_AGAIN)
    assert f"{home.root}/mnt/v{inside} has not answered for 1 s: its file system is stuck" in error
    assert plugin.mounted() == home.leftovers() == []
    assert plugin.asked() != []


# The look aside


@pytest.fixture
def system(tmp_path: Path) -> Iterator[Fuse]:
    system = Fuse(tmp_path)
    yield system
    system.close()


def test_a_look_at_what_answers(system: Fuse) -> None:
    assert not aside.is_link(f"{system.path}/data", Deadline(SECONDS))
    assert aside.look(lambda: str(os.getpid()), str(system.path), Deadline(SECONDS)) != str(os.getpid())
    with pytest.raises(FileNotFoundError):
        aside.look(lambda: os.readlink(f"{system.path}/none"), f"{system.path}/none", Deadline(SECONDS))


def test_a_look_at_what_does_not(system: Fuse) -> None:
    system.stick()
    assert not aside.is_link(str(system.path), Deadline(SECONDS))
    assert system.asked() == []
    with pytest.raises(TryAgainError, match="is stuck"):
        aside.is_link(f"{system.path}/data", Deadline(0.2))


def test_a_look_elsewhere_takes_no_child(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("x")
    assert aside.is_link(str(tmp_path / "link"), Deadline(0.0))
    assert aside.look(lambda: str(os.getpid()), str(tmp_path), Deadline(0.0)) == str(os.getpid())


@pytest.mark.parametrize(
    ("device", "kind", "source", "can_hang", "has_device"),
    [
        ("8:1", "ext4", "/dev/sda1", False, True), ("0:44", "btrfs", "/dev/sdb", False, True),
        ("0:5", "fuse.sshfs", "a@b:/c", True, False), ("8:17", "fuseblk", "/dev/sdb1", True, False),
        ("0:6", "nfs4", "a:/b", True, False), ("0:7", "tmpfs", "tmpfs", False, False),
        ("0:8", "9p", "/dev/x", True, False), ("0:9", "unheard-of", "none", True, False),
    ],
)  # fmt: skip
def test_what_can_hang(device: str, kind: str, source: str, can_hang: bool, has_device: bool) -> None:
    [mount] = mountinfo.parse(f"1 2 {device} / /v rw,nodev shared:1 - {kind} {source} rw\n")
    assert (mount.can_hang, mount.has_device) == (can_hang, has_device)


def test_the_source_of_a_stuck_mount_is_not_looked_at(system: Fuse, tmp_path: Path) -> None:
    """A bindfs names the directory that it shows; it is no device's node, so nobody has to look."""
    system.stick()
    [mount] = mountinfo.parse(f"1 2 0:99 / /elsewhere rw - fuse.bindfs {system.path}/data rw\n")
    assert not mount.is_of("8:1")
    assert system.asked() == []


# One byte a second


@pytest.mark.parametrize("verb", ["mount", "unmount", "get", "path", "remove"])
def test_a_plugin_that_answers_one_byte_a_second(home: Home, verb: str) -> None:
    plugin = home.plugin()
    plugin.add("v")
    if verb == "unmount":
        assert home.mount().code == 0
    plugin.always["Activate"] = Reply(raw=b"HTTP/1.1 200 OK\r\n" * 20, pieces=1, gap=1)
    done = quick(home, verb, "--volumedriver=plug", "--volumename=v", "--timeout=1")
    assert "plug.sock did not answer within 1 s" in refused(done, Exit.TRY_AGAIN)
