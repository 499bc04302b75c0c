"""The bodies of a ScaleIO gateway's answers, after a status of three digits. The first part says what is asked."""

from __future__ import annotations

import json
from typing import Any

from dvdcli import fastjson
from dvdcli.clock import Deadline
from dvdcli.providers.scaleio.provider import ScaleIoProvider
from tests.fuzz.asking import hurried, questions
from tests.fuzz.watch import NEXT, World, refused, target

_TOKEN = b'200"YWRtaW46MTIzNDU2"'
_ID = b'200"0123456789abcdef"'


def _json(value: Any, status: int = 200) -> bytes:
    return str(status).encode() + json.dumps(value).encode()


_FREE = _json({
    "id": "0123456789abcdef", "name": "v", "sizeInKb": 16 << 20, "storagePoolId": "p", "mappedSdcInfo": None,
})  # fmt: skip
_MAPPED = _json({
    "id": "0123456789abcdef", "name": "v", "sizeInKb": "16777216", "storagePoolId": "p",
    "mappedSdcInfo": [{"sdcId": "s1", "sdcIp": "10.0.0.1", "sdcName": None}],
})  # fmt: skip
_SYSTEMS, _TWO = _json([{"id": "sys"}]), _json([{"id": "sys"}, {"id": "other"}])
_SDCS = _json([{"id": "s1", "sdcGuid": "AAAA-1", "mdmConnectionState": "Connected"}])
_GONE = _json({"message": "Could not find the volume", "httpStatusCode": 500, "errorCode": 79}, 500)
_VERSION, _POOLS = b'200"3.6"', _json([{"id": "p", "name": "pool", "protectionDomainId": "d"}])
_DOMAINS = _json([{"id": "d", "name": "domain", "systemId": "sys"}])
SEEDS = [
    NEXT.join(each)
    for each in (
        [b"get", _TOKEN, _ID, _FREE], [b"get", _TOKEN, _GONE], [b"get", b"401", _json({"access_token": "t", "refresh_token": "r"}),
         _ID, _FREE], [b"list", _TOKEN, _json([json.loads(_FREE[3:]), json.loads(_MAPPED[3:])])],
        [b"here", _TOKEN, _ID, _MAPPED, _SYSTEMS, _SDCS],
        [b"create", _TOKEN, _GONE, _VERSION, _DOMAINS, _POOLS, _json({"id": "0123456789abcdef"}), _FREE],
        [b"copy", _TOKEN, _GONE, _VERSION, _ID, _FREE, _SYSTEMS, _json({"volumeIdList": ["0123456789abcdef"]}), _FREE],
        [b"remove", _TOKEN, _ID, _FREE, b"200"], [b"resize", _TOKEN, _ID, _FREE, _VERSION, b"200"],
        [b"map", _TOKEN, _ID, _FREE, b"200"],
        [b"map", _TOKEN, _ID, _MAPPED, _TWO, _json({"protectionDomainId": "d"}), _json({"systemId": "sys"}), _SDCS],
        [b"unmap", _TOKEN, _json({"errorCode": 84}, 500)],
    )
]  # fmt: skip


class _Session:
    """Stands for requests' session: its answers are requests' own, made of the parts of the input."""

    def __init__(self, answers: list[bytes]) -> None:
        self._answers = iter(answers)

    def request(self, method: str, url: str, headers: dict[str, str], **_: Any) -> Any:
        import io

        import requests

        answer = next(self._answers, b"200")
        made = requests.Response()
        made.status_code = int(answer[:3]) if answer[:3].isdigit() else 200
        made.url, made.raw = url, io.BytesIO(answer[3:])
        url.encode("ascii")
        for header in headers.values():
            assert "\n" not in header.encode("latin-1").decode("latin-1")
        return made

    def close(self) -> None:
        return


class _Sdc:
    """This host's SDC, which is no program here."""

    def guid(self) -> str:
        return "AAAA-1"

    def rescan(self) -> None:
        return

    def confirms(self, device: object, volume_id: str) -> bool:
        return True


@target
def one_input(world: World, data: bytes) -> None:
    what, *answers = data.split(NEXT)
    (world.root / "password").write_text("secret\n")
    (world.root / "password").chmod(0o600)
    settings = {
        "endpoint": "https://127.0.0.1:1", "user": "admin", "password_file": str(world.root / "password"),
        "storage_pool": "pool", "protection_domain": "domain",
    }  # fmt: skip
    provider = ScaleIoProvider("scaleio", settings, Deadline(0.05), 0.0)
    provider._gateway._session = _Session(answers)
    provider._sdc = _Sdc()
    with hurried():
        with refused():
            fastjson.dumps(_ask(provider, what))
        provider.close()


def _ask(provider: ScaleIoProvider, what: bytes) -> object:
    def note(told: object) -> None:
        fastjson.dumps(told)

    def get() -> object:
        volume = provider.find("v")
        if volume is None:
            return None
        if what == b"map":
            provider.attach(volume, {}, {"id": volume.id}, note)
        return [volume.id, volume.size, volume.name, volume.mapped]

    usual = questions(provider, "8", "24")
    own = {
        b"copy": lambda: provider.create("v", {"snapshotId": "s"}),
        b"unmap": lambda: provider.detach({"id": "0123456789abcdef", "sdc": "AAAA-1"}, note),
    }
    return {**usual, **own}.get(what, get)()
