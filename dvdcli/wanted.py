"""What a container asks for: DVDI_VOLUME_* in its environment, DOCKER_VOLUME among its volumes.

Source: mesos-module-dvdi's README and docker/volume/isolator.cpp of Apache Mesos.
"""

from __future__ import annotations

from dvdcli import output
from dvdcli.errors import UsageError
from dvdcli.volume import Volume, parse_options

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from dvdcli.mesos import Prepare

_PREFIX = "DVDI_VOLUME_"
_KEYS = ("NAME", "DRIVER", "OPTS", "CONTAINERPATH", "EXPLICITCREATE", "MODE", "DVDCLI")
_MODES = {"rw": False, "ro": True}
_BOOLEANS = {"true": True, "false": False}
DEFAULT_DRIVER = "rexray"


class Wanted:
    """A volume that a container asks for, and how.

    *path* is the container path, "" where the volume is only to be mounted on the host. *explicit* says whether a
    missing volume is an error, None leaves it to the configuration. *dressed* is whether a fresh volume takes the mode
    and the owner of its container path. *label* names the request in messages.
    """

    __slots__ = ("dressed", "explicit", "label", "options", "path", "read_only", "volume")

    def __init__(
        self, label: str, volume: Volume, options: dict[str, str], path: str, *,
        read_only: bool, explicit: bool | None, dressed: bool,
    ) -> None:  # fmt: skip
        self.label = label
        self.volume = volume
        self.options = options
        self.path = path
        self.read_only = read_only
        self.explicit = explicit
        self.dressed = dressed


def wanted(request: Prepare) -> list[Wanted]:
    """Return the volumes that the container of *request* asks for, each once. Raises UsageError."""
    if request.is_debug:
        return []
    found = _from_environment(request.environment())
    if request.wants_docker_volumes:
        found += _from_volumes(request.volumes())
    unique: dict[Volume, Wanted] = {}
    for each in found:
        other = unique.setdefault(each.volume, each)
        if other is not each and (each.path or other.path):
            raise UsageError(f"{each.label} and {other.label} both name the volume {each.volume}", "name it once")
    return list(unique.values())


def _from_environment(variables: Iterable[tuple[str, str | None]]) -> list[Wanted]:
    """Return what the DVDI_VOLUME_* say: exact names only, with or without one digit; none and 0 are the same."""
    given: dict[str, dict[str, str]] = {}
    for name, value in variables:
        key, digit = name[len(_PREFIX) :], "0"
        if key and key[-1] in "0123456789":
            key, digit = key[:-1], key[-1]
        if not name.startswith(_PREFIX) or key not in _KEYS:
            continue
        if value is None:
            raise UsageError(f"{name} is a secret", "a volume is described by plain values")
        given.setdefault(digit, {})[key] = value
    return [_described(digit, given[digit]) for digit in sorted(given) if "NAME" in given[digit]]


def _described(digit: str, given: dict[str, str]) -> Wanted:
    suffix = "" if digit == "0" else digit
    label = f"{_PREFIX}NAME{suffix}"
    if "DVDCLI" in given:
        output.to_syslog(f"{_PREFIX}DVDCLI{suffix} of a task is ignored: the operator chooses which dvdcli runs")
    mode = given.get("MODE", "rw")
    if mode not in _MODES:
        raise UsageError(f"{_PREFIX}MODE{suffix}={mode!a} is no mode", "rw or ro")
    explicit = given.get("EXPLICITCREATE", "").lower()
    if explicit and explicit not in _BOOLEANS:
        raise UsageError(f"{_PREFIX}EXPLICITCREATE{suffix}={explicit!a} is neither true nor false")
    volume = Volume(given.get("DRIVER") or DEFAULT_DRIVER, given["NAME"])
    options = parse_options(item for item in given.get("OPTS", "").split(",") if item)
    path = given.get("CONTAINERPATH", "")
    return Wanted(label, volume, options, path, read_only=_MODES[mode], explicit=_BOOLEANS.get(explicit), dressed=True)


def _from_volumes(volumes: list[dict[str, Any]]) -> list[Wanted]:
    found = []
    for message in volumes:
        source = message.get("source")
        if not isinstance(source, dict) or source.get("type") != "DOCKER_VOLUME":
            continue
        path = message.get("container_path", "")
        docker = source.get("docker_volume")
        if not isinstance(docker, dict):
            docker = {}
        driver, name = docker.get("driver"), docker.get("name")
        if not isinstance(path, str) or not path or not isinstance(name, str):
            raise UsageError(f"the docker volume at {path!a} has no name or no container path"[:200])
        if not isinstance(driver, str):
            raise UsageError(f"the docker volume {name!a} has no driver", "name one")
        label = f"the docker volume at {path}"
        options = _driver_options(docker.get("driver_options", {}), label)
        volume = Volume(driver, name)
        ro = message.get("mode") == "RO"
        found.append(Wanted(label, volume, options, path, read_only=ro, explicit=None, dressed=False))
    return found


def _driver_options(message: Any, label: str) -> dict[str, str]:
    try:
        return parse_options(f"{each['key']}={each['value']}" for each in message.get("parameter", []))
    except (AttributeError, KeyError, TypeError):
        raise UsageError(f"the driver_options of {label} are not of the form key, value") from None
