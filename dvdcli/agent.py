"""Which containers live, asked of a Mesos agent over HTTP, of any release from 0.23 to 1.11.

Source: docs/monitoring.md, docs/operator-http-api.md and the agent's endpoint documentation of those releases. What
each has:

    /state.json, from 0.25 on /state   version, id, start time, pid; the frameworks' executors, each with its container
    POST /api/v1, from 1.0 on          GET_CONTAINERS: from 1.5 on nested and standalone containers too
    /containers, from 1.0 on           the executors' containers
    /metrics/snapshot                  how many executors there are, whatever the one who asks may see of them

An answer that may leave out a container is no answer: from 1.0 on an agent shows each principal only what that one may
see, an agent of 0.23 that recovers shows nothing yet, and a master, or another host's agent, knows none of ours.
"""

from __future__ import annotations

from dvdcli import clock
from dvdcli.agent_answers import (
    count_of_executors,
    identity_in,
    ids_in,
    listed_in_api,
    listed_in_containers,
    of_executors,
    parsed,
    release_of,
)
from dvdcli.agent_http import AgentError, Connection, check_is_of_this_host
from dvdcli.containers import ANY_PARENT
from dvdcli.names import encode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from dvdcli.agent_settings import Settings
    from dvdcli.clock import Deadline

_TRIES = 3  # an executor can end between two questions
_PAUSE = 0.2  # seconds

_GET_CONTAINERS = {
    "type": "GET_CONTAINERS", "get_containers": {"show_nested": True, "show_standalone": True},
}  # fmt: skip


class Living:
    """The containers that live: *ids*, each from the root to the leaf, as far as the agent tells.

    *whole* says that no nested container is left out. A nested one lives while its root does; what a checkpoint named
    by its leaf alone lives while that can be a nested one.
    """

    __slots__ = ("ids", "parts", "whole")

    def __init__(self, ids: Iterable[tuple[str, ...]], whole: bool = True) -> None:
        self.ids = frozenset(ids)
        self.whole = whole
        self.parts = frozenset(encode(part) for path in self.ids for part in path)

    def has(self, who: str) -> bool:
        """Return whether the container with the hold *who* lives. When in doubt it does."""
        path = who.partition(":")[2].split("/")
        if path[0] == ANY_PARENT and self.ids and not self.whole:
            return True
        return any(part in self.parts for part in path)


class _IncompleteError(AgentError):
    """The answer leaves out executors that the agent has."""


class Agent:
    """The agent that *settings* name, for questions until the *deadline*.

    All its answers are of one agent in one life: one with another id or start time than the first is an error. Raises
    UsageError for settings that cannot be used.
    """

    def __init__(self, settings: Settings, deadline: Deadline) -> None:
        self.url = settings.url
        self._deadline = deadline
        self._connection = Connection(settings, deadline)
        self._state: dict[str, Any] = {}
        self._state_path = "state"
        self._flags: dict[str, str] | None = None

    def version(self) -> str:
        """Return the agent's release, such as "1.11.0". Raises AgentError, and DvdcliError for unusable settings."""
        return str(self._known_state()["version"])

    def flags(self) -> dict[str, str]:
        """Return the agent's flags by name, without dashes; none where it does not show them. Raises AgentError."""
        if self._flags is None:
            flags = self._known_state().get("flags")
            if flags is None:  # from 1.0 on only to those who may view them
                status, body = self._connection.ask("flags")
                flags = parsed(body, f"{self.url}/flags").get("flags") if status == 200 else {}
            if not isinstance(flags, dict):
                raise AgentError(f"{self.url}: its flags are no object", "see what listens there")
            self._flags = {key: value for key, value in flags.items() if isinstance(value, str)}
        return self._flags

    def containers(self) -> Living:
        """Return which containers live, asked now.

        Raises AgentError where that cannot be known for sure, and DvdcliError for settings that cannot be used.
        """
        release = release_of(self.version())
        for left in range(_TRIES - 1, -1, -1):
            try:
                return self._containers(release)
            except _IncompleteError:
                if not left or self._deadline.left() <= _PAUSE:
                    raise
                clock.sleep(_PAUSE)
        raise AssertionError

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _containers(self, release: tuple[int, int]) -> Living:
        ids: set[tuple[str, ...]] = set()
        whole = release < (1, 1)  # there was no nesting
        if release >= (1, 0):
            where = f"{self.url}/metrics/snapshot"
            expected = count_of_executors(parsed(self._get("metrics/snapshot"), where), where)
            entries, whole = self._listed(release)
            seen = 0
            for entry in entries:
                ids |= ids_in(entry, self.url)
                seen += bool(entry.get("executor_id"))
            if seen < expected:
                raise _IncompleteError(
                    f"{self.url} shows {seen} of {expected} executors' containers",
                    "see that the principal may view all containers",
                )
        # Last: an agent that started anew while it was asked is found out here.
        return Living(ids | of_executors(self._ask_state(), self.url), whole)

    def _listed(self, release: tuple[int, int]) -> tuple[list[dict[str, Any]], bool]:
        """Return the containers that the agent of 1.0 or later lists, and whether nested ones are among them."""
        shows_all = release >= (1, 5)
        status, body = self._connection.ask("api/v1", _GET_CONTAINERS)
        if status == 200:
            return listed_in_api(parsed(body, f"{self.url}/api/v1"), f"{self.url}/api/v1"), shows_all
        if status in (403, 404, 405) and not shows_all:  # later /containers would leave out the standalone ones
            where = f"{self.url}/containers"
            return listed_in_containers(parsed(self._get("containers"), where, list), where), False
        raise self._refused(f"{self.url}/api/v1", status)

    def _known_state(self) -> dict[str, Any]:
        return self._state or self._ask_state()

    def _ask_state(self) -> dict[str, Any]:
        status, body = self._connection.ask(self._state_path)
        if status == 404 and not self._state:
            self._state_path = "state.json"  # until 0.24
            status, body = self._connection.ask(self._state_path)
        where = f"{self.url}/{self._state_path}"
        if status != 200:
            raise self._refused(where, status)
        state: dict[str, Any] = parsed(body, where)
        identity = identity_in(state, where)
        if not self._state:
            check_is_of_this_host(self.url, identity[1])
            self._state = state
        elif identity != identity_in(self._state, where):
            raise AgentError(f"{self.url}: the agent started anew while it was asked", "try again later")
        return state

    def _get(self, path: str) -> bytes:
        status, body = self._connection.ask(path)
        if status != 200:
            raise self._refused(f"{self.url}/{path}", status)
        return body

    def _refused(self, where: str, status: int) -> AgentError:
        hint = "see what listens there"
        if status in (401, 403):
            hint = "see principal and secret_file in [agent], and what that principal may view"
        elif status == 503:
            hint = "it may be recovering: try again later"
        elif 300 <= status < 400:
            hint = "no redirection is followed: give the agent's own URL"
        return AgentError(f"{where} answered with status {status}", hint)
