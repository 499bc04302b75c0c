"""What accepts connections ends before its descriptor does, and what does not is seen."""

from __future__ import annotations

import os
import socket
import subprocess
import threading
from pathlib import Path

from tests.doubles.acceptor import Acceptor, in_threads, waiting_at_closed
from tests.waiting import wait_until

ROUNDS = 20


def listening(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()
    return listener


def names() -> set[str]:
    return {thread.name for thread in threading.enumerate()}


def test_nothing_that_was_stopped_takes_what_comes_to_the_next_at_its_descriptor(tmp_path: Path) -> None:
    taken: list[str] = []
    first = listening(tmp_path / "first")
    number = first.fileno()
    acceptor = Acceptor(first, lambda connection: taken.append("by the first"))
    before = names()
    acceptor.stop()
    acceptor.stop()
    assert len(before - names()) == 1, "its thread has ended"
    with listening(tmp_path / "second") as second:
        assert second.fileno() == number
        second.settimeout(60)
        for _ in range(ROUNDS):
            # What ends while another is started is told to whichever thread lets it: one that waits begins again.
            started = [subprocess.Popen(["true"]) for _ in range(10)]
            with socket.socket(socket.AF_UNIX) as caller:
                caller.connect(str(tmp_path / "second"))
                second.accept()[0].close()
            for process in started:
                process.wait()
    assert taken == []


def test_each_connection_is_served_beside_those_that_are_not_over(tmp_path: Path) -> None:
    def echo(connection: socket.socket) -> None:
        with connection:
            connection.sendall(connection.recv(1))

    acceptor = Acceptor(listening(tmp_path / "a"), in_threads(echo))
    with socket.socket(socket.AF_UNIX) as slow, socket.socket(socket.AF_UNIX) as quick:
        for caller in (slow, quick):
            caller.connect(str(tmp_path / "a"))
        for caller in (quick, slow):
            caller.settimeout(60)
            caller.sendall(b"x")
            assert caller.recv(1) == b"x"
    acceptor.stop()


def test_who_waits_at_a_closed_descriptor_is_found() -> None:
    ours, theirs = socket.socketpair()
    number = ours.detach()
    thread = threading.Thread(target=os.read, args=(number, 1), name="forgotten", daemon=True)
    thread.start()
    wait_until(lambda: Path(f"/proc/self/task/{thread.native_id}/syscall").read_text().split()[0] == "0")
    assert waiting_at_closed() == []
    os.close(number)
    assert waiting_at_closed() == [f"forgotten in system call 0 at {number}"]
    theirs.close()
    thread.join(60)
    assert waiting_at_closed() == []
