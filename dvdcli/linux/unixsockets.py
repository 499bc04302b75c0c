"""Who is at the other end of a unix socket, and whether it is at work."""

from __future__ import annotations

import _socket

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
    listens = False
    try:
        with open("/proc/net/unix", encoding="utf-8", errors="surrogateescape", newline="\n") as table:
            for line in table:
                fields = line.rstrip("\n").split(None, 7)  # columns are padded
                if len(fields) == 8 and fields[7] == path:
                    if not int(fields[3], 16) & _SO_ACCEPTCON:
                        return False
                    listens = True
    except (OSError, ValueError):
        return False
    return listens
