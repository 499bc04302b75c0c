"""What the checkpoints of other isolators list: of mesos-module-dvdi, and of Mesos's own docker/volume.

Sources: interface.proto and docker_volume_driver_isolator.cpp of mesos-module-dvdi; docker/volume/paths.cpp and
state.proto of Apache Mesos 1.0.0 to 1.11.0.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

from dvdcli import fastjson
from dvdcli.errors import DvdcliError
from dvdcli.linux import files

if TYPE_CHECKING:
    from collections.abc import Iterator

DVDI = "/var/run/mesos/isolators/mesos-module-dvdi/dvdimounts.pb"
DOCKER_VOLUME = "/var/run/mesos/isolators/docker/volume"

_LIST_MOUNT = 1
_CONTAINER, _DRIVER, _NAME, _MOUNTPOINT, _OPTIONS = 1, 2, 3, 4, 5
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5

_HINT = "leave it out, or mend it"


class Listed:
    """A mount that a checkpoint lists.

    *container* is the last part of the container's id; *mountpoint* is "" where it is not told; *source* is the
    checkpoint's path.
    """

    __slots__ = ("container", "driver", "mountpoint", "name", "options", "source")

    def __init__(
        self, container: str, driver: str, name: str, options: dict[str, str], mountpoint: str, source: str
    ) -> None:
        self.container = container
        self.driver = driver
        self.name = name
        self.options = options
        self.mountpoint = mountpoint
        self.source = source


def read_dvdi(path: str) -> list[Listed]:
    """Return what mesos-module-dvdi's checkpoint at *path* lists; nothing where there is none.

    Mesos writes a length of 4 bytes, in the machine's byte order, before the message; copies without it are read too.
    Raises DvdcliError for what is no such checkpoint, OSError.
    """
    data = files.read(path)
    if not data:
        return []
    framed = len(data) >= 4 and int.from_bytes(data[:4], sys.byteorder) == len(data) - 4
    try:
        return [_listed(mount, path) for mount in _mounts(data[4:] if framed else data)]
    except ValueError as error:
        raise DvdcliError(f"{path} is no checkpoint of mesos-module-dvdi: {error}", _HINT) from error


def _mounts(data: bytes) -> Iterator[bytes]:
    for number, value in _fields(data):
        if number != _LIST_MOUNT or not isinstance(value, bytes):
            raise ValueError(f"unknown field {number}")
        yield value


def _listed(data: bytes, path: str) -> Listed:
    texts = {}
    for number, value in _fields(data):
        if number <= _OPTIONS:
            if not isinstance(value, bytes):
                raise ValueError(f"field {number} is no text")
            texts[number] = value.decode()
    for number in (_CONTAINER, _DRIVER, _NAME):
        if not texts.get(number):
            raise ValueError(f"a mount without field {number}")
    pairs = (item.partition("=") for item in texts.get(_OPTIONS, "").split(","))
    options = {key: value for key, equals, value in pairs if key and equals}
    return Listed(texts[_CONTAINER], texts[_DRIVER], texts[_NAME], options, texts.get(_MOUNTPOINT, ""), path)


def _fields(data: bytes) -> Iterator[tuple[int, bytes | int]]:
    """Return the (number, value) of each field of a protobuf message. Raises ValueError."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        number, kind = key >> 3, key & 7
        if number == 0:
            raise ValueError("field 0")
        if kind == _VARINT:
            value, at = _varint(data, at)
            yield number, value
            continue
        if kind == _BYTES:
            size, at = _varint(data, at)
        elif kind in (_FIXED64, _FIXED32):
            size = 8 if kind == _FIXED64 else 4
        else:
            raise ValueError(f"wire type {kind}")
        if size > len(data) - at:
            raise ValueError("it is cut off")
        yield number, data[at : at + size]
        at += size


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for index in range(10):
        if at + index >= len(data):
            raise ValueError("it is cut off")
        byte = data[at + index]
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            return value, at + index + 1
    raise ValueError("a number without an end")


def read_docker_volume(directory: str) -> tuple[list[Listed], list[str]]:
    """Return what the checkpoints of docker/volume below *directory* list, and a line for each that lists nothing.

    `<directory>/<container>/volumes` is a DockerVolumes message as JSON; agents that were killed leave empty ones.
    Raises DvdcliError for one that is no JSON of that kind, OSError.
    """
    found, warnings = [], []
    for container in files.names_in(directory):
        path = f"{directory}/{container}/volumes"
        if not os.path.isdir(f"{directory}/{container}"):
            continue
        data = files.read(path)
        if not data:
            warnings.append(f"{path} is {'missing' if data is None else 'empty'}: nothing of that container is adopted")
            continue
        try:
            for driver, name in _docker_volumes(fastjson.loads(data)):
                found.append(Listed(container, driver, name, {}, "", path))
        except ValueError as error:
            raise DvdcliError(f"{path} is no checkpoint of docker/volume: {error}", _HINT) from error
    return found, warnings


def _docker_volumes(message: Any) -> list[tuple[str, str]]:
    try:
        pairs = [(volume["driver"], volume["name"]) for volume in message.get("volumes", [])]
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError("it has no list of volumes with driver and name") from error
    if not all(isinstance(driver, str) and isinstance(name, str) for driver, name in pairs):
        raise ValueError("a driver or a name is no text")
    return pairs
