"""The Docker Engine's answers about a managed plugin, as bytes on a real socket."""

from __future__ import annotations

import os

from dvdcli.clock import Deadline
from dvdcli.providers import plugins
from dvdcli.providers.docker import DockerProvider
from tests.fuzz.serving import http, server
from tests.fuzz.watch import NEXT, World, check_text, parts, refused, target

_PLUGIN = (
    b'{"Id": "abc123", "Enabled": true, "Name": "plug:latest", "Config": {"Interface": {"Socket": "plug.sock"},'
    b' "PropagatedMount": "/var/lib/volumes"}}'
)
SEEDS = [
    NEXT.join([http(_PLUGIN), http(b'{"DockerRootDir": "/var/lib/docker"}')]),
    NEXT.join([http(_PLUGIN.replace(b"true", b"false"))]),
    NEXT.join([http(b'{"message": "plugin not found"}', "404 Not Found")]),
]


@target
def one_input(world: World, data: bytes) -> None:
    peer = server(world.engine)
    peer.answer(parts(data))
    with refused():
        found = plugins.find("plug", Deadline(2.0))
        if found is None:
            return
        for value in found.values():
            check_text(value)
        assert found["address"].startswith(f"unix://{world.sockets}/")
        assert ".." not in found["address"].split("/")
        provider = DockerProvider("plug", found, Deadline(0.2), 0.0)
        for path in ("/mnt/v", "/var/lib/volumes/v", "/"):
            where = provider._on_host(path)
            check_text(where)
            assert where == "" or where == os.path.normpath(where)
        with refused():
            provider.get("v")
