"""The mount state on disk: records, holds, pending markers.

    volumes/<driver>/<name>/lock                 one lock a volume
    volumes/<driver>/<name>/record.json
    volumes/<driver>/<name>/holds/<who>.json     letting go is an unlink, which needs no space on a full disk
    containers/<id>/                             see containers.py
    claims/<provider>/<id>/                      see claims.py
    pending/<driver>/<name>                      an empty marker for each volume that needs recover
    pending/<driver>/.<name>.<pid>               the same while the volume's directory is being removed
    boot                                         the boot whose first recover has looked at every record
"""

from __future__ import annotations

import errno
import os

from dvdcli import fastjson, output
from dvdcli.clock import Deadline
from dvdcli.config import state_directory
from dvdcli.errors import NewerError, StateError, UsageError
from dvdcli.linux import files
from dvdcli.locks import Lock, acquire
from dvdcli.volume import SCHEMA, Hold, Record, Volume, decode, encode, is_time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

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

    def slots(self) -> Iterator[Slot]:
        """Return the places of all volumes that there are."""
        return self._walk("volumes")

    def places(self) -> list[tuple[str, str]]:
        """Return the names of the directories of all volumes, each after its driver's, for slot_at()."""
        tree = f"{self.root}/volumes"
        return [(driver, name) for driver in files.names_in(tree) for name in files.names_in(f"{tree}/{driver}")]

    def slot_at(self, driver: str, name: str) -> Slot:
        """Return the place of a volume by the names of its directories."""
        return Slot(self.root, driver, name, _volume(decode(driver), decode(name)))

    def pending(self) -> Iterator[Slot]:
        """Return the places of the volumes that need recover; no other is looked at."""
        return self._walk("pending")

    def _walk(self, tree: str) -> Iterator[Slot]:
        for driver in files.names_in(f"{self.root}/{tree}"):
            full_driver = decode(driver)
            for name in files.names_in(f"{self.root}/{tree}/{driver}"):
                if not name.startswith("."):
                    yield Slot(self.root, driver, name, _volume(full_driver, decode(name)))

    def going(self) -> Iterator[tuple[Slot, str]]:
        """Return the places whose removal was begun, each with the path of the marker that tells so."""
        for driver in files.names_in(f"{self.root}/pending"):
            for marker in files.names_in(f"{self.root}/pending/{driver}"):
                if marker.startswith("."):  # no encoded name does
                    yield self.slot_at(driver, marker[1:].rpartition(".")[0]), f"{self.root}/pending/{driver}/{marker}"

    def is_first_look(self, boot: str) -> bool:
        """Return whether no recover of this *boot* has looked at every record yet."""
        return (files.read(f"{self.root}/boot") or b"").decode("ascii", "replace") != boot

    def look(self, boot: str) -> None:
        """Note that in this *boot* every record is about to be looked at."""
        try:
            make_root(self.root)
            files.write(f"{self.root}/boot.new", boot.encode())
        except OSError:
            return  # the next recover looks at everything once more

    def looked(self, whole: bool) -> None:
        """Note that every record has been looked at, if *whole* says so and look_again() was not called meanwhile."""
        try:
            if whole:
                os.rename(f"{self.root}/boot.new", f"{self.root}/boot")
            else:
                files.unlink(f"{self.root}/boot.new")
        except OSError:
            return


def look_again(root: str) -> None:
    """Let the next recover look at every record: for what can leave no marker. Needs no space, and never fails."""
    for name in ("boot.new", "boot"):
        try:
            files.unlink(f"{root}/{name}")
        except OSError:
            continue


class Slot:
    """The place of one volume in the state: its lock, its record, its holds, its pending marker.

    *volume* is None where a long name's hash is all that is known, until the record has been read. With *look_only*
    a damaged record is left where it is. `guard` is the descriptor of its lock, while that is held.
    """

    def __init__(self, root: str, driver: str, name: str, volume: Volume | None) -> None:
        self.volume = volume
        self.root = root
        self.directory = f"{root}/volumes/{driver}/{name}"
        self.marker = f"{root}/pending/{driver}/{name}"
        self.damaged = False
        self.look_only = False
        self.guard = -1
        self.void: list[str] = []
        self._fresh: list[str] = []
        self._made = False

    def __str__(self) -> str:
        return str(self.volume) if self.volume else self.directory

    def exists(self) -> bool:
        """Return whether the volume has a directory in the state."""
        return os.path.isdir(self.directory)

    def acquire(self, deadline: Deadline) -> Lock:
        """Take the volume's lock, making its directory. Raises TryAgainError at the *deadline*, and OSError."""
        lock = acquire(f"{self.directory}/lock", deadline, self._make)
        try:
            if self._made:
                self.mark()  # whoever removed the last one may have taken our marker with it
        except OSError:
            lock.release()
            raise
        self.guard = lock.descriptor
        return lock

    def _make(self) -> None:
        """Make the directory, and its marker first: recover finds what is left of it wherever we are killed."""
        make_root(self.root)
        self.mark()
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
        self.mark()
        os.rename(path, f"{path}.corrupt-{number}")
        output.warn(f"{path} was damaged ({why}); it is kept as {os.path.basename(path)}.corrupt-{number}")

    def is_damaged(self) -> bool:
        """Return whether a damaged record was found, by this call or by one that could not finish."""
        return self.damaged or (self.is_marked() and any(".corrupt-" in n for n in files.names_in(self.directory)))

    # The holds

    def holds(self, boot: str) -> dict[str, Hold]:
        """Return the valid holds by who has them. One of another boot is void, and left out.

        One that cannot be read counts as valid, under the name of its file: when in doubt, the volume is in use.
        """
        found = {}
        for file_name in files.names_in(f"{self.directory}/holds"):
            if not file_name.endswith(".json"):
                continue
            hold = self._read_hold(file_name, boot)
            if hold.boot == boot:
                found[hold.who] = hold
            else:
                self.void.append(file_name)
        return found

    def holders(self, boot: str) -> list[str]:
        """Return who has a hold, sorted, where the record is of *boot*: then every hold is too; they are not read."""
        found = []
        for file_name in files.names_in(f"{self.directory}/holds"):
            if file_name.endswith(".json"):
                found.append(decode(file_name[: -len(".json")]) or self._read_hold(file_name, boot).who)
        return sorted(found)

    def sweep(self) -> None:
        """Remove what killed calls left beside the holds. Raises OSError."""
        for file_name in files.names_in(f"{self.directory}/holds"):
            if file_name.endswith(".json.new"):
                files.unlink(f"{self.directory}/holds/{file_name}")

    def drop_void(self) -> None:
        """Remove the holds that holds() left out. Raises OSError."""
        while self.void:
            files.unlink(f"{self.directory}/holds/{self.void.pop()}")

    def _read_hold(self, file_name: str, boot: str) -> Hold:
        path = f"{self.directory}/holds/{file_name}"
        stem = file_name[: -len(".json")]
        try:
            fields = fastjson.loads(files.read(path) or b"")
            refuse_newer(path, fields)
            who, of_boot = fields.pop("who"), fields.pop("boot")
            if not is_time(fields.get("since", {})):
                del fields["since"]
            if isinstance(who, str) and isinstance(of_boot, str) and encode(who) == stem:
                return Hold(who, of_boot, fields)
        except (ValueError, KeyError):
            pass
        return Hold(decode(stem) or stem, boot, {})

    def who_holds(self, file_name: str) -> str:
        """Return the key of the hold in *file_name*."""
        return self._read_hold(file_name, "").who

    def has_hold(self, who: str) -> bool:
        """Return whether there is a hold of *who*, valid or void."""
        return os.path.lexists(self._hold_path(who))

    def take(self, hold: Hold) -> None:
        """Add *hold*. It need not be durable: a power cut ends the boot, and every hold with it. Raises OSError."""
        path = self._hold_path(hold.who)
        data = fastjson.dumps(hold.to_json()).encode()
        try:
            files.replace(path, data, durable=False)
        except FileNotFoundError:
            os.mkdir(os.path.dirname(path), 0o700)
            files.replace(path, data, durable=False)

    def drop(self, who: str) -> bool:
        """Remove the hold of *who*; return whether there was one. Needs no space. Raises OSError."""
        return files.unlink(self._hold_path(who))

    def drop_all(self) -> None:
        """Remove every hold. Raises OSError."""
        for file_name in files.names_in(f"{self.directory}/holds"):
            files.unlink(f"{self.directory}/holds/{file_name}")

    def _hold_path(self, who: str) -> str:
        return f"{self.directory}/holds/{encode(who)}.json"

    # The marker, and the end

    def mark(self) -> None:
        """Leave a marker for recover. It need not be durable: after a power cut recover looks at everything."""
        try:
            files.touch(self.marker)
        except FileNotFoundError:
            make_root(self.root)
            os.makedirs(os.path.dirname(self.marker), 0o700, exist_ok=True)
            files.touch(self.marker)

    def is_marked(self) -> bool:
        """Return whether the volume waits for recover."""
        return os.path.lexists(self.marker)

    def unmark(self) -> None:
        """Remove the marker."""
        files.unlink(self.marker)

    def clear(self) -> None:
        """Remove the record and the holds; the lock and its file stay, for what this call does next. Raises OSError."""
        files.unlink(f"{self.directory}/record.json")
        files.unlink(f"{self.directory}/record.json.new")
        self.drop_all()

    def erase(self) -> None:
        """Forget the volume. Its lock is held, and goes last: who comes next starts from nothing. Raises OSError.

        The driver's directory stays, as that of its markers does: the next mount need not make it durable again.
        """
        self.clear()
        remove_directory(f"{self.directory}/holds")
        # Once the lock is gone the marker can be the next one's, so it gets a name of ours as long as we hold it.
        going = f"{os.path.dirname(self.marker)}/.{os.path.basename(self.marker)}.{os.getpid()}"
        try:
            os.rename(self.marker, going)
        except OSError:
            going = ""
        try:
            self.unmark()  # where there is no space for another name
            files.unlink(f"{self.directory}/lock")
            remove_directory(self.directory)
            if going:
                files.unlink(going)
        except OSError:
            if not going:
                look_again(self.root)
            raise

    def erase_if_empty(self) -> None:
        """Remove the directory that a lock alone needed. Its lock is held. Raises OSError."""
        if not os.path.lexists(f"{self.directory}/record.json") and not files.names_in(f"{self.directory}/holds"):
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


def refuse_newer(path: str, fields: Any) -> None:
    """Raise NewerError where *fields* have a newer schema than ours, ValueError where they have no schema."""
    schema = fields.get("schema") if isinstance(fields, dict) else None
    if isinstance(schema, int) and schema > SCHEMA:
        raise NewerError(f"{path} was written by a newer dvdcli (schema {schema})", "upgrade dvdcli on this host")
    if schema != SCHEMA:
        raise ValueError(f"schema {schema!r}")


def remove_directory(path: str) -> None:
    """Remove the directory at *path*, if it is there and empty. Raises OSError."""
    try:
        os.rmdir(path)
    except FileNotFoundError:
        return
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
