"""After a storm and one recover: state, mount table, devices and the storage systems' books say the same."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path

from tests.conftest import Done
from tests.soak.calls import Calls
from tests.soak.ledger import Ledger, Violation
from tests.soak.plan import VOLUMES, Volume
from tests.soak.workers import SIZES
from tests.soak.world import Machine
from tests.worlds import wait_until

LATE = 130  # seconds after which no storage system is at work any more on what was given up
NOBODY = -1


class Check:
    """One look at everything. *allowed* are files that calls of the kind may leave, with who removes them."""

    def __init__(self, machine: Machine, calls: Calls, ledger: Ledger) -> None:
        self.machine, self.calls, self.ledger = machine, calls, ledger
        self.faults: list[str] = []
        self.tidied = 0
        self.mended = 0
        self.void_claims = 0
        self.unwritable: Callable[[], int] = lambda: 0

    def after_storm(self) -> None:
        """Recover once, and hold everything against everything. Raises Violation, which names all that is wrong."""
        machine = self.machine
        machine.settle()
        wait_until(lambda: not machine.processes(), "a process goes on")
        machine.settle()
        machine.jumped += LATE
        done = self.recover()
        self.mend()
        self.faults = [] if done.code == 0 else [f"recover: {done}"]
        rows = machine.slots_by_volume()
        self.holds(rows)
        self.mounts(rows)
        self.books(rows)
        self.files(rows)
        self.left()
        if self.faults:
            raise Violation("; ".join(self.faults))
        self.ledger.check_made()

    def expect(self, what: str, found: object, expected: object) -> None:
        if found != expected:
            self.faults.append(f"{what}: {found} instead of {expected}")

    def recover(self) -> Done:
        """Recover, once more only where a process of another test has a copy of our mounts."""
        end = time.monotonic() + 60
        while True:
            done = self.calls.run(NOBODY, ["recover"])
            said = done.out + done.err
            if not ("has it mounted at" in said or "still mounted by" in said) or time.monotonic() > end:
                return done

    def mend(self) -> None:
        """Mount what the saboteur unmounted: nobody is told before somebody asks. Go over empty places of the state.

        Those are left by a call that was killed before it did anything.
        """
        mounted = self.machine.mounted()
        for volume, row in self.machine.slots_by_volume().items():
            driver, name = volume
            words = [f"--volumedriver={driver}", f"--volumename={name}", "--hold=mend"]
            lost = row["status"] in ("mounted", "lost") and row["mountpoint"] not in mounted
            if not lost or not self.ledger.meddled[volume]:
                continue
            more = [f"--volumeopts={SIZES[driver]}"] if SIZES[driver] else []
            done = self.calls.run(NOBODY, ["mount", *words, *more])
            self.expect(f"mend {volume}", done.code, 0)
            done = self.calls.run(NOBODY, ["unmount", *words])
            self.mended += 1
        for slot in sorted(self.machine.home.state.glob("volumes/*/*")):
            if [path.name for path in slot.iterdir()] == ["lock"]:
                words = [f"--volumedriver={slot.parent.name}", f"--volumename={slot.name}", "--hold=mend"]
                self.calls.run(NOBODY, ["unmount", *words])
                self.expect(f"the empty place of {slot.name}", slot.exists(), False)
                self.tidied += 1

    def holds(self, rows: dict[Volume, dict[str, object]]) -> None:
        for volume in VOLUMES:
            row = rows.get(volume)
            found = set(row["holds"]) if row else set()  # type: ignore[call-overload]
            certain = self.ledger.holders(volume, certain=True)
            possible = self.ledger.holders(volume, certain=False)
            if not certain <= found:
                self.faults.append(f"{volume}: the holds of {certain - found} are lost")
            if not found <= possible:
                self.faults.append(f"{volume}: {found - possible} still hold it, and have let go")
            if row and (row["status"] != "mounted" or not found):
                self.faults.append(f"{volume}: {row}")

    def mounts(self, rows: dict[Volume, dict[str, object]]) -> None:
        there = {place: len(ids) for place, ids in self.machine.mounted().items()}
        self.expect("mounts", there, {self.machine.place(volume): 1 for volume in sorted(rows)} if rows else {})
        self.expect("mounts elsewhere", self.machine.strange_mounts(), [])
        for volume, row in rows.items():
            self.expect(f"the mountpoint of {volume}", row["mountpoint"], self.machine.place(volume))

    def books(self, rows: dict[Volume, dict[str, object]]) -> None:
        machine = self.machine
        names = {driver: sorted(name for of, name in rows if of == driver) for driver in SIZES}
        attached = sorted(volume.name for volume in machine.plugin.volumes.values() if volume.attached)
        self.expect("the plugin's mounts", attached, names["plug"])
        self.expect("loop devices of local", machine.local_loops(), names["local"])
        self.expect("EBS attachments", sorted(machine.attached()), names["ebs"])
        self.expect("stray devices", machine.strays(), [])
        volumes = machine.volumes()
        self.expect("EBS volumes there twice", len(volumes), len(set(volumes)))
        self.expect("the plugin's complaints", machine.plugin.faults, [])
        self.expect("EC2's complaints", machine.ec2.faults, [])

    def files(self, rows: dict[Volume, dict[str, object]]) -> None:
        home = self.machine.home
        expected = set()
        for (driver, name), row in rows.items():
            slot = f"volumes/{driver}/{name}"
            expected |= {f"{slot}/lock", f"{slot}/record.json"}
            expected |= {f"{slot}/holds/{who}.json" for who in row["holds"]}  # type: ignore[attr-defined]
        left = set(home.leftovers())
        claims = {path for path in left if path.startswith("claims/")}
        containers = {path for path in left if path.startswith("containers/")}
        self.expect("files in the state", sorted(left - claims - containers - expected), [])
        self.expect("files missing", sorted(expected - left), [])
        texts = [(home.state / path).read_text() for path in claims if path.endswith("/claim.json")]
        claimed = [(fields["driver"], fields["name"]) for fields in map(json.loads, texts)]
        self.expect("claims missing", {each for each in rows if each[0] != "plug"} - set(claimed), set())
        # One whose unlink failed is void, by design, and taken over by the volume's next mount.
        self.void_claims = max(self.void_claims, len(set(claimed) - set(rows)))
        if self.void_claims and not self.may_fail():
            self.faults.append(f"claims without a record: {set(claimed) - set(rows)}")
        self.expect("files of claims", {os.path.basename(path) for path in claims} - {"claim.json", "lock"}, set())
        known = {who.removeprefix("container") for who in self.ledger.containers}
        self.expect("containers that are gone", sorted({path.split("/")[1] for path in containers} - known), [])

    def may_fail(self) -> bool:
        """Return whether the state could not be written at some time of this soak."""
        return bool(self.calls.faults or self.unwritable())

    def left(self) -> None:
        machine = self.machine
        self.expect("processes", machine.processes(), [])
        self.expect("temporary files", sorted(os.listdir(machine.temporary)), [])
        odd = [path.name for path in machine.metrics.parent.iterdir() if path != machine.metrics]
        self.expect("files beside the metrics", odd, [])
        state = f"{machine.home.state}/"
        own = [link for link in map(_target, Path("/proc/self/fd").iterdir()) if link.startswith(state)]
        self.expect("descriptors", own, [])


def _target(path: Path) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return ""
