"""An exchange through requests ends in time and at a bearable size, whatever the other side does."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from dvdcli import bounded
from dvdcli.errors import TryAgainError
from tests.doubles.acceptor import Acceptor, in_threads

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
MOVED = b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\n"


@contextlib.contextmanager
def server(answer: Callable[[socket.socket], None]) -> Iterator[str]:
    """Serve each connection with *answer*; yield the URL."""
    listener = socket.create_server(("127.0.0.1", 0))
    connections = []

    def serve(connection: socket.socket) -> None:
        connections.append(connection)
        with contextlib.suppress(OSError):
            connection.recv(65536)
            answer(connection)
            connection.shutdown(socket.SHUT_RDWR)

    acceptor = Acceptor(listener, in_threads(serve))
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
    finally:
        acceptor.stop()
        for connection in connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)  # an answer without an end has one


def endless(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while True:
            connection.sendall(bytes(1 << 20))


def test_a_whole_answer() -> None:
    with server(lambda connection: connection.sendall(HEAD + b"Content-Length: 2\r\n\r\n{}")) as url:
        answer = bounded.exchange(bounded.session(), 10, "GET", url, timeout=(5, 10))
    assert (answer.status_code, answer.body) == (200, b"{}")


@pytest.mark.parametrize("head", [b"", HEAD + b"Content-Length: 1000000\r\n\r\n"], ids=["head", "body"])
def test_a_byte_now_and_then_does_not_outlast_the_call(head: bytes) -> None:
    def drip(connection: socket.socket) -> None:
        connection.sendall(head)
        with contextlib.suppress(OSError):
            for byte in (HEAD + b"\r\n") * 1000:
                connection.sendall(bytes([byte]))
                time.sleep(0.02)  # so that no read waits for long, and all together last longer than the call

    with server(drip) as url:
        session = bounded.session()
        assert bounded.exchange(session, 0.5, "GET", url, timeout=(5, 0.5)) is None
        session.close()


@pytest.mark.parametrize("head", [HEAD, MOVED], ids=["answer", "redirection"])
def test_an_answer_without_an_end_is_not_taken_whole(head: bytes) -> None:
    def answer(connection: socket.socket) -> None:
        connection.sendall(head + b"\r\n")
        endless(connection)

    with server(answer) as url, pytest.raises(bounded.TooLongError):
        bounded.exchange(bounded.session(), 60, "GET", url, timeout=(5, 60))


def test_a_redirection_is_not_followed_and_is_told() -> None:
    with server(lambda connection: connection.sendall(MOVED + b"Content-Length: 2\r\n\r\n{}")) as url:
        assert bounded.exchange(bounded.session(), 10, "GET", url, timeout=(5, 10)).status_code == 302


def test_without_a_thread_nothing_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    def send(*_: object, **__: object) -> None:
        pytest.fail("it was sent")

    session = bounded.session()
    session.request = send
    monkeypatch.setattr(threading.Thread, "start", start)
    with pytest.raises(TryAgainError, match=r"a request cannot be sent: the system gives no more threads.*pids\.max"):
        bounded.exchange(session, 10, "GET", "http://127.0.0.1:1/", timeout=(5, 10))
