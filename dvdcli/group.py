"""A container's volumes, as a group: mounted all at once or not at all, held by the container's full id."""

from __future__ import annotations

import os
import sys

from dvdcli import containers, lifecycle, mesos, output, parallel, placing, targets
from dvdcli.clock import Deadline
from dvdcli.config import system_part
from dvdcli.containers import Container, Given
from dvdcli.errors import DvdcliError, NewerError, TryAgainError, from_os_error
from dvdcli.linux import aside
from dvdcli.linux.paths import resolve
from dvdcli.state import State, boot_id
from dvdcli.work import UNDO_TIMEOUT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from dvdcli.mesos import Prepare, Request
    from dvdcli.targets import Target
    from dvdcli.volume import Volume
    from dvdcli.wanted import Wanted

RECOVER_TIMEOUT = 30.0  # seconds; the agent registers with its master after that


def mount(request: Prepare, asked: list[Wanted], announce: Callable[[dict[str, Any] | None], None]) -> None:
    """Mount all of *asked* for the container of *request*, or nothing, and tell the launch message to *announce*.

    Raises DvdcliError and OSError; then no hold that this call took is left.
    """
    deadline = Deadline(request.timeout or lifecycle.MOUNT_TIMEOUT)
    State(deadline)  # asked for the first time, it has all of this call's time to answer
    places = targets.plan(request, asked, deadline)
    who = containers.hold_of(request.agent, request.id)
    container = Container(containers.directory_name(who))
    lock = container.acquire(deadline)
    try:
        container.check()
        before = container.load()
        given = before or Given(who, request.agent, boot_id())
        new = [each.volume for each in asked if before is None or each.volume not in before.volumes]
        given.volumes += new
        container.save(given)
        try:
            paths = _mount_all(asked, places, who, deadline)
            message = _launch(request, asked, places, paths)
            container.check()
            announce(message)
        except BaseException:
            _give_back(container, given, new)
            raise
    finally:
        lock.release()


def _mount_all(asked: list[Wanted], places: Sequence[Target | None], who: str, deadline: Deadline) -> list[str]:
    """Return the path of each of *asked*, mounted. Raises one error for all that failed."""
    paths = [""] * len(asked)

    def one(index: int) -> None:
        each, place = asked[index], places[index]

        def heard(path: str) -> None:
            paths[index] = _source(path, deadline)

        def dress(path: str) -> None:
            if place is not None and each.dressed:
                place.dress(_source(path, deadline), deadline)

        lifecycle.mount(each.volume, each.options, each.explicit, who, deadline, heard, dress)

    failures = parallel.each(one, range(len(asked)))
    failed = [(each.volume, error) for each, error in zip(asked, failures, strict=True) if error is not None]
    if failed:
        raise _one_error(failed)
    return paths


def _source(path: str, deadline: Deadline) -> str:
    """Return the mounted directory *path* by the name without links that root alone can make another one's.

    Raises DvdcliError where a task can have chosen what is there, in a volume say; TryAgainError at the *deadline*.
    """
    if aside.is_link(path, deadline):
        raise DvdcliError(f"{path} is a symbolic link", "the driver has to name the mounted directory")
    try:
        told = aside.look(lambda: "\n".join(resolve(path, ends_in_link=False)), os.path.dirname(path), deadline)
    except OSError as error:
        hint = "see that the driver mounts in the host's mount namespace"
        raise DvdcliError(f"{path}, where the driver says that it is: {error.strerror}", hint) from error
    real, risk = told.split("\n")
    part = system_part(real)
    if part or risk:
        why = f"the system's own {part}" if part else f"behind {risk}, where others can put something else"
        raise DvdcliError(f"{path} is {why}", "the driver has to mount elsewhere")
    return real


def _one_error(failed: list[tuple[Volume, BaseException]]) -> BaseException:
    errors = [from_os_error(error) if isinstance(error, OSError) else error for _, error in failed]
    strange = next((error for error in errors if not isinstance(error, DvdcliError)), None)
    if strange is not None:
        return strange
    texts = (f"{volume}: {error}" for (volume, _), error in zip(failed, errors, strict=True))
    joined = DvdcliError("; ".join(texts))
    joined.code = next(error.code for error in errors if isinstance(error, DvdcliError))
    joined.__cause__ = errors[0]
    return joined


def _launch(
    request: Prepare, asked: list[Wanted], places: Sequence[Target | None], paths: list[str]
) -> dict[str, Any] | None:
    plain, binds = placing.split(asked, places, paths)
    return mesos.launch(request.dialect, plain, binds, os.path.abspath(sys.argv[0]))


def _give_back(container: Container, given: Given, new: list[Volume]) -> None:
    """After a failed mount: let go of what this call took; never raises, what fails is left for recover."""
    try:
        state = State()
        taken = [volume for volume in new if not state.slot(volume).is_newer()]
        pending = release(given.who, taken, Deadline(UNDO_TIMEOUT))
        if pending:
            output.warn(f"left for recover: {'; '.join(pending)}")
        if len(new) == len(given.volumes):
            container.erase()
        else:
            given.volumes = [volume for volume in given.volumes if volume not in new]
            container.save(given)
    except (DvdcliError, OSError) as error:
        output.warn(f"the container's volumes are left for recover: {error}")


def release(who: str, volumes: Sequence[Volume], deadline: Deadline) -> list[str]:
    """Drop the holds of *who* on *volumes*, and unmount those that nobody else holds, all at once.

    Return a line for each unmount that has to be finished later. Raises OSError where a hold cannot be dropped, and
    NewerError where it must not be.
    """
    state = State()
    pending = []

    def one(volume: Volume) -> None:
        try:
            lifecycle.unmount(volume, who, deadline, ask=False)
        except NewerError:
            raise
        except (DvdcliError, OSError) as error:
            pending.append(f"{volume}: {error}")
            slot = state.slot(volume)
            if slot.holds.has(who):
                slot.let_go(who)

    for failure in parallel.each(one, volumes):
        if failure is not None:
            raise failure
    return pending


def unmount(request: Request) -> list[str]:
    """Drop the holds of the container of *request*; one that was given nothing is fine.

    Return what could not be unmounted yet, one line each: recover does it later. Raises DvdcliError and OSError where
    a hold is left.
    """
    deadline = Deadline(lifecycle.UNMOUNT_TIMEOUT)
    State(deadline)  # asked for the first time, it has all of this call's time to answer
    pending = []
    for who in (
        containers.hold_of(request.agent, request.id),
        containers.adopted_hold(request.agent, request.id[-1]),
    ):
        container = Container(containers.directory_name(who))
        if not container.exists() and not containers.are_lost():
            continue
        lock = container.acquire(deadline, cancel=True)
        try:
            given = container.load()
            volumes = given.volumes if given else containers.volumes_held(container)
            pending += release(who, volumes, deadline)
            container.erase()
        finally:
            lock.release()
    return pending


def recover(request: Request) -> list[str]:
    """Drop the holds of every container of this agent that lives no more, then finish what is pending.

    Return what could not be done, one line each. Never raises for one volume's or container's sake.
    """
    from dvdcli import recovery

    deadline = Deadline(RECOVER_TIMEOUT)
    State(deadline)  # asked for the first time, it has all of this call's time to answer
    live = set()
    for ids in request.ids("containers") + request.ids("orphans"):
        live.add(containers.hold_of(request.agent, ids))
        live.add(containers.adopted_hold(request.agent, ids[-1]))
    pending = []
    for who, container in containers.of_agent(request.agent):
        if who in live:
            continue
        try:
            reason = drop_dead(who, container)
        except (DvdcliError, OSError) as error:
            reason = str(from_os_error(error) if isinstance(error, OSError) else error)
        if reason:
            pending.append(f"container {who.partition(':')[2]}: {reason}")
    try:
        for outcome in recovery.recover(deadline):
            if outcome.code or outcome.action in (recovery.BUSY, recovery.WAITING):
                pending.append(f"{outcome.volume}: {outcome.action}: {outcome.detail}")
    except (DvdcliError, OSError) as error:
        pending.append(f"recover: {from_os_error(error) if isinstance(error, OSError) else error}")
    return pending


def drop_dead(who: str, container: Container, still: Callable[[], bool] = lambda: True) -> str:
    """Drop the holds of a dead container, and mark its volumes for recover; return why not, "" where it is done.

    A mount of it that is under way is told to undo itself. *still* says, under the lock, whether the container is
    what it was when it was found dead. Raises DvdcliError and OSError.
    """
    try:
        lock = container.acquire(Deadline(0.0), cancel=True)
    except TryAgainError:
        return "its mount is under way, and was told to undo itself"
    try:
        if not still():
            if container.load() is None and not containers.volumes_held(container):
                container.erase()  # another recover has just done so
            return "another call is at work on it"
        given = container.load()
        state = State()
        newer = []
        for volume in given.volumes if given else containers.volumes_held(container):
            slot = state.slot(volume)
            if slot.is_newer():
                newer.append(f"{volume} is on record by a newer dvdcli")
            elif slot.exists():
                slot.let_go(who)
        if not newer:
            container.erase()
    finally:
        lock.release()
    return "; ".join(newer)
