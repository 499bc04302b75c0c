"""What describes a Docker volume plugin: a .spec or a .json file; the first byte says which."""

from __future__ import annotations

from dvdcli.clock import Deadline
from dvdcli.http import request
from dvdcli.providers import plugins
from dvdcli.providers.docker import DockerProvider
from tests.fuzz.watch import World, check_text, refused, target, unwatched

SEEDS = [
    b"sunix:///run/plug.sock\n", b"stcp://127.0.0.1:1", b"shttps://localhost:2376", b"shttp://[::1]:80/",
    b'j{"Name": "plug", "Addr": "https://127.0.0.1:1", "TLSConfig": {"InsecureSkipVerify": true, "CAFile": "/ca.pem",'
    b' "CertFile": "/cert.pem", "KeyFile": "/key.pem"}}',
    b'j{"Addr": "unix:///run/plug.sock"}', b'j{"addr": "tcp://127.0.0.1:1", "tlsconfig": {"insecureskipverify": false}}',
]  # fmt: skip


@target
def one_input(world: World, data: bytes) -> None:
    ending = "json" if data[:1] == b"j" else "spec"
    with unwatched():
        (world.specs / f"plug.{ending}").write_bytes(data[1:])
    with refused():
        found = plugins.find("plug", Deadline(1.0))
        assert found is not None
        for key, value in found.items():
            if key != "insecure":
                check_text(value)
        address = DockerProvider("plug", found, Deadline(1.0), 0.0)._address
        with refused():
            request(address, "POST", "/Plugin.Activate", b"{}", Deadline(0.2))
