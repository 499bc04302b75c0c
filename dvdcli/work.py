"""One volume whose lock we have: what was found of it, and the steps that lead on from there."""

from __future__ import annotations

from dvdcli import clock, output, providers
from dvdcli.clock import Deadline
from dvdcli.config import Config
from dvdcli.errors import DvdcliError, InUseError, NotFoundError, TryAgainError
from dvdcli.linux import mountinfo
from dvdcli.state import boot_id
from dvdcli.volume import MOUNTED, MOUNTING, UNMOUNTING, Hold, Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from dvdcli.providers.base import Mounted, Provider
    from dvdcli.state import Slot
    from dvdcli.volume import Volume

# Seconds.
UNDO_TIMEOUT = 10.0
LATE = 120.0  # how long a storage system can still be at work on a mount that nobody waits for any more
PATIENCE = 15.0


def _is_gone(place: str, space: str) -> bool:
    """Return whether nothing is mounted at *place* any more, neither in the mount namespace *space* nor in ours."""
    tables = (mountinfo.read_in(space), mountinfo.read()) if place else ()
    return bool(place) and not any(mount.path == place for table in tables for mount in table)


class Work:
    """One volume whose lock we have: what was found, and the steps that lead on from there.

    A record without a valid hold counts as unmounting, whatever it says.
    """

    def __init__(self, slot: Slot, deadline: Deadline, patience: float = PATIENCE) -> None:
        self.slot = slot
        self.deadline = deadline
        self.patience = patience
        self.boot = boot_id()
        self.record = slot.load()
        self.holds = slot.holds.valid(self.boot)
        self._provider: Provider | None = None
        self._claimed = ""
        self._config = Config()  # which is read when it is first needed, and once
        if self.record is None and not slot.look_only:
            slot.holds.drop_void()  # beside the record to come there are valid ones only
        if self.record is None and self.holds:
            self.record = self._rebuilt()
        self._intended = self.record is not None
        self._unsure = self.record is not None and self.record.status == MOUNTING and not self.is_of_older_boot

    @property
    def volume(self) -> Volume:
        """The volume; known wherever there is a record, or a call that named it."""
        if self.slot.volume is None:
            raise DvdcliError(f"{self.slot.directory} does not say whose it is", "unmount that volume by name")
        return self.slot.volume

    @property
    def is_of_older_boot(self) -> bool:
        """Whether the record was made before the machine last started: nothing is mounted, holds are void."""
        return self.record is not None and self.record.boot != self.boot

    def provider(self) -> Provider:
        """Return the provider that the record pins."""
        record = self.record
        if self._provider is None and record is not None:
            self._provider = self._equipped(
                providers.pinned(record.provider, record.volume.driver, record.settings, self.deadline, self.patience),
                record.options,
            )
        if self._provider is None:
            raise DvdcliError(f"{self.slot} has no provider")
        return self._provider

    def _equipped(self, provider: Provider, options: dict[str, str]) -> Provider:
        provider.guard, provider.given = self.slot.guard, options
        return provider

    def begin(self, options: dict[str, str]) -> None:
        """Make a record, not yet on disk, for a volume that has none: the driver is looked up now, and never again."""
        name, provider = providers.find(self.volume.driver, self._config, self.deadline, self.patience)
        provider.check_mount(options)
        self._provider = self._equipped(provider, options)
        self.record = Record(self.volume, name, provider.pinned, options)

    def is_proven(self) -> bool:
        """Return whether the volume is mounted where the record says, by the storage system's own word today.

        That alone is not believed where the mount table shows that somebody has unmounted it.
        """
        record = self.record
        if record is None or record.status != MOUNTED or self.is_of_older_boot:
            return False
        return self.path_today() == record.path and not _is_gone(record.within, record.mount_namespace)

    def path_today(self) -> str:
        """Return where the volume is mounted by the storage system's own word, or proof, of today; "" for nowhere."""
        record = self.known()
        return self.provider().mounted_at(record.volume, record.handle)

    def forward(self, adding: str, explicit: bool | None, dress: Callable[[str], None] | None = None) -> str:
        """Mount the volume, made if need be and allowed, and return its path.

        *adding* is the hold taken with it; *dress* is called with the path of a volume that was made for this mount.
        """
        record = self.known()
        missing = self._is_missing(explicit)
        before = record.path, record.within, record.mount_namespace
        record.fresh = record.fresh or missing
        self._intend(adding)
        if missing:
            with output.step(f"making the volume {record.volume}", self.deadline):
                self.provider().create(record.volume.name, record.options)
            output.to_syslog(f"created the volume {record.volume}, which did not exist")
        mounted = self._mount()
        if mounted.path == before[0] and _is_gone(*before[1:]):
            raise DvdcliError(
                f"the driver {record.volume.driver} says that {record.volume.name} is mounted at {record.path}, "
                "and nothing is there",
                "somebody unmounted it: unmount it with dvdcli for all who hold it, or restart the driver's plugin",
            )
        if (record.fresh or mounted.fresh) and dress is not None:
            dress(mounted.path)
        record.status, record.adding, record.failure, record.fresh = MOUNTED, "", "", False
        record.path, record.handle, record.within = mounted.path, mounted.handle, mountinfo.within(mounted.path)
        self.slot.save(record, intent=False)
        if adding:
            self.slot.marker.remove()
        else:
            self.slot.unmark_held(self.boot)
        return record.path

    def _is_missing(self, explicit: bool | None) -> bool:
        """Return whether the volume has to be made. Raises NotFoundError where it may not be."""
        record, provider = self.known(), self.provider()
        if provider.identity(record.handle) or provider.get(record.volume.name) is not None:
            return False
        # An empty volume in its place would be no help to who uses it; who was killed before it was made uses nothing.
        was_there = record.path or [who for who in self.holds if not self.is_unheard(who)]
        if was_there or (self._config.explicit_create() if explicit is None else explicit):
            raise NotFoundError(f"there is no volume {record.volume}", "create it first, with dvdcli create")
        return True

    def _intend(self, adding: str) -> None:
        """Put on record, durably, that the volume is about to be mounted, and take the hold *adding*."""
        record = self.known()
        record.status, record.adding, record.boot = MOUNTING, adding, self.boot
        record.mount_namespace, record.since = mountinfo.namespace(), clock.now()
        self.slot.marker.leave()
        self.slot.save(record, intent=True)
        self._intended = True
        if adding:
            self.take(adding)

    def _mount(self) -> Mounted:
        """Let the provider mount the volume. One that it does not refuse in so many words may still come about."""
        record = self.known()
        unheard, self._unsure = self._unsure, True
        try:
            mounted = self.provider().mount(record.volume, record.options, record.handle, self.note)
        except TryAgainError:
            raise
        except DvdcliError:
            self._unsure = unheard  # refused in so many words; what an earlier call asked for was perhaps not
            raise
        self._unsure = False
        return mounted

    def take(self, who: str) -> None:
        """Add a hold, with what a damaged record can be rebuilt from."""
        record = self.record
        assert record is not None
        since = clock.now()
        data: dict[str, Any] = {"provider": record.provider, "settings": record.settings, "options": record.options}
        self.slot.holds.take(Hold(who, self.boot, {"path": record.path, "since": since, **data}))

    def note(self, handle: dict[str, Any]) -> None:
        """Make a provider's handle durable in the middle of its work."""
        record, identity = self.known(), self.provider().identity(handle)
        if identity and identity != self._claimed:
            from dvdcli import claims

            claims.take_for(self.slot, record, identity, self.deadline)
            self._claimed = identity
        record.handle = dict(handle)
        self.slot.save(record, intent=True)

    def finish(self) -> bool:
        """Undo the mount, and remove the record. What fails is remembered for recover, and raised.

        The slot is still there, and its lock held: the caller goes on with it, or erases it. Return False where the
        storage system can still be at work on a mount that was given up: the record stays, for recover to ask again.
        """
        record = self.known()
        try:
            if not record.handle and self.slot.is_damaged():
                self.note_here(self.provider().here(record.volume.name))
            certain = self.provider().unmount(record.volume, record.handle, self.note)
            if record.fresh:
                self.provider().abandon(record.volume.name)  # nobody may ever ask for that volume again
        except DvdcliError as error:
            if record.status == MOUNTED:
                record.status = UNMOUNTING
            self.slot.save_failure(record, str(error))
            raise
        if not certain and self._unsure and self._is_young():
            return False
        if record.claim:
            from dvdcli import claims

            claims.drop_of(self.slot, record, Deadline(UNDO_TIMEOUT))
            self._claimed = ""
        self.slot.clear()
        self.record = self._provider = None
        self._intended = self._unsure = False
        return True

    def _is_young(self) -> bool:
        """Return whether the mount began less than LATE ago.

        What began in the future was written in another time namespace, whose clock is ahead: it counts from now on.
        """
        record, now = self.known(), clock.now()
        age = now["uptime"] - record.since.get("uptime", 0.0)
        if age < 0:
            record.since = now
            self.slot.save_failure(record, record.failure)
        return age < LATE

    def forget_older_boot(self) -> None:
        """Void every hold of an older boot, and the mount; the attachment stays for the provider to prove."""
        assert self.record is not None
        self.slot.holds.drop_all()
        self.holds = {}
        self.record.path = self.record.within = ""

    def is_unheard(self, hold: str) -> bool:
        """Return whether the mount that took *hold* was killed before it could answer: then nobody relies on it."""
        return self.record is not None and self.record.status == MOUNTING and self.record.adding == hold

    def drop_dead_call(self, hold: str) -> bool:
        """Drop the hold of a mount that was killed before it could answer; return whether there was one.

        That of *hold*'s own caller stays: it is here again.
        """
        record = self.record
        assert record is not None
        if record.status != MOUNTING or record.adding in ("", hold):
            return False
        self.slot.holds.drop(record.adding)
        return self.holds.pop(record.adding, None) is not None

    def goes_on(self, options: dict[str, str]) -> bool:
        """Return whether a mount with *options* goes on from the record, which otherwise is finished first."""
        record = self.known()
        return bool(self.holds) or (record.status == MOUNTING and not record.adding and record.options == options)

    def leave(self, added: str) -> str:
        """After a call that a program of ours outlasts: drop its hold, and let the next call go on from there."""
        try:
            if added:
                self.slot.holds.drop(added)
            self.slot.marker.leave_if_possible()
            record = self.known()
            record.adding = ""
            self.slot.save(record, intent=True)
        except (DvdcliError, OSError) as error:
            return f"the mount is left for recover: {error}"
        return ""

    def undo(self, added: str) -> str:
        """After a failed call: drop the hold that it added, and unmount if that was the last.

        Return why that has to be left for recover, "" where it is done. Never raises.
        """
        try:
            if added:
                self.slot.holds.drop(added)
            if self.slot.holds.valid(self.boot):
                return ""
            if not self._intended:
                self.slot.erase()
                return ""
            self.deadline = Deadline(UNDO_TIMEOUT)
            self.patience = 0.0
            self._provider = None
            self.slot.marker.leave_if_possible()
            if self.finish():
                self.slot.erase()
        except (DvdcliError, OSError) as error:
            output.to_syslog(f"{self.slot} is left for recover: {error}")
            return f"the mount is left for recover: {error}"
        return ""

    def note_here(self, here: Mounted | None) -> bool:
        """Note what this host has of the volume, whose handle is lost; return False where another record has it."""
        try:
            if here is not None and here.handle:
                self.note(here.handle)
        except InUseError:
            return False
        return True

    def known(self) -> Record:
        """Return the record, where there is one for sure."""
        assert self.record is not None
        return self.record

    def _rebuilt(self) -> Record:
        """Return a record made anew from a valid hold, which repeats what matters."""
        for hold in self.holds.values():
            data = {"driver": self.volume.driver, "name": self.volume.name, "status": MOUNTING, "boot": self.boot}
            blank = Record(self.volume, "", {}, {}).to_json()
            try:
                wanted = {key: hold.data[key] for key in ("provider", "settings", "options", "path")}
                return Record.from_json({**blank, **data, **wanted})
            except (ValueError, KeyError):
                continue
        name, provider = providers.find(self.volume.driver, self._config, self.deadline, self.patience)
        record = Record(self.volume, name, provider.pinned, {})
        record.boot = self.boot
        return record
