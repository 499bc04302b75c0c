"""What dvdcli needs of the host, whatever the drivers: directories, the kernel, the configuration."""

from __future__ import annotations

import os
import platform
import stat
import sys

from dvdcli import config, config_check
from dvdcli.clock import Deadline
from dvdcli.errors import DvdcliError
from dvdcli.findings import Finding, failed, from_error, ok, warning
from dvdcli.linux import aside, files, mountinfo, paths, places
from dvdcli.providers import readiness

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_FEW_BYTES = 64 << 20
_FEW_INODES = 1000


def findings(seconds: float) -> Iterator[Finding]:
    """Return what is found, each with its subject. A file system has *seconds* to answer."""
    for subject, look in (
        ("configuration", _configuration), ("state", lambda: _state(Deadline(seconds))),
        ("mounts", lambda: _mounts(Deadline(seconds))), ("user", _user), ("python", _python), ("kernel", _kernel),
        ("namespace", _namespace), ("syslog", _syslog),
    ):  # fmt: skip
        try:
            for finding in look():
                yield finding.of(subject)
        except (DvdcliError, OSError) as error:
            yield from_error(error).of(subject)


def _configuration() -> Iterator[Finding]:
    errors, warnings = config_check.problems()
    for error in errors:
        yield from_error(error)
    for text in warnings:
        yield warning(text)
    if not errors:
        path = config.config_file()
        there = os.path.exists(path)
        yield ok(path if there else f"there is no {path}: the defaults count" if path else "there is none")


def _state(deadline: Deadline) -> Iterator[Finding]:
    path = config.state_directory()
    files.await_answer(path, deadline)
    there = places.existing(path)
    if not os.path.isdir(there):
        yield failed(f"{there} is no directory", "move it out of the way")
        return
    bad = list(_ownership(path, there))
    yield from bad
    yield from _disk(path, there)
    yield from _space(there)
    if not bad:
        yield ok(f"{path} is ours alone" if there == path else f"{path} is made by the first mount")


def _ownership(path: str, there: str) -> Iterator[Finding]:
    if there == path:
        status = os.stat(path)
        if status.st_uid != os.geteuid() or status.st_mode & 0o022:
            yield failed(f"{path}: others can write it", "chown it to who runs dvdcli and chmod go-w it")
        elif status.st_mode & 0o044:
            yield warning(f"{path}: others can read it (mode {stat.S_IMODE(status.st_mode):o})", f"chmod go-r {path}")
    elif not os.access(there, os.W_OK | os.X_OK):
        yield failed(f"{path} is not there, and {there} cannot be written", "run dvdcli as root, as an agent does")
    risk = paths.replaceable(path if there == path else f"{there}/x")
    if risk:
        yield failed(f"{path} is below {risk}, where others can write", f"chown root {risk} and chmod go-w it")
    work_dir = places.work_directory(there)
    if work_dir:
        yield failed(f"{path} is in {work_dir}, a Mesos agent's work directory", "set DVDCLI_STATE_DIR to another")


def _disk(path: str, there: str) -> Iterator[Finding]:
    kind = places.file_system(there)
    if places.is_network(kind):
        yield failed(f"{path} is on {kind}, which other hosts share", "set DVDCLI_STATE_DIR to a directory on a disk")
    elif kind in places.MEMORY:
        yield warning(f"{path} is on {kind}: a reboot forgets what is attached", "set DVDCLI_STATE_DIR to a disk")
    elif kind == "overlay":
        yield warning(f"{path} is on overlay: it goes with its container", "keep it in a volume of the container")
    else:
        yield ok(f"{path} is on {kind or 'a file system that the mount table does not name'}")


def _space(there: str) -> Iterator[Finding]:
    told = os.statvfs(there)
    free, inodes = told.f_bavail * told.f_frsize, told.f_favail
    if told.f_flag & os.ST_RDONLY:
        yield failed(f"{there} is on a file system that is read-only", "see why: dmesg")
    if not free or (told.f_files and not inodes):
        yield failed(f"{there}: there are no {'inodes' if free else 'blocks'} left", "make room: no mount can begin")
    elif free < _FEW_BYTES or (told.f_files and inodes < _FEW_INODES):
        yield warning(f"{there}: {free >> 20} MiB and {inodes} inodes are left", "make room")
    else:
        yield ok(f"{free >> 20} MiB{f' and {inodes} inodes' if told.f_files else ''} are left")


def _mounts(deadline: Deadline) -> Iterator[Finding]:
    path = config.mounts_directory()
    aside.ask(path, deadline)
    if os.path.isdir(path) and os.stat(path).st_mode & 0o022:
        yield failed(f"{path}: others can write it", f"chmod go-w {path}")
    yield from readiness.directory(path, deadline)


def _user() -> Iterator[Finding]:
    if os.geteuid() == 0:
        yield ok("root")
    else:
        yield warning(f"uid {os.geteuid()}: only root can mount", "run it as the agent does")


def _python() -> Iterator[Finding]:
    yield ok(f"{platform.python_version()}, {sys.executable}")


def _kernel() -> Iterator[Finding]:
    release = os.uname().release
    bad = 0
    try:
        os.close(os.memfd_create("dvdcli", os.MFD_CLOEXEC))
    except OSError as error:
        bad += 1
        yield failed(f"{release} has no memfd_create: {error.strerror}", "it needs Linux 3.17")
    try:
        os.close(os.pidfd_open(os.getpid()))
    except OSError as error:
        bad += 1
        yield warning(f"{release} has no pidfd_open: {error.strerror}", "Linux 5.3 has it; programs are polled instead")
    if not os.path.exists("/proc/self/ns/mnt"):
        bad += 1
        yield failed(f"{release} shows no mount namespaces in /proc", "mount /proc; containers need namespaces")
    if not mountinfo.read():
        bad += 1
        yield failed("/proc/self/mountinfo shows no mount", "mount /proc")
    if not bad:
        yield ok(f"Linux {release} has all that is used")


def _namespace() -> Iterator[Finding]:
    own, first = mountinfo.namespace(), mountinfo.namespace(1)
    if not first:
        return  # not ours to see
    if own != first:
        hint = "mounts made here are not seen by the agent, if that runs elsewhere: nsenter -t 1 -m"
        yield warning(f"this is the mount namespace {own}, and process 1 is in {first}", hint)
    else:
        yield ok("the mount namespace of process 1")


def _syslog() -> Iterator[Finding]:
    if os.path.exists("/dev/log"):
        yield ok("/dev/log")
    else:
        yield warning("there is no /dev/log: what is warned of is lost", "run journald or a syslog daemon")
