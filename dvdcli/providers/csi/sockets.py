"""Where the sockets of CSI drivers are found by the driver's name. Cheap: others than this provider look here too."""

from __future__ import annotations

import os
import stat

from dvdcli import config
from dvdcli.errors import DvdcliError, UsageError
from dvdcli.linux import files

_LONGEST = 107  # bytes of a unix socket's path, as the kernel takes it
_SCHEME = "unix://"


def find(name: str) -> str:
    """Return the path of the socket of the driver *name*, "" where there is none. Raises DvdcliError.

    In each directory, `NAME/csi.sock` comes before `NAME.sock`.
    """
    if "/" in name or name in ("", ".", ".."):
        return ""
    for directory in config.csi_directories():
        for path in (f"{directory}/{name}/csi.sock", f"{directory}/{name}.sock"):
            if _is_socket(path):
                _check_owner(directory)
                _check_owner(os.path.dirname(path))
                return path
    return ""


def names() -> list[str]:
    """Return the names of the drivers that have a socket in one of the directories."""
    found = set()
    for directory in config.csi_directories():
        for name in files.names_in(directory):
            path = f"{directory}/{name}"
            if name.endswith(".sock") and _is_socket(path):
                found.add(name.removesuffix(".sock"))
            elif _is_socket(f"{path}/csi.sock"):
                found.add(name)
    return sorted(found)


def path_in(endpoint: str, setting: str) -> str:
    """Return the path of the socket that *endpoint* names: `unix:///…`, or the path itself. Raises UsageError."""
    path = endpoint[len(_SCHEME) :] if endpoint.startswith(_SCHEME) else endpoint
    if not path.startswith("/") or not path.isprintable():
        raise UsageError(f"{setting} = {endpoint!r} is no unix socket", 'a path, or "unix:///PATH"')
    if len(os.fsencode(path)) > _LONGEST:
        raise UsageError(f"{setting} = {endpoint!r} is too long for a socket", f"at most {_LONGEST} bytes are possible")
    return path


def _is_socket(path: str) -> bool:
    try:
        return stat.S_ISSOCK(os.stat(path).st_mode)
    except OSError:
        return False


def _check_owner(directory: str) -> None:
    """Raise DvdcliError where anybody can put a socket into *directory*: what it mounts, root gives to tasks."""
    status = os.stat(directory)
    if status.st_uid not in (0, os.geteuid()) or status.st_mode & 0o002:
        raise DvdcliError(f"{directory}: anybody can put a driver's socket there", "chown root it and chmod o-w it")
