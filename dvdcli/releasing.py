"""`dvdcli recover --agent`: the holds of containers that the Mesos agent of this host knows no more are released.

A container is dead once it is missing in several answers in a row, all of one agent in one life, its hold is no young
one, and this host shows nothing of it either. An agent that cannot be asked releases nothing.
"""

from __future__ import annotations

import os

from dvdcli import clock, containers, group, traces
from dvdcli.containers import ANY_PARENT
from dvdcli.errors import DvdcliError, Exit, from_os_error
from dvdcli.recovery import BUSY, FAILED, RELEASED, SKIPPED, Outcome
from dvdcli.state import State, boot_id

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Protocol

    from dvdcli.agent import Living
    from dvdcli.containers import Container, Given
    from dvdcli.volume import Volume

    class Asked(Protocol):
        """Who knows what lives: a Mesos agent."""

        url: str

        def containers(self) -> Living:
            """Return which containers live, asked now. Raises DvdcliError."""

        def flags(self) -> Mapping[str, str]:
            """Return the agent's flags by name. Raises DvdcliError."""


ANSWERS = 3
PAUSE = 1.0  # seconds between two of them
_NONE = (0, 0)


class Suspect:
    """A container whose hold *who* is not young any more, as it was found: *stamp* changes when it is given more."""

    __slots__ = ("container", "stamp", "who")

    def __init__(self, who: str, container: Container) -> None:
        self.who = who
        self.container = container
        self.stamp = self._stamp_now()

    def is_unchanged(self) -> bool:
        """Return whether nobody has been at work on the container since."""
        return self.stamp == self._stamp_now()

    def is_gone(self) -> bool:
        """Return whether another call has released the container since."""
        return self.stamp != _NONE and self._stamp_now() == _NONE

    def _stamp_now(self) -> tuple[int, int]:
        try:
            status = os.stat(f"{self.container.directory}/container.json")
        except FileNotFoundError:
            return _NONE
        return status.st_ino, status.st_mtime_ns


def suspects(agent: str, grace: float) -> list[Suspect]:
    """Return the containers of *agent* whose holds are older than *grace* seconds, or of another boot.

    Takes no lock, changes nothing. Raises OSError, StateError.
    """
    found = []
    boot = boot_id()
    for who, container in containers.of_agent(agent):
        suspect = Suspect(who, container)
        if _is_old(who, container, boot, grace):
            found.append(suspect)
    return found


def _is_old(who: str, container: Container, boot: str, grace: float) -> bool:
    """Return whether the hold is no young one. Ages are of the clock that no one sets."""
    given = container.look()
    if given is not None:
        return given.boot != boot or _age(given.since) >= grace
    holds = [State().slot(volume).holds.valid(boot).get(who) for volume in containers.volumes_held(container)]
    return all(hold is None or _age(hold.data.get("since")) >= grace for hold in holds)


def _age(since: object) -> float:
    """Return how many seconds ago *since* was; one that cannot be read was now."""
    uptime = since.get("uptime") if isinstance(since, dict) else None
    return clock.now()["uptime"] - uptime if isinstance(uptime, (int, float)) else 0.0


def release(agent: Asked, name: str, grace: float, dry_run: bool, pause: float = PAUSE) -> Iterator[Outcome]:
    """Drop the holds of the dead containers of the agent called *name*; tell what became of each.

    Holds younger than *grace* seconds stay. *pause* is the time between two answers, in seconds. What the dropped
    holds leave unused is marked for recover. With *dry_run* nothing is changed.
    """
    found = suspects(name, grace)
    if not found:
        return
    try:
        dead = _dead(agent, found, pause)
        flags = agent.flags() if dead else {}
    except DvdcliError as error:
        yield Outcome(agent.url, FAILED, f"nothing is released: {error}", error.code, "agent")
        return
    for suspect in dead:
        if not suspect.is_gone():
            yield _release(suspect, flags, dry_run)


def _dead(agent: Asked, found: list[Suspect], pause: float) -> list[Suspect]:
    for left in range(ANSWERS - 1, -1, -1):
        living = agent.containers()
        found = [suspect for suspect in found if not living.has(suspect.who)]
        if not found:
            break
        if left:
            clock.sleep(pause)
    return found


def _release(suspect: Suspect, flags: Mapping[str, str], dry_run: bool) -> Outcome:
    path = suspect.who.partition(":")[2]
    try:
        trace = traces.of(path.removeprefix(f"{ANY_PARENT}/").partition("/")[0], flags)
        if trace:
            return Outcome(path, SKIPPED, f"its agent knows it no more, but {trace}", Exit.DONE, "container")
        if not suspect.is_unchanged():
            return Outcome(path, SKIPPED, "another call is at work on it", Exit.DONE, "container")
        held = _volumes(suspect.container, suspect.container.look())
        detail = "; ".join([f"dead for {ANSWERS} answers", *([", ".join(map(str, held))] if held else [])])
        if not dry_run:
            reason = group.drop_dead(suspect.who, suspect.container, suspect.is_unchanged)
            if reason:
                return Outcome(path, BUSY, reason, Exit.DONE, "container")
        return Outcome(path, RELEASED, detail, Exit.DONE, "container")
    except (DvdcliError, OSError) as error:
        known = from_os_error(error) if isinstance(error, OSError) else error
        return Outcome(path, FAILED, str(known), known.code, "container")


def _volumes(container: Container, given: Given | None) -> list[Volume]:
    return given.volumes if given else containers.volumes_held(container)
