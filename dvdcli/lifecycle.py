"""Mount and unmount: what was found by what is asked, as the table in the design has it."""

from __future__ import annotations

from dvdcli import output
from dvdcli.errors import AtWorkError, DvdcliError, InUseError, TryAgainError
from dvdcli.state import State
from dvdcli.work import Work

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from dvdcli.clock import Deadline
    from dvdcli.volume import Volume

# Seconds. A Mesos agent kills a mount at 120 s and an unmount at 10 minutes: we give up before, in good order.
MOUNT_TIMEOUT = 100.0
UNMOUNT_TIMEOUT = 540.0

DEFAULT_HOLD = "host"


def hold_name(name: str) -> str:
    """Return the key of the hold that `--hold NAME` means."""
    return f"name:{name}"


def mount(
    volume: Volume,
    options: dict[str, str],
    explicit: bool | None,
    hold: str,
    deadline: Deadline,
    announce: Callable[[str], None],
    dress: Callable[[str], None] | None = None,
) -> None:
    """Mount *volume* for *hold* and tell the path to *announce*; if that cannot be heard, the mount is undone.

    *dress* is called with the path of a volume that was made for this mount, before anybody uses it. *explicit* says
    whether a missing volume is an error; None leaves it to the configuration. A failed call undoes only the hold that
    it added itself. Raises DvdcliError and OSError.
    """
    slot = State(deadline).slot(volume)
    lock = slot.acquire(deadline)
    try:
        work = Work(slot, deadline)
        if work.is_of_older_boot:
            work.forget_older_boot()
        elif work.record is not None and not work.drop_dead_call(hold) and not work.goes_on(options):
            _finish_first(work)
        added = "" if hold in work.holds and not work.is_unheard(hold) else hold
        was_on_record = work.record is not None
        try:
            if work.holds and work.is_proven():
                path = _join(work, added)
            else:
                if work.record is None:
                    work.begin(options)
                path = work.forward(added, explicit, dress)
            announce(path)
        except BaseException as error:
            _take_back(work, added, error, was_on_record)
            raise
    finally:
        lock.release()


def _finish_first(work: Work) -> None:
    try:
        work.slot.marker.leave_if_possible()
        work.finish()
    except DvdcliError as error:
        raise TryAgainError(f"the last unmount of {work.slot} is not finished: {error.message}", error.hint) from error


def _join(work: Work, added: str) -> str:
    """Take the hold *added*, where it is any, on a volume that is mounted; return where."""
    if added:
        work.slot.marker.leave()
        work.take(added)
    work.slot.marker.remove()  # what a call left that was killed just before its end
    return work.known().path


def _take_back(work: Work, added: str, error: BaseException, was_on_record: bool) -> None:
    """Undo what a mount did that ended with *error*, and tell what could not be undone."""
    left = work.leave(added) if isinstance(error, AtWorkError) else work.undo(added)
    if was_on_record and isinstance(error, InUseError):
        error.hint += "; the settings on record count until its last unmount here"
    if left and isinstance(error, DvdcliError):
        error.hint = f"{error.hint}; {left}" if error.hint else left
    elif left:
        output.warn(left)


def unmount(volume: Volume, hold: str, deadline: Deadline, ask: bool = True) -> list[str]:
    """Drop *hold*, and unmount *volume* if it was the last; return who else holds it.

    A volume that is not mounted is fine; with *ask* the driver of one that is not on record is asked whether it has it
    mounted. Raises DvdcliError and OSError where something on record cannot be undone; recover tries it again.
    """
    slot = State(deadline).slot(volume)
    lock = slot.acquire(deadline)
    try:
        work = Work(slot, deadline)
        if work.record is None:
            if ask or slot.is_damaged():
                from dvdcli import unrecorded

                unrecorded.release(work)
            else:
                slot.erase_if_empty()
            return []
        others = [] if work.is_of_older_boot else sorted(who for who in work.holds if who != hold)
        if others:
            slot.holds.drop(hold)
            return others
        slot.marker.leave_if_possible()
        slot.holds.drop_all()
        if work.finish():
            slot.erase()
        return []
    finally:
        lock.release()
