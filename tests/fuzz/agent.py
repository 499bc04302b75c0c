"""The answers of a Mesos agent, one part each, in the order in which they are asked for; the first is its state."""

from __future__ import annotations

import json
from typing import Any

from dvdcli.agent import Agent
from dvdcli.agent_settings import Settings
from dvdcli.checks.agent import compare
from dvdcli.clock import Deadline
from dvdcli.containers import hold_of
from dvdcli.errors import visible
from dvdcli.findings import Finding
from tests.fuzz.watch import NEXT, World, check_text, parts, refused, target

_EXECUTOR = {"executor_id": "e", "container": "c1", "tasks": []}


def _state(version: str, **more: Any) -> bytes:
    return json.dumps({
        "id": "S0", "pid": "slave(1)@127.0.0.1:5051", "start_time": 1438201343.41, "version": version,
        "frameworks": [{"id": "F", "executors": [_EXECUTOR]}], "completed_frameworks": [],
        "flags": {"isolation": "filesystem/linux,docker/volume", "launcher": "linux", "work_dir": "/var/lib/mesos",
                  "executor_registration_timeout": "1mins"}, **more,
    }).encode()  # fmt: skip


_METRICS = json.dumps({
    "slave/executors_registering": 0.0, "slave/executors_running": 1.0, "slave/executors_terminating": 0.0,
}).encode()  # fmt: skip
_ENTRIES = [
    {"executor_id": {"value": "e"}, "container_id": {"value": "c1"}},
    {"container_id": {"value": "n", "parent": {"value": "c1"}},
     "container_status": {"container_id": {"value": "n", "parent": {"value": "c1"}}}},
]  # fmt: skip
_API = json.dumps({"type": "GET_CONTAINERS", "get_containers": {"containers": _ENTRIES}}).encode()
_LIST = json.dumps([{"executor_id": "e", "container_id": "c1", "status": {"container_id": {"value": "c1"}}}]).encode()
SEEDS = [
    NEXT.join([_state("0.23.0"), _state("0.23.0")]), NEXT.join([_state("1.11.0"), _METRICS, _API, _state("1.11.0")]),
    NEXT.join([_state("1.0.1"), _METRICS, b"404", _LIST, _state("1.0.1")]),
    NEXT.join([_state("1.4.0", flags=None), b'{"flags": {"launcher": "posix"}}', _METRICS, _API, _state("1.4.0")]),
]


class _Canned:
    """Stands for the connection: a part that is three digits is an answer of that status."""

    def __init__(self, answers: list[bytes]) -> None:
        self._answers = iter(answers)

    def ask(self, path: str, body: object = None) -> tuple[int, bytes]:
        answer = next(self._answers, b"404")
        return (int(answer), b"") if len(answer) == 3 and answer.isdigit() else (200, answer)


@target
def one_input(world: World, data: bytes) -> None:
    answers = parts(data)
    with refused():
        agent = Agent(Settings(), Deadline(0.1))
        agent._connection = _Canned(answers)
        living = agent.containers()
        assert all(path and all(isinstance(each, str) and each for each in path) for path in living.ids)
        for path in living.ids:
            assert living.has(hold_of("", list(path)))
        assert living.has("container:c1/x") in (True, False)
    with refused():
        agent = Agent(Settings(), Deadline(0.1))
        agent._connection = _Canned(answers)
        for finding in compare(agent.version(), agent.flags()):
            assert isinstance(finding, Finding)
            check_text(visible(f"{finding.text} {finding.hint}"))
