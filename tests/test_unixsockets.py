"""Who listens on a unix socket, and whether it still works on a request whose client has gone."""

from __future__ import annotations

import os
import socket

import pytest

from dvdcli.linux import unixsockets
from tests.waiting import wait_until


@pytest.fixture
def server(home):
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(home.root / "a server.sock"))
    server.listen()
    yield server
    server.close()


def test_a_server_without_a_connection_is_idle(server):
    assert unixsockets.is_idle(server.getsockname())


@pytest.mark.parametrize("accepted", [True, False])
def test_a_server_is_at_work_while_it_has_a_connection_although_its_client_is_gone(server, accepted):
    client = socket.socket(socket.AF_UNIX)
    client.connect(server.getsockname())
    connection = server.accept()[0] if accepted else None
    assert not unixsockets.is_idle(server.getsockname())
    client.close()
    assert not unixsockets.is_idle(server.getsockname())
    if connection is None:
        connection = server.accept()[0]
    connection.close()
    wait_until(lambda: unixsockets.is_idle(server.getsockname()))


def test_a_server_that_is_not_to_be_seen_is_not_certainly_idle(server):
    path = server.getsockname()
    server.close()
    assert not unixsockets.is_idle(path)
    assert not unixsockets.is_idle("")


def test_who_listens(server, home):
    assert unixsockets.listener_pid(server.getsockname()) == os.getpid()
    assert unixsockets.listener_pid(str(home.root / "nobody.sock")) == 0
