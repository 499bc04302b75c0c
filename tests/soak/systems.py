"""The storage systems of the soak, each with its twenty volumes: where they are, and what its books say.

One more joins with a subclass of System, in the Machine's tuple, and its driver in plan.DRIVERS.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from tests.blocks import backing_files_below
from tests.doubles.plugin import Plugin, Volume
from tests.soak.plan import is_xfs

if TYPE_CHECKING:
    from tests.worlds import EbsWorld

PATIENCE = 120.0  # seconds; what is not over by then never is


class Hooks(dict[str, Callable[[str, str], None]]):
    """What is done when a storage system is asked something, by whom: each gets the request's name and the moment."""

    def __call__(self, name: str, moment: str) -> None:
        for hook in list(self.values()):
            hook(name, moment)


class System:
    """One storage system."""

    driver = ""
    has_claims = True  # whether a record claims a disk of it

    def options(self, name: str) -> dict[str, str]:
        """Return the volume options of a mount."""
        return {}

    def place(self, name: str) -> Path:
        """Return where the volume is to be mounted."""
        raise NotImplementedError

    def besides(self, name: str) -> Path | None:
        """Return where else it is mounted then, by the system itself; None for nowhere."""
        return None

    def image(self, name: str) -> Path | None:
        """Return the file that has the blocks of the volume; None where nobody can make a file system on it."""
        return None

    def attached(self) -> list[str]:
        """Return the names of the volumes that this host has, by the system's books, each as often as it has it."""
        raise NotImplementedError

    def volumes(self) -> list[str]:
        """Return the names of the volumes that there are, each as often as it is there."""
        raise NotImplementedError

    def complaints(self) -> list[str]:
        """Return what it was asked that no right caller asks."""
        return []

    def half_done(self) -> list[str]:
        """Return the names of the volumes that a killed call left half made or half removed."""
        return []

    def strays(self) -> list[str]:
        """Return what it has on this host, and should not."""
        return []

    def can_detach(self) -> bool:
        """Return whether an unmounted volume can be detached behind dvdcli's back."""
        return True

    def detach(self, name: str) -> None:
        """Detach an unmounted volume behind dvdcli's back."""

    def settle(self) -> None:
        """Wait until it is done with what it was asked, whether its caller lives or not."""

    def reboot(self) -> None:
        """Do what a start of the machine does to it, after everything was unmounted."""

    def calm_down(self) -> None:
        """End what goes wrong with it."""


class KeepingPlugin(Plugin):
    """A plugin whose volumes keep what is in them, and which can hang, be restarted, and act without an answer.

    Its books say what it was asked for; at a Mount it looks whether that is so, as good ones do.
    """

    def __init__(self, where: str, root: Path, backing: Path) -> None:
        self.backing = backing
        self.awake = threading.Event()
        self.awake.set()
        super().__init__(where, root, real=True)
        self.before = lambda method: self._wait()

    def _wait(self) -> None:
        self.awake.wait(30)

    def place(self, name: str) -> Path:
        return self.root / name

    def _on_volume(self, method: str, volume: Volume, mount_id: str) -> dict[str, object]:
        if method == "Mount":
            self._mount(volume)
        answer = super()._on_volume(method, volume, mount_id)
        if method == "Remove" and volume.name not in self.volumes:
            shutil.rmtree(self.backing / volume.name, ignore_errors=True)
        return answer

    def _mount(self, volume: Volume) -> None:
        path, kept = self.place(volume.name), self.backing / volume.name
        for each in (path, kept):
            each.mkdir(exist_ok=True, parents=True)
        if not os.path.ismount(path):
            self.mounts_made += 1
            subprocess.run(["mount", "--bind", kept, path], check=True)
        volume.mountpoint, volume.attached = str(path), True

    def restart(self) -> None:
        """Start anew: what is mounted stays, who asked for it is forgotten."""
        self.stop()
        Path(self.where.removeprefix("unix:")).unlink()
        self.wait_busy()
        with self.lock:
            for volume in self.volumes.values():
                volume.ids.clear()
        self.listen()

    def reboot(self) -> None:
        for volume in self.volumes.values():
            volume.mountpoint = ""  # the machine has unmounted it
            volume.ids.clear()

    def close(self) -> None:
        self.real = False  # whose machine it is has unmounted everything
        super().close()

    def wait_busy(self) -> None:
        give_up = time.monotonic() + PATIENCE
        while self.busy:
            assert time.monotonic() < give_up, "the plugin is at work still"
            time.sleep(0.005)


class Docker(System):
    """A Docker volume plugin."""

    driver = "plug"
    has_claims = False

    def __init__(self, plugin: KeepingPlugin) -> None:
        self.plugin = plugin

    def place(self, name: str) -> Path:
        return self.plugin.place(name)

    def attached(self) -> list[str]:
        return sorted(volume.name for volume in self.plugin.volumes.values() if volume.attached)

    def volumes(self) -> list[str]:
        return sorted(self.plugin.volumes)

    def complaints(self) -> list[str]:
        return self.plugin.faults

    def can_detach(self) -> bool:
        return False

    def settle(self) -> None:
        self.plugin.wait_idle()

    def calm_down(self) -> None:
        self.plugin.awake.set()
        for queue in self.plugin.replies.values():
            queue.clear()


class Local(System):
    """`local`, with a size: its books are the loop devices."""

    driver = "local"

    def __init__(self, root: Path) -> None:
        self.root = root

    def options(self, name: str) -> dict[str, str]:
        return {"size": "320M", "fsType": "xfs"} if is_xfs(name) else {"size": "16M"}

    def place(self, name: str) -> Path:
        return self.root / name / "data"

    def image(self, name: str) -> Path | None:
        return self.root / name / "image"

    def attached(self) -> list[str]:
        found = []
        for loop in backing_files_below(self.root):
            backing = Path(f"/sys/block/{loop}/loop/backing_file").read_text().strip()
            found.append(Path(backing).parent.name)
        return sorted(found)

    def volumes(self) -> list[str]:
        return sorted(path.parent.name for path in self.root.glob("[!.]*/image"))

    def half_done(self) -> list[str]:
        return sorted(path.name.partition("-")[2] for path in self.root.glob(".*"))

    def detach(self, name: str) -> None:
        for loop in backing_files_below(self.root / name):
            subprocess.run(["losetup", "-d", f"/dev/{loop}"], check=False)

    def reboot(self) -> None:
        for loop in backing_files_below(self.root):
            subprocess.run(["losetup", "-d", f"/dev/{loop}"], check=True)


class Ebs(System):
    """EBS, against its double."""

    driver = "ebs"

    def __init__(self, world: EbsWorld) -> None:
        self.world, self.ec2 = world, world.ec2
        self.awake = threading.Event()
        self.awake.set()
        self.hooks = Hooks()
        self.ec2.before = self.hooks

    def options(self, name: str) -> dict[str, str]:
        return {"size": "20", "fsType": "xfs"} if is_xfs(name) else {"size": "1"}

    def place(self, name: str) -> Path:
        return self.world.home.state / "mounts" / "ebs" / name

    def image(self, name: str) -> Path | None:
        return self.world.image(name)

    def attached(self) -> list[str]:
        return sorted(self.world.attached())

    def volumes(self) -> list[str]:
        return self.world.volumes()

    def complaints(self) -> list[str]:
        return self.ec2.faults

    def detach(self, name: str) -> None:
        self.world.pull(name)

    def settle(self) -> None:
        self.ec2.wait_idle()

    def calm_down(self) -> None:
        self.hooks.clear()
        self.awake.set()
