"""Docker volume plugins. Source: Docker's "Volume plugin protocol", v1, as docker itself and real plugins speak it."""

from __future__ import annotations

import os

from dvdcli import clock, config, fastjson, output
from dvdcli.errors import LONGEST_SAYING, DvdcliError, NotFoundError, TryAgainError, UsageError
from dvdcli.http import Address, NotSentError, Reply, Tls, request
from dvdcli.linux import files
from dvdcli.names import sha256
from dvdcli.providers import plugins
from dvdcli.providers.base import Info, Mounted, Option, Provider
from dvdcli.providers.plugins import field

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

    from dvdcli.clock import Deadline
    from dvdcli.findings import Finding
    from dvdcli.providers.base import Note
    from dvdcli.volume import Volume

_ACCEPT = "application/vnd.docker.plugins.v1.2+json"
_ABSENT = (
    "no such volume", "not found", "not exist", "no volume found", "unknown volume", "could not find", "couldn't find",
    "cannot find", "can't find", "unable to find", "doesn't exist",
)  # fmt: skip
_CLOSING = 0.5  # seconds
_NOT_MOUNTED = ("not mounted", "not attached", "isn't mounted", "already unmounted", "no mount")


class _RefusedError(DvdcliError):
    """The plugin answered, and its answer is an error."""


class _UnknownCallError(DvdcliError):
    """The plugin does not know this call: it is older than the call."""


class DockerProvider(Provider):
    """One plugin. Its options are its own: they are passed on as they came."""

    settings = {  # noqa: RUF012
        "plugin": Option(str, "", "the plugin's name, by default the driver's"),
        "address": Option(str, "", "where the plugin listens, instead of looking for its name"),
        "ca_file": Option(str, "", "the CA that signed the plugin's certificate"),
        "cert_file": Option(str, "", "our certificate"),
        "key_file": Option(str, "", "our certificate's key, in a file that root alone can read", secret=True),
        "insecure": Option(bool, False, "do not verify the plugin's certificate"),
    }
    options = None

    def __init__(self, driver: str, settings: Mapping[str, Any], deadline: Deadline, patience: float) -> None:
        super().__init__(driver, settings, deadline, patience)
        if "address" not in settings:
            plugin = settings.get("plugin") or driver
            found = plugins.find(plugin, deadline)
            if found is None:
                raise NotFoundError(f"there is no Docker plugin {plugin!r} for the driver {driver!r}", "start it")
            self.pinned.update(found)
        tls = Tls(
            self.pinned.get("ca_file", ""), self.pinned.get("cert_file", ""), self.pinned.get("key_file", ""),
            self.pinned.get("insecure", False),
        )  # fmt: skip
        wanted = tls.ca_file or tls.cert_file or tls.insecure
        self._address = Address(self.pinned["address"], tls if wanted else None)
        self._active = False
        self._infos: dict[str, Info] = {}

    @classmethod
    def settings_faults(cls, driver: str, settings: Mapping[str, Any]) -> Iterator[tuple[str, DvdcliError]]:
        """Return an address that is none, and a key without its certificate."""
        try:
            Address(settings.get("address") or "unix:///")
        except DvdcliError as error:
            yield "address", DvdcliError(f"[drivers.{driver}] address: {error.message}", error.hint)
        if settings.get("key_file") and not settings.get("cert_file"):
            yield "key_file", UsageError(f"[drivers.{driver}] has a key_file and no cert_file", "name its certificate")

    def create(self, name: str, options: Mapping[str, str]) -> None:
        """Have the plugin create the volume *name*."""
        self._call("Create", {"Name": name, "Opts": dict(options)})
        self._infos[name] = Info(name)

    def remove(self, name: str) -> None:
        """Have the plugin remove the volume *name*; one that it does not know is fine."""
        info = self._known(name)
        if info is not None:
            self._call("Remove", {"Name": info.name})

    def get(self, name: str) -> Info | None:
        """Ask Get. Only the plugin's own word that there is no such volume means None; anything else is an error.

        A plugin that is older than Get knows every volume by the name it is asked for.
        """
        try:
            reply = self._call("Get", {"Name": name})
        except _UnknownCallError:
            info = Info(name)
        except _RefusedError as error:
            if _says_absent(error.message, name):
                return None
            raise
        else:
            volume = field(reply, "Volume")
            if not isinstance(volume, dict):
                return None
            info = Info(_text(volume, "Name") or name, self._on_host(_text(volume, "Mountpoint")))
        self._infos[name] = info
        return info

    def list(self) -> list[Info]:
        """Ask List."""
        volumes = field(self._call("List", {}), "Volumes")
        found = [
            Info(_text(volume, "Name"), self._on_host(_text(volume, "Mountpoint")))
            for volume in (volumes if isinstance(volumes, list) else [])
            if _text(volume, "Name")
        ]
        return sorted(found, key=lambda info: info.name)

    def path(self, name: str) -> str:
        """Ask Get, and Path where Get names no mountpoint."""
        info = self._known(name)
        if info is None or info.mountpoint:
            return info.mountpoint if info else ""
        try:
            return self._on_host(_text(self._call("Path", {"Name": info.name}), "Mountpoint"))
        except _UnknownCallError:
            return ""

    def mount(self, volume: Volume, options: Mapping[str, str], handle: Mapping[str, Any], note: Note) -> Mounted:
        """Ask Mount, with an id that is the same for every mount of this volume on this host."""
        info = self._known(volume.name)
        name = info.name if info else volume.name
        mount_id = _mount_id(volume)
        with output.step(f"the driver {self.driver} mounts {name}", self.deadline):
            reply = self._call("Mount", {"Name": name, "ID": mount_id})
        said = _text(reply, "Mountpoint")
        path = self._on_host(said)
        if not path:
            raise DvdcliError(
                f"the plugin {self.driver!r} named {said!r} as mountpoint",
                "no volume can be there: an absolute path is expected, of nothing that is the system's or dvdcli's own",
            )
        return Mounted(path, {"name": name, "id": mount_id})

    def unmount(self, volume: Volume, handle: Mapping[str, Any], note: Note) -> bool:
        """Ask Unmount, even where Get names no mountpoint: the volume can still be attached.

        An error means that it is done where the plugin says that nothing is mounted and Get agrees.
        """
        info = self.get(volume.name)
        if info is None:
            return True
        try:
            with output.step(f"the driver {self.driver} unmounts {info.name}", self.deadline):
                self._call("Unmount", {"Name": info.name, "ID": handle.get("id") or _mount_id(volume)})
        except _RefusedError as error:
            if _says(error.message, _NOT_MOUNTED) or _says_absent(error.message, volume.name):
                info = self.get(volume.name)
                if info is None or not info.mountpoint:
                    return self._is_idle()
            raise
        return bool(info.mountpoint) or self._is_idle()

    def scope(self) -> str:
        """Ask Capabilities; a plugin that does not say is local."""
        try:
            scope = _text(field(self._call("Capabilities", {}), "Capabilities"), "Scope").lower()
        except (_UnknownCallError, _RefusedError):
            scope = ""
        return scope if scope == "global" else "local"

    def servers(self) -> tuple[int, ...]:
        """Return the plugin's process, where its socket tells."""
        from dvdcli.linux import unixsockets

        pid = unixsockets.listener_pid(self._address.path) if self._address.path else 0
        return (pid,) if pid else ()

    def _is_idle(self) -> bool:
        """Return whether the plugin certainly works on no mount; a moment is given for closing our own connections."""
        from dvdcli.linux import unixsockets

        moment = self.deadline.sooner(_CLOSING if self._address.path else 0.0)
        while not unixsockets.is_idle(self._address.path):
            if not moment.left():
                return False
            clock.sleep(0.01)
        return True

    def _known(self, name: str) -> Info | None:
        """Return what Get said a moment ago, in this same call of ours; ask where it has not been asked."""
        return self._infos.pop(name, None) or self.get(name)

    def _on_host(self, path: str) -> str:
        """Return where a plugin's *path* is on this host, "" for what is no absolute path of a volume's.

        The plugin can be on another host: what is the system's or dvdcli's own is not its to give.
        """
        usable = path.startswith("/") and path == path.strip() and path.isprintable() and ".." not in path.split("/")
        path = "/" + os.path.normpath(path).lstrip("/")
        if not usable or path == "/":
            return ""
        if "rootfs" not in self.pinned:
            return "" if config.system_part(path) or config.own_part(path) else path
        inside = self.pinned.get("propagated", "")
        if inside and (path == inside or path.startswith(f"{inside}/")):
            return f"{self.pinned['propagated_host']}{path[len(inside) :]}"
        return f"{self.pinned['rootfs']}{path}"

    def check_ready(self) -> Iterator[Finding]:
        """Ask the plugin whether it is a volume plugin, and who sees its volumes."""
        from dvdcli.findings import attempt, ok, warning

        activated = attempt(self._activate)
        yield activated
        if activated.status == "ok":
            yield ok(f"its volumes are {self.scope()}")
        if self.pinned.get("insecure"):
            yield warning("the plugin's certificate is not verified", "name its CA with ca_file")

    def _activate(self) -> str:
        """Let the plugin say that it is a volume plugin, once; return what it said."""
        if not self._active:
            implements = field(self._post("/Plugin.Activate", {}), "Implements")
            if not isinstance(implements, list) or "VolumeDriver" not in implements:
                raise DvdcliError(f"the plugin {self.driver!r} is no volume plugin", "it implements no VolumeDriver")
            self._active = True
        return f"a volume plugin answers at {self._address.url}"

    def _call(self, method: str, arguments: dict[str, Any]) -> Any:
        self._activate()
        return self._post(f"/VolumeDriver.{method}", arguments)

    def _post(self, path: str, arguments: dict[str, Any]) -> Any:
        output.debug(f"{self._address.url} {path} {arguments.get('Name', '')}")
        reply = self._send_until_heard(path, fastjson.dumps(arguments).encode())
        method, who = path[1:], f"the plugin {self.driver!r}"
        text = reply.body.decode("utf-8", "replace").strip()
        value, is_json = None, True
        try:
            value = fastjson.loads_first(text) if text else {}
        except ValueError:
            is_json = False
        failure = field(value, "Err")
        if failure:
            raise _RefusedError(f"{who} says: {str(failure)[:LONGEST_SAYING]}")
        if reply.status == 404:
            raise _UnknownCallError(f"{who} does not know {method}")
        if reply.status != 200:
            raise _RefusedError(f"{who} answered {method} with status {reply.status}: {text[:LONGEST_SAYING]}")
        if not is_json or not isinstance(value, dict):
            raise DvdcliError(f"{who} answered {method} with what is no JSON object: {text[:200]!r}")
        return value

    def _send_until_heard(self, path: str, body: bytes) -> Reply:
        """Send a request, again only while it certainly did not arrive: the plugin may just be starting."""
        patience = self.deadline.sooner(self.patience)
        pause = 0.02
        while True:
            try:
                return request(self._address, "POST", path, body, self.deadline, _ACCEPT)
            except NotSentError as error:
                if patience.left() <= pause:
                    raise TryAgainError(
                        f"the plugin {self.driver!r} cannot be reached: {error.message}", "see that it runs"
                    ) from error
                clock.sleep(pause)
                pause = min(pause * 2, 1.0)
            except TryAgainError as error:
                raise TryAgainError(f"the plugin {self.driver!r}: {error.message}", error.hint) from error


def _mount_id(volume: Volume) -> str:
    """Return the caller's id of the mount: plugins count by it, so it survives a lost state and differs by host."""
    machine = (files.read("/etc/machine-id") or b"").strip() or os.uname().nodename.encode()
    return sha256(b"\0".join((machine, volume.driver.encode(), volume.name.encode())))


def _text(value: Any, key: str) -> str:
    """Return the text *key* of *value*, "" for none. Half of a pair of surrogates is read as Go reads it."""
    text = field(value, key)
    if not isinstance(text, str):
        return ""
    return text if text.isprintable() else text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _says(message: str, phrases: tuple[str, ...]) -> bool:
    lower = message.lower()
    return any(phrase in lower for phrase in phrases)


def _says_absent(message: str, name: str) -> bool:
    """Return whether *message* says that the volume *name* is not there: that something else is not does not count."""
    said = message.partition(" says: ")[2] or message
    words = "".join(" " if c in "\"'`,;:()[]" else c for c in said)
    about_it = "volume" in said.lower() or f" {name} " in f" {words} "
    return (about_it or said.strip().lower() in (*_ABSENT, "resource not found")) and _says(said, _ABSENT)
