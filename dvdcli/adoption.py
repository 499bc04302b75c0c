"""Taking over what runs: the mounts that another isolator's checkpoints list become holds of their containers.

So an operator can change to our isolator without draining the node. What is adopted is first seen to be mounted.
"""

from __future__ import annotations

from dvdcli import checkpoints, clock, containers
from dvdcli.containers import Container, Given
from dvdcli.errors import DvdcliError, TryAgainError, from_os_error
from dvdcli.lifecycle import DEFAULT_HOLD, hold_name
from dvdcli.linux import mountinfo
from dvdcli.recovery import ADOPTED, BUSY, FAILED, SKIPPED, Outcome
from dvdcli.state import State, boot_id
from dvdcli.volume import MOUNTED, Volume
from dvdcli.work import Work

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from dvdcli.checkpoints import Listed
    from dvdcli.clock import Deadline

PATIENCE = 1.0


def adopt(listed: list[Listed], agent: str, deadline: Deadline, dry_run: bool) -> Iterator[Outcome]:
    """Take a hold for each container in *listed*, as one of *agent*; tell what became of each volume.

    The hold replaces that of plain mounts, which the isolator before ours took through dvdcli: nobody would drop it.
    """
    by_container: dict[str, list[Listed]] = {}
    for each in listed:
        by_container.setdefault(containers.adopted_hold(agent, each.container), []).append(each)
    for who, group in sorted(by_container.items()):
        yield from _adopt_container(who, agent, group, deadline, dry_run)


def _adopt_container(who: str, agent: str, group: list[Listed], deadline: Deadline, dry_run: bool) -> Iterator[Outcome]:
    wanted = []
    for each in group:
        try:
            wanted.append((Volume(each.driver, each.name), each))
        except DvdcliError as error:
            yield Outcome(f"{each.driver}/{each.name}", FAILED, f"{each.source}: {error}", error.code)
    if dry_run:
        for volume, each in wanted:
            yield _adopt_volume(volume, each, who, deadline, dry_run)
        return
    container = Container(containers.directory_name(who))
    lock = container.acquire(deadline)
    try:
        given = container.load() or Given(who, agent, boot_id())
        given.volumes += [volume for volume, _ in wanted if volume not in given.volumes]
        container.save(given)
        for volume, each in wanted:
            outcome = _adopt_volume(volume, each, who, deadline, dry_run)
            if outcome.action != ADOPTED and not State(deadline).slot(volume).holds.has(who):
                given.volumes.remove(volume)
            yield outcome
        if given.volumes:
            container.save(given)
        else:
            container.erase()
    finally:
        lock.release()


def _adopt_volume(volume: Volume, listed: Listed, who: str, deadline: Deadline, dry_run: bool) -> Outcome:
    slot = State(deadline).slot(volume)
    slot.look_only = dry_run
    try:
        if dry_run and not slot.exists():
            return _judge(Work(slot, deadline, PATIENCE), listed, who, dry_run)
        lock = slot.acquire(deadline.sooner(PATIENCE))
    except TryAgainError as error:
        return Outcome(str(volume), BUSY, str(error), error.code)
    except (DvdcliError, OSError) as error:
        return _failed(volume, error)
    try:
        return _judge(Work(slot, deadline, PATIENCE), listed, who, dry_run)
    except (DvdcliError, OSError) as error:
        return _failed(volume, error)
    finally:
        if not dry_run:
            slot.erase_if_empty()
        lock.release()


def _failed(volume: Volume, error: DvdcliError | OSError) -> Outcome:
    known = from_os_error(error) if isinstance(error, OSError) else error
    return Outcome(str(volume), FAILED, str(known), known.code)


def _believe(work: Work, path: str) -> None:
    """Take the volume, which has no record, for mounted at *path*: not on disk yet."""
    record = work.known()
    record.status, record.path, record.boot, record.within = MOUNTED, path, work.boot, mountinfo.within(path)
    record.mount_namespace, record.since = mountinfo.namespace(), clock.now()


def _judge(work: Work, listed: Listed, who: str, dry_run: bool) -> Outcome:
    name = str(work.volume)
    if work.record is not None:
        if not work.is_proven():
            return Outcome(name, SKIPPED, f"it is {work.record.status} on record, not mounted: recover deals with it")
    else:
        work.begin(listed.options)
        path = work.path_today()
        if not path:
            return Outcome(name, SKIPPED, "it is not mounted any more")
        _believe(work, path)
    if not dry_run:
        work.slot.marker.leave()
        work.take(who)  # first: a record can be rebuilt from its hold
        work.slot.save(work.known(), intent=True)
        work.slot.holds.drop(hold_name(DEFAULT_HOLD))
        work.slot.unmark_held(work.boot)
    return Outcome(name, ADOPTED, f"for container {listed.container}, listed in {listed.source}")


def listed_in(dvdi: str, docker_volume: str) -> tuple[list[Listed], list[str]]:
    """Return what the checkpoints at the two paths list, and warnings about what is unreadable in them.

    Raises DvdcliError for a checkpoint that makes no sense or cannot be read.
    """
    try:
        found, warnings = checkpoints.read_docker_volume(docker_volume)
        return checkpoints.read_dvdi(dvdi) + found, warnings
    except OSError as error:
        raise DvdcliError(f"{error.filename or 'a checkpoint'}: {error.strerror}", "see that checkpoint") from error
