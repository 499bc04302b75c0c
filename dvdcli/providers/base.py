"""The interface that every storage system's provider satisfies."""

from __future__ import annotations

from dvdcli.errors import DvdcliError, TryAgainError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from typing import Any, ClassVar

    from dvdcli.clock import Deadline
    from dvdcli.findings import Finding
    from dvdcli.volume import Volume

    Note = Callable[[dict[str, Any]], None]


_UNITS = {"M": 20, "G": 30, "T": 40}
_SIZES = "one is a whole number of GiB, or has M, G or T behind it (500M); each option takes a --volumeopts of its own"
_KINDS: dict[type, str] = {dict: "table of strings", list: "list of strings"}


class Option:
    """What a provider takes by a name: *kind* (str, int or bool), *default* and *help* for people.

    A setting can be a dict or a list too, of strings.
    A *secret* setting is shown to nobody, and stands only where no one else can read it: in such a file, or, where its
    name ends in `_file`, in such a file that it names.
    """

    __slots__ = ("default", "help", "kind", "secret")

    def __init__(self, kind: type, default: Any, help_text: str, secret: bool = False) -> None:
        self.kind = kind
        self.default = default
        self.help = help_text
        self.secret = secret

    def parse(self, key: str, value: str) -> Any:
        """Return *value* as this option's kind. Raises UsageError."""
        if self.kind is str:
            return value
        if self.kind is bool and value.lower() in ("true", "false"):
            return value.lower() == "true"
        if self.kind is int and value.isascii() and value.isdigit() and len(value) < 19:  # 64 bits
            return int(value)
        kinds = {int: "a whole number", bool: "true or false"}
        raise UsageError(f"the volume option {key}={value} is not {kinds[self.kind]}")


class SizeOption(Option):
    """A size: a whole number of GiB, or of MiB, GiB or TiB with M, G or T behind it. Parsed, it is in bytes."""

    __slots__ = ()

    def __init__(self, help_text: str, default: int = 0) -> None:
        super().__init__(int, default, help_text)

    def parse(self, key: str, value: str) -> int:
        """Return *value* in bytes. Raises UsageError."""
        number, unit = value.strip(), "G"
        for ending in ("iB", "B", "ib", "b"):
            number = number.removesuffix(ending)
        if number[-1:].upper() in _UNITS:
            number, unit = number[:-1], number[-1].upper()
        if not (number.isascii() and number.isdigit() and 0 < len(number) < 8 and int(number)):
            raise UsageError(f"the volume option {key}={value} is no size", _SIZES)
        return int(number) << _UNITS[unit]


class Info:
    """What a storage system says of a volume: its *name* for it, and the *mountpoint* on this host, "" for none.

    *size* is in bytes, 0 where it does not say.
    """

    __slots__ = ("mountpoint", "name", "size")

    def __init__(self, name: str, mountpoint: str = "", size: int = 0) -> None:
        self.name = name
        self.mountpoint = mountpoint
        self.size = size

    def to_json(self) -> dict[str, Any]:
        """Return what programs are told: the size is null where it is not known."""
        return {"name": self.name, "mountpoint": self.mountpoint, "size": self.size or None}


class Mounted:
    """The outcome of a mount: the absolute *path* on this host, and the provider's *handle* for undoing it.

    *fresh* says that the volume's file system was made for this mount.
    """

    __slots__ = ("fresh", "handle", "path")

    def __init__(self, path: str, handle: Mapping[str, Any], fresh: bool = False) -> None:
        self.path = path
        self.handle = dict(handle)
        self.fresh = fresh


class Provider:
    """One storage system, as one driver of that name.

    *settings* are those of `[drivers.NAME]`; `pinned` is what the record keeps of them, enough to undo a mount. Every
    method ends by `deadline`. `patience` is how long, in seconds, a storage system that does not answer may just be
    starting. A provider never sees the mount state, and can be killed anywhere: each method, called again, goes on
    from whatever it finds.

    `options` are those of a volume by name, None where they are not ours to know; `aliases` other spellings of them, in
    lower case. An option is found in any case. `guard` is a descriptor of the volume's lock, which the programs that
    work on its device inherit; `given` are the options on record.

    Errors: NotFoundError (no such volume), InUseError (in use elsewhere, by whom), TryAgainError (not available now),
    DvdcliError (refused).
    """

    settings: ClassVar[Mapping[str, Option]] = {}
    options: ClassVar[Mapping[str, Option] | None] = {}
    aliases: ClassVar[Mapping[str, str]] = {}

    def __init__(self, driver: str, settings: Mapping[str, Any], deadline: Deadline, patience: float) -> None:
        self.driver = driver
        self.pinned: dict[str, Any] = dict(settings)
        self.deadline = deadline
        self.patience = patience
        self.guard = -1
        self.given: Mapping[str, str] = {}

    @classmethod
    def settings_faults(cls, driver: str, settings: Mapping[str, Any]) -> Iterator[tuple[str, DvdcliError]]:
        """Return what is wrong in `[drivers.NAME]` beside unknown settings and wrong kinds, each with its setting.

        Nothing is asked of the storage system: `dvdcli config check` tells it.
        """
        yield from ()

    def check(self, options: Mapping[str, str]) -> None:
        """Raise UsageError for an option that this provider does not know or that is not of its kind."""
        for key, value in self.canonical(options).items():
            if self.options is not None:
                self.options[key].parse(key, value)

    def check_mount(self, options: Mapping[str, str]) -> None:
        """Raise UsageError as check() does, for the *options* of a mount too, which a task can have written."""
        self.check(options)

    def canonical(self, options: Mapping[str, str]) -> dict[str, str]:
        """Return *options* by the names that this provider has for them. Raises UsageError for one that is unknown."""
        if self.options is None:
            return dict(options)
        spellings = {**self.aliases, **{key.lower(): key for key in self.options}}
        found: dict[str, str] = {}
        for key, value in options.items():
            name = key if key in self.options else spellings.get(key.lower())
            if name is None:
                known = ", ".join(sorted(self.options)) or "none"
                raise UsageError(f"the driver {self.driver} has no volume option {key!r}", f"the known ones: {known}")
            if found.setdefault(name, value) != value:
                raise UsageError(f"the volume option {name} is given twice, as {found[name]!r} and {value!r}")
        return found

    def option(self, options: Mapping[str, str], key: str) -> Any:
        """Return the value of the option *key*, parsed, or its default. Raises UsageError."""
        declared, given = (self.options or {})[key], self.canonical(options)
        return declared.parse(key, given[key]) if key in given else declared.default

    def create(self, name: str, options: Mapping[str, str]) -> None:
        """Make the volume *name*; one that is there is fine."""
        raise NotImplementedError

    def of_mount(self, options: Mapping[str, str]) -> list[str]:
        """Return which of *options* create() has no use for: they count at the first mount, if they are given there."""
        return []

    def remove(self, name: str) -> None:
        """Destroy the volume *name*; one that is not there is fine."""
        raise NotImplementedError

    def tidy(self, name: str) -> None:
        """Finish or clear away what a killed create or remove of the volume *name* left, which `get` does not show.

        A remove calls this first, and recover where such a call was killed, or ended with TryAgainError.
        """
        return

    def abandon(self, name: str) -> None:
        """Clear away what a killed create of the volume *name* left, and nothing that had data once."""
        return

    def get(self, name: str) -> Info | None:
        """Return what is known of the volume *name*, None where there is none."""
        raise NotImplementedError

    def list(self) -> list[Info]:
        """Return all volumes."""
        raise NotImplementedError

    def path(self, name: str) -> str:
        """Return where the volume *name* is mounted on this host at this moment, "" where it is not."""
        raise NotImplementedError

    def mount(self, volume: Volume, options: Mapping[str, str], handle: Mapping[str, Any], note: Note) -> Mounted:
        """Mount the existing *volume*; one that is mounted is fine.

        *handle* is what an earlier call left in the record; *note* makes a new one durable in the middle of the work,
        and returns when it is.
        """
        raise NotImplementedError

    def unmount(self, volume: Volume, handle: Mapping[str, Any], note: Note) -> bool:
        """Unmount *volume* and detach it from this host; one that is neither mounted nor attached is fine.

        Return False where the storage system says that nothing is mounted, but could still be at work on a mount that
        was asked for and given up; True where it is certain that nothing is left.
        """
        raise NotImplementedError

    def mounted_at(self, volume: Volume, handle: Mapping[str, Any]) -> str:
        """Return where *volume*, whose record has *handle*, is mounted today by proof; "" where that is not proven.

        "" too where the storage system knows the volume but says an error. Raises TryAgainError.
        """
        if self.get(volume.name) is None:
            return ""
        try:
            return self.path(volume.name)
        except TryAgainError:
            raise
        except DvdcliError:
            return ""

    def here(self, name: str) -> Mounted | None:
        """Return what this host has of the volume *name* although nothing is on record; None where it has nothing.

        The path is "" where the volume is only attached.
        """
        path = self.path(name)
        return Mounted(path, {}) if path else None

    def identity(self, handle: Mapping[str, Any]) -> str:
        """Return the storage system's id of the volume of *handle*, which one record alone can have; "" for none."""
        return ""

    def said(self, handle: Mapping[str, Any]) -> str:
        """Return what else the storage system says of the mounted volume of *handle*, for people; "" for nothing."""
        return ""

    def resize(self, name: str, options: Mapping[str, str]) -> None:
        """Make the volume *name* as large as *options* say. One that has that size is fine; none is made smaller."""
        raise DvdcliError(f"the driver {self.driver} cannot resize volumes", "resize it where it was made")

    def check_ready(self) -> Iterator[Finding]:
        """Return whether this host is ready for the driver: what is fine, odd, or cannot work. Changes nothing."""
        yield from ()

    def scope(self) -> str:
        """Return whether the volumes are seen from this host alone, `local`, or from every host, `global`."""
        return "local"

    def close(self) -> None:
        """End what the calls so far have begun with the storage system, a session say. Never fails."""

    def users(self, path: str, handle: Mapping[str, Any]) -> Sequence[object]:
        """Return who else has what is mounted at *path*, of the volume of *handle*: told by str() of each."""
        from dvdcli.linux import mountinfo

        return mountinfo.users(path, self.servers())

    def servers(self) -> tuple[int, ...]:
        """Return the processes of the storage system on this host: that they see a mount does not mean it is used."""
        return ()


def check_settings(driver: str, settings: Mapping[str, Any], known: Mapping[str, Option]) -> None:
    """Raise UsageError where `[drivers.NAME]` has a setting that the provider does not know, or of another kind."""
    for _, fault in unusable_settings(driver, settings, known):
        raise fault


def unusable_settings(
    driver: str, settings: Mapping[str, Any], known: Mapping[str, Option]
) -> Iterator[tuple[str, UsageError]]:
    """Return each setting of `[drivers.NAME]` that is unknown or of another kind, and what to say of it."""
    for key, value in settings.items():
        if key not in known:
            from dvdcli.nearest import hint

            yield key, UsageError(f"[drivers.{driver}] has an unknown setting {key!r}", hint(key, known))
        elif not _is_of_kind(value, known[key].kind):
            kind = known[key].kind
            yield key, UsageError(f"[drivers.{driver}] {key} is no {_KINDS.get(kind, kind.__name__)}")
        elif any("\0" in text for text in _texts(value)):
            yield key, UsageError(f"[drivers.{driver}] {key} has a NUL in it")


def _is_of_kind(value: object, kind: type) -> bool:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return type(value) is kind and all(isinstance(each, str) for each in inner)


def _texts(value: object) -> list[str]:
    """Return the texts that *value*, a setting of a right kind, is or has in it."""
    if isinstance(value, dict):
        return [*value, *value.values()]
    return [*value] if isinstance(value, list) else [value] if isinstance(value, str) else []
