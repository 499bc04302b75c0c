"""What the soak looks for after each storm is found when it is there: each leak and loss, planted by hand."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import COMMAND
from tests.doubles.csi.call import append
from tests.gate import flags
from tests.soak.calls import Calls
from tests.soak.check import Check
from tests.soak.ledger import Ledger, Violation
from tests.soak.plan import HOST, Volume
from tests.soak.world import Machine

pytestmark = pytest.mark.root
IDLE = "csi-9"  # which nobody holds
HELD: tuple[Volume, ...] = (("plug", "plug-2"), ("local", "local-2"), ("ebs", "ebs-2"), ("csi", "csi-2"))


@pytest.fixture(scope="module")
def check() -> Iterator[Check]:
    """A machine at rest, on which one volume of each driver is held."""
    machine = Machine(COMMAND)
    assert machine.home.run("create", *flags(IDLE, "csi"), "--volumeopts=size=16M").code == 0
    ledger, calls = Ledger(machine), Calls(machine)
    found = Check(machine, calls, ledger)
    for number, volume in enumerate(HELD):
        since = ledger.now(volume)
        more = [f"--volumeopts={key}={value}" for key, value in machine.options(volume).items()]
        assert machine.home.mount(volume[1], volume[0], *more).code == 0
        assert ledger.told(HOST, volume, since)
        ledger.check_content(number, HOST, volume)
    found.after_storm()
    yield found
    for driver, name in HELD:
        assert machine.home.unmount(name, driver).code == 0
    assert machine.home.run("remove", *flags(IDLE, "csi")).code == 0
    assert machine.csi.volumes() == ["csi-2"]
    machine.close()


def a_file(path: Callable[[Machine], str], text: str = "") -> Callable[[Machine], Callable[[], object]]:
    def plant(machine: Machine) -> Callable[[], object]:
        found = machine.root / path(machine)
        parents = [each for each in found.parents if not each.exists()]
        found.parent.mkdir(parents=True, exist_ok=True)
        found.write_text(text)

        def pull() -> None:
            found.unlink()
            for each in parents:
                each.rmdir()

        return pull

    return plant


def a_mount(machine: Machine) -> Callable[[], object]:
    place = machine.root / "odd"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "odd", place], check=True)

    def pull() -> None:
        subprocess.run(["umount", place], check=True)
        place.rmdir()

    return pull


def a_loop(machine: Machine) -> Callable[[], object]:
    home = machine.images / "odd"
    home.mkdir()
    (home / "image").write_bytes(bytes(1 << 20))
    line = ["losetup", "--find", "--show", home / "image"]
    loop = subprocess.run(line, check=True, capture_output=True, text=True).stdout.strip()

    def pull() -> None:
        subprocess.run(["losetup", "-d", loop], check=True)
        shutil.rmtree(home)

    return pull


def an_attachment(machine: Machine) -> Callable[[], object]:
    odd = machine.plugin.add("odd")
    odd.attached = True
    return lambda: machine.plugin.volumes.pop("odd")


# Of the CSI driver


def a_publication(machine: Machine) -> Callable[[], object]:
    double = machine.csi.double
    return _published(machine, {machine.csi.node.id: double.named("csi-2").published[machine.csi.node.id]})


def _published(machine: Machine, by_node: dict[str, Any]) -> Callable[[], object]:
    double = machine.csi.double
    with double.books.change() as book:
        book.volumes[double.named(IDLE).id].published = by_node
    return lambda: _published(machine, {})


def an_unknown_volume(machine: Machine) -> Callable[[], object]:
    volume = machine.csi.double.volume("odd")

    def pull() -> None:
        with machine.csi.double.books.change() as book:
            book.volumes.pop(volume.id)
        machine.csi.double.books.image(volume).unlink()

    return pull


def a_device_of(name: str) -> Callable[[Machine], Callable[[], object]]:
    def plant(machine: Machine) -> Callable[[], object]:
        line = ["losetup", "--find", "--show", machine.csi.double.image(name)]
        loop = subprocess.run(line, check=True, capture_output=True, text=True).stdout.strip()
        return lambda: subprocess.run(["losetup", "-d", loop], check=True)

    return plant


def a_lost_stage(machine: Machine) -> Callable[[], object]:
    place, staged = machine.place(HELD[3]), machine.csi.besides("csi-2")
    subprocess.run(["umount", staged], check=True)
    return lambda: subprocess.run(["mount", "--bind", place, staged], check=True)


def a_second_stage(machine: Machine) -> Callable[[], object]:
    staged = machine.csi.besides("csi-2")
    subprocess.run(["mount", "--bind", staged, staged], check=True)
    return lambda: subprocess.run(["umount", staged], check=True)


def a_lost_target(machine: Machine) -> Callable[[], object]:
    place, staged = machine.place(HELD[3]), machine.csi.besides("csi-2")
    subprocess.run(["umount", place], check=True)
    return lambda: subprocess.run(["mount", "--bind", staged, place], check=True)


def a_lost_file(machine: Machine) -> Callable[[], object]:
    written = Path(machine.place(HELD[3])) / "nonce-3"
    aside = written.rename(written.with_name("aside"))
    return lambda: aside.rename(written)


def a_sin(machine: Machine) -> Callable[[], object]:
    append(machine.csi.double.root / "faults.jsonl", "NodeStageVolume: what no right caller asks")
    return machine.csi.double.forgive


def a_place_of(what: str) -> Callable[[Machine], Callable[[], object]]:
    def plant(machine: Machine) -> Callable[[], object]:
        place = machine.csi.place(IDLE) if what == "target" else machine.csi.besides(IDLE)
        place.mkdir()
        return place.rmdir

    return plant


def a_lost_hold(machine: Machine) -> Callable[[], object]:
    path = machine.home.slot("local-2", "local") / "holds" / f"{HOST}.json"
    text = path.read_text()
    path.unlink()
    return lambda: path.write_text(text)


def a_lost_mount(machine: Machine) -> Callable[[], object]:
    place = machine.place(HELD[0])
    subprocess.run(["umount", place], check=True)
    kept = machine.plugin.backing / HELD[0][1]
    return lambda: subprocess.run(["mount", "--bind", kept, place], check=True)


def a_second_mount(machine: Machine) -> Callable[[], object]:
    place = machine.place(HELD[0])
    subprocess.run(["mount", "--bind", place, place], check=True)
    return lambda: subprocess.run(["umount", place], check=True)


def a_descriptor(machine: Machine) -> Callable[[], object]:
    descriptor = os.open(machine.home.slot("plug-2", "plug") / "lock", os.O_RDONLY)
    return lambda: os.close(descriptor)


CLAIM = json.dumps({"schema": 1, "driver": "local", "name": "gone"})
PLANTS: dict[str, tuple[Callable[[Machine], Callable[[], object]], str]] = {
    "a temporary file": (a_file(lambda machine: "tmp/odd"), "temporary files"),
    "half written metrics": (a_file(lambda machine: "metrics/.odd"), "files beside the metrics"),
    "a mount": (a_mount, "mounts elsewhere"),
    "a loop device": (a_loop, "local's attachments"),
    "a plugin's attachment": (an_attachment, "plug's attachments"),
    "half a volume": (a_file(lambda machine: "images/.new-odd/image"), "half done volumes of local"),
    "a claim": (a_file(lambda machine: f"{machine.home.state}/claims/local/odd/claim.json", CLAIM), "claims"),
    "a claim's lock": (a_file(lambda machine: f"{machine.home.state}/claims/local/odd/lock"), "places of claims"),
    "a place": (a_file(lambda machine: f"{machine.home.state}/volumes/plug/odd/lock"), "places of volumes"),
    "half a hold": (
        a_file(lambda machine: f"{machine.home.slot('plug-2', 'plug')}/holds/x.json.new"), "files in the state"
    ),
    "a container": (a_file(lambda machine: f"{machine.home.state}/containers/odd/lock"), "containers that are gone"),
    "a hold": (
        a_file(lambda machine: f"{machine.home.slot('plug-2', 'plug')}/holds/name:odd.json"), "still hold it"
    ),
    "no hold": (a_lost_hold, "are lost"),
    "no mount": (a_lost_mount, "mounts:"),
    "two mounts": (a_second_mount, "mounts:"),
    "a descriptor": (a_descriptor, "descriptors"),
    "a publication to this node": (a_publication, "csi's attachments"),
    "a volume that dvdcli does not know": (an_unknown_volume, "half done volumes of csi"),
    "a volume that the driver does not know": (
        a_file(lambda machine: f"{machine.csi.besides('odd').parent}/volume.json", '{"status": "made"}'),
        "half done volumes of csi",
    ),
    "half a volume of csi": (
        a_file(lambda machine: f"{machine.csi.besides('odd').parent}/volume.json", '{"status": "making"}'),
        "half done volumes of csi",
    ),
    "a device of a volume that is idle": (a_device_of(IDLE), "stray devices"),
    "a second device of a volume": (a_device_of("csi-2"), "stray devices"),
    "an empty target": (a_place_of("target"), "stray devices"),
    "an empty staging directory": (a_place_of("staging"), "stray devices"),
    "nothing staged": (a_lost_stage, "mounts besides"),
    "staged twice": (a_second_stage, "mounts besides"),
    "nothing published": (a_lost_target, "mounts:"),
    "a file that is not there": (a_lost_file, "data is lost"),
    "a sin": (a_sin, "csi's complaints"),
}  # fmt: skip


@pytest.mark.parametrize("what", PLANTS)
def test_a_leak_is_found(check: Check, what: str) -> None:
    plant, said = PLANTS[what]
    pull = plant(check.machine)
    try:
        with pytest.raises(Violation, match=said):
            check.after_storm()
    finally:
        pull()
    check.after_storm()


@pytest.mark.parametrize("volume", [HELD[1], HELD[3]], ids=["local", "csi"])
def test_a_file_system_made_anew_is_found(check: Check, volume: Volume) -> None:
    """With the same UUID, as a second mkfs of dvdcli's would give it."""
    machine = check.machine
    assert machine.home.unmount(volume[1], volume[0]).code == 0
    check.ledger.gone(HOST, volume)
    image = machine.systems[volume[0]].image(volume[1])
    uuid = machine.identity(volume).split()[0]
    assert image is not None
    subprocess.run(["mkfs.ext4", "-q", "-F", "-U", uuid, image], check=True)
    with pytest.raises(Violation, match="formatted twice"):
        check.after_storm()
    check.ledger.made.pop(volume)
    since = check.ledger.now(volume)
    assert machine.home.mount(volume[1], volume[0]).code == 0
    assert check.ledger.told(HOST, volume, since)
    with pytest.raises(Violation, match="data is lost"):
        check.ledger.check_content(HELD.index(volume), HOST, volume)
    check.ledger.written = {key: was for key, was in check.ledger.written.items() if key[1] != volume}
