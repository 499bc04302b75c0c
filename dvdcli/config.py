"""Where things are and what the operator set: directories, DVDCLI_* variables, /etc/dvdcli/dvdcli.toml."""

from __future__ import annotations

import os

from dvdcli import fastjson
from dvdcli.errors import DvdcliError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

CONFIG_FILE = "/etc/dvdcli/dvdcli.toml"
ROOT_STATE = "/var/lib/dvdcli"
ROOT_MOUNTS = "/var/lib/dvdcli-mounts"
PLUGIN_DIRECTORIES = "/run/docker/plugins:/etc/docker/plugins:/usr/lib/docker/plugins"
CSI_DIRECTORIES = "/var/lib/kubelet/plugins:/run/csi"
ENGINE_SOCKET = "/var/run/docker.sock"
SYSFS = "/sys"
DEV = "/dev"
# What root runs or reads after our mounts, in the container's launch, comes from here.
SYSTEM = (
    "/bin", "/boot", "/dev", "/etc", "/lib", "/lib32", "/lib64", "/libx32", "/proc", "/run", "/sbin", "/sys", "/usr",
    "/var/run",
)  # fmt: skip
_RUN = ("/run", "/var/run")  # there are mounts of plugins below
_PATIENCE = 5.0  # seconds
_DEEPEST = 50  # levels: more is meant by nobody, and who prints it would run out of stack
TOP = ("agent", "drivers", "explicit_create")  # what a configuration file can have at its top


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


def system_part(path: str) -> str:
    """Return what of the system the absolute, normal *path* is, is in, or has in it; "" for a place of a volume."""
    for part in SYSTEM:
        if path == part or part.startswith(f"{path}/") or (path.startswith(f"{part}/") and part not in _RUN):
            return part
    return ""


def own_part(path: str) -> str:
    """Return which directory of dvdcli's own the absolute, normal *path* is, is in, or has in it; "" for none."""
    for part in (state_directory(), mounts_directory()):
        if path == part or part.startswith(f"{path}/") or path.startswith(f"{part}/"):
            return part
    return ""


def plugin_directories() -> list[str]:
    """Return where Docker plugins announce themselves: the first holds sockets, the others specs."""
    return [path for path in (os.environ.get("DVDCLI_PLUGIN_DIRS") or PLUGIN_DIRECTORIES).split(":") if path]


def csi_directories() -> list[str]:
    """Return where the sockets of CSI drivers are looked for by the driver's name."""
    return [path for path in (os.environ.get("DVDCLI_CSI_DIRS") or CSI_DIRECTORIES).split(":") if path]


def engine_socket() -> str:
    """Return the socket of the Docker Engine API, which knows the managed plugins."""
    return os.environ.get("DVDCLI_ENGINE_SOCKET", ENGINE_SOCKET)


def sysfs_directory() -> str:
    """Return where sysfs is mounted, in which a device's serial number is read."""
    return _directory("DVDCLI_SYSFS") or SYSFS


def device_directory() -> str:
    """Return where the nodes of devices are."""
    return _directory("DVDCLI_DEV") or DEV


class Config:
    """What dvdcli.toml and its drop-ins say, read when somebody first asks. An absent file is an empty one.

    Drop-ins are `dvdcli.toml.d/*.toml`, in the order of their names' bytes. Tables are merged, a later file's keys
    over an earlier one's. What is wrong in one driver's table fails nobody but who asks for that driver.

    *files* are what is read, path and content, where somebody has read it already.
    """

    def __init__(self, files: list[tuple[str, dict[str, Any]]] | None = None) -> None:
        self._files = files

    def explicit_create(self) -> bool:
        """Return whether a missing volume is an error, where the call does not say."""
        said = [data["explicit_create"] for _, data in self._read() if "explicit_create" in data]
        return bool(said and said[-1])

    def driver(self, name: str) -> dict[str, Any] | None:
        """Return the settings of `[drivers.NAME]`, its provider's name among them, or None. Raises DvdcliError."""
        settings = self.table("drivers", name)
        if settings is not None and not isinstance(settings.get("provider"), str):
            what = f"[drivers.{name}] names no provider"
            raise wrong(self.where("drivers", name), what, 'give it a line like provider = "local"')
        return settings

    def drivers(self) -> list[str]:
        """Return the names of the configured drivers, in the order in which they are first named."""
        return list(dict.fromkeys(name for _, data in self._read() for name in data.get("drivers", ())))

    def where(self, *keys: str) -> str:
        """Return the path of the file whose value of *keys*, a table's name and those below it, counts."""
        found = [path for path, data in self._read() if _at(data, keys) is not None]
        return found[-1] if found else config_file()

    def table(self, *keys: str) -> dict[str, Any] | None:
        """Return the table at *keys*, all files' together, as it is written; None for none. Raises DvdcliError."""
        merged: dict[str, Any] | None = None
        for path, data in self._read():
            table = _at(data, keys)
            if table is None:
                continue
            if not isinstance(table, dict):
                raise wrong(path, f"{'.'.join(keys)} is no table")
            merged = {**(merged or {}), **table}
        return merged

    def _read(self) -> list[tuple[str, dict[str, Any]]]:
        if self._files is None:
            path, files = config_file(), []
            for each in (path, *drop_ins(path)):
                data = read_file(each)
                for _, what, hint in faults(data):
                    raise wrong(each, what, hint)
                files.append((each, data))
            self._files = files
        return self._files


def _at(data: Any, keys: tuple[str, ...]) -> Any:
    """Return what is at *keys*, or None. A value where a table should be counts as that table's."""
    for key in keys:
        if not isinstance(data, dict):
            return data
        if key not in data:
            return None
        data = data[key]
    return data


def config_file() -> str:
    """Return the path of the configuration file, "" for none."""
    return os.environ.get("DVDCLI_CONFIG", CONFIG_FILE)


def drop_ins(path: str) -> list[str]:
    """Return the paths of the drop-ins of the file *path*, in their order. Raises DvdcliError."""
    directory = f"{path}.d"
    _await_answer(path)
    try:
        names = [name for name in os.listdir(directory) if name.endswith(".toml")] if path else []
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise wrong(directory, str(error.strerror)) from error
    if names:
        _check_owner(directory, os.stat(directory))
    return [f"{directory}/{name}" for name in sorted(names, key=os.fsencode)]


def read_file(path: str) -> dict[str, Any]:
    """Return what the file at *path* says, nothing where there is none. Raises DvdcliError.

    TryAgainError is for a file system that does not answer.
    """
    _await_answer(path)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise wrong(path, str(error.strerror)) from error
    import tomllib

    try:
        file = os.fdopen(descriptor, "rb")
    except OSError as error:  # a directory
        os.close(descriptor)
        raise wrong(path, str(error.strerror)) from error
    with file:
        _check_owner(path, os.fstat(descriptor))
        try:
            data = tomllib.load(file)
            if fastjson.is_deeper(data, _DEEPEST):
                raise ValueError("nested too deeply")
            return data
        except (ValueError, OSError, RecursionError) as error:  # ValueError: no TOML, no UTF-8, 5,000 digits
            raise wrong(path, str(error)) from error


def _await_answer(path: str) -> None:
    from dvdcli.clock import Deadline
    from dvdcli.linux import files

    if path:
        files.await_answer(path, Deadline(_PATIENCE))


def faults(data: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Return what is wrong in a file whichever driver is asked for: the key, what is wrong with it, a hint."""
    for key in data:
        if key not in TOP:
            from dvdcli.nearest import hint

            yield key, f"unknown key {key!r}", hint(key, TOP)
    if not isinstance(data.get("explicit_create", False), bool):
        yield "explicit_create", "explicit_create is neither true nor false", ""
    if not isinstance(data.get("drivers", {}), dict):
        yield "drivers", "drivers is no table", ""


def wrong(path: str, what: str, hint: str = "") -> DvdcliError:
    """Return the error of a configuration file: *what* is wrong in the one at *path*."""
    return DvdcliError(f"{path}: {what}", hint or "mend the configuration file")


def _check_owner(path: str, status: os.stat_result) -> None:
    if status.st_uid not in (0, os.geteuid()) or status.st_mode & 0o022:
        raise wrong(path, "others can write it", f"chown root {path} and chmod go-w it")
