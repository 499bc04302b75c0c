"""A small HTTP or HTTPS server on 127.0.0.1 that can drop a connection, leave it hanging, or refuse it."""

from __future__ import annotations

import select
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import BinaryIO

from tests.doubles.acceptor import Acceptor
from tests.waiting import wait_until

REASONS = {
    200: "OK", 204: "No Content", 400: "Bad Request", 401: "Unauthorized", 403: "Forbidden", 404: "Not Found",
    500: "Internal Server Error", 503: "Service Unavailable",
}  # fmt: skip


@dataclass
class Request:
    method: str
    path: str
    headers: dict[str, str]  # names in lower case
    body: bytes


@dataclass
class Reply:
    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    cut: int | None = None  # send only so many bytes of the body, then close
    piece: int = 0  # send it in pieces of so many bytes
    gap: float = 0  # seconds before each piece


DROP = Reply(status=-1)  # close the socket without an answer
HANG = Reply(status=-2)  # never answer


class Web:
    """Answer every request with what *answer* makes of it, each connection in a thread of its own."""

    def __init__(self, answer: Callable[[Request], Reply], faults: list[str], *, name: str = "EC2",
                 context: ssl.SSLContext | None = None) -> None:  # fmt: skip
        self.name = name
        self.context = context
        self.answer = answer
        self.faults = faults
        self.port = 0
        self.working = 0
        self.lock = threading.Lock()
        self.connections: set[socket.socket] = set()
        self.listener: socket.socket | None = None
        self.reserved: socket.socket | None = None
        self.start()

    @property
    def url(self) -> str:
        return f"https://localhost:{self.port}" if self.context else f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        if self.reserved:
            self.reserved.close()
            self.reserved = None
        self.listener = socket.create_server(("127.0.0.1", self.port), backlog=128)
        self.port = self.listener.getsockname()[1]
        self.acceptor = Acceptor(self.listener, self._take)

    def stop(self, *, reserve: bool = False) -> None:
        """Listen no more; with *reserve* keep the port, so that who connects is refused and nobody else gets it."""
        if self.listener:
            self.acceptor.stop()
            self.listener = None
        with self.lock:
            for connection in self.connections:
                try:
                    socket.socket.shutdown(connection, socket.SHUT_RDWR)  # not TLS's, which a reader trips over
                except OSError:
                    pass
        if self.reserved:
            self.reserved.close()
            self.reserved = None
        if reserve:
            self.reserved = socket.socket()
            self.reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self.reserved.bind(("127.0.0.1", self.port))

    def wait_idle(self, timeout: float = 60) -> None:
        """Wait until no request is being carried out: a killed caller's goes on without it."""
        with socket.create_connection(("127.0.0.1", self.port), timeout) as last:  # taken after all made before it
            last.shutdown(socket.SHUT_WR)
            last.recv(1)
        wait_until(lambda: not self._pending(), "a request of the double goes on", timeout)

    def _pending(self) -> bool:
        """Tell whether a request is being answered, or has arrived on a connection without having been read."""
        with self.lock:
            if self.working:
                return True
            ready, _, _ = select.select(list(self.connections), [], [], 0)
            return bool(ready)

    def _take(self, connection: socket.socket) -> None:
        with self.lock:
            self.connections.add(connection)
        threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self.context:
                connection = self._secure(connection, self.context)
                self._shake_hands(connection)
            with connection.makefile("rb") as stream:
                while self._exchange(connection, stream):
                    pass
        except OSError:
            pass  # the caller is gone
        except Exception as error:
            self.faults.append(f"{type(error).__name__}: {error}")
        finally:
            with self.lock:
                self.connections.discard(connection)
                connection.close()

    def _secure(self, connection: socket.socket, context: ssl.SSLContext) -> ssl.SSLSocket:
        with self.lock:
            self.connections.discard(connection)
            secure = context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
            self.connections.add(secure)
        return secure

    def _shake_hands(self, connection: ssl.SSLSocket) -> None:
        with self.lock:
            self.working += 1
        try:
            connection.do_handshake()
        finally:
            with self.lock:
                self.working -= 1

    def _exchange(self, connection: socket.socket, stream: BinaryIO) -> bool:
        start = stream.readline().decode("latin-1").split()
        if not start:
            return False
        with self.lock:
            self.working += 1
        try:
            headers = {}
            while (line := stream.readline().decode("latin-1").strip()) != "":
                name, _, value = line.partition(":")
                headers[name.lower()] = value.strip()
            size = int(headers.get("content-length", "0"))
            body = stream.read(size)
            if len(body) < size:
                return False  # killed while it sent
            reply = self.answer(Request(start[0], start[1], headers, body))
            if reply is HANG:
                stream.read(1)
                return False
            if reply is DROP:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                return False
            head = f"HTTP/1.1 {reply.status} {REASONS.get(reply.status, 'Error')}\r\nServer: {self.name}\r\n"
            for name, value in {**reply.headers, "Content-Length": str(len(reply.body))}.items():
                head += f"{name}: {value}\r\n"
            data = head.encode() + b"\r\n" + reply.body[: reply.cut]
            size = reply.piece or len(data)
            for start_at in range(0, len(data), size):
                time.sleep(reply.gap)  # as the test has it: so slowly come the pieces
                connection.sendall(data[start_at : start_at + size])
            return reply.cut is None and headers.get("connection", "").lower() != "close"
        finally:
            with self.lock:
                self.working -= 1
