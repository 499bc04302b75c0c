"""The agent's double: which endpoints its release has, who may ask, and what can go wrong on the way."""

from __future__ import annotations

import base64
import json
import ssl
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from tests.doubles.mesos_agent.model import Container, Model
from tests.doubles.web import Reply, Request, Web

Way = Callable[[Reply], Reply]


class MesosAgent:
    """An agent of *release*. `run` and `end` change what lives; `faults` has what no client of ours may do.

    *principal* and *secret* are asked for where they are given. `later` has one entry a request: what becomes of its
    answer, None for nothing.
    """

    def __init__(
        self, release: str = "1.11.0", principal: str = "", secret: str = "", context: ssl.SSLContext | None = None,
    ) -> None:  # fmt: skip
        self.model = Model(release)
        self.principal, self.secret = principal, secret
        self.faults: list[str] = []
        self.asked: list[str] = []
        self.always: dict[str, Way] = {}  # by path
        self.later: deque[Way | None] = deque()
        self.before: Callable[[str], None] = lambda path: None  # called with each path, before it is answered
        self.without: set[str] = set()  # endpoints that this one has not, whatever its release has
        self.web = Web(self._answer, self.faults, name="Mesos", context=context)
        self.url = self.web.url
        self.model.pid = f"slave(1)@127.0.0.1:{self.web.port}"

    def run(self, *path: str, **how: Any) -> Container:
        container = Container(path, **how)
        self.model.containers.append(container)
        return container

    def end(self, *path: str) -> None:
        """Let the container end, and what is nested in it."""
        gone = [each for each in self.model.containers if each.path[: len(path)] == path]
        self.model.completed += [each.path[0] for each in gone if each.is_executor]
        self.model.containers = [each for each in self.model.containers if each not in gone]

    def restart(self, new_id: bool = False) -> None:
        self.model.start_time += 60.5
        if new_id:
            self.model.id = "5a2b-S1"

    def close(self) -> None:
        self.web.stop()

    def fail(self, *statuses: int) -> None:
        """Answer the next requests with *statuses*."""
        self.later.extend(lambda reply, status=status: Reply(status, b"") for status in statuses)  # type: ignore[misc]

    def _answer(self, request: Request) -> Reply:
        path = request.path.partition("?")[0]
        self.asked.append(path)
        self.before(path)
        reply = self._reply(request, path)
        way = self.later.popleft() if self.later else None
        way = way or self.always.get(path)
        return way(reply) if way else reply

    def _reply(self, request: Request, path: str) -> Reply:
        number = self.model.number
        endpoints: dict[str, Callable[[Request], Reply]] = {"/metrics/snapshot": self._metrics}
        if number >= (0, 25):
            endpoints["/state"] = self._state
        if number < (1, 8):
            endpoints["/state.json"] = self._state
        if number >= (0, 26):
            endpoints["/flags"] = self._flags
        if number >= (1, 0):
            endpoints.update({"/containers": self._containers, "/api/v1": self._api})
        if path not in endpoints or path in self.without:
            return Reply(404, b"")
        if number >= (1, 0) and not self._is_known(request):
            return Reply(401, b"", {"WWW-Authenticate": 'Basic realm="mesos-agent-readonly"'})
        if path != "/api/v1" and request.method != "GET":
            self.faults.append(f"{request.method} {path}")
        return endpoints[path](request)

    def _is_known(self, request: Request) -> bool:
        if not self.principal:
            return True
        wanted = base64.b64encode(f"{self.principal}:{self.secret}".encode()).decode()
        return request.headers.get("authorization") == f"Basic {wanted}"

    def _state(self, request: Request) -> Reply:
        if self.model.recovering and self.model.number >= (0, 28):
            return Reply(503, b"Agent has not finished recovery")
        return _json(self.model.state())

    def _metrics(self, request: Request) -> Reply:
        return _json(self.model.metrics())

    def _flags(self, request: Request) -> Reply:
        return _json({"flags": self.model.flags}) if self.model.shows_flags else Reply(403, b"")

    def _containers(self, request: Request) -> Reply:
        return _json(self.model.listed())  # while it recovers too: then it knows of none

    def _api(self, request: Request) -> Reply:
        if self.model.recovering:
            return Reply(503, b"Agent has not finished recovery")
        if request.method != "POST":
            return Reply(405, b"")
        if request.headers.get("content-type") != "application/json":
            return Reply(415, b"")
        if request.headers.get("accept") not in ("application/json", "*/*"):
            return Reply(406, b"")
        call = json.loads(request.body)
        if call.get("type") != "GET_CONTAINERS":
            self.faults.append(f"call {call}")
            return Reply(400, b"")
        knobs = call.get("get_containers", {})
        return _json(self.model.get_containers(knobs.get("show_nested", False), knobs.get("show_standalone", False)))


def _json(body: Any) -> Reply:
    return Reply(200, json.dumps(body).encode(), {"Content-Type": "application/json"})


def cut(size: int) -> Way:
    """Send so many bytes of the body, then close."""
    return lambda reply: Reply(reply.status, reply.body, reply.headers, cut=size)


def drip(gap: float = 0.2) -> Way:
    """Send a byte at a time."""
    return lambda reply: Reply(reply.status, reply.body, reply.headers, piece=1, gap=gap)


def say(body: bytes, status: int = 200, headers: Iterable[tuple[str, str]] = ()) -> Way:
    return lambda reply: Reply(status, body, dict(headers))


def edit(change: Callable[[Any], Any]) -> Way:
    """Answer with what *change* makes of the JSON, where there is any."""
    return lambda reply: _json(change(json.loads(reply.body))) if reply.status == 200 else reply
