"""A CSI driver among the soak's storage systems: the strict double, with real loop devices and real mounts.

It does not start again by itself: how long it is away is the saboteur's choice.
"""

from __future__ import annotations

import fcntl
import json
import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from dvdcli.linux import mountinfo
from tests.blocks import backing_files_below
from tests.doubles.csi import Driver, Instead, Plugin
from tests.doubles.csi.driver import CONTROLLER
from tests.soak.plan import is_xfs
from tests.soak.systems import Hooks, System

NODE = "a"
KILLED = 0.1  # how likely a process is killed at a moment of a call

Choice = Callable[[str], Instead | None]


class Csi(System):
    """A CSI driver whose node and controller are two processes. *state* is the directory of dvdcli's state.

    `hooks` are called at each moment of every call; the first of `choices` that has one says what a call does instead.
    """

    driver = "csi"

    def __init__(self, root: Path, state: Path) -> None:
        self.double = Driver(root, apart=True)
        self.node = self.double.node(NODE)
        self.mounts = state / "mounts"
        self.processes = threading.RLock()  # who stops and starts them
        self.awake = threading.Event()
        self.awake.set()
        self.hooks = Hooks()
        self.choices: dict[str, Choice] = {}
        self.double.before = self.hooks
        self.double.control.choose = self._choose

    def settings(self) -> dict[str, str]:
        """Return what dvdcli.toml has to say of it."""
        controller = self.double.plugins[CONTROLLER]
        return {"provider": "csi", "endpoint": self.node.endpoint, "controller_endpoint": controller.endpoint}

    def options(self, name: str) -> dict[str, str]:
        return {"size": "320M", "fsType": "xfs"} if is_xfs(name) else {"size": "16M"}

    def place(self, name: str) -> Path:
        return self.mounts / self.driver / name

    def besides(self, name: str) -> Path:
        return self._entries() / name / "staging"

    def _entries(self) -> Path:
        return self.mounts / ".csi" / self.double.settings.name

    def image(self, name: str) -> Path:
        return self.double.image(name)

    def attached(self) -> list[str]:
        return sorted(self.double.used_on(NODE))

    def volumes(self) -> list[str]:
        return sorted(volume.name for volume in self.double.volumes.values())

    def complaints(self) -> list[str]:
        return self.double.faults

    def half_done(self) -> list[str]:
        """Return what dvdcli has made or removed only by half, and what either side knows without the other."""
        made = {path.parent.name: _status(path) == "made" for path in self._entries().glob("*/volume.json")}
        there = set(self.volumes())
        return sorted({name for name in made if not made[name]} | (set(made) ^ there))

    def strays(self) -> list[str]:
        """Return the devices that no volume in use has, or not alone; what is left where nothing is mounted."""
        used = self.attached()
        images = [f"{self.double.image(name)}" for name in used]
        found = []
        for loop in backing_files_below(self.double.root):
            backing = Path(f"/sys/block/{loop}/loop/backing_file").read_text().strip()
            if backing in images:
                images.remove(backing)
            else:
                found.append(f"{loop} of {backing}")
        places = [*self.place("").glob("*"), *(path.parent for path in self._entries().glob("*/staging"))]
        left = [str(path) for path in places if path.name not in used]
        return [*found, *self.double.stray_devices(), *(f"no device of {image}" for image in images), *left]

    def own_processes(self) -> list[int]:
        """Return the driver's processes."""
        return [plugin.process.pid for plugin in self.double.plugins.values() if plugin.process]

    def detach(self, name: str) -> None:
        """Detach an unmounted volume, unless the driver is at work on it for a call that was killed."""
        volume = self.double.named(name)
        place = str(self.place(name))
        with self._locked(f"{NODE} {volume.id}"), self._locked(f"controller {volume.id}"):
            if not any(mount.path == place for mount in mountinfo.read()):
                self.double.pull(name, NODE)

    @contextmanager
    def _locked(self, what: str) -> Iterator[None]:
        with (self.double.root / "locks" / quote(what, safe="")).open("ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def settle(self) -> None:
        self.double.settle()

    def reboot(self) -> None:
        """The node has nothing any more; the controller goes on, and has published what it had."""
        with self.processes:
            self.double.lose_power(NODE)
            self.node.start()

    def calm_down(self) -> None:
        self.hooks.clear()
        self.choices.clear()
        self.awake.set()

    def close(self) -> None:
        """End its processes, and let go of every device."""
        self.calm_down()
        with self.processes:
            self.double.close()

    def _choose(self, rpc: str) -> Instead | None:
        found = (choice(rpc) for choice in list(self.choices.values()))
        return next((instead for instead in found if instead), None)

    # What goes wrong with it

    def kill_in_a_call(self, dice: random.Random, over: threading.Event) -> Plugin | None:
        """Kill one of its processes in the middle of a call, and return it; None where the storm was *over* first."""
        struck: list[Plugin] = []

        def strike(rpc: str, moment: str) -> None:
            plugin = self.double.plugins[NODE if rpc.startswith("Node") or rpc == "GetPluginInfo" else CONTROLLER]
            with self.processes:
                if plugin.process is not None and not struck and dice.random() < KILLED:
                    plugin.stop()
                    struck.append(plugin)

        while not struck and not over.is_set():
            self.hooks["csi-kill"] = strike  # which a reboot takes out
            over.wait(0.02)
        with self.processes:
            self.hooks.pop("csi-kill", None)
            return struck[0] if struck else None

    def start(self, plugin: Plugin) -> None:
        """Start *plugin* again, where nobody else has."""
        with self.processes:
            if plugin.process is None:
                plugin.start()


def _status(path: Path) -> str:
    return str(json.loads(path.read_text())["status"])
