"""A Docker volume plugin that is stricter than real ones, on a real unix or TCP socket.

It checks every request against the protocol, keeps volumes and mounts counted by caller's id, makes real mounts where
it is told to, and misbehaves on demand: late, wrong, half, or not at all.
"""

from __future__ import annotations

import json
import os
import socket
import ssl
import struct
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

from tests.doubles.acceptor import Acceptor
from tests.waiting import wait_until

ACCEPT = "application/vnd.docker.plugins.v1.2+json"
BODIES = {
    "Create": {"Name": str, "Opts": dict},
    "Remove": {"Name": str},
    "Mount": {"Name": str, "ID": str},
    "Unmount": {"Name": str, "ID": str},
    "Path": {"Name": str},
    "Get": {"Name": str},
    "List": {},
    "Capabilities": {},
}


class Volume:
    def __init__(self, name: str, options: dict[str, str]) -> None:
        self.name = name
        self.options = options
        self.ids: set[str] = set()
        self.mountpoint = ""
        self.attached = False


class Reply:
    """One way to answer, instead of the right one."""

    def __init__(self, raw: bytes | None = None, *, delay: float = 0, status: int = 0, body: bytes = b"",
                 act: bool = False, pieces: int = 0, gap: float = 0, at_once: int = 0) -> None:  # fmt: skip
        self.raw = raw  # these bytes; b"" drops the connection
        self.delay = delay
        self.status = status
        self.body = body
        self.act = act  # carry the call out before answering so
        self.pieces = pieces  # cut the right answer into pieces of this many bytes
        self.gap = gap
        self.at_once = at_once  # bytes in front of the pieces


def err(text: str, status: int = 200) -> Reply:
    return Reply(status=status, body=json.dumps({"Err": text}).encode())


DROP = Reply(raw=b"")
NOT_THERE = Reply(status=404, body=b"404 page not found\n")


class Plugin:
    """Serve the plugin at `unix:PATH` or on a free TCP port; `calls` is what was asked, in order."""

    def __init__(self, where: str, root: Path, *, real: bool = False, context: ssl.SSLContext | None = None,
                 backlog: int = 128) -> None:  # fmt: skip
        self.root = root
        self.real = real
        self.context = context
        self.volumes: dict[str, Volume] = {}
        self.calls: list[tuple[str, dict[str, object]]] = []
        self.faults: list[str] = []
        self.mounts_made = 0
        self.busy = 0
        self.replies: dict[str, deque[Reply]] = {}
        self.always: dict[str, Reply] = {}
        self.before: Callable[[str], None] = lambda method: None
        self.after: Callable[[str], None] = lambda method: None  # carried out, and not answered yet
        self.shape: Callable[[dict[str, object]], bytes] = lambda value: json.dumps(value).encode()
        self.frame: Callable[[int, bytes], bytes] = _plain_frame
        self.lock = threading.RLock()
        self.where = where
        self.backlog = backlog
        if real:
            self._make_root()
        self.listen()

    def _make_root(self) -> None:
        """Mount where propagation is shared, as systemd has it: no other test's namespace keeps a copy."""
        self.root.mkdir(parents=True, exist_ok=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "dvdcli-test", self.root], check=True)
        subprocess.run(["mount", "--make-shared", self.root], check=True)

    def listen(self) -> None:
        """Listen, again after `stop`."""
        if self.where.startswith("unix:"):
            path = self.where[5:]
            self.socket = socket.socket(socket.AF_UNIX)
            self.socket.bind(path)
            self.url = f"unix://{path}"
        else:
            self.socket = socket.create_server(("127.0.0.1", 0))
            port = self.socket.getsockname()[1]
            self.url = f"{'https' if self.context else 'tcp'}://127.0.0.1:{port}"
        self.socket.listen(self.backlog)
        self.acceptor = Acceptor(self.socket, self._take)

    def stop(self) -> None:
        """Listen no more."""
        self.acceptor.stop()

    def next(self, method: str, *replies: Reply) -> None:
        """Answer the next calls of *method* so."""
        self.replies.setdefault(method, deque()).extend(replies)

    def names(self) -> list[str]:
        """Return the methods that were called, without the Activate before each."""
        return [name for name, _ in self.calls if name != "Activate"]

    def mounted(self) -> list[str]:
        return sorted(name for name, volume in self.volumes.items() if volume.ids)

    def add(self, name: str, **options: str) -> Volume:
        return self.volumes.setdefault(name, Volume(name, options))

    def close(self) -> None:
        self.stop()
        if self.where.startswith("unix:"):
            Path(self.where[5:]).unlink(missing_ok=True)
        if self.real:
            subprocess.run(["umount", "-R", "-l", self.root], check=True)

    # HTTP

    def _take(self, connection: socket.socket) -> None:
        with self.lock:
            self.busy += 1
        threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            if self.context:
                connection = self.context.wrap_socket(connection, server_side=True)
            with connection:
                self._exchange(connection)
        except (ConnectionError, TimeoutError, ssl.SSLError):
            pass  # who called has gone, or did not speak TLS
        except Exception as error:
            self.faults.append(f"{type(error).__name__}: {error}")
        finally:
            with self.lock:
                self.busy -= 1

    def wait_idle(self) -> None:
        """Wait until every call is over: the plugin carries out what it was asked, whether anybody still listens.

        A connection of our own is taken after all that were made before it.
        """
        if self.where.startswith("unix:"):
            with socket.socket(socket.AF_UNIX) as last:
                last.settimeout(60)
                last.connect(self.where[5:])
                last.shutdown(socket.SHUT_WR)
                last.recv(1)
        wait_until(lambda: not self.busy, "a call of the plugin double goes on")

    def _exchange(self, connection: socket.socket) -> None:
        stream = connection.makefile("rb")
        start = stream.readline().decode()
        if not start:
            return
        verb, target, version = start.split()
        headers = {}
        while (line := stream.readline().decode().strip()) != "":
            key, _, value = line.partition(":")
            headers[key.lower()] = value.strip()
        body = stream.read(int(headers.get("content-length", "0")))
        method = target.removeprefix("/Plugin.").removeprefix("/VolumeDriver.")
        arguments = json.loads(body)
        self._check(verb, target, version, headers, method, arguments)
        self.calls.append((method, arguments))
        self.before(method)
        queue = self.replies.get(method)
        reply = queue.popleft() if queue else self.always.get(method, Reply())
        if reply.delay:
            time.sleep(reply.delay)  # as the test has it: so slow is this answer
        if reply.raw is not None or reply.status:
            if reply.act:
                self._act(method, arguments)
            data = self.frame(reply.status, reply.body) if reply.raw is None else reply.raw
        else:
            data = self.frame(200, self.shape(self._act(method, arguments)))
        self.after(method)
        if reply.raw == b"":
            linger = struct.pack("ii", 1, 0)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            return
        size = reply.pieces or len(data)
        connection.sendall(data[: reply.at_once])
        for start_at in range(reply.at_once, len(data), size):
            connection.sendall(data[start_at : start_at + size])
            time.sleep(reply.gap)  # as the test has it: so slowly come the pieces

    def _check(self, verb: str, target: str, version: str, headers: dict[str, str], method: str,
               arguments: dict[str, object]) -> None:  # fmt: skip
        expected = "/Plugin.Activate" if method == "Activate" else f"/VolumeDriver.{method}"
        for wrong, what in (
            (verb != "POST", f"verb {verb}"),
            (version != "HTTP/1.1", version),
            (target != expected, target),
            (not headers.get("host"), "no Host"),
            (headers.get("accept") != ACCEPT, f"Accept {headers.get('accept')}"),
            ("content-length" not in headers, "no Content-Length"),
        ):
            if wrong:
                self.faults.append(what)
        form = BODIES.get(method, {})
        if set(arguments) != set(form) or any(not isinstance(arguments[k], t) for k, t in form.items()):
            self.faults.append(f"{method} {arguments}")
        options = arguments.get("Opts", {})
        if any(not isinstance(value, str) for value in options.values()):  # type: ignore[attr-defined]
            self.faults.append(f"{method} {arguments}")
        if arguments.get("Name") == "":
            self.faults.append(f"{method} with an empty name")

    # The protocol

    def _act(self, method: str, arguments: dict[str, object]) -> dict[str, object]:
        if method == "Activate":
            return {"Implements": ["VolumeDriver"]}
        if method == "Capabilities":
            return {"Capabilities": {"Scope": "global"}}
        with self.lock:
            name = str(arguments.get("Name", ""))
            if method == "List":
                return {"Volumes": [self._describe(volume) for volume in self.volumes.values()], "Err": ""}
            if method == "Create":
                if name not in self.volumes:
                    self.volumes[name] = Volume(name, dict(arguments["Opts"]))  # type: ignore[call-overload]
                return {"Err": ""}
            volume = self.volumes.get(name)
            if volume is None:
                return {"Err": f"volume {name} not found"}
            return self._on_volume(method, volume, str(arguments.get("ID", "")))

    def _on_volume(self, method: str, volume: Volume, mount_id: str) -> dict[str, object]:
        if method == "Get":
            return {"Volume": {**self._describe(volume), "Status": {}}, "Err": ""}
        if method == "Path":
            return {"Mountpoint": volume.mountpoint, "Err": ""}
        if method == "Remove":
            if volume.ids or volume.attached:
                return {"Err": f"volume {volume.name} is in use"}
            del self.volumes[volume.name]
        elif method == "Mount":
            if not volume.ids:
                self._mount(volume)
            volume.ids.add(mount_id)
            return {"Mountpoint": volume.mountpoint, "Err": ""}
        elif method == "Unmount":
            if mount_id not in volume.ids and not volume.attached:
                return {"Err": f"volume {volume.name} is not mounted"}
            volume.ids.discard(mount_id)
            if not volume.ids:
                self._unmount(volume)
        return {"Err": ""}

    def _describe(self, volume: Volume) -> dict[str, object]:
        return {"Name": volume.name, "Mountpoint": volume.mountpoint}

    def _mount(self, volume: Volume) -> None:
        self.mounts_made += 1
        path = self.root / f"v{len(volume.name)}-{abs(hash(volume.name)) % 10**8}"
        path.mkdir(exist_ok=True, parents=True)
        if self.real:
            subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "dvdcli-test", path], check=True)
        volume.mountpoint, volume.attached = str(path), True

    def _unmount(self, volume: Volume) -> None:
        if self.real and os.path.ismount(volume.mountpoint):
            subprocess.run(["umount", volume.mountpoint], check=True)
        volume.mountpoint, volume.attached = "", False

    def reboot(self) -> None:
        """What a restart of the machine leaves: nothing is mounted, what was attached still is."""
        for volume in self.volumes.values():
            if self.real and volume.mountpoint:
                subprocess.run(["umount", "-l", volume.mountpoint], check=False)
            volume.mountpoint = ""
            volume.ids.clear()


def _plain_frame(status: int, body: bytes) -> bytes:
    head = f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def chunked_frame(status: int, body: bytes) -> bytes:
    pieces = [body[i : i + 7] for i in range(0, len(body), 7)]
    chunks = b"".join(b"%x;note=1\r\n%s\r\n" % (len(piece), piece) for piece in pieces)
    return b"HTTP/1.1 %d X\r\nTransfer-Encoding: chunked\r\n\r\n%s0\r\nTrailer: x\r\n\r\n" % (status, chunks)


def old_frame(status: int, body: bytes) -> bytes:
    return b"HTTP/1.0 %d OK\n\n%s" % (status, body)


def continue_frame(status: int, body: bytes) -> bytes:
    return b"HTTP/1.1 100 Continue\r\n\r\n" + _plain_frame(status, body)
