"""A create or a remove whose outcome is open, for it was killed or given up: recover has the provider tidy up.

    volumes/<driver>/<name>/unfinished    whose it is
"""

from __future__ import annotations

from dvdcli import fastjson, output
from dvdcli.errors import DvdcliError, TryAgainError, UsageError
from dvdcli.linux import files
from dvdcli.providers.base import Provider
from dvdcli.volume import SCHEMA, Volume, refuse_newer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from dvdcli.state import Slot


def during(slot: Slot, provider: Provider, change: Callable[[], None]) -> None:
    """Make the *change*, by *provider*, to the volume of *slot*, whose lock is held. Raises what that raises.

    Nothing is noted for a provider that leaves no halves, of a volume that is on record, for that is there, and where
    the disk has no room: a remove can be what makes some.
    """
    if type(provider).tidy is Provider.tidy or slot.has_record():
        change()
        return
    _note(slot)
    try:
        change()
    except TryAgainError:
        raise
    except (DvdcliError, OSError):
        files.unlink(slot.unfinished)
        raise
    files.unlink(slot.unfinished)


def _note(slot: Slot) -> None:
    assert slot.volume is not None
    fields = {"schema": SCHEMA, "driver": slot.volume.driver, "name": slot.volume.name}
    try:
        slot.marker.leave()
        files.write(slot.unfinished, fastjson.dumps(fields).encode())
    except OSError as error:
        output.debug(f"{slot.unfinished}: {error}")


def volume_of(slot: Slot) -> Volume | None:
    """Return the volume of *slot*, which is unfinished; None where nothing was begun, for a kill tore the note.

    Raises NewerError.
    """
    if slot.volume is None:
        try:
            fields = fastjson.loads(files.read(slot.unfinished) or b"")
            refuse_newer(slot.unfinished, fields)
            slot.volume = Volume(fields["driver"], fields["name"])
        except (ValueError, KeyError, TypeError, UsageError):
            return None
    return slot.volume
