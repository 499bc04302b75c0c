"""Where Docker volume plugins are found: sockets, .spec and .json files, and the Engine for managed plugins.

Source: Docker's "Plugin API" (plugin discovery) and Engine API (`GET /plugins/{name}/json`, `GET /info`).
"""

from __future__ import annotations

import os
import stat

from dvdcli import config, fastjson
from dvdcli.errors import DvdcliError, TryAgainError
from dvdcli.http import Address, NotSentError, request
from dvdcli.linux import files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from dvdcli.clock import Deadline

_PATIENCE = 5.0  # seconds that the Engine may take


class EngineError(TryAgainError):
    """The Docker Engine, which knows the managed plugins, listens and does not answer."""


def find(name: str, deadline: Deadline) -> dict[str, Any] | None:
    """Return the settings that reach the plugin *name*, None where there is no such plugin.

    They are DockerProvider's: address, the TLS files, and for a managed plugin where its paths are on this host.
    Raises DvdcliError for a description that cannot be used, EngineError.
    """
    directories = config.plugin_directories()
    for sockets in directories[:1]:
        for path in (f"{sockets}/{name}.sock", f"{sockets}/{name}/{name}.sock"):
            if _is_socket(path):
                _check_owner(sockets)
                return {"address": f"unix://{path}"}
    for directory in directories[1:]:
        for stem in (f"{directory}/{name}", f"{directory}/{name}/{name}"):
            spec = files_read(f"{stem}.spec")
            if spec is not None:
                _check_owner(directory)
                return {"address": _checked(f"{stem}.spec", spec.decode("utf-8", "replace").strip())}
            description = files_read(f"{stem}.json")
            if description is not None:
                _check_owner(directory)
                return _from_json(f"{stem}.json", description)
    return _managed(name, deadline)


def files_read(path: str) -> bytes | None:
    """Return what is in the file at *path*, a link or not; None where there is none."""
    try:
        return files.read(os.path.realpath(path))
    except NotADirectoryError:
        return None
    except OSError as error:
        raise DvdcliError(f"{path}: {error.strerror}", "mend the plugin's description") from error


def _check_owner(directory: str) -> None:
    """Raise DvdcliError where anybody can put plugins into *directory*: what they answer, root mounts."""
    status = os.stat(directory)
    if status.st_uid not in (0, os.geteuid()) or status.st_mode & 0o002:
        raise DvdcliError(f"{directory}: anybody can put plugins there", f"chown root {directory} and chmod o-w it")


def _is_socket(path: str) -> bool:
    try:
        return stat.S_ISSOCK(os.stat(path).st_mode)
    except OSError:
        return False


def _checked(where: str, url: str) -> str:
    try:
        return Address(url).url
    except DvdcliError as error:
        raise DvdcliError(f"{where}: {error.message}", error.hint) from error


def _from_json(path: str, data: bytes) -> dict[str, Any]:
    try:
        value = fastjson.loads(data)
    except ValueError as error:
        raise DvdcliError(f"{path} is no JSON: {error}", "mend the plugin's description") from error
    address, tls = field(value, "Addr"), field(value, "TLSConfig")
    if not isinstance(address, str):
        raise DvdcliError(f"{path} has no Addr", "mend the plugin's description")
    settings: dict[str, Any] = {"address": _checked(path, address)}
    names = (("ca_file", "CAFile"), ("cert_file", "CertFile"), ("key_file", "KeyFile"))
    for ours, theirs in names:
        value = field(tls, theirs)
        if isinstance(value, str) and value:
            if not _is_path(value):
                raise DvdcliError(f"{path}: {theirs} is no path", "mend the plugin's description")
            settings[ours] = value
    if field(tls, "InsecureSkipVerify") is True:
        settings["insecure"] = True
    return settings


def _managed(name: str, deadline: Deadline) -> dict[str, Any] | None:
    socket = config.engine_socket()
    if not _is_socket(socket):
        return None
    engine = Address(f"unix://{socket}")
    plugin = _ask(engine, f"/plugins/{_quote(name)}/json", deadline)
    identity = field(plugin, "Id")
    if plugin is None or not isinstance(identity, str) or not (identity.isascii() and identity.isalnum()):
        return None
    if field(plugin, "Enabled") is False:
        raise TryAgainError(f"the Docker plugin {name!r} is disabled", f"docker plugin enable {name}")
    description = field(plugin, "Config")
    interface = field(field(description, "Interface"), "Socket")
    propagated = field(description, "PropagatedMount")
    root = field(_ask(engine, "/info", deadline), "DockerRootDir")
    if not _is_path(interface) or "/" in interface or interface in (".", ".."):
        raise DvdcliError(f"the Docker plugin {name!r} names no socket", "see docker plugin inspect")
    root = root if _is_path(root) and root.startswith("/") else "/var/lib/docker"
    home = f"/{os.path.normpath(root).strip('/')}/plugins/{identity}".replace("//", "/", 1)
    sockets = config.plugin_directories()[0]
    settings: dict[str, Any] = {"address": f"unix://{sockets}/{identity}/{interface}", "rootfs": f"{home}/rootfs"}
    if _is_path(propagated) and propagated.startswith("/"):
        settings["propagated"] = propagated.rstrip("/")
        settings["propagated_host"] = f"{home}/propagated-mount"
    return settings


def _is_path(value: Any) -> bool:
    """Return whether *value* is text that a path can have, or a part of one."""
    return isinstance(value, str) and value.isprintable() and value != ""


def _ask(engine: Address, path: str, deadline: Deadline) -> Any:
    try:
        reply = request(engine, "GET", path, b"", deadline.sooner(min(_PATIENCE, deadline.left() / 2)))
    except NotSentError:
        return None  # an Engine that is down manages no plugin
    except TryAgainError as error:
        raise EngineError(f"the Docker Engine: {error.message}", "see whether the docker daemon hangs") from error
    try:
        return fastjson.loads_first(reply.body.decode("utf-8", "replace")) if reply.status == 200 else None
    except ValueError:
        return None


def _quote(name: str) -> str:
    # Slash and colon stand as they are: the Engine's route takes `vieux/sshfs:latest` whole.
    safe = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~/:"
    return "".join(chr(byte) if byte in safe else f"%{byte:02X}" for byte in name.encode())


def field(value: Any, key: str) -> Any:
    """Return the field *key* of a JSON object, spelt in any case as Go reads it; None where there is none."""
    if not isinstance(value, dict):
        return None
    if key in value:
        return value[key]
    lower = key.lower()
    return next((value[k] for k in value if k.lower() == lower), None)
