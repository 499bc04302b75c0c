"""After a storm and one recover: state, mount table, devices and the storage systems' books say the same."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

from dvdcli.errors import Exit
from tests.isolators import Isolator
from tests.soak.calls import Calls
from tests.soak.ledger import Ledger, Violation
from tests.soak.plan import VOLUMES, Volume
from tests.soak.systems import PATIENCE
from tests.soak.workers import SETTLED, asked_for
from tests.soak.world import Machine
from tests.worlds import wait_until

LATE = 130  # seconds after which no storage system is at work any more on what was given up
NOBODY = -1
AT_ONCE = 10  # volumes that are mounted again by one call
MENDER = "mend"  # the container that has them


class Check:
    """One look at everything."""

    def __init__(self, machine: Machine, calls: Calls, ledger: Ledger) -> None:
        self.machine, self.calls, self.ledger = machine, calls, ledger
        self.isolator = Isolator(machine.home, name="check")
        self.faults: list[str] = []
        self.mended = 0

    def after_storm(self) -> None:
        """Recover once, and hold everything against everything. Raises Violation, which names all that is wrong."""
        machine = self.machine
        machine.settle()
        wait_until(lambda: not machine.processes(), "a process goes on", PATIENCE)
        machine.settle()
        self.faults = []
        self.recover()
        if machine.went_back:
            machine.went_back = False
            self.recover()  # what was of the future when the first one looked is old enough now
        self.mend()
        rows = machine.slots_by_volume()
        self.holds(rows)
        self.mounts(rows)
        self.books(rows)
        self.files(rows)
        self.left()
        if self.faults:
            raise Violation("; ".join(self.faults))
        for volume in rows:
            self.ledger.check_written(volume)
        self.ledger.check_made()

    def recover(self) -> None:
        self.machine.jumped += LATE
        done = self.calls.patiently(NOBODY, ["recover", f"--metrics={self.machine.metrics}"])
        if done.code != 0:
            self.faults.append(f"recover: {done}")

    def expect(self, what: str, found: object, expected: object) -> None:
        if found != expected:
            self.faults.append(f"{what}: {found} instead of {expected}")

    def mend(self) -> None:
        """Do what callers do: mount what the saboteur unmounted, and call once more for what is half removed.

        Nobody is told of either before somebody asks.
        """
        mounted = self.machine.mounted()
        rows = self.machine.slots_by_volume().items()
        lost = [(volume, row) for volume, row in rows if self.ledger.meddled[volume]
                and row["status"] in ("mounted", "lost") and row["mountpoint"] not in mounted]  # fmt: skip
        self._mount_again(lost)
        for volume in sorted(self.ledger.half_removed):
            driver, name = volume
            self.ledger.removing(volume)
            done = self.calls.patiently(NOBODY, ["remove", f"--volumedriver={driver}", f"--volumename={name}"])
            self.ledger.removed(volume, done.code in SETTLED)
            if done.code not in (*SETTLED, Exit.IN_USE):
                self.faults.append(f"remove {volume}: {done}")

    def _mount_again(self, lost: list[tuple[Volume, dict[str, object]]]) -> None:
        """Mount what is *lost*, in as few calls as a container that has all of it."""
        for volume, row in lost:
            self.expect(f"the status of {volume}", row["status"], "lost")
        for number in range(0, len(lost), AT_ONCE):
            volumes = [volume for volume, _ in lost[number : number + AT_ONCE]]
            request = asked_for(self.isolator, self.machine, MENDER, volumes)
            mend = self.calls.patiently(NOBODY, ["mount", "--isolator"], request)
            self.expect(f"mend {volumes} ({mend})", mend.code, 0)
            request = self.isolator.envelope(container_id=[MENDER])
            done = self.calls.patiently(NOBODY, ["unmount", "--isolator"], request)
            self.expect(f"let go of what is mended ({done})", done.code, 0)
            self.mended += len(volumes)

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
        self.expect("mounts besides", self.machine.mounted_besides(), self.machine.besides(rows))
        self.expect("mounts elsewhere", self.machine.strange_mounts(), [])
        for volume, row in rows.items():
            self.expect(f"the mountpoint of {volume}", row["mountpoint"], self.machine.place(volume))

    def books(self, rows: dict[Volume, dict[str, object]]) -> None:
        for driver, system in self.machine.systems.items():
            self.expect(f"{driver}'s attachments", system.attached(), sorted(name for of, name in rows if of == driver))
            volumes = system.volumes()
            self.expect(f"{driver}'s volumes", [name for name in volumes if volumes.count(name) > 1], [])
            self.expect(f"{driver}'s complaints", system.complaints(), [])
            half = {name for of, name in self.ledger.half_removed if of == driver}
            self.expect(f"half done volumes of {driver}", sorted(set(system.half_done()) - half), [])
        self.expect("stray devices", self.machine.strays(), [])

    def files(self, rows: dict[Volume, dict[str, object]]) -> None:
        """Nothing in the state but records, holds, claims, locks and containers of what is mounted; no empty place."""
        state = self.machine.home.state
        expected = set()
        for (driver, name), row in rows.items():
            slot = f"volumes/{driver}/{name}"
            expected |= {f"{slot}/lock", f"{slot}/record.json"}
            expected |= {f"{slot}/holds/{who}.json" for who in row["holds"]}  # type: ignore[attr-defined]
        left = set(self.machine.home.leftovers())
        claims = {path for path in left if path.startswith("claims/")}
        containers = {path for path in left if path.startswith("containers/")}
        # Of a create or a remove that was killed: recover comes by when the volume is not mounted any more.
        unfinished = {f"volumes/{driver}/{name}/unfinished" for driver, name in rows}
        self.expect("files in the state", sorted(left - claims - containers - expected - unfinished), [])
        self.expect("files missing", sorted(expected - left), [])
        self.expect("places of volumes", _below(state, "volumes/*/*"), sorted("/".join(volume) for volume in rows))
        texts = [(state / path).read_text() for path in claims if path.endswith("/claim.json")]
        claimed = sorted((fields["driver"], fields["name"]) for fields in map(json.loads, texts))
        self.expect("claims", claimed, sorted(each for each in rows if self.machine.systems[each[0]].has_claims))
        self.expect("places of claims", len(_below(state, "claims/*/*")), len(claimed))
        self.expect("files of claims", {os.path.basename(path) for path in claims} - {"claim.json", "lock"}, set())
        known = {who.removeprefix("container") for who in self.ledger.containers}
        there = {name.rpartition("/")[2] for name in _below(state, "containers/*")}
        self.expect("containers that are gone", sorted(there - known), [])

    def left(self) -> None:
        """No process, temporary file or descriptor; a process that has one of the state's open is one of ours."""
        machine = self.machine
        give_up = time.monotonic() + 5  # what unmounts our mounts elsewhere ends by itself
        while machine.processes() and time.monotonic() < give_up:
            time.sleep(0.05)
        self.expect("processes", machine.processes(), [])
        self.expect("temporary files", sorted(os.listdir(machine.temporary)), [])
        odd = [path.name for path in machine.metrics.parent.iterdir() if path != machine.metrics]
        self.expect("files beside the metrics", odd, [])
        state = f"{machine.home.state}/"
        own = [link for link in map(_target, Path("/proc/self/fd").iterdir()) if link.startswith(state)]
        self.expect("descriptors", own, [])


def _below(root: Path, pattern: str) -> list[str]:
    return sorted("/".join(path.relative_to(root).parts[1:]) for path in root.glob(pattern))


def _target(path: Path) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return ""
