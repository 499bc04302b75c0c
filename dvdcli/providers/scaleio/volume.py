"""What a gateway says of a volume. Source: the REST API's object `Volume`."""

from __future__ import annotations

from dvdcli.errors import DvdcliError, UsageError
from dvdcli.names import without_controls
from dvdcli.providers.block import Disk
from dvdcli.providers.scaleio.gateway import identifier, objects

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_LONGEST_NAME = 31  # characters; a longer one is refused, never cut: cut names collide
_ID_LENGTH = 16
_HEXADECIMAL = frozenset("0123456789abcdef")
GRAIN = 8 << 30  # bytes: the unit of sizes before 5.0


class ScaleIoVolume(Disk):
    """One volume: its *name*, the SDCs that it is mapped to, by their ids, and the *pool* that it is in.

    Raises DvdcliError for an *answer* of the gateway's that is none.
    """

    __slots__ = ("mapped", "name", "pool")

    def __init__(self, answer: Any) -> None:
        super().__init__(identifier(answer), _number(answer.get("sizeInKb") or 0) << 10)
        self.name = _text(answer.get("name"))
        self.pool = _text(answer.get("storagePoolId"))
        mapped = objects(answer.get("mappedSdcInfo"))
        self.mapped = {
            identifier(each, "sdcId"): _text(each.get("sdcName")) or _text(each.get("sdcIp")) for each in mapped
        }

    def __str__(self) -> str:
        return f"{self.id} ({self.name})" if self.name else self.id


def _text(value: Any) -> str:
    """Return *value* as text that can be printed, "" for null."""
    return without_controls(value.encode("utf-8", "replace").decode()) if isinstance(value, str) else ""


def _number(value: Any) -> int:
    """Return *value*, a number or its digits. Raises DvdcliError for anything else."""
    digits = str(value) if type(value) in (int, str) else ""
    if not (digits.isascii() and digits.isdigit() and len(digits) < 19):
        raise DvdcliError("the gateway answered with a volume whose size is no number", "see what listens there")
    return int(digits)


def is_id(text: str) -> bool:
    """Return whether *text* is the form of an id: 16 hexadecimal digits."""
    return len(text) == _ID_LENGTH and _HEXADECIMAL.issuperset(text)


def check_name(name: str) -> None:
    """Raise UsageError for a name that no volume can have."""
    if len(name) > _LONGEST_NAME:
        raise UsageError(
            f"the volume name has {len(name)} characters", f"a ScaleIO volume's has at most {_LONGEST_NAME}"
        )


def rounded(size: int, version: tuple[int, ...]) -> int:
    """Return the *size* in bytes that a gateway of *version* makes of it: a multiple of 8 GiB before 5.0."""
    return size if version >= (5,) else -(-size // GRAIN) * GRAIN
