"""The machine of the soak: one state directory on a file system of its own, four providers, twenty volumes of each."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterable
from pathlib import Path

from dvdcli.linux import mountinfo
from tests.blocks import backing_files_below
from tests.soak.csi import Csi
from tests.soak.elsewhere import Elsewhere
from tests.soak.plan import VOLUMES, Volume
from tests.soak.systems import Docker, Ebs, KeepingPlugin, Local, System
from tests.worlds import EbsWorld

STATE_SIZE = "4m"
_CREATED = ("inode 128", "p v3.crtime")  # the root directory's


class Machine(EbsWorld):
    """EBS's world with a plugin, `local` and a CSI driver beside it, and the clock of its calls, which can jump."""

    def __init__(self, command: Path) -> None:
        super().__init__(command)
        self.root = self.home.root
        self.home.state.mkdir(mode=0o711)
        options = f"size={STATE_SIZE},mode=711"
        subprocess.run(["mount", "-t", "tmpfs", "-o", options, "dvdcli-soak", self.home.state], check=True)
        subprocess.run(["mount", "--make-shared", self.home.state], check=True)
        self.images = self.root / "images"
        self.temporary = self.root / "tmp"
        self.traces = self.root / "traces"
        self.metrics = self.root / "metrics" / "dvdcli.prom"
        for path in (self.temporary, self.traces, self.metrics.parent, self.root / "backing", self.root / "work"):
            path.mkdir()
        self.home.env["TMPDIR"] = str(self.temporary)
        self.csi = Csi(self.cloud.root / "csi", self.home.state)
        settings = {"local": {"provider": "local", "path": str(self.images)}, "csi": self.csi.settings()}
        lines = [line for driver, each in settings.items()
                 for line in (f"[drivers.{driver}]", *(f'{key} = "{value}"' for key, value in each.items()))]
        self.home.config.write_text("\n".join([*lines, ""]))  # fmt: skip
        where = f"unix:{self.home.sockets}/plug.sock"
        self.plugin = KeepingPlugin(where, self.root / "mnt", self.root / "backing")
        self.home.plugins.append(self.plugin)
        self.ebs = Ebs(self)
        systems: tuple[System, ...] = (Docker(self.plugin), Local(self.images), self.ebs, self.csi)
        self.systems = {system.driver: system for system in systems}
        self.elsewhere = Elsewhere(self.top())
        self.favoured: tuple[str, ...] = ()  # the drivers that are asked for more at this time
        self.jumped = 0  # seconds that the clock of its calls is ahead
        self.went_back = False  # since the last check

    def command(self) -> list[str]:
        """Return what a call begins with: the command, in a time namespace where the clock has jumped."""
        ahead = ["unshare", "--time", "--boottime", str(self.jumped)] if self.jumped else []
        return [*ahead, str(self.home.command)]

    def jump_back(self, seconds: int) -> None:
        """Let the clock of its calls go back, though not behind this machine's own."""
        self.went_back = True
        self.jumped = max(0, self.jumped - seconds)

    def place(self, volume: Volume) -> str:
        """Return where the volume is to be mounted."""
        return str(self.systems[volume[0]].place(volume[1]))

    def options(self, volume: Volume) -> dict[str, str]:
        """Return the volume options of its mounts."""
        return self.systems[volume[0]].options(volume[1])

    def identity(self, volume: Volume) -> str:
        """Return what no two file systems made share, not even two with one UUID; "" where there is none."""
        image = self.systems[volume[0]].image(volume[1])
        if image is None or not image.exists():
            return ""
        text = _told("dumpe2fs", "-h", image)
        if found := re.findall(r"^(?:Filesystem UUID|Directory Hash Seed): +(\S+)", text, re.M):
            return " ".join(found)
        lines = ["sb 0", "p uuid", *_CREATED]
        return " ".join(_told("xfs_db", "-r", *(word for line in lines for word in ("-c", line)), image).split())

    def besides(self, volumes: Iterable[Volume] = VOLUMES) -> list[str]:
        """Return where else the storage systems have these volumes mounted, where they are mounted."""
        found = (self.systems[driver].besides(name) for driver, name in volumes)
        return sorted(str(path) for path in found if path)

    def mounted(self) -> dict[str, list[str]]:
        """Return the ids of the mounts at each place, of the volumes only."""
        places = {self.place(volume) for volume in VOLUMES}
        found: dict[str, list[str]] = {}
        for mount in mountinfo.read():
            if mount.path in places:
                found.setdefault(mount.path, []).append(mount.id)
        return found

    def mounted_besides(self) -> list[str]:
        """Return where the storage systems have volumes mounted besides, each place as often as something is there."""
        places = self.besides()
        return sorted(mount.path for mount in mountinfo.read() if mount.path in places)

    def strange_mounts(self) -> list[str]:
        """Return what is mounted below this world, and is neither its own nor a volume's place."""
        known = {str(self.home.state), str(self.plugin.root), *(self.place(volume) for volume in VOLUMES)}
        known.update(self.besides())
        return [mount.path for mount in mountinfo.read()
                if mount.path.startswith(f"{self.top()}/") and mount.path not in known]  # fmt: skip

    def strays(self) -> list[str]:
        own = {*backing_files_below(self.images), *backing_files_below(self.csi.double.root)}
        left = [name for name in super().strays() if name not in own]
        return [*left, *(stray for system in self.systems.values() for stray in system.strays())]

    def processes(self) -> list[str]:
        """Leave out the CSI driver's own."""
        own = set(map(str, self.csi.own_processes()))
        return [each for each in super().processes() if each.split()[0] not in own]

    def slots_by_volume(self) -> dict[Volume, dict[str, object]]:
        return {(str(row["driver"]), str(row["name"])): row for row in self.home.mounts()}

    def settle(self) -> None:
        for system in self.systems.values():
            system.settle()

    def calm_down(self) -> None:
        for system in self.systems.values():
            system.calm_down()

    def close(self) -> None:
        self.elsewhere.close()
        faults = self.csi.complaints()
        self.csi.close()
        super().close()
        assert faults == []

    def reboot(self) -> None:
        """Start the machine anew: nothing runs or is mounted, attachments are kept, the boot has another id."""
        for place, ids in self.mounted().items():
            for _ in ids:
                subprocess.run(["umount", place], check=True)
        for path in self.home.state.glob("containers/*/container.json"):
            path.write_text(json.dumps({**json.loads(path.read_text()), "boot": "older"}))
        for system in self.systems.values():
            system.reboot()
        super().reboot()


def _told(*command: str | Path) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout
