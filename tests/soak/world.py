"""The machine of the soak: one state directory on a file system of its own, three providers, twenty volumes of each."""

from __future__ import annotations

import json
import os
import re
import subprocess
import threading
import time
from pathlib import Path

from dvdcli.linux import mountinfo
from tests.blocks import backing_files_below
from tests.doubles.plugin import Plugin, Volume
from tests.soak.plan import VOLUMES
from tests.worlds import EbsWorld

STATE_SIZE = "4m"


class KeepingPlugin(Plugin):
    """A plugin whose volumes keep what is in them, and which can hang, be restarted, and act without an answer."""

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
        self._listen()

    def forget(self, name: str) -> None:
        """Notice that the volume is mounted no more. dvdcli believes a plugin's Get, which need not be a real mount."""
        with self.lock:
            volume = self.volumes[name]
            volume.mountpoint = ""
            volume.ids.clear()

    def reboot(self) -> None:
        for volume in self.volumes.values():
            volume.mountpoint = ""  # the machine has unmounted it
            volume.ids.clear()

    def close(self) -> None:
        self.real = False  # whose machine it is has unmounted everything
        super().close()

    def wait_busy(self) -> None:
        give_up = time.monotonic() + 30
        while self.busy:
            assert time.monotonic() < give_up, "the plugin is at work still"
            time.sleep(0.005)


class Machine(EbsWorld):
    """EBS's world with a plugin and `local` beside it, and the clock of its calls, which can jump."""

    def __init__(self, command: Path) -> None:
        super().__init__(command)
        self.root = self.home.root
        self.home.state.mkdir(mode=0o711)
        options = f"size={STATE_SIZE},mode=711"
        subprocess.run(["mount", "-t", "tmpfs", "-o", options, "dvdcli-soak", self.home.state], check=True)
        subprocess.run(["mount", "--make-shared", self.home.state], check=True)
        self.images = self.root / "images"
        self.temporary = self.root / "tmp"
        self.metrics = self.root / "metrics" / "dvdcli.prom"
        for path in (self.temporary, self.metrics.parent, self.root / "backing", self.root / "work"):
            path.mkdir()
        self.home.env["TMPDIR"] = str(self.temporary)
        self.home.config.write_text(f'[drivers.local]\nprovider = "local"\npath = "{self.images}"\n')
        where = f"unix:{self.home.sockets}/plug.sock"
        self.plugin = KeepingPlugin(where, self.root / "mnt", self.root / "backing")
        self.home.plugins.append(self.plugin)
        self.jumped = 0  # seconds that the clock of its calls is ahead

    def command(self) -> list[str]:
        """Return what a call begins with: the command, in a time namespace where the clock has jumped."""
        ahead = ["unshare", "--time", "--boottime", str(self.jumped)] if self.jumped else []
        return [*ahead, str(self.home.command)]

    def place(self, volume: tuple[str, str]) -> str:
        """Return where the volume is to be mounted."""
        driver, name = volume
        if driver == "plug":
            return str(self.plugin.place(name))
        return str(self.images / name / "data" if driver == "local" else self.home.state / "mounts" / driver / name)

    def block_image(self, volume: tuple[str, str]) -> Path | None:
        """Return the file that has the blocks of a volume, None where it has none (yet)."""
        driver, name = volume
        path = {"local": self.images / name / "image", "ebs": self.image(name)}.get(driver)
        return path if path and path.exists() else None

    def identity(self, volume: tuple[str, str]) -> str:
        """Return what no two file systems made share, not even two with one UUID; "" where there is none."""
        image = self.block_image(volume)
        if image is None:
            return ""
        text = subprocess.run(["dumpe2fs", "-h", image], capture_output=True, text=True, check=False).stdout
        return " ".join(re.findall(r"^(?:Filesystem UUID|Directory Hash Seed): +(\S+)", text, re.M))

    def mounted(self) -> dict[str, list[str]]:
        """Return the ids of the mounts at each place, of the volumes only."""
        places = {self.place(volume) for volume in VOLUMES}
        found: dict[str, list[str]] = {}
        for mount in mountinfo.read():
            if mount.path in places:
                found.setdefault(mount.path, []).append(mount.id)
        return found

    def strange_mounts(self) -> list[str]:
        """Return what is mounted below this world, and is neither its own nor a volume's place."""
        known = {str(self.home.state), str(self.plugin.root), *(self.place(volume) for volume in VOLUMES)}
        return [mount.path for mount in mountinfo.read()
                if mount.path.startswith(f"{self.root}/") and mount.path not in known]  # fmt: skip

    def local_loops(self) -> list[str]:
        """Return the names of the volumes of `local` that are on loop devices, each as often as it is."""
        found = []
        for name in backing_files_below(self.images):
            backing = Path(f"/sys/block/{name}/loop/backing_file").read_text().strip()
            found.append(Path(backing).parent.name)
        return sorted(found)

    def strays(self) -> list[str]:
        own = set(backing_files_below(self.images))
        return [name for name in super().strays() if name not in own]

    def slots_by_volume(self) -> dict[tuple[str, str], dict[str, object]]:
        return {(str(row["driver"]), str(row["name"])): row for row in self.home.mounts()}

    def detach(self, volume: tuple[str, str]) -> None:
        """Detach an unmounted volume behind dvdcli's back."""
        driver, name = volume
        if driver == "ebs":
            self.pull(name)
        elif driver == "local":
            for loop in backing_files_below(self.images / name):
                subprocess.run(["losetup", "-d", f"/dev/{loop}"], check=False)

    def settle(self) -> None:
        super().settle()
        self.plugin.wait_idle()

    def reboot(self) -> None:
        """Start the machine anew: nothing runs or is mounted, attachments are kept, the boot has another id."""
        for place, ids in self.mounted().items():
            for _ in ids:
                subprocess.run(["umount", place], check=True)
        for name in backing_files_below(self.images):
            subprocess.run(["losetup", "-d", f"/dev/{name}"], check=True)
        for path in self.home.state.glob("containers/*/container.json"):
            path.write_text(json.dumps({**json.loads(path.read_text()), "boot": "older"}))
        super().reboot()
