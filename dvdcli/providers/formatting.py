"""Format only what is blank: the one place that decides whether a file system is made.

What is meant to be made is on disk first: its type, the UUID chosen for it, and the attachment of the device, which no
two attachments share. While that attachment lasts, what is on the device since it was proven blank is our own
unfinished work. Once it was broken, another host may have had the volume: then what is on it is somebody's.
"""

from __future__ import annotations

from dvdcli import output
from dvdcli.errors import DvdcliError, InUseError
from dvdcli.linux import blank, filesystems, holders
from dvdcli.linux.files import unique
from dvdcli.linux.filesystems import FILE_SYSTEMS, FileSystem

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from dvdcli.clock import Deadline
    from dvdcli.linux.blank import Content
    from dvdcli.linux.blockdev import Device


class Formatter:
    """What decides about one *device*, in its *attachment*; *guard* and *deadline* are for the programs it runs."""

    def __init__(self, device: Device, attachment: str, deadline: Deadline, guard: int) -> None:
        self.device = device
        self.attachment = attachment
        self.deadline = deadline
        self.guard = guard

    def settle(
        self, wanted: FileSystem, intent: dict[str, Any], may_make: str, overwrite: bool,
        save: Callable[[dict[str, Any]], None],
    ) -> tuple[FileSystem, bool]:  # fmt: skip
        """Return the file system that the device has now, and whether it was made for this mount.

        *intent* is what an interrupted call saved, {} for none; *may_make* says why none can be made, "" where one
        can; *save* makes a new intent durable. Raises DvdcliError for what is neither blank nor can be mounted.
        """
        content = blank.probe(self.device, self.deadline)
        if intent.get("attachment") == self.attachment and not may_make:
            kind = filesystems.named(str(intent.get("type")))
            if self._is_whole(kind, content, intent):
                return kind, True
            if content.blank or self._is_unfinished(kind, content, intent) or intent.get("overwrite"):
                self._make(kind, str(intent["uuid"]))
                return kind, True
        if content.type in FILE_SYSTEMS and not overwrite:
            return FILE_SYSTEMS[content.type], False
        if not content.blank and not overwrite:
            raise self._refusal(content)
        if may_make or self.device.is_read_only():
            why = may_make or "the device is read-only"
            raise DvdcliError(f"{self.device} has no file system; none is made: {why}", "mount it for writing first")
        uuid = unique()
        save({"type": wanted.name, "uuid": uuid, "attachment": self.attachment, "overwrite": overwrite})
        self._make(wanted, uuid)
        return wanted, True

    def finish(self, intent: dict[str, Any]) -> None:
        """Complete what an interrupted call began to make, before the attachment is broken.

        After that nobody could tell it from somebody's data. What is blank still is left so. Raises TryAgainError.
        """
        content = blank.probe(self.device, self.deadline)
        kind = filesystems.named(str(intent.get("type")))
        if intent.get("attachment") != self.attachment or self._is_whole(kind, content, intent):
            return
        if self._is_unfinished(kind, content, intent):
            self._make(kind, str(intent["uuid"]))

    def _is_whole(self, kind: FileSystem, content: Content, intent: dict[str, Any]) -> bool:
        ours = (content.type, content.uuid) == (kind.name, intent.get("uuid"))
        return ours and filesystems.is_complete(kind, self.device, self.deadline, self.guard)

    def _is_unfinished(self, kind: FileSystem, content: Content, intent: dict[str, Any]) -> bool:
        """Return whether *content*, which is not whole, is our own: mkfs writes a signature late, if ever."""
        ours = (content.type, content.uuid) == (kind.name, intent.get("uuid"))
        return content.is_unknown or (ours and not filesystems.was_mounted(kind, self.device))

    def _make(self, kind: FileSystem, uuid: str) -> None:
        if not self.device.is_free():
            users = holders.of(self.device.number) or "an mkfs that an earlier call began, or the kernel"
            raise InUseError(f"{self.device} is in use: {users}", "nothing was written to it; try again later")
        with output.step(f"making {kind.name} on {self.device}", self.deadline):
            filesystems.make(kind, self.device, uuid, self.deadline, self.guard)
        made = blank.probe(self.device, self.deadline)
        if (made.type, made.uuid) != (kind.name, uuid):
            raise DvdcliError(f"{self.device} holds {made.what} after mkfs, and not what was made", "see the device")
        output.to_syslog(f"made a file system of type {kind.name}, UUID {uuid}, on {self.device} ({self.attachment})")

    def _refusal(self, content: Content) -> DvdcliError:
        return DvdcliError(
            f"{self.device} holds {content.what}, so it is neither mounted nor formatted",
            "the volume option overwriteFs=true makes a file system all the same, and what is there is lost",
        )
