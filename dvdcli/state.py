"""The mount state on disk: records, holds, pending markers.

    volumes/<driver>/<name>/lock                 one lock a volume
    volumes/<driver>/<name>/record.json
    volumes/<driver>/<name>/holds/               see holds.py
    volumes/<driver>/<name>/unfinished           see unfinished.py
    containers/<id>/                             see containers.py
    claims/<provider>/<id>/                      see claims.py
    pending/<driver>/                            see marker.py
    boot                                         see pending.py
"""

from __future__ import annotations

import os

from dvdcli import fastjson, output
from dvdcli.clock import Deadline
from dvdcli.config import state_directory
from dvdcli.errors import NewerError, StateError, UsageError
from dvdcli.holds import Holds
from dvdcli.linux import files
from dvdcli.locks import Lock, acquire
from dvdcli.marker import Marker, look_again
from dvdcli.names import decode, encode
from dvdcli.volume import Record, Volume, refuse_newer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

BOOT_ID = "/proc/sys/kernel/random/boot_id"
PATIENCE = 5.0  # seconds


def boot_id() -> str:
    """Return the id of this boot of the machine.

    Raises StateError where /proc is not there: every hold would be one of another boot, and no volume in use.
    """
    found = files.read(BOOT_ID)
    if found is None and not os.path.lexists("/proc/self/mountinfo"):
        raise StateError("/proc is not mounted: what is in use cannot be told", "mount it")
    return (found or b"").decode().strip()


class State:
    """The state directory. Raises StateError where it is not ours alone to write.

    Before the first look at it, its file system is asked whether it answers: TryAgainError where it does not by the
    *deadline*, by default after PATIENCE.
    """

    def __init__(self, deadline: Deadline | None = None) -> None:
        self.root = state_directory()
        files.await_answer(self.root, deadline or Deadline(PATIENCE))
        try:
            status = os.stat(self.root)
        except FileNotFoundError:
            return
        link = os.lstat(self.root)
        if status.st_uid != os.geteuid() or status.st_mode & 0o022 or link.st_uid not in (0, status.st_uid):
            raise StateError(f"{self.root}: others can write it", "chown it to who runs dvdcli and chmod go-w it")

    def slot(self, volume: Volume) -> Slot:
        """Return the place of *volume*, which need not be there yet."""
        return Slot(self.root, encode(volume.driver), encode(volume.name), volume)

    def slots(self, tree: str = "volumes") -> Iterator[Slot]:
        """Return the places of all volumes that there are, or that are named in another *tree* of the same form."""
        for driver in files.names_in(f"{self.root}/{tree}"):
            full_driver = decode(driver)
            for name in files.names_in(f"{self.root}/{tree}/{driver}"):
                if not name.startswith("."):
                    yield Slot(self.root, driver, name, _volume(full_driver, decode(name)))

    def places(self) -> list[tuple[str, str]]:
        """Return the names of the directories of all volumes, each after its driver's, for slot_at()."""
        tree = f"{self.root}/volumes"
        return [(driver, name) for driver in files.names_in(tree) for name in files.names_in(f"{tree}/{driver}")]

    def slot_at(self, driver: str, name: str) -> Slot:
        """Return the place of a volume by the names of its directories."""
        return Slot(self.root, driver, name, _volume(decode(driver), decode(name)))


class Slot:
    """The place of one volume in the state: its lock, its record, its holds, its pending marker.

    *volume* is None where a long name's hash is all that is known, until the record has been read. With *look_only*
    a damaged record is left where it is. `guard` is the descriptor of its lock, while that is held.
    """

    def __init__(self, root: str, driver: str, name: str, volume: Volume | None) -> None:
        self.volume = volume
        self.root = root
        self.directory = f"{root}/volumes/{driver}/{name}"
        self.marker = Marker(root, driver, name)
        self.unfinished = f"{self.directory}/unfinished"
        self.holds = Holds(f"{self.directory}/holds")
        self.damaged = False
        self.look_only = False
        self.guard = -1
        self._fresh: list[str] = []
        self._made = False

    def __str__(self) -> str:
        return str(self.volume) if self.volume else self.directory

    def exists(self) -> bool:
        """Return whether the volume has a directory in the state."""
        return os.path.isdir(self.directory)

    def acquire(self, deadline: Deadline) -> Lock:
        """Take the volume's lock, making its directory. Raises TryAgainError at the *deadline*, and OSError."""
        lock = None
        try:
            lock = acquire(f"{self.directory}/lock", deadline, self._make)
        finally:
            if self._made:
                self._give_marker(lock)
        self.guard = lock.descriptor
        return lock

    def _make(self) -> None:
        """Make the directory, and first a marker: recover finds what is left of it wherever we are killed.

        The marker has a name of ours, since the volume's own belongs to who has the lock, and goes with a removal.
        """
        make_root(self.root)
        self.marker.leave_ours()
        self._made = True
        parent = os.path.dirname(self.directory)
        for path in (os.path.dirname(parent), parent, self.directory):
            try:
                os.mkdir(path, 0o700)
                self._fresh.append(os.path.dirname(path))
            except FileExistsError:
                continue
            except FileNotFoundError:  # removed by who used it last: the caller tries again
                return

    def _give_marker(self, lock: Lock | None) -> None:
        """Make our marker the volume's own. Where that cannot be, it stays for recover, and a *lock* is let go."""
        try:
            self.marker.give()
        except OSError:
            if lock is None:
                return
            lock.release()
            raise

    # The record

    def load(self) -> Record | None:
        """Return the record, None where there is none.

        One that cannot be parsed is set aside, said aloud, and leaves `damaged` set. Raises StateError for one of a
        newer schema, or of another volume whose name has the same hash: both stay untouched.
        """
        path = f"{self.directory}/record.json"
        data = files.read(path)
        if data is None:
            return None
        try:
            fields = fastjson.loads(data)
            refuse_newer(path, fields)
            record = Record.from_json(fields, self.volume)
        except ValueError as error:
            self._set_aside(path, str(error))
            return None
        if self.volume is None:
            self.volume = record.volume
        elif record.volume != self.volume:
            raise StateError(f"{path} is the record of {record.volume}", "two names with one hash cannot be told apart")
        return record

    def has_record(self) -> bool:
        """Return whether there is a record, whatever it says."""
        return os.path.lexists(f"{self.directory}/record.json")

    def is_newer(self) -> bool:
        """Return whether the record is of a newer schema; whatever else may be wrong with it does not matter here."""
        path = f"{self.directory}/record.json"
        try:
            refuse_newer(path, fastjson.loads(files.read(path) or b""))
        except NewerError:
            return True
        except ValueError:
            pass
        return False

    def save(self, record: Record, *, intent: bool) -> None:
        """Write the record. Its data is durable in any case, its name for an *intent*. Raises OSError."""
        files.replace(f"{self.directory}/record.json", fastjson.dumps(record.to_json()).encode(), durable=True)
        if intent:
            files.sync_directory(self.directory)
            for path in reversed(self._fresh):
                files.sync_directory(path)
            self._fresh.clear()

    def save_failure(self, record: Record, failure: str) -> None:
        """Note the last *failure*, where there is space for it."""
        record.failure = failure
        try:
            files.replace(f"{self.directory}/record.json", fastjson.dumps(record.to_json()).encode(), durable=False)
        except OSError:
            return

    def _set_aside(self, path: str, why: str) -> None:
        self.damaged = True
        if self.look_only:
            return
        number = 0
        while os.path.lexists(f"{path}.corrupt-{number}"):
            number += 1
        self.marker.leave()
        os.rename(path, f"{path}.corrupt-{number}")
        output.warn(f"{path} was damaged ({why}); it is kept as {os.path.basename(path)}.corrupt-{number}")

    def is_damaged(self) -> bool:
        """Return whether a damaged record was found, by this call or by one that could not finish."""
        return self.damaged or (self.marker.is_left() and any(".corrupt-" in n for n in files.names_in(self.directory)))

    # The end

    def let_go(self, who: str) -> None:
        """Drop a hold without the lock, and leave what follows from it to recover. Raises OSError.

        Who has the lock can be about to remove the marker, for that hold's sake: it is there again afterwards.
        """
        self.marker.leave_if_possible()
        self.holds.drop(who)
        if not self.marker.is_left():
            self.marker.leave_if_possible()

    def unmark_held(self, boot: str) -> bool:
        """Remove the marker of a volume that is held; return False, and leave one, where nobody holds it any more.

        The other side of let_go(): the holds are read when the marker has gone, which has a name of ours until then.
        """
        going = self.marker.take()
        held = bool(self.holds.valid(boot))
        if not held:
            self.marker.leave_if_possible()
        if going:
            self.marker.remove_ours()
        return held

    def sweep(self) -> None:
        """Remove what killed calls left beside the record and the holds. Raises OSError."""
        files.unlink(f"{self.directory}/record.json.new")
        self.holds.sweep()

    def clear(self) -> None:
        """Remove the record and the holds; the lock and its file stay, for what this call does next. Raises OSError."""
        files.unlink(f"{self.directory}/record.json")
        files.unlink(f"{self.directory}/record.json.new")
        self.holds.drop_all()

    def is_unfinished(self) -> bool:
        """Return whether the outcome of a create or a remove is open: then the place stays until recover has been."""
        return os.path.lexists(self.unfinished)

    def erase(self) -> None:
        """Forget the volume. Its lock is held, and goes last: who comes next starts from nothing. Raises OSError.

        The driver's directory stays, as that of its markers does: the next mount need not make it durable again.
        """
        self.clear()
        files.remove_directory(self.holds.directory)
        if self.is_unfinished():
            self.marker.leave_if_possible()
            return
        # Once the lock is gone the marker can be the next one's, so it gets a name of ours as long as we hold it.
        going = self.marker.take()
        try:
            lock = f"{self.directory}/lock"
            files.unlink(lock)
            if not files.remove_directory(self.directory) and os.path.lexists(lock):
                self.marker.leave_if_possible()  # of who waited for ours, and need not have marked it
            if going:
                self.marker.remove_ours()
        except OSError:
            if not going:
                look_again(self.root)
            raise

    def is_idle(self, boot: str) -> bool:
        """Return whether the volume is on record, and nobody holds it."""
        return self.has_record() and not self.holds.valid(boot)

    def erase_if_empty(self) -> None:
        """Remove the directory that a lock alone needed. Its lock is held. Raises OSError."""
        if not self.has_record() and self.holds.are_none():
            self.erase()


def make_root(path: str) -> None:
    """Make the state directory, which is ours alone.

    Below DVDCLI_STATE_DIR tasks pass through it on their way to a mount; everything else in it is 0700.
    """
    if not os.path.isdir(path):
        os.makedirs(os.path.dirname(path), 0o755, exist_ok=True)
        mode = 0o711 if os.environ.get("DVDCLI_STATE_DIR") else 0o700
        try:
            os.mkdir(path, mode)
            os.chmod(path, mode)
        except FileExistsError:
            return


def _volume(driver: str | None, name: str | None) -> Volume | None:
    try:
        return Volume(driver, name) if driver and name else None
    except UsageError:
        return None
