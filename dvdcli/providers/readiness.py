"""Whether this host has what providers need of it: the programs for file systems, the modes of directories."""

from __future__ import annotations

import os

from dvdcli.errors import DvdcliError
from dvdcli.findings import Finding, failed, ok, warning
from dvdcli.linux import aside, paths, places, process
from dvdcli.linux.filesystems import FILE_SYSTEMS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from dvdcli.clock import Deadline

_NEEDED = ("mount", "umount", "blkid", "mkfs.ext4", "e2fsck", "resize2fs")


def missing(programs: tuple[str, ...]) -> list[DvdcliError]:
    """Return how each of *programs* that is not installed is missed."""
    errors = []
    for program in programs:
        try:
            process.find(program)
        except DvdcliError as error:
            errors.append(error)
    return errors


def programs(needed: tuple[str, ...] = _NEEDED) -> Iterator[Finding]:
    """Return what is missing of the programs that work on block devices, and which file systems can be made."""
    gone = missing(needed)
    for error in gone:
        yield failed(error.message, error.hint)
    made = [name for name, kind in FILE_SYSTEMS.items() if kind.make and not missing((kind.make[0],))]
    if not gone:
        others = sorted(name for name, kind in FILE_SYSTEMS.items() if kind.make and name not in made)
        yield ok(f"can make {', '.join(made)}{', and has no mkfs for ' + ', '.join(others) if others else ''}")


def root() -> Iterator[Finding]:
    """Return whether we can mount anything."""
    if os.geteuid() != 0:
        yield failed("only root can mount", "run dvdcli as root, as an agent does")


def directory(path: str, deadline: Deadline) -> Iterator[Finding]:
    """Return whether the directory *path*, of mounts or of volumes, is there or can be made, and what tasks find.

    Raises TryAgainError where its file system does not answer by the *deadline*.
    """
    aside.ask(path, deadline)
    there = places.existing(path)
    try:
        if not os.path.isdir(there):
            yield failed(f"{there} is no directory", "move it out of the way")
            return
        if not os.access(there, os.W_OK | os.X_OK):
            yield failed(f"{there} cannot be written", "run dvdcli as root, or name another directory")
            return
        risk = paths.replaceable(path if there == path else f"{there}/x")
        if there == path and os.stat(path).st_mode & 0o022 and not risk:
            risk = path
        work_dir = places.work_directory(there)
        closed = places.impassable(there)
    except OSError as error:
        yield failed(f"{path}: {error.strerror}", "see its modes")
        return
    if risk:
        yield failed(f"{path} is below {risk}, where others can write", f"chown root {risk} and chmod go-w it")
    if work_dir:
        yield failed(f"{path} is in {work_dir}, a Mesos agent's work directory", "the agent unmounts there: move it")
    if closed:
        hint = f"chmod o+x {closed}, if tasks that are not root use volumes without a container path"
        yield warning(f"{path} is behind {closed}, which only its owner can pass", hint)
    if not (risk or work_dir or closed):
        yield ok(f"{path}{'' if there == path else ' is made when it is needed'}")


def only_odd(findings: Iterator[Finding], what: str) -> Iterator[Finding]:
    """Return *findings* of which none is a failure: without it only *what* does not work."""
    for each in findings:
        yield warning(f"{what}: {each.text}", each.hint) if each.status == "failed" else each
