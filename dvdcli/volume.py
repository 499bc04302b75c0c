"""The words everyone uses: volume, hold, record."""

from __future__ import annotations

import os

from dvdcli.errors import NewerError, UsageError
from dvdcli.names import check_driver, check_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

SCHEMA = 1
_AEONS = 1e15  # seconds

MOUNTING = "mounting"
MOUNTED = "mounted"
UNMOUNTING = "unmounting"


class Volume:
    """A volume: *driver* and *name*, both case-sensitive.

    Raises UsageError for what no driver or volume can be called.
    """

    __slots__ = ("driver", "name")

    def __init__(self, driver: str, name: str) -> None:
        self.driver = check_driver(driver)
        self.name = check_name(name, "volume name")

    def __str__(self) -> str:
        return f"{self.driver}/{self.name}"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Volume) and (self.driver, self.name) == (other.driver, other.name)

    def __hash__(self) -> int:
        return hash((self.driver, self.name))

    def is_named(self, driver: Any, name: Any) -> bool:
        """Return whether this is the volume *name* of *driver*."""
        return bool(self.name == name and self.driver == driver)


class Hold:
    """Who needs a volume mounted.

    *who* is `name:NAME` for a hold taken by hand or by a caller without container ids. *boot* is the id of the boot
    it was taken in; in another boot it is void. *volume*, *provider*, *settings* and *options* repeat the record's,
    so that a damaged record can be rebuilt from its holds. *since* is clock.now()'s.
    """

    __slots__ = ("boot", "data", "who")

    def __init__(self, who: str, boot: str, data: dict[str, Any]) -> None:
        self.who = who
        self.boot = boot
        self.data = data

    def to_json(self) -> dict[str, Any]:
        """Return what is written to the hold's file."""
        return {"schema": SCHEMA, "who": self.who, "boot": self.boot, **self.data}


class Record:
    """What the state knows of one volume.

    *status* is mounting, mounted or unmounting. *provider* and *settings* are pinned when the record is made: what
    undoes the mount uses those. *adding* is the hold that the call under way adds itself, "" where it adds none.
    *handle* is the provider's own; *claim* is the id of the disk that the record has, or is about to have. *fresh* is
    true from the volume's creation to its first mount. *boot* and *mount_namespace* say where the mount was made;
    *within* is the mount point that *path* was in then, at it or above it, "" where the mount table did not tell.
    *failure* is the last one's text.
    """

    __slots__ = (
        "adding", "boot", "claim", "failure", "fresh", "handle", "mount_namespace",
        "options", "path", "provider", "settings", "since", "status", "volume", "within",
    )  # fmt: skip

    def __init__(self, volume: Volume, provider: str, settings: dict[str, Any], options: dict[str, str]) -> None:
        self.volume = volume
        self.provider = provider
        self.settings = settings
        self.options = options
        self.status = MOUNTING
        self.path = ""
        self.handle: dict[str, Any] = {}
        self.claim = ""
        self.adding = ""
        self.fresh = False
        self.boot = ""
        self.mount_namespace = ""
        self.within = ""
        self.since: dict[str, float] = {}
        self.failure = ""

    def to_json(self) -> dict[str, Any]:
        """Return what is written to record.json."""
        fields = {key: getattr(self, key) for key in self.__slots__ if key != "volume"}
        return {"schema": SCHEMA, "driver": self.volume.driver, "name": self.volume.name, **fields}

    @classmethod
    def from_json(cls, data: dict[str, Any], known: Volume | None = None) -> Record:
        """Return the record that *data* describes, of *known* if it is that volume's. Raises ValueError."""
        try:
            record = cls.__new__(cls)
            record.volume = known if known and known.is_named(data["driver"], data["name"]) else _volume_in(data)
            if "claim" not in data or "within" not in data:
                data = {"claim": "", "within": "", **data}  # the first records had none
            values = [data[key] for key in _FIELDS]
        except (KeyError, TypeError, UsageError) as error:
            raise ValueError(str(error)) from error
        if list(map(type, values)) != _KINDS:
            pairs = zip(_FIELDS, zip(values, _KINDS, strict=True), strict=True)
            wrong = next(key for key, (value, kind) in pairs if type(value) is not kind)
            raise ValueError(f"{wrong} is of another type")
        for key, value in zip(_FIELDS, values):  # noqa: B905 - ten thousand times in a list
            setattr(record, key, value)
        if record.status not in (MOUNTING, MOUNTED, UNMOUNTING):
            raise ValueError(f"status {record.status!r}")
        record._check()
        return record

    def _check(self) -> None:
        """Raise ValueError for what is of the right type, and nothing that a record of ours can say."""
        if self.options and not all(type(value) is str for value in self.options.values()):
            raise ValueError("an option is no text")
        if self.path and (not self.path.startswith("/") or "\0" in self.path):
            raise ValueError("path is no absolute path")
        if not is_time(self.since):
            raise ValueError("since is no time")
        if not isinstance(self.handle.get("device", _NOTHING), dict):
            raise ValueError("the device is none")
        os.fsencode(self.path)
        for word in (self.adding, self.claim, self.provider):  # they become names of files
            word.encode()


_NOTHING: dict[str, Any] = {}


def is_time(since: Any) -> bool:
    """Return whether *since* is a time as clock.now() tells it, or none: numbers that can be reckoned with."""
    if type(since) is not dict:
        return False
    return all(type(value) in (int, float) and -_AEONS < value < _AEONS for value in since.values())


def refuse_newer(path: str, fields: Any) -> None:
    """Raise NewerError where *fields* have a newer schema than ours, ValueError where they have no schema."""
    schema = fields.get("schema") if isinstance(fields, dict) else None
    if isinstance(schema, int) and schema > SCHEMA:
        raise NewerError(f"{path} was written by a newer dvdcli (schema {schema})", "upgrade dvdcli on this host")
    if schema != SCHEMA:
        raise ValueError(f"schema {schema!r}")


def _volume_in(data: dict[str, Any]) -> Volume:
    driver, name = data["driver"], data["name"]
    if not isinstance(driver, str) or not isinstance(name, str):
        raise ValueError("driver or name is no str")
    return Volume(driver, name)


def called(holds: Iterable[str]) -> str:
    """Return who *holds* are, as people call them: a name stands for itself."""
    return ", ".join(hold.removeprefix("name:") for hold in holds)


_FIELDS = [key for key in Record.__slots__ if key != "volume"]
_KINDS = [type(getattr(Record(Volume("any", "any"), "", {}, {}), key)) for key in _FIELDS]


def parse_options(items: Iterable[str]) -> dict[str, str]:
    """Return what `--volumeopts` says: each is split at its first `=`, never at a comma; the last of a key wins."""
    options = {}
    for item in items:
        key, equals, value = item.partition("=")
        if not equals or not key:
            raise UsageError(f"the volume option {item!a} is not of the form key=value")
        try:
            item.encode()
        except UnicodeEncodeError:
            raise UsageError(f"the volume option {item!a} is not UTF-8") from None
        if "\x00" in item:
            raise UsageError(f"the volume option {key!a} has a NUL in it")
        options[key] = value
    return options
