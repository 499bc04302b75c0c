"""What each container was given, on disk: written before its first hold, gone after its last.

containers/<id>/lock                 one lock a container; it is taken before any volume's
containers/<id>/container.json       agent, id, boot, volumes
containers/<id>/cancelled            left by who cannot wait for the lock: the mount under way undoes itself
"""

from __future__ import annotations

import os

from dvdcli import clock, fastjson, output
from dvdcli.errors import TryAgainError, UsageError
from dvdcli.linux import files
from dvdcli.locks import Lock, acquire
from dvdcli.names import decode, encode
from dvdcli.state import State, make_root
from dvdcli.volume import SCHEMA, Volume, is_time, refuse_newer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from dvdcli.clock import Deadline
    from dvdcli.state import Slot

ANY_PARENT = "~"  # no encoded id is this: an id from a checkpoint that leaves out the parents
_KIND = "container"


def directory_name(who: str) -> str:
    """Return the name of the directory of the container that has the hold *who*."""
    return encode(who[len(_KIND) :])


def hold_of(agent: str, ids: list[str]) -> str:
    """Return the key of the hold of the container *ids*, root first, of *agent*: no two have the same."""
    return f"{_KIND}{'@' if agent else ''}{agent}:{'/'.join(encode(part) for part in ids)}"


def adopted_hold(agent: str, leaf: str) -> str:
    """Return the key of the hold of a container of which a checkpoint told the last part of the id only."""
    return f"{_KIND}{'@' if agent else ''}{agent}:{ANY_PARENT}/{encode(leaf)}"


class Given:
    """What the container with the hold *who*, of *agent*, was given: *volumes*, in the boot *boot*."""

    __slots__ = ("agent", "boot", "since", "volumes", "who")

    def __init__(self, who: str, agent: str, boot: str) -> None:
        self.who = who
        self.agent = agent
        self.boot = boot
        self.volumes: list[Volume] = []
        self.since = clock.now()

    def to_json(self) -> dict[str, Any]:
        """Return what is written to container.json."""
        volumes = [[volume.driver, volume.name] for volume in self.volumes]
        return {
            "schema": SCHEMA, "who": self.who, "agent": self.agent, "boot": self.boot, "since": self.since,
            "volumes": volumes,
        }  # fmt: skip

    @classmethod
    def from_json(cls, data: Any) -> Given:
        """Return what *data* describes. Raises ValueError."""
        try:
            given = cls(data["who"], data["agent"], data["boot"])
            given.volumes = [Volume(driver, name) for driver, name in data["volumes"]]
            given.since = data["since"]
        except (KeyError, TypeError, AttributeError, UsageError) as error:
            raise ValueError(str(error)) from error
        if not all(isinstance(text, str) for text in (given.who, given.agent, given.boot)):
            raise ValueError("a text is none")
        if not is_time(given.since):
            raise ValueError("since is no time")
        given.who.encode()
        return given


class Container:
    """The place of one container in the state; *name* is its directory's, made by directory_name()."""

    def __init__(self, name: str) -> None:
        self._root = State().root
        self.name = name
        self.directory = f"{self._root}/containers/{name}"

    def is_of(self, who: str) -> bool:
        """Return whether the hold *who* is this container's."""
        return who.startswith(_KIND) and directory_name(who) == self.name

    def exists(self) -> bool:
        """Return whether the container was given anything."""
        return os.path.isdir(self.directory)

    def acquire(self, deadline: Deadline, cancel: bool = False) -> Lock:
        """Take the container's lock, making its directory. With *cancel* a mount that has it is told to undo itself.

        Raises TryAgainError at the *deadline*, OSError.
        """

        def tell() -> None:
            if cancel:
                files.touch(f"{self.directory}/cancelled")

        return acquire(f"{self.directory}/lock", deadline, self._make, tell)

    def _make(self) -> None:
        make_root(self._root)
        for directory in (os.path.dirname(self.directory), self.directory):
            try:
                os.mkdir(directory, 0o700)
            except (FileExistsError, FileNotFoundError):
                continue

    def check(self) -> None:
        """Raise TryAgainError where the call under way was cancelled."""
        if os.path.lexists(f"{self.directory}/cancelled"):
            raise TryAgainError("the container is gone: its mount was cancelled")

    def load(self) -> Given | None:
        """Return what the container was given; None where that is not on disk. What cannot be read is set aside."""
        path = f"{self.directory}/container.json"
        data = files.read(path)
        if data is None:
            return None
        try:
            fields = fastjson.loads(data)
            refuse_newer(path, fields)
            return Given.from_json(fields)
        except ValueError as error:
            os.rename(path, f"{path}.corrupt")
            output.warn(f"{path} was damaged ({error}); it is kept until the container's volumes are found again")
            return None

    def look(self) -> Given | None:
        """Return what the container was given, None where it cannot be told. Takes no lock, changes nothing."""
        try:
            return Given.from_json(fastjson.loads(files.read(f"{self.directory}/container.json") or b""))
        except (ValueError, OSError):
            return None

    def owner(self) -> str | None:
        """Return the key of the container's hold; None where it cannot be told. Takes no lock, changes nothing."""
        given = self.look()
        if given is not None:
            return given.who
        key = decode(self.name)
        return f"{_KIND}{key}" if key else None

    def save(self, given: Given) -> None:
        """Write what the container is given. It need not be durable: a power cut ends the boot, and every hold.

        Raises OSError.
        """
        data = fastjson.dumps(given.to_json()).encode()
        files.replace(f"{self.directory}/container.json", data, durable=False)

    def erase(self) -> None:
        """Forget the container. Its lock is held, and goes last. Raises OSError."""
        for name in ("container.json", "container.json.new", "container.json.corrupt", "cancelled", "lock"):
            files.unlink(f"{self.directory}/{name}")
        files.remove_directory(self.directory)


def on_record() -> Iterator[Container]:
    """Return the places of all containers that were given something, of every agent."""
    for name in files.names_in(f"{State().root}/containers"):
        yield Container(name)


def are_lost() -> bool:
    """Return whether this whole part of the state is missing where volumes are on record."""
    root = State().root
    return not os.path.isdir(f"{root}/containers") and bool(files.names_in(f"{root}/volumes"))


def _holds() -> Iterator[tuple[Slot, str]]:
    """Return each volume's place with the key of each hold on it that is a container's, and not a newer dvdcli's."""
    for slot in State().slots():
        for who in slot.holds.every_name():
            if who.startswith(_KIND):
                yield slot, who


def volumes_held(container: Container) -> list[Volume]:
    """Return the volumes that *container* holds, found in the holds: for a container whose own file is lost."""
    return [slot.volume for slot, who in _holds() if container.is_of(who) and slot.volume is not None]


def of_agent(agent: str) -> list[tuple[str, Container]]:
    """Return the containers of *agent*, by the key of their holds; those too of which only the holds are left."""
    found = {}
    for container in on_record():
        who = container.owner()
        if who is not None:
            found[who] = container
    for _, who in _holds():
        found.setdefault(who, Container(directory_name(who)))
    prefix = hold_of(agent, [])
    return [(who, container) for who, container in sorted(found.items()) if who.startswith(prefix)]
