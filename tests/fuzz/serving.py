"""A server that answers with bytes: one connection after the other, each with the next of what was put in."""

from __future__ import annotations

import functools
import socket
import threading
from collections import deque
from pathlib import Path

from tests.fuzz import watch


class Server:
    """Listens on the unix socket *path*, or on a TCP port of its own where that is None."""

    def __init__(self, path: Path | None) -> None:
        self.replies: deque[bytes] = deque()
        self.requests: list[bytes] = []
        if path is not None:
            self._listener = socket.socket(socket.AF_UNIX)
            self._listener.bind(str(path))
        else:
            self._listener = socket.socket()
            self._listener.bind(("127.0.0.1", 0))
        self.address = self._listener.getsockname()
        self._listener.listen(16)
        threading.Thread(target=self._serve, daemon=True).start()

    def answer(self, replies: list[bytes]) -> None:
        """Answer the next requests with *replies*, and those after them with nothing."""
        self.replies = deque(replies)
        self.requests = []

    def _serve(self) -> None:
        while True:
            connection, _ = self._listener.accept()
            with connection:
                try:
                    self._answer(connection)
                except OSError:
                    continue

    def _answer(self, connection: socket.socket) -> None:
        connection.settimeout(5.0)
        request = b""
        while b"\r\n\r\n" not in request:
            data = connection.recv(65536)
            if not data:
                return
            request += data
        head, _, body = request.partition(b"\r\n\r\n")
        length = next((int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0)
        while len(body) < length:
            data = connection.recv(65536)
            if not data:
                return
            body += data
        self.requests.append(head + b"\r\n\r\n" + body)
        connection.sendall(self.replies.popleft() if self.replies else b"")
        connection.shutdown(socket.SHUT_WR)


@functools.cache
def server(path: Path | None) -> Server:
    """Return this process's server at *path*, or on TCP, which is started when it is first asked for."""
    with watch.unwatched():
        started = Server(path)
    if path is None:
        watch.servers.add(started.address)
    return started


def http(body: bytes, status: str = "200 OK", chunked: bool = False) -> bytes:
    """Return *body* as an HTTP reply."""
    if chunked:
        return b"HTTP/1.1 %s\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (status.encode(), len(body), body)
    head = b"HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    return head % (status.encode(), len(body)) + body
