"""Machines with one storage system each, for tests that are the same for every provider of block devices.

A provider joins with a subclass of World in WORLDS.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dvdcli.containers import directory_name
from dvdcli.linux import mountinfo
from dvdcli.names import encode
from tests.blocks import backing_files_below
from tests.conftest import Done, Home
from tests.csi import PLAIN, Cluster
from tests.doubles import csi, ec2, scaleio
from tests.ebs import Cloud
from tests.gate import flags
from tests.scaleio import NO_NEW_LOGIN, Grid
from tests.waiting import wait_until


class World:
    """One machine, and what its storage system has on its books."""

    driver = ""
    double: Any = None  # of the storage system, where that is somewhere else
    options: tuple[str, ...] = ()  # of a new volume
    larger: tuple[str, ...] = ()  # what makes it larger; nothing where no volume has a size
    attachers: frozenset[str] = frozenset()  # the programs that an attach runs
    claimed = True  # whether a record of it needs a claim
    keeps_data = True
    formats = True  # whether it is dvdcli that makes the file systems
    may_be: frozenset[str] = frozenset()  # files that can be in the state beside what the holds explain
    home: Home

    def volumes(self) -> list[str]:
        """Return the names of the volumes that the storage system has, each as often as it has it."""
        raise NotImplementedError

    def findable(self) -> list[str]:
        """Return the names of the volumes that dvdcli has to find, rather than make, by what it knows."""
        return self.volumes()

    def attached(self) -> list[str]:
        """Return the names of the volumes that the storage system has attached to this machine, or about to be."""
        raise NotImplementedError

    def blank(self, name: str, size: int) -> None:
        """Make the blank volume *name* of *size* bytes, without dvdcli."""
        raise NotImplementedError

    def image(self, name: str) -> Path:
        """Return the file that has the blocks of the volume."""
        raise NotImplementedError

    def strays(self) -> list[str]:
        """Return the block devices and files of the storage system that its books do not explain."""
        raise NotImplementedError

    def settle(self) -> None:
        """Wait until the storage system is done with what it was asked, whether its caller lives or not."""

    def pull(self, name: str) -> None:
        """Detach an unmounted volume behind dvdcli's back."""
        raise NotImplementedError

    def reboot(self) -> None:
        """Start the machine anew: nothing is mounted, and what the storage system still has attached is there."""
        raise NotImplementedError

    def rival(self) -> None:
        """Let another host mount the volume, which there is, and lose power with it; who has it may take it then."""
        raise NotImplementedError

    def told(self) -> list[str]:
        """Return the names of what the storage system was asked."""
        return []

    def forget(self) -> None:
        """Forget what it was asked until now."""

    def watch(self, seen: Callable[[str, str], None]) -> None:
        """Call *seen* with each request's name and `before` or `after` it is carried out; it is answered after that."""
        self.double.before = seen

    def answer(self, name: str, before: int, replies: list[Any]) -> None:
        """Answer *before* requests of *name* right, and the next with *replies*, which `lost` and `error` made."""
        self.double.next(name, *[None] * before, *replies)

    def answer_right(self) -> None:
        """Answer right from now on."""
        self.double.replies.clear()

    def lost(self, carried_out: bool) -> Any:
        """Return an answer that does not arrive, since the connection is cut."""
        raise NotImplementedError

    def error(self, lasting: bool) -> Any:
        """Return an error as an answer, one that can be over the next time, or a *lasting* one."""
        raise NotImplementedError

    def close(self) -> None:
        """Take everything down; raises AssertionError for what no right caller does."""
        raise NotImplementedError

    # What all share

    def call(self, verb: str, name: str = "v", *more: str) -> Done:
        return self.patiently(lambda: self.home.run(verb, *self.arguments(name), *more))

    def recover(self) -> Done:
        self.pass_time()
        return self.patiently(self.home.recover)

    def pass_time(self) -> None:
        """Let minutes have passed, where it makes a difference."""

    def patiently(self, run: Callable[[], Done]) -> Done:
        """Run a call, once more where it rightly refuses: a process of another test has a copy of our mounts.

        That is one that was launched in a mount namespace of its own meanwhile; it ends by itself.
        """
        give_up = time.monotonic() + 60
        while True:
            done = run()
            refused = done.code in (4, 5) and " has it mounted at " in done.out + done.err
            if not refused or time.monotonic() > give_up:
                return done
            time.sleep(0.1)

    def arguments(self, name: str = "v") -> tuple[str, ...]:
        return flags(name, self.driver)

    def mount(self, name: str = "v", *more: str) -> Path:
        done = self.call("mount", name, *more)
        assert done.code == 0, done
        return Path(done.out.strip())

    def mounts(self) -> list[str]:
        """Return the places of this world where something is mounted."""
        return sorted(mount.path for mount in mountinfo.read() if mount.path.startswith(f"{self.home.root}/"))

    def slots(self) -> dict[str, dict[str, Any]]:
        return {str(row["name"]): row for row in self.home.mounts()}

    def check_agreement(self, most: int = 1) -> list[str]:
        """State, mount table, devices and the storage system's books say the same; return the volumes that are held.

        Nothing of a call that was killed is left: no temporary file, lock, claim, marker, process; no volume twice.
        """
        rows = self.slots()
        names = sorted(rows)
        assert {row["status"] for row in rows.values()} <= {"mounted"}, rows
        self.check_books(rows)
        assert self.strays() == []
        volumes = self.volumes()
        assert len(volumes) == len(set(volumes)) <= most, volumes
        expected = set()
        for name, row in rows.items():
            slot = f"volumes/{self.driver}/{name}"
            expected |= {f"{slot}/lock", f"{slot}/record.json"}
            expected |= {f"{slot}/holds/{encode(str(who))}.json" for who in row["holds"]}
            for who in row["holds"]:
                if who.startswith("container:"):
                    container = f"containers/{directory_name(who)}"
                    expected |= {f"{container}/lock", f"{container}/container.json"}
            assert bool(self.home.record(name, self.driver)["claim"]) == self.claimed, row
        # What was to become a hold is overwritten by the next one of its name, and goes with the volume.
        halves = [path for path in self.home.leftovers() if "/holds/" in path and path.endswith(".json.new")]
        # Of a create or a remove that was killed: recover comes by when the volume is not mounted any more.
        unfinished = {f"volumes/{self.driver}/{name}/unfinished" for name in rows}
        left = set(self.home.leftovers()) - set(halves if rows else []) - (self.may_be - expected) - unfinished
        claims = {path for path in left if path.startswith("claims/")}
        assert left - claims == expected, (left, expected)
        assert len([path for path in claims if path.endswith("/claim.json")]) == len(rows) * self.claimed, claims
        assert {os.path.basename(path) for path in claims} <= {"claim.json", "lock"}, claims
        assert self.processes() == []
        return names

    def check_books(self, rows: dict[str, dict[str, Any]]) -> None:
        """What is on record in *rows* is mounted and attached, and nothing else is."""
        assert self.mounts() == sorted(str(row["mountpoint"]) for row in rows.values())
        assert sorted(self.attached()) == sorted(rows), (self.attached(), rows)

    def processes(self) -> list[str]:
        """Return the processes that work on something of this world, this one excepted."""
        found, root = [], os.fsencode(self.top())
        for path in Path("/proc").glob("[0-9]*"):
            try:
                line = (path / "cmdline").read_bytes()
                opened = [os.fsencode(os.readlink(link)) for link in (path / "fd").iterdir()] if line else []
            except OSError:
                continue
            busy = root in line or any(link.startswith(root + b"/") for link in opened)
            if busy and int(path.name) != os.getpid():
                found.append(f"{path.name} {line.decode(errors='replace')!r}")
        return found

    def top(self) -> Path:
        """Return the directory that everything of this world is below."""
        return self.home.root

    def wait_for_children(self) -> None:
        """Wait until what a killed call left running has ended: it has the volume's lock."""
        wait_until(lambda: not self.processes(), "a process goes on")

    def seed(self, name: str = "v") -> str:
        """Return what no two file systems made share, not even two with one UUID; "" while it is incomplete."""
        path = self.image(name)
        if not path.exists():
            return ""
        checked = subprocess.run(["e2fsck", "-n", "-f", path], capture_output=True, check=False)
        if checked.returncode and not self.mounts():
            return ""
        text = subprocess.run(["dumpe2fs", "-h", path], capture_output=True, text=True, check=False).stdout
        found = re.search(r"Directory Hash Seed:\s*(\S+)", text)
        return found.group(1) if found else ""


class LocalWorld(World):
    """`local` with a size: its books are the loop devices."""

    driver = "local"
    options = ("--volumeopts=size=16M",)
    larger = ("--volumeopts=size=32M",)
    attachers = frozenset(("losetup",))

    def __init__(self, command: Path) -> None:
        self.home = Home(Path(tempfile.mkdtemp(prefix="dvd")), command)
        # Shared, as systemd has it: no other test's mount namespace keeps a copy of what is unmounted here.
        for options in (["--bind", self.home.root, self.home.root], ["--make-shared", self.home.root]):
            subprocess.run(["mount", *options], check=True)
        self.place = self.home.state / "mounts" / "local"

    def volumes(self) -> list[str]:
        return sorted(path.parent.name for path in self.place.glob("[!.]*/image"))

    def image(self, name: str) -> Path:
        return self.place / name / "image"

    def attached(self) -> list[str]:
        found = []
        for name in backing_files_below(self.home.root):
            backing = Path(Path(f"/sys/block/{name}/loop/backing_file").read_text().strip())
            found.append(backing.parent.name)
        return found

    def strays(self) -> list[str]:
        return []  # what create or remove leaves half done has a name of its own, and is gone with the next

    def reboot(self) -> None:
        for path in reversed(self.mounts()):
            subprocess.run(["umount", path], check=True)
        for name in backing_files_below(self.home.root):
            subprocess.run(["losetup", "-d", f"/dev/{name}"], check=True)
        self.home.reboot()

    def pull(self, name: str) -> None:
        for loop in backing_files_below(self.place / name):
            subprocess.run(["losetup", "-d", f"/dev/{loop}"], check=True)

    def close(self) -> None:
        halves = [path.name for path in self.place.glob(".*")]
        self.home.release()
        subprocess.run(["umount", "-l", self.home.root], check=True)
        self.home.close()
        assert halves == []


class EbsWorld(World):
    """EBS, on the only instance of its cloud."""

    driver = "ebs"
    options = ("--volumeopts=size=1",)
    larger = ("--volumeopts=size=2",)

    def __init__(self, command: Path) -> None:
        self.cloud = Cloud(command)
        self.double = self.ec2 = self.cloud.ec2
        self.ec2.gib = 16 << 20
        self.home = self.machine = self.cloud.machine()

    def top(self) -> Path:
        return self.cloud.root

    def volumes(self) -> list[str]:
        return sorted(str(volume.name) for volume in self.ec2.volumes.values())

    def blank(self, name: str, size: int) -> None:
        self.ec2.volume(name, size_bytes=size)

    def image(self, name: str) -> Path:
        found = [volume.image for volume in self.ec2.volumes.values() if volume.name == name]
        return found[0] if found else self.ec2.root / "none"

    def attached(self) -> list[str]:
        return [str(one.volume.name) for one in self.machine.host.attachments()]

    def strays(self) -> list[str]:
        hosts = self.ec2.hosts.values()
        devices = [host.root_disk for host in hosts] + [one.there for host in hosts for one in host.attachments()]
        known = {Path(device.loop.path).name for device in devices if device}
        return sorted(set(backing_files_below(self.cloud.root)) - known) + [str(loop) for loop in self.ec2.orphans]

    def settle(self) -> None:
        self.ec2.wait_idle()

    def pull(self, name: str) -> None:
        with self.ec2.lock:
            for attachment in self.machine.host.attachments():
                if attachment.volume.name == name and attachment.there:
                    attachment.there.loop.wait_free()
                    self.machine.host.vanish(attachment)
                    attachment.volume.attachments.remove(attachment)
                    attachment.state = "detached"

    def reboot(self) -> None:
        self.machine.host.boot()
        self.home.reboot()

    def lost(self, carried_out: bool) -> Any:
        return ec2.Drop(act=carried_out)

    def error(self, lasting: bool) -> Any:
        if lasting:
            return ec2.Error("UnauthorizedOperation", "You are not authorized to perform this operation.", 403)
        return ec2.Error("InternalError", "An internal error has occurred.", 500)

    def told(self) -> list[str]:
        return self.ec2.names()

    def forget(self) -> None:
        self.ec2.calls.clear()

    def rival(self) -> None:
        self.machine.configure('preempt = "stopped"')
        rival = self.cloud.machine("b")
        assert rival.ebs("mount").code == 0
        rival.host.die()
        self.ec2.stop(rival.host)

    def close(self) -> None:
        self.cloud.close()


class ScaleIoWorld(World):
    """ScaleIO, on the only host of its grid."""

    driver = "scaleio"
    options = ("--volumeopts=size=8",)
    larger = ("--volumeopts=size=16",)
    attachers = frozenset(("drv_cfg",))

    def __init__(self, command: Path) -> None:
        self.grid = Grid(command)
        self.double = self.gateway = self.grid.gateway
        self.gateway.gib = 2 << 20
        self.home = self.machine = self.grid.machine()
        self.login_refused = False

    def top(self) -> Path:
        return self.grid.root

    def volumes(self) -> list[str]:
        return sorted(str(volume.name) for volume in self.gateway.volumes.values())

    def blank(self, name: str, size: int) -> None:
        self.gateway.volume(name, size_bytes=size)

    def image(self, name: str) -> Path:
        found = [volume.image for volume in self.gateway.volumes.values() if volume.name == name]
        return found[0] if found else self.gateway.root / "none"

    def attached(self) -> list[str]:
        return [str(mapping.volume.name) for mapping in self.machine.host.mappings()]

    def strays(self) -> list[str]:
        devices = [mapping.there for host in self.gateway.hosts for mapping in host.mappings()]
        known = {Path(device.loop.path).name for device in devices if device}
        unexplained = sorted(set(backing_files_below(self.grid.root)) - known)
        return unexplained + [str(loop) for loop in self.gateway.orphans]

    def settle(self) -> None:
        self.gateway.wait_idle()

    def pull(self, name: str) -> None:
        with self.gateway.lock:
            for mapping in self.machine.host.mappings():
                if mapping.volume.name == name and mapping.there:
                    mapping.there.loop.wait_free()
                    mapping.volume.mappings.remove(mapping)
                    self.machine.host.vanish(mapping)

    def reboot(self) -> None:
        self.machine.host.boot()
        self.home.reboot()

    def answer(self, name: str, before: int, replies: list[Any]) -> None:
        self.login_refused |= name == "login" and any(isinstance(reply, scaleio.Error) for reply in replies)
        super().answer(name, before, replies)

    def lost(self, carried_out: bool) -> Any:
        return scaleio.Drop(act=carried_out)

    def error(self, lasting: bool) -> Any:
        return scaleio.Error(999, "Something failed") if lasting else scaleio.Raw(503, b"", "text/html")

    def told(self) -> list[str]:
        return self.gateway.names()

    def forget(self) -> None:
        self.gateway.forget()

    def rival(self) -> None:
        self.machine.configure(preempt="stopped")
        rival = self.grid.machine("b")
        assert rival.scaleio("mount").code == 0
        rival.host.die()

    def close(self) -> None:
        if self.login_refused:
            self.grid.expected += [fault for fault in self.gateway.faults if fault == NO_NEW_LOGIN]
        self.grid.close()


class CsiWorld(World):
    """A CSI driver that can do all there is, with its controller on another socket; this is its only node."""

    driver = "csi"
    formats = False  # the driver does
    options = ("--volumeopts=size=16M",)
    larger = ("--volumeopts=size=32M",)

    def __init__(self, command: Path, **settings: Any) -> None:
        self.cluster = Cluster(command, **{"apart": True, **settings})
        self.double = self.cluster.driver
        self.home = self.machine = self.cluster.machine()

    def top(self) -> Path:
        return self.cluster.root

    def volumes(self) -> list[str]:
        return sorted(volume.name for volume in self.double.volumes.values())

    def findable(self) -> list[str]:
        """Leave out what was never heard to be made: a driver has no look-up by name, only making it again."""
        return [name for name in self.volumes() if self.call("get", name).code == 0]

    def pass_time(self) -> None:
        """Before that, a call that nobody heard the end of can still be under way."""
        self.home.age()

    def blank(self, name: str, size: int) -> None:
        self.double.volume(name, size)

    def image(self, name: str) -> Path:
        return self.double.image(name)

    def attached(self) -> list[str]:
        return self.double.used_on("a")

    def mounts(self) -> list[str]:
        """Leave out where the driver has something staged."""
        staged = self.double.staged_at("a")
        return [path for path in super().mounts() if path not in staged]

    def strays(self) -> list[str]:
        root, attached = self.machine.place.parent, self.attached()
        places = [*root.glob("[!.]*"), *(path.parent for path in root.parent.glob(".csi/*/*/staging"))]
        return [*self.double.stray_devices(), *(str(path) for path in places if path.name not in attached)]

    def settle(self) -> None:
        self.double.settle()

    def pull(self, name: str) -> None:
        if name in self.attached():
            self.double.pull(name, "a")

    def reboot(self) -> None:
        self.machine.host.boot()
        self.home.reboot()

    def lost(self, carried_out: bool) -> Any:
        return csi.Drop(act=carried_out)

    def error(self, lasting: bool) -> Any:
        return csi.Fail("INTERNAL" if lasting else "UNAVAILABLE", "something failed")

    def told(self) -> list[str]:
        return self.double.names()

    def forget(self) -> None:
        self.double.forget()

    def processes(self) -> list[str]:
        """Leave out the driver's own."""
        own = {str(plugin.process.pid) for plugin in self.double.plugins.values() if plugin.process}
        return [each for each in super().processes() if each.split()[0] not in own]

    def close(self) -> None:
        self.cluster.close()


class PlainCsiWorld(CsiWorld):
    """A CSI driver that only publishes: nothing is staged, and no controller knows who has what."""

    def __init__(self, command: Path) -> None:
        super().__init__(command, apart=False, **PLAIN)


WORLDS: dict[str, type[LocalWorld | EbsWorld | ScaleIoWorld | CsiWorld]] = {
    "local": LocalWorld, "ebs": EbsWorld, "scaleio": ScaleIoWorld, "csi": CsiWorld,
}  # fmt: skip


def close_after_failure(world: World) -> None:
    """Take down what a failed test leaves, without hiding why it failed."""
    try:
        world.close()
    except Exception:
        shutil.rmtree(world.top(), ignore_errors=True)
