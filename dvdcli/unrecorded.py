"""What may be mounted without a record that tells of it: asked of the storage system, put on record, and undone."""

from __future__ import annotations

from dvdcli import output
from dvdcli.errors import DvdcliError, NotFoundError
from dvdcli.volume import UNMOUNTING

TYPE_CHECKING = False
if TYPE_CHECKING:
    from dvdcli.work import Work


def release(work: Work) -> None:
    """Unmount the volume of *work*, which has no record, if its storage system says that it is mounted here.

    A driver that is not there or does not answer has nothing of ours: that is said in syslog, and is no failure.
    Raises DvdcliError and OSError where what is mounted cannot be undone.
    """
    slot, damaged = work.slot, work.slot.is_damaged()
    try:
        work.patience = 0.0
        work.begin({})
        here = work.provider().here(work.volume.name)
    except DvdcliError as error:
        slot.erase()
        if not isinstance(error, NotFoundError):
            output.warn(f"unmount {slot}: nothing is on record, and the driver cannot be asked: {error}")
        return
    if here is None and not damaged:
        slot.erase()
        return
    put_on_record(work, here.path if here else "")
    if not work.note_here(here) or work.finish():
        slot.erase()


def put_on_record(work: Work, path: str) -> None:
    """Put on record, as unmounting, what is mounted at *path* without one. Raises OSError."""
    record = work.known()
    record.status, record.path, record.boot = UNMOUNTING, path, work.boot
    work.slot.marker.leave()
    work.slot.save(record, intent=True)
