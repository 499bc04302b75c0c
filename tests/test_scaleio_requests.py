"""Every request that dvdcli sends to a gateway, as it is on the wire, against the facts of both generations of the API.

Numbers and booleans are strings in bodies; a GET has no body; what has one says that it is JSON.
"""

from __future__ import annotations

import base64
import json

import pytest

from tests.scaleio import Grid

pytestmark = pytest.mark.root

JSON = "application/json"
ACTION = "/api/instances/Volume::VOLUME/action/"

# What is sent, {} for no body. VOLUME, POOL, … stand for ids that the double gives.
LOOK_UP = [("POST", "/api/types/Volume/instances/action/queryIdByKey", {"name": "v"})]
FOUND = [*LOOK_UP, ("GET", "/api/instances/Volume::VOLUME", {})]
VERSION = [("GET", "/api/version", {})]
POOL = [("GET", "/api/types/ProtectionDomain/instances", {}), ("GET", "/api/types/StoragePool/instances", {})]
SDC = [("GET", "/api/types/System/instances", {}), ("GET", "/api/instances/System::SYSTEM/relationships/Sdc", {})]
ADD = [("POST", f"{ACTION}addMappedSdc", {"guid": "GUID", "allowMultipleMappings": "FALSE"})]
NEW = {"name": "v", "volumeSizeInKb": "8388608", "storagePoolId": "POOL", "volumeType": "ThinProvisioned"}
CREATE = ("POST", "/api/types/Volume/instances", NEW)
COPIED = {"snapshotDefs": [{"volumeId": "VOLUME", "snapshotName": "w"}]}
SNAPSHOT = ("POST", "/api/instances/System::SYSTEM/action/snapshotVolumes", COPIED)

# A call of dvdcli: what it sends between its login and its logout.
CALLS = {
    "create v size=8": [*LOOK_UP, *VERSION, *POOL, CREATE, FOUND[-1]],
    "mount v": [*FOUND, *ADD],
    "mount v --hold=second": [],
    "unmount v --hold=second": [],
    "unmount v": [("POST", f"{ACTION}removeMappedSdc", {"guid": "GUID"})],
    "resize v size=16 --yes": [*FOUND, *VERSION, ("POST", f"{ACTION}setVolumeSize", {"sizeInGB": "16"})],
    "create w snapshotId=v": [
        ("POST", LOOK_UP[0][1], {"name": "w"}), *VERSION, *FOUND, SDC[0], SNAPSHOT,
        ("GET", "/api/instances/Volume::COPY", {}),
    ],
    "remove v": [*FOUND, *FOUND, ("POST", f"{ACTION}removeVolume", {"removeMode": "ONLY_ME"})],
    "get v": [*LOOK_UP],
    "list": [("GET", "/api/types/Volume/instances", {})],
}  # fmt: skip
MAPPED_ELSEWHERE = {
    "mount v": [*FOUND, *SDC, ("POST", f"{ACTION}removeMappedSdc", {"sdcId": "OTHER"}), *ADD],
    "unmount v": [("POST", f"{ACTION}removeMappedSdc", {"guid": "GUID"})],
}
NOT_FOUND = 3


class Wire:
    """A machine, its gateway, and what is sent between them, with the ids that the double gave as words."""

    def __init__(self, grid: Grid) -> None:
        self.grid = grid
        self.gateway = grid.gateway
        self.machine = grid.machine()
        gateway = self.gateway
        self.words = {gateway.system: "SYSTEM", gateway.pool.id: "POOL", self.machine.host.guid: "GUID"}

    def run(self, call: str, code: int = 0) -> None:
        verb, *rest = call.split()
        words = [f"--volumeopts={word}" if "=" in word and not word.startswith("--") else word for word in rest[1:]]
        name = [f"--volumename={rest[0]}"] if rest else []
        self.gateway.forget()
        done = self.machine.run(verb, "--volumedriver=scaleio", *name, *words)
        assert done.code == code, done
        for volume in self.gateway.volumes.values():
            self.words.setdefault(volume.id, {"v": "VOLUME", "w": "COPY"}[volume.name])

    def plain(self, text: str) -> str:
        for id, word in self.words.items():
            text = text.replace(id, word)
        return text

    def sent(self) -> list[tuple[str, str, object, dict[str, str]]]:
        """Return method, path, body and the headers that count, of each request of the last call."""
        rows = []
        for request in self.gateway.requests:
            headers = {key: request.headers[key] for key in ("authorization", "accept", "content-type")
                       if key in request.headers}  # fmt: skip
            body = json.loads(self.plain(request.body.decode())) if request.body else {}
            rows.append((request.method, self.plain(request.path), body, headers))
        return rows

    def session(self, requests: list[tuple[str, str, object]]) -> list[tuple[str, str, object, dict[str, str]]]:
        """Return the *requests* in a session of this gateway's way: the login, the token in each, the logout."""
        if not requests:
            return []
        password = basic(self.gateway.user, self.gateway.password)
        login: list[tuple[str, str, object, dict[str, str]]]
        login = [("GET", "/api/login", {}, {"authorization": password, "accept": JSON})]
        text, token = list(self.gateway.tokens.known.items())[-1]
        if self.gateway.login == "new":
            credentials = {"username": self.gateway.user, "password": self.gateway.password}
            login += [("POST", "/rest/auth/login", credentials, {"accept": JSON, "content-type": JSON})]
            logout = ("POST", "/rest/auth/logout", {"refresh_token": token.refresh})
            shown = f"Bearer {text}"
        else:
            logout = ("GET", "/api/logout", {})
            shown = basic("", text)
        kind = {"GET": {}, "POST": {"content-type": JSON}}
        return login + [
            (method, path, body, {"authorization": shown, "accept": JSON, **kind[method]})
            for method, path, body in [*requests, logout]
        ]


def basic(user: str, secret: str) -> str:
    return f"Basic {base64.b64encode(f'{user}:{secret}'.encode()).decode()}"


@pytest.fixture(params=["2.0", "3.6", "4.5 old", "4.5 new"])
def wire(request, command):
    generation, _, login = request.param.partition(" ")
    grid = Grid(command, generation, login=login or "old")
    yield Wire(grid)
    grid.close()


def test_what_each_call_sends(wire):
    for call, requests in CALLS.items():
        wire.run(call, NOT_FOUND if call == "get v" else 0)
        assert wire.sent() == wire.session(requests), call
    assert wire.gateway.tokens.open() == []


def test_what_is_sent_to_take_a_volume_from_another_host(wire):
    other = wire.grid.machine("b")
    wire.words[other.host.sdc] = "OTHER"
    wire.words[wire.gateway.volume("v").id] = "VOLUME"
    assert other.scaleio("mount").code == 0
    wire.machine.configure(preempt="stopped")
    other.host.die()
    for call, requests in MAPPED_ELSEWHERE.items():
        wire.run(call)
        assert wire.sent() == wire.session(requests), call
