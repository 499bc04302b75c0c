"""/proc/net/unix, in which paths that anybody chose stand."""

from __future__ import annotations

from dvdcli.linux import unixsockets
from tests.fuzz.watch import World, target

SEEDS = [
    b"""Num       RefCount Protocol Flags    Type St Inode Path
0000000000000000: 00000002 00000000 00010000 0001 01 23456 /run/plug.sock
0000000000000000: 00000003 00000000 00000000 0001 03 23457 /run/plug.sock
0000000000000000: 00000003 00000000 00000000 0001 03 23458
0000000000000000: 00000002 00000000 00010000 0001 01 23459 @abstract name
""",
    b"0000000000000000: 00000002 00000000 00010000 0001 01 23456 /run/plug.sock\n",
]


@target
def one_input(world: World, data: bytes) -> None:
    text = data.decode("utf-8", "surrogateescape")
    told = unixsockets.is_idle_in(text.split("\n"), "/run/plug.sock")
    assert told in (True, False)
    if told:
        assert "/run/plug.sock" in text
