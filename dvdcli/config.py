"""Where things are and what the operator set: directories, DVDCLI_* variables, /etc/dvdcli/dvdcli.toml."""

from __future__ import annotations

import os

from dvdcli.errors import DvdcliError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

CONFIG_FILE = "/etc/dvdcli/dvdcli.toml"
ROOT_STATE = "/var/lib/dvdcli"
ROOT_MOUNTS = "/var/lib/dvdcli-mounts"
PLUGIN_DIRECTORIES = "/run/docker/plugins:/etc/docker/plugins:/usr/lib/docker/plugins"
ENGINE_SOCKET = "/var/run/docker.sock"


def _directory(variable: str) -> str:
    path = os.environ.get(variable, "")
    if path and not path.startswith("/"):
        raise UsageError(f"{variable}={path} is no absolute path")
    return path.rstrip("/") or path


def _home_state() -> str:
    base = _directory("XDG_STATE_HOME")
    if base:
        return base
    home = os.environ.get("HOME", "")
    if not home.startswith("/"):
        raise UsageError("there is no place for the mount state: HOME is not set", "set DVDCLI_STATE_DIR")
    return f"{home}/.local/state"


def state_directory() -> str:
    """Return the directory of the mount state: DVDCLI_STATE_DIR, else root's, else below XDG_STATE_HOME."""
    return _directory("DVDCLI_STATE_DIR") or (ROOT_STATE if os.geteuid() == 0 else f"{_home_state()}/dvdcli")


def mounts_directory() -> str:
    """Return the directory of the mounts and directories that we make ourselves; tasks may pass through it."""
    override = _directory("DVDCLI_STATE_DIR")
    if override:
        return f"{override}/mounts"
    return ROOT_MOUNTS if os.geteuid() == 0 else f"{_home_state()}/dvdcli-mounts"


def plugin_directories() -> list[str]:
    """Return where Docker plugins announce themselves: the first holds sockets, the others specs."""
    return [path for path in (os.environ.get("DVDCLI_PLUGIN_DIRS") or PLUGIN_DIRECTORIES).split(":") if path]


def engine_socket() -> str:
    """Return the socket of the Docker Engine API, which knows the managed plugins."""
    return os.environ.get("DVDCLI_ENGINE_SOCKET", ENGINE_SOCKET)


def sysfs_directory() -> str:
    """Return where sysfs is mounted, in which a device's serial number is read."""
    return _directory("DVDCLI_SYSFS") or "/sys"


def device_directory() -> str:
    """Return where the nodes of devices are."""
    return _directory("DVDCLI_DEV") or "/dev"


class Config:
    """What dvdcli.toml says. An absent file is an empty one; it is read when somebody first asks."""

    def __init__(self) -> None:
        self._data: dict[str, Any] | None = None
        self._path = os.environ.get("DVDCLI_CONFIG", CONFIG_FILE)

    def explicit_create(self) -> bool:
        """Return whether a missing volume is an error, where the call does not say."""
        return bool(self._read().get("explicit_create", False))

    def driver(self, name: str) -> dict[str, Any] | None:
        """Return the settings of `[drivers.NAME]`, its provider's name among them, or None."""
        drivers: dict[str, dict[str, Any]] = self._read().get("drivers", {})
        return drivers.get(name)

    def drivers(self) -> list[str]:
        """Return the names of the drivers that are configured."""
        return sorted(self._read().get("drivers", {}))

    def table(self, name: str) -> dict[str, Any] | None:
        """Return the table *name* as it is written, None for none. Raises DvdcliError."""
        table = self._read().get(name)
        if table is not None and not isinstance(table, dict):
            raise self._wrong(f"{name} is no table")
        return table

    def _read(self) -> dict[str, Any]:
        if self._data is None:
            self._data = self._load()
        return self._data

    def _load(self) -> dict[str, Any]:
        try:
            descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise self._wrong(str(error.strerror)) from error
        import tomllib

        try:
            file = os.fdopen(descriptor, "rb")
        except OSError as error:  # a directory
            os.close(descriptor)
            raise self._wrong(str(error.strerror)) from error
        with file:
            status = os.fstat(descriptor)
            if status.st_uid not in (0, os.geteuid()) or status.st_mode & 0o022:
                raise self._wrong("others can write it", "chown root it and chmod go-w it")
            try:
                data = tomllib.load(file)
            except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError, RecursionError) as error:
                raise self._wrong(str(error)) from error
        self._check(data)
        return data

    def _check(self, data: dict[str, Any]) -> None:
        for key in data:
            if key not in ("agent", "explicit_create", "drivers"):
                raise self._wrong(f"unknown key {key!r}", "the known ones are agent, drivers, explicit_create")
        if not isinstance(data.get("explicit_create", False), bool):
            raise self._wrong("explicit_create is neither true nor false")
        drivers = data.get("drivers", {})
        if not isinstance(drivers, dict):
            raise self._wrong("drivers is no table")
        for name, settings in drivers.items():
            if not isinstance(settings, dict) or not isinstance(settings.get("provider"), str):
                raise self._wrong(f"[drivers.{name}] names no provider", 'give it a line like provider = "local"')

    def _wrong(self, what: str, hint: str = "") -> DvdcliError:
        return DvdcliError(f"{self._path}: {what}", hint or "mend the configuration file")
