"""The same answers as bytes on a TCP connection, through requests."""

from __future__ import annotations

from dvdcli.agent_http import AgentError, Connection
from dvdcli.agent_settings import Settings
from dvdcli.clock import Deadline
from tests.fuzz.serving import http, server
from tests.fuzz.watch import World, check_error, target

SEEDS = [
    http(b"{}"), http(b"{}", chunked=True), http(b"", "401 Unauthorized"), b"HTTP/1.0 200 OK\r\n\r\n{}",
    b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nSet-Cookie: a=b\r\nContent-Length: 2\r\n\r\n{}",
    b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 22\r\n\r\n"
    b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\xab\xae\x05\x00C\xbf\xa6\xa3\x02\x00\x00\x00",
]


@target
def one_input(world: World, data: bytes) -> None:
    peer = server(None)
    peer.answer([data])
    settings = Settings(url=f"http://127.0.0.1:{peer.address[1]}")
    connection = Connection(settings, Deadline(2.0))
    try:
        status, body = connection.ask("state")
        assert isinstance(status, int)
        assert isinstance(body, bytes)
    except AgentError as error:
        check_error(error)
    finally:
        connection.close()
