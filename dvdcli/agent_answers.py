"""What a Mesos agent's answers say, read strictly: what is not as documented is no answer."""

from __future__ import annotations

from dvdcli import fastjson
from dvdcli.agent_http import AgentError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_COUNTED = ("slave/executors_registering", "slave/executors_running", "slave/executors_terminating")


def parsed(body: bytes, what: str, kind: type = dict) -> Any:
    """Return the JSON *kind* in *body*, *what*'s answer. Raises AgentError."""
    try:
        value = fastjson.loads(body)
        if b"\\u" in body:
            _check_text(value)
    except ValueError as error:
        raise AgentError(f"{what} answered what is no JSON", "see what listens there") from error
    if not isinstance(value, kind):
        raise AgentError(f"{what} answered with no JSON {kind.__name__}", "see what listens there")
    return value


def _check_text(value: Any) -> None:
    """Raise ValueError where a string in *value* is no text: half of a pair of surrogates, which nothing can write."""
    if isinstance(value, str):
        value.encode()
    elif isinstance(value, (dict, list)):
        for each in (*value, *value.values()) if isinstance(value, dict) else value:
            _check_text(each)


def identity_in(state: dict[str, Any], what: str) -> tuple[str, str, float]:
    """Return which agent in which life the *state* is of. Raises AgentError where it does not know that itself."""
    agent, pid, start, version = (state.get(key) for key in ("id", "pid", "start_time", "version"))
    if "slaves" in state or not isinstance(pid, str) or not pid.startswith("slave"):
        raise AgentError(f"{what} is no agent's state", "give the URL of the agent on this host, not the master's")
    if not isinstance(agent, str) or not isinstance(version, str) or not _is_number(start, 1e15):
        raise AgentError(f"{what} does not say which agent this is", "see what listens there")
    if not agent:
        raise AgentError(f"{what}: the agent is recovering, or has not registered yet", "try again later")
    assert start is not None
    return agent, pid, float(start)


def _is_number(value: Any, most: float) -> bool:
    """Return whether *value* is a number from 0 on and below *most*; true and false are none."""
    return type(value) in (int, float) and 0 <= value < most


def of_executors(state: dict[str, Any], url: str) -> set[tuple[str, ...]]:
    """Return the containers of the executors in *state*; one that terminates still is one. Raises AgentError."""
    wrong = AgentError(f"{url}: its state is not what an agent's is", "see what listens there")
    frameworks = state.get("frameworks")
    completed = state.get("completed_frameworks", [])
    if not isinstance(frameworks, list) or not isinstance(completed, list):
        raise wrong
    found: set[tuple[str, ...]] = set()
    for framework in frameworks + completed:
        executors = framework.get("executors") if isinstance(framework, dict) else None
        if not isinstance(executors, list):
            raise wrong
        for executor in executors:
            container = executor.get("container") if isinstance(executor, dict) else None
            if not isinstance(container, str) or not container:
                raise wrong
            found.add((container,))
    return found


def ids_in(entry: dict[str, Any], url: str) -> set[tuple[str, ...]]:
    """Return the container's id in *entry*: its own, and its status's, which can have parents. Raises AgentError."""
    found = {_path(entry.get("container_id"), url)}
    status = entry.get("container_status", entry.get("status"))
    if isinstance(status, dict) and "container_id" in status:
        found.add(_path(status["container_id"], url))
    return found


def count_of_executors(metrics: dict[str, Any], what: str) -> int:
    """Return how many executors the *metrics* count that have not ended. Raises AgentError."""
    counts = [metrics.get(name) for name in _COUNTED]
    if not all(_is_number(count, 1e9) for count in counts):
        raise AgentError(f"{what} does not say how many executors there are", "see what listens there")
    return int(sum(count for count in counts if count is not None))


def listed_in_api(answer: dict[str, Any], what: str) -> list[dict[str, Any]]:
    """Return the containers in the *answer* to GET_CONTAINERS. Raises AgentError."""
    if answer.get("type") != "GET_CONTAINERS":
        raise AgentError(f"{what} did not answer GET_CONTAINERS", "see what listens there")
    listed = answer.get("get_containers", {})  # no field at all is how it says that there are none
    return listed_in_containers(listed.get("containers", []) if isinstance(listed, dict) else None, what)


def listed_in_containers(entries: Any, what: str) -> list[dict[str, Any]]:
    """Return the containers in /containers' answer. Raises AgentError."""
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise AgentError(f"{what} answered with no list of containers", "see what listens there")
    return entries


def _path(container_id: Any, url: str) -> tuple[str, ...]:
    if isinstance(container_id, str):  # as /containers has it
        container_id = {"value": container_id}
    path: list[str] = []
    while container_id is not None or not path:
        value = container_id.get("value") if isinstance(container_id, dict) else None
        if not isinstance(value, str) or not value:
            raise AgentError(f"{url} lists a container without an id", "see what listens there")
        path.insert(0, value)
        container_id = container_id.get("parent")
    return tuple(path)


def release_of(version: str) -> tuple[int, int]:
    """Return the first two numbers of *version*. Raises AgentError."""
    major, _, rest = version.partition(".")
    minor = rest.partition(".")[0].partition("-")[0]
    if not all(part.isascii() and part.isdigit() and len(part) < 6 for part in (major, minor)):
        raise AgentError(f"the agent's version {version!a} is none", "see what listens there")
    release = int(major), int(minor)
    if release < (0, 23):
        raise AgentError(f"Mesos {version} is older than any that dvdcli knows", "0.23.0 is the first with modules")
    return release
