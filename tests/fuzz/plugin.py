"""The replies of a Docker volume plugin, as bytes on a real socket. The first part says what is asked of it."""

from __future__ import annotations

import os

from dvdcli import config, fastjson, tables
from dvdcli.clock import Deadline
from dvdcli.errors import DvdcliError
from dvdcli.providers.base import Info
from dvdcli.providers.docker import DockerProvider
from dvdcli.volume import Volume
from tests.fuzz.serving import http, server
from tests.fuzz.watch import NEXT, World, check_text, refused, target

_ON = http(b'{"Implements": ["VolumeDriver"]}')
_GET = http(b'{"Volume": {"Name": "v", "Mountpoint": "/mnt/v", "Status": {}}, "Err": ""}')
_DONE = http(b'{"Err": ""}', chunked=True)
_LIST = http(b'{"Volumes": [{"Name": "v", "Mountpoint": "/mnt/v"}, {"Name": "w"}], "Err": ""}')
_ABSENT = http(b'{"Err": "no such volume"}', "500 Internal Server Error")
SEEDS = [
    NEXT.join(each)
    for each in (
        [b"get", _ON, _GET], [b"list", _ON, _LIST], [b"path", _ON, _GET, http(b'{"Mountpoint": "/mnt/v", "Err": ""}')],
        [b"mount", _ON, _GET, http(b'{"Mountpoint": "/mnt/v", "Err": ""}')], [b"unmount", _ON, _GET, _DONE],
        [b"unmount", _ON, _GET, http(b'{"Err": "volume not mounted"}'), _ABSENT], [b"create", _ON, _DONE],
        [b"remove", _ON, _GET, _DONE], [b"remove", _ON, _ABSENT],
        [b"scope", _ON, http(b'{"Capabilities": {"Scope": "global"}}')], [b"get", _ON, http(b"404 page", "404 Not Found")],
        [b"get", b"HTTP/1.1 100 Continue\r\n\r\n" + _ON, b"HTTP/1.0 200 OK\r\n\r\n{}"],
    )
]  # fmt: skip


@target
def one_input(world: World, data: bytes) -> None:
    path = world.root / "plugin.sock"
    peer = server(path)
    what, *replies = data.split(NEXT)
    peer.answer(replies)
    provider = DockerProvider("plug", {"address": f"unix://{path}"}, Deadline(2.0), 0.0)
    try:
        told = _ask(provider, what)
    except DvdcliError as error:
        with refused():
            raise
        told = str(error)
    fastjson.dumps(told)


def _ask(provider: DockerProvider, what: bytes) -> object:
    volume = Volume("plug", "v")
    if what == b"list":
        infos = provider.list()
        rows = [{"driver": "plug", "name": info.name, "mountpoint": info.mountpoint} for info in infos]
        check_text(tables.plain(["A"], [[row["name"]] for row in rows]))
        for info in infos:
            _check(info)
        return rows
    if what == b"path":
        path = provider.path("v")
        _check(Info("v", path))
        return path
    if what == b"mount":
        mounted = provider.mount(volume, {}, {}, lambda handle: None)
        assert mounted.path
        _check(Info("v", mounted.path))
        return mounted.handle
    if what == b"unmount":
        assert provider.unmount(volume, {}, lambda handle: None) in (True, False)
    elif what == b"create":
        provider.create("v", {"size": "1"})
    elif what == b"remove":
        provider.remove("v")
    elif what == b"scope":
        assert provider.scope() in ("local", "global")
    else:
        info = provider.get("v")
        if info is not None:
            _check(info)
            return [info.name, info.mountpoint]
    return None


def _check(info: Info) -> None:
    check_text(info.name)
    assert info.name
    path = info.mountpoint
    check_text(path)
    assert path == "" or (path.startswith("/") and path != "/" and path == os.path.normpath(path)), path
    assert not path or not (config.system_part(path) or config.own_part(path)), path
