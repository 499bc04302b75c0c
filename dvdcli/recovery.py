"""Recover: finish what is pending, one volume after the other, never failing for one volume's sake."""

from __future__ import annotations

from dvdcli import pending
from dvdcli.clock import Deadline
from dvdcli.errors import DvdcliError, Exit, NewerError, TryAgainError, from_os_error
from dvdcli.linux import files
from dvdcli.state import State, boot_id
from dvdcli.volume import MOUNTED, MOUNTING, called
from dvdcli.work import Work

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from dvdcli.state import Slot

TIMEOUT = 540.0
VOLUME_TIMEOUT = 60.0
TIDY_TIMEOUT = 10.0  # a storage system that is stuck keeps nobody waiting for long
PATIENCE = 1.0

UNMOUNTED = "unmounted"
COMPLETED = "completed"
VERIFIED = "verified"
BUSY = "busy"
WAITING = "waiting"
IN_USE = "in use"
FAILED = "failed"
ADOPTED = "adopted"
SKIPPED = "skipped"
RELEASED = "released"
ACTIONS = (UNMOUNTED, COMPLETED, VERIFIED, BUSY, WAITING, IN_USE, FAILED, ADOPTED, SKIPPED, RELEASED)


class Outcome:
    """What became of one *volume*: *action* is one of the words above, *detail* the reason, *code* the exit code.

    *kind* says what it is, where it is no volume: a `container`, the `agent`, the `metrics`.
    """

    __slots__ = ("action", "code", "detail", "kind", "volume")

    def __init__(
        self, volume: str, action: str, detail: str = "", code: int = Exit.DONE, kind: str = "volume"
    ) -> None:
        self.volume = volume
        self.action = action
        self.detail = detail
        self.code = code
        self.kind = kind

    def __str__(self) -> str:
        return self.volume if self.kind == "volume" else f"{self.kind} {self.volume}"

    def to_json(self) -> dict[str, str]:
        """Return the outcome for programs."""
        return {"kind": self.kind, self.kind: self.volume, "action": self.action, "detail": self.detail}


def recover(deadline: Deadline, dry_run: bool = False) -> Iterator[Outcome]:
    """Finish intents without an outcome, failed unmounts and records of an earlier boot; tell what became of each.

    In the first recover of a boot every record is looked at; after that only those with a pending marker. With
    *dry_run* nothing is changed, and the outcomes are what would be done.
    """
    state = State(deadline)
    boot = boot_id()
    first = pending.is_first_look(state, boot)
    whole = True
    if first and not dry_run:
        pending.look(state, boot)
    seen = set()
    for slots in (state.slots(), pending.slots(state)) if first else (pending.slots(state),):
        for slot in slots:
            if slot.directory in seen:
                continue
            seen.add(slot.directory)
            slot.look_only = dry_run
            outcome = _look(slot, deadline)
            if outcome is not None:
                whole = whole and outcome.action != BUSY
                yield outcome
    if dry_run:
        return
    pending.finish_places(state, boot)
    if first:
        pending.looked(state, _sweep_claims(state) and whole)


def _sweep_claims(state: State) -> bool:
    if not files.names_in(f"{state.root}/claims"):
        return True  # no volume here is a disk: that is not imported for nothing
    from dvdcli import claims

    return claims.sweep()


def _look(slot: Slot, deadline: Deadline) -> Outcome | None:
    if slot.look_only and not slot.exists():
        return None
    try:
        lock = slot.acquire(Deadline(0.0))
    except TryAgainError:
        return Outcome(str(slot), BUSY, "another call is at work on it")
    except OSError as error:
        return _failed(slot, from_os_error(error))
    try:
        return _finish(slot, deadline.sooner(VOLUME_TIMEOUT))
    except DvdcliError as error:
        return _failed(slot, error)
    except OSError as error:
        return _failed(slot, from_os_error(error))
    finally:
        lock.release()


def _failed(slot: Slot, error: DvdcliError) -> Outcome:
    outcome = Outcome(str(slot), FAILED, str(error), error.code)
    return outcome if isinstance(error, NewerError) else _left(slot, outcome)


def _left(slot: Slot, outcome: Outcome) -> Outcome:
    """Make sure that the next recover looks again."""
    if not slot.look_only:
        slot.marker.leave_if_possible()
    return outcome


def _finish(slot: Slot, deadline: Deadline) -> Outcome | None:
    work = Work(slot, deadline, PATIENCE)
    record = work.record
    if record is None:
        return _without_record(work)
    if record.status == MOUNTED and work.holds and not work.is_of_older_boot and not slot.marker.is_left():
        return None
    keep = {} if work.is_of_older_boot else dict(work.holds)
    if record.status == MOUNTING:
        keep.pop(record.adding, None)
    if not keep:
        return _undo(work)
    if work.is_proven():
        if not slot.look_only:
            slot.sweep()
            if not slot.unmark_held(work.boot):
                return _finish(slot, deadline)
        return Outcome(str(slot), VERIFIED, f"mounted for {called(sorted(keep))}")
    if not slot.look_only:
        if record.adding:
            slot.holds.drop(record.adding)
        work.forward("", explicit=True)
        if slot.is_idle(work.boot):
            return _finish(slot, deadline)  # who held it has let go meanwhile
    return Outcome(str(slot), COMPLETED, f"mounted for {called(sorted(keep))}")


def _without_record(work: Work) -> Outcome | None:
    slot = work.slot
    if slot.is_unfinished() and not slot.is_damaged():
        return _tidy(work)
    if not slot.is_damaged():
        if not slot.look_only:
            slot.erase()
        return None
    if slot.look_only:
        return Outcome(str(slot), UNMOUNTED, "its record was damaged")
    from dvdcli import unrecorded

    work.begin({})
    unrecorded.put_on_record(work, "")
    return _undo(work)


def _tidy(work: Work) -> Outcome:
    """Let the provider finish, or clear away, what a create or a remove left whose outcome is open."""
    from dvdcli import providers, unfinished
    from dvdcli.config import Config

    slot, volume = work.slot, unfinished.volume_of(work.slot)
    if not slot.look_only:
        if volume is not None:
            deadline = work.deadline.sooner(TIDY_TIMEOUT)
            providers.find(volume.driver, Config(), deadline, work.patience)[1].tidy(volume.name)
        files.unlink(slot.unfinished)
        slot.erase()
    return Outcome(str(slot), COMPLETED, "a create or a remove of it was interrupted")


def _undo(work: Work) -> Outcome:
    record, provider, slot = work.record, work.provider(), work.slot
    assert record is not None
    paths = {work.path_today(), "" if work.is_of_older_boot else record.path} - {""}
    users = [user for path in sorted(paths) for user in provider.users(path, record.handle)]
    if users:
        detail = f"left alone, still mounted by {', '.join(map(str, users))}"
        return _left(slot, Outcome(str(slot), IN_USE, detail, Exit.IN_USE))
    why = "of an earlier boot" if work.is_of_older_boot else record.failure or "nobody holds it"
    if not slot.look_only:
        slot.marker.leave_if_possible()
        slot.holds.drop_all()
        if not work.finish():
            return Outcome(str(slot), WAITING, "a mount that was given up can still be under way")
        if slot.is_unfinished():
            _tidy(work)
        else:
            slot.erase()
    return Outcome(str(slot), UNMOUNTED, why)
