"""What EC2 says of a volume. Source: the EC2 API reference, Volume and VolumeAttachment."""

from __future__ import annotations

from dvdcli.errors import DvdcliError, UsageError
from dvdcli.providers.block import Disk

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

LIVING = ("creating", "available", "in-use", "error")
_LONGEST_NAME = 255  # characters: a tag's value has 256, a filter's 255
_HEXADECIMAL = frozenset("0123456789abcdef")


class Attachment:
    """A volume's attachment to one instance: *state*, *device* ("/dev/xvdba", as it was asked for), *since*."""

    __slots__ = ("device", "since", "state")

    def __init__(self, answer: dict[str, Any]) -> None:
        self.state: str = answer.get("State", "")
        self.device: str = answer.get("Device", "")
        self.since = str(answer.get("AttachTime", ""))


class Ec2Volume(Disk):
    """One volume, by EC2's *answer*: *name* is its tag `Name`, *attachments* those that are not over, by instance id.

    Raises DvdcliError for an answer without an id.
    """

    __slots__ = ("attachments", "multi", "name", "state", "zone")

    def __init__(self, answer: dict[str, Any]) -> None:
        if not is_id(answer.get("VolumeId", "")):
            raise DvdcliError("EC2 answered with a volume that has no id", "see the endpoint")
        super().__init__(answer["VolumeId"], int(answer.get("Size", 0)) << 30)
        self.name = next((tag.get("Value", "") for tag in answer.get("Tags", ()) if tag.get("Key") == "Name"), "")
        self.state: str = answer.get("State", "")
        self.zone: str = answer.get("AvailabilityZone", "")
        self.multi = bool(answer.get("MultiAttachEnabled"))
        told = ((each.get("InstanceId", ""), Attachment(each)) for each in answer.get("Attachments", ()))
        self.attachments = {instance: each for instance, each in told if each.state != "detached"}

    def __str__(self) -> str:
        return f"{self.id} ({self.name})" if self.name else self.id

    def holders(self) -> str:
        """Return the instances that have the volume, for an error message."""
        return ", ".join(sorted(self.attachments))


def is_id(text: str) -> bool:
    """Return whether *text* is the form of a volume's id: vol- and 8 or 17 hexadecimal digits."""
    prefix, _, digits = text.partition("-")
    return prefix == "vol" and len(digits) in (8, 17) and _HEXADECIMAL.issuperset(digits)


def check_name(name: str) -> None:
    """Raise UsageError for a name that no volume's tag can have."""
    if len(name) > _LONGEST_NAME:
        raise UsageError(f"the volume name has {len(name)} characters", f"a tag of EC2's has at most {_LONGEST_NAME}")


def literal(name: str) -> str:
    """Return *name* as a filter's value that matches it alone: a filter takes * and ? for wildcards."""
    return name.replace("\\", "\\\\").replace("*", "\\*").replace("?", "\\?")
