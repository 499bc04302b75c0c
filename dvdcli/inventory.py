"""What the storage systems know: their volumes, and what makes, grows and destroys one."""

from __future__ import annotations

from dvdcli import output, providers, unfinished
from dvdcli.config import Config
from dvdcli.errors import InUseError, NotFoundError, TryAgainError, UsageError
from dvdcli.linux import files
from dvdcli.marker import look_again
from dvdcli.state import State, boot_id
from dvdcli.volume import Volume, called
from dvdcli.work import PATIENCE, Work

TYPE_CHECKING = False
if TYPE_CHECKING:
    from dvdcli.clock import Deadline
    from dvdcli.providers.base import Info, Provider

READ_PATIENCE = 2.0  # seconds that a question waits for a plugin that is starting
READ_TIMEOUT = 60.0


def _reader(driver: str, deadline: Deadline) -> Provider:
    """Return the provider of *driver* for a question: a name that is not there now is not waited for."""
    provider = providers.find(driver, Config(), deadline, 0.0)[1]
    provider.patience = READ_PATIENCE
    return provider


def volumes(driver: str, deadline: Deadline) -> list[Info]:
    """Return the volumes that *driver* knows, in the order of their names."""
    return _reader(driver, deadline).list()


def scope(driver: str, deadline: Deadline) -> str:
    """Return whether the volumes of *driver* are `local` to this host or `global`."""
    return _reader(driver, deadline).scope()


def get(volume: Volume, deadline: Deadline) -> Info:
    """Return what the driver says of *volume*. Raises NotFoundError."""
    return _there(volume, _reader(volume.driver, deadline).get(volume.name))


def path(volume: Volume, deadline: Deadline) -> str:
    """Return where *volume* is mounted on this host, "" where it is not. Raises NotFoundError."""
    provider = _reader(volume.driver, deadline)
    _there(volume, provider.get(volume.name))
    return provider.path(volume.name)


def _there(volume: Volume, info: Info | None) -> Info:
    if info is None:
        hint = f"dvdcli list --volumedriver={volume.driver} shows those there are"
        raise NotFoundError(f"there is no volume {volume}", hint)
    return info


def create(volume: Volume, options: dict[str, str], deadline: Deadline) -> None:
    """Make *volume*; one that is there is what its driver says of it."""
    slot = State(deadline).slot(volume)
    lock = slot.acquire(deadline)
    try:
        try:
            provider = providers.find(volume.driver, Config(), deadline, PATIENCE)[1]
            provider.check(options)
            unfinished.during(slot, provider, lambda: provider.create(volume.name, options))
            output.to_syslog(f"created the volume {volume}")
            later = provider.of_mount(options)
            if later:
                output.warn(f"{', '.join(later)}: the file system of {volume} is made by its first mount; say it there")
        finally:
            slot.erase_if_empty()
    finally:
        lock.release()


def resize(volume: Volume, options: dict[str, str], deadline: Deadline) -> None:
    """Make *volume* as large as *options* say. Raises UsageError, NotFoundError."""
    slot = State(deadline).slot(volume)
    lock = slot.acquire(deadline)
    try:
        try:
            work = Work(slot, deadline)
            found = None if work.record else providers.find(volume.driver, Config(), deadline, PATIENCE)
            provider = found[1] if found else work.provider()
            provider.guard = slot.guard
            if set(provider.canonical(options)) != {"size"}:
                raise UsageError("resize takes one volume option, the size", "--volumeopts size=SIZE")
            provider.check(options)
            provider.resize(volume.name, options)
            output.to_syslog(f"resized the volume {volume} to {provider.canonical(options)['size']}")
        finally:
            slot.erase_if_empty()
    finally:
        lock.release()


def remove(volume: Volume, deadline: Deadline) -> None:
    """Destroy *volume* and its data. Raises InUseError while anybody holds it, NotFoundError where there is none."""
    slot = State(deadline).slot(volume)
    lock = slot.acquire(deadline)
    try:
        work = Work(slot, deadline)
        if work.record is not None:
            if work.holds and not work.is_of_older_boot:
                users = called(sorted(work.holds))
                raise InUseError(f"the volume {volume} is mounted for {users}", "unmount it first")
            slot.marker.leave_if_possible()
            if not work.finish():
                raise TryAgainError(f"a mount of {volume} that was given up can still be under way", "try again later")
        try:
            provider = providers.find(volume.driver, Config(), deadline, PATIENCE)[1]
            unfinished.during(slot, provider, lambda: _remove(volume, provider))
            output.to_syslog(f"removed the volume {volume}")
        finally:
            slot.erase_if_empty()
    finally:
        lock.release()


def _remove(volume: Volume, provider: Provider) -> None:
    provider.tidy(volume.name)
    _there(volume, provider.get(volume.name))
    provider.remove(volume.name)


def forget(volume: Volume, deadline: Deadline) -> None:
    """Drop the record of *volume* and its holds; the storage system is not asked, and what is mounted stays so.

    Raises NotFoundError where nothing is on record, TryAgainError while another call works on it.
    """
    slot = State(deadline).slot(volume)
    if not slot.exists():
        raise _unknown(volume)
    lock = slot.acquire(deadline)
    try:
        record = slot.load()
        was_unfinished = files.unlink(slot.unfinished)
        # What a killed call of ours left are holds, of which recover would make the record again.
        if not was_unfinished and record is None and not slot.is_damaged() and not slot.holds.valid(boot_id()):
            slot.erase_if_empty()
            raise _unknown(volume)
        look_again(slot.root)  # should we be killed before its claim is gone
        slot.erase()
        output.to_syslog(f"forgot the volume {volume}, without touching its storage")
        if record is not None and record.claim:
            from dvdcli.claims import Claim

            Claim(record.provider, record.claim).drop(volume, deadline)
    finally:
        lock.release()


def _unknown(volume: Volume) -> NotFoundError:
    return NotFoundError(f"nothing is on record of {volume}", "dvdcli list shows what is")
