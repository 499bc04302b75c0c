"""A Docker volume plugin that answers at once: `python3 -I plugin.py [--delay=MS] SOCKET…`, until its stdin ends.

Every volume exists. With a delay each Mount takes that long, however many there are at once. One process, raw sockets,
no HTTP library: its own time must not hide that of what is measured.
"""

import json
import os
import select
import socket
import sys
import time

LONGEST = 65536


def answer(method: str, name: str, mounted: set[str], root: str) -> dict[str, object]:
    """Return the plugin's answer to one call; *mounted* is what it remembers."""
    path = f"{root}/{name}"
    if method == "Activate":
        return {"Implements": ["VolumeDriver"]}
    if method == "Get":
        return {"Volume": {"Name": name, "Mountpoint": path if name in mounted else ""}, "Err": ""}
    if method == "Path":
        return {"Mountpoint": path if name in mounted else "", "Err": ""}
    if method == "Mount":
        mounted.add(name)
        return {"Mountpoint": path, "Err": ""}
    if method == "Unmount":
        mounted.discard(name)
        return {"Err": ""}
    return {"Err": f"the benchmark's plugin does not expect {method}"}


def exchange(data: bytes, mounted: set[str], root: str) -> tuple[bytes, bool, bool] | None:
    """Return the reply to the request *data*, whether the connection stays open, and whether it was a Mount.

    None while more is to come.
    """
    head, blank, body = data.partition(b"\r\n\r\n")
    if not blank:
        return None
    start, *lines = head.decode("latin-1").split("\r\n")
    headers = {key.lower(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    if len(body) < int(headers.get("content-length", "0")):
        return None
    method = start.split(" ")[1].rpartition(".")[2]
    name = json.loads(body or b"{}").get("Name", "") if body.strip() else ""
    reply = json.dumps(answer(method, name, mounted, root)).encode()
    header = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(reply)
    return header + reply, headers.get("connection", "").lower() != "close", method == "Mount"


def serve(listeners: dict[int, socket.socket], root: str, delay: float) -> None:
    """Answer until stdin ends; a Mount after *delay* seconds."""
    poll = select.epoll()
    for number in (0, *listeners):
        poll.register(number, select.EPOLLIN)
    open_ones: dict[int, socket.socket] = {}
    received: dict[int, bytes] = {}
    mounted: set[str] = set()
    late: list[tuple[float, socket.socket, bytes]] = []  # in the order of their times
    while True:
        while late and late[0][0] <= time.monotonic():
            _, connection, data = late.pop(0)
            connection.sendall(data)
        for number, _ in poll.poll(max(0.0, late[0][0] - time.monotonic()) if late else None):
            if number == 0:
                return
            if number in listeners:
                connection = listeners[number].accept()[0]
                open_ones[connection.fileno()], received[connection.fileno()] = connection, b""
                poll.register(connection.fileno(), select.EPOLLIN)
                continue
            connection, stays = open_ones[number], False
            try:
                data = connection.recv(LONGEST)
                received[number] += data
                reply = exchange(received[number], mounted, root)
                stays = bool(data)
                if data and reply is not None:
                    received[number] = b""
                    stays = reply[1]
                    if reply[2] and delay:
                        late.append((time.monotonic() + delay, connection, reply[0]))
                        stays = True
                    else:
                        connection.sendall(reply[0])
            except OSError:
                stays = False
            if not stays:
                poll.unregister(number)
                open_ones.pop(number).close()
                del received[number]


def main() -> None:
    """Listen on every path in argv, say so on stdout, and serve."""
    listeners = {}
    paths = [word for word in sys.argv[1:] if not word.startswith("--")]
    delay = sum(float(word.partition("=")[2]) for word in sys.argv[1:] if word.startswith("--delay=")) / 1000
    for path in paths:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(path)
        listener.listen(64)
        listeners[listener.fileno()] = listener
    os.write(1, b"ready\n")
    try:
        serve(listeners, "/mnt", delay)  # a directory that there is
    finally:
        for path in paths:
            os.unlink(path)


if __name__ == "__main__":
    main()
