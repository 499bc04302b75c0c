"""Who is at the other end of a unix socket, and whether it is at work."""

from __future__ import annotations

import _socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

_SO_PEERCRED = 17
_SO_ACCEPTCON = 0x10000


def listener_pid(path: str) -> int:
    """Return the process that listens on the unix socket at *path*; 0 where there is none to see."""
    connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    try:
        connection.settimeout(1.0)
        connection.connect(path)
        credentials = connection.getsockopt(_socket.SOL_SOCKET, _SO_PEERCRED, 12)  # pid, uid, gid
    except OSError:
        return 0
    finally:
        connection.close()
    return int.from_bytes(credentials[:4], "little")


def is_idle(path: str) -> bool:
    """Return whether the server on the unix socket at *path* certainly works on no request, anybody's.

    A connection stands in /proc/net/unix from connect(2) until the server closes it, with the server's path, even if
    its client has died. A server in another network namespace is not seen there.
    """
    try:
        with open("/proc/net/unix", encoding="utf-8", errors="surrogateescape", newline="\n") as table:
            return is_idle_in(table, path)
    except OSError:
        return False


def is_idle_in(table: Iterable[str], path: str) -> bool:
    """Return is_idle() by the lines of *table*; False where one that counts cannot be read."""
    listens = False
    for line in table:
        fields = line.rstrip("\n").split(None, 7)  # columns are padded
        if len(fields) == 8 and fields[7] == path:
            try:
                flags = int(fields[3], 16)
            except ValueError:
                return False
            if not flags & _SO_ACCEPTCON:
                return False
            listens = True
    return listens
