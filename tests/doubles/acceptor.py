"""What accepts connections in a test's own process, and whether something still waits at a descriptor that is closed.

Who waits in a system call at a descriptor that another thread closes goes on waiting. SIGCHLD can meet that thread:
subprocess has all signals blocked in its own while it starts something. Then the kernel begins the call again, by
number, at whatever has that number by then: it would take a connection of another test.
"""

from __future__ import annotations

import os
import platform
import socket
import threading
from collections.abc import Callable

# read, recvfrom, accept, accept4: what waits at the descriptor that is its first argument
WAITING = {"x86_64": {0, 45, 43, 288}, "aarch64": {63, 207, 202, 242}}


class Acceptor:
    """Call *take* in a thread of our own with each connection that is made to *listener*, until `stop`."""

    def __init__(self, listener: socket.socket, take: Callable[[socket.socket], object]) -> None:
        self._listener = listener
        self._take = take
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Listen no more. The thread ends first, then its descriptor."""
        if self._listener.fileno() >= 0:
            self._listener.shutdown(socket.SHUT_RDWR)
            self._thread.join(60)
            assert not self._thread.is_alive(), "what was accepted is never over"
            self._listener.close()

    def _run(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._take(connection)


def in_threads(serve: Callable[[socket.socket], object]) -> Callable[[socket.socket], object]:
    """Return what calls *serve* with each connection in a thread of its own."""
    return lambda connection: threading.Thread(target=serve, args=(connection,), daemon=True).start()


def waiting_at_closed() -> list[str]:
    """Return the names of the process's other threads that wait at a descriptor which nobody has open any more.

    A thread can be among them for a moment in which it goes on, and closes its own.
    """
    found = []
    for thread in set(threading.enumerate()) - {threading.current_thread()}:
        try:
            with open(f"/proc/self/task/{thread.native_id}/syscall", encoding="ascii") as file:
                number, *arguments = file.read().split()
        except OSError:
            continue  # it has ended, or we may not look
        if number.isdecimal() and int(number) in WAITING.get(platform.machine(), ()):
            descriptor = int(arguments[0], 16)
            if not os.path.lexists(f"/proc/self/fd/{descriptor}"):
                found.append(f"{thread.name} in system call {number} at {descriptor}")
    return found
