"""What a Mesos agent is set to, against what dvdcli and its isolator need. Its flags are asked of the agent itself.

Source: the agent's flags and isolators in the releases 0.23 to 1.11 of Apache Mesos.
"""

from __future__ import annotations

import os
import re

from dvdcli import agent_settings, config, lifecycle
from dvdcli.agent import Agent
from dvdcli.agent_answers import release_of
from dvdcli.clock import Deadline
from dvdcli.config import Config
from dvdcli.errors import DvdcliError, TryAgainError
from dvdcli.findings import OK, Finding, attempt, failed, from_error, ok, warning
from dvdcli.linux import aside
from dvdcli.linux.paths import is_within

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

STOCK = "docker/volume"
OURS = ("org_dvdcli_mesos_VolumeIsolator", "com_emccode_mesos_DockerVolumeDriverIsolator")
_LINUX = "filesystem/linux"
_STOCK_KILLS = 120.0  # seconds: a mount always, an unmount before 1.3; 10 minutes since
_MOUNT_FLAG = "executor_registration_timeout"
_PATIENCE = 2.0  # seconds that a file system may take to answer
_UNITS = {
    "ns": 1e-9, "us": 1e-6, "ms": 1e-3, "secs": 1.0, "mins": 60.0, "hrs": 3600.0, "days": 86400.0, "weeks": 604800.0,
}  # fmt: skip


def findings(url: str, seconds: float) -> list[Finding]:
    """Return what is found of the agent at *url*, "" for the configuration's, which has *seconds* to answer."""
    found = []
    try:
        agent = Agent(agent_settings.settings(Config(), url=url or None), Deadline(seconds))
        try:
            answer = attempt(lambda: f"Mesos {agent.version()} at {agent.url}")
            found.append(answer)
            if answer.status == OK:
                found += compare(agent.version(), agent.flags())
        finally:
            agent.close()
    except (DvdcliError, OSError) as error:
        found.append(from_error(error))
    return [finding.of("agent") for finding in found]


def compare(version: str, flags: Mapping[str, str]) -> Iterator[Finding]:
    """Return how the *flags* of an agent of Mesos *version* suit us. Raises AgentError for a version that is none."""
    if not flags:
        yield warning("the agent does not show its flags", "give the principal in [agent] the right to view them")
        return
    release = release_of(version)
    yield from _isolation(release, [name.strip() for name in flags.get("isolation", "").split(",")])
    yield from _launcher(release, flags.get("launcher", ""))
    yield from _registration(flags.get(_MOUNT_FLAG, ""))
    yield from _work_dir(flags.get("work_dir", ""))


def _isolation(release: tuple[int, int], names: list[str]) -> Iterator[Finding]:
    ours = next((name for name in OURS if name in names), "")
    if not ours and STOCK not in names:
        yield failed(
            f"its isolation ({','.join(names)}) has no isolator for volumes",
            f"add {OURS[0]}{f', or {_LINUX},{STOCK}' if release >= (1, 0) else ''} to --isolation",
        )
        return
    yield ok(f"volumes are {ours or STOCK}'s")
    if ours and STOCK in names:
        yield warning(
            f"both {ours} and {STOCK} are in its isolation",
            f"leave {STOCK} out, if our isolator has the parameter docker_volumes",
        )
    if STOCK in names:
        yield from _stock(release, names)


def _stock(release: tuple[int, int], names: list[str]) -> Iterator[Finding]:
    if _LINUX not in names:
        yield failed(f"{STOCK} without {_LINUX}: tasks with volumes fail", f"add {_LINUX} to --isolation")
    if release < (1, 3):
        yield warning(
            f"its {STOCK} kills an unmount after {_STOCK_KILLS:.0f} s, and dvdcli takes up to "
            f"{lifecycle.UNMOUNT_TIMEOUT:.0f} s",
            "let cron run dvdcli recover: it finishes what was killed",
        )
    if release < (1, 11):
        yield warning(
            f"after an unmount that failed, its {STOCK} skips the next ones of that volume until it starts anew",
            "let cron run dvdcli recover --agent",
        )
    if release < (1, 7):
        yield warning(f"its {STOCK} mounts read-only volumes for writing", f"use {OURS[0]}, or Mesos 1.7")


def _launcher(release: tuple[int, int], launcher: str) -> Iterator[Finding]:
    if launcher in ("", "linux"):
        if launcher:
            yield ok("its launcher is linux")
        return
    what = "it refuses mount namespaces" if release >= (1, 0) else "it makes no mount namespaces, and does not say so"
    yield failed(f"its launcher is {launcher}: {what}", "start it as root, with --launcher=linux")


def _registration(given: str) -> Iterator[Finding]:
    if not given:
        return
    seconds = duration(given)
    if seconds is None:
        yield warning(f"its {_MOUNT_FLAG} is {given!a}, which is no time", "see the agent's flags")
    elif seconds <= lifecycle.MOUNT_TIMEOUT:
        yield warning(
            f"its {_MOUNT_FLAG} is {given}: a mount that takes longer fails its task, and dvdcli mounts for up to "
            f"{lifecycle.MOUNT_TIMEOUT:.0f} s",
            f"start it with --{_MOUNT_FLAG}=3mins, if disks are slow to come",
        )
    else:
        yield ok(f"its {_MOUNT_FLAG} of {given} is longer than a mount takes")


def _work_dir(given: str) -> Iterator[Finding]:
    if not given.startswith("/") or "\0" in given:
        return
    work_dir = _real(given)
    bad = 0
    for what, path in _places():
        path = _real(path)
        if is_within(path, work_dir):
            bad += 1
            yield failed(f"{what} ({path}) is in its work_dir {work_dir}", "it unmounts and deletes there: move it")
        elif is_within(work_dir, path):
            bad += 1
            yield failed(f"its work_dir {work_dir} is in {what} ({path})", "give it a directory of its own")
    if not bad:
        yield ok(f"its work_dir {work_dir} and our directories are apart")


def _real(path: str) -> str:
    """Return *path* without links; as it is, where its file system does not answer."""
    try:
        return aside.look(lambda: os.path.realpath(path), path, Deadline(_PATIENCE))
    except (TryAgainError, OSError):
        return os.path.normpath(path)


def _places() -> Iterator[tuple[str, str]]:
    """Return our directories, each with what it is."""
    yield "the state directory", config.state_directory()
    yield "the mounts directory", config.mounts_directory()
    settings = Config()
    for driver in settings.drivers():
        table = settings.driver(driver) or {}
        path = table.get("path")
        if table["provider"] == "local" and isinstance(path, str) and path.startswith("/"):
            yield f"the directory of the driver {driver}", path


def duration(text: str) -> float | None:
    """Return a time as Mesos writes it, such as "1.5mins", in seconds; None for what is none."""
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)([a-z]+)", text)
    unit = _UNITS.get(match[2]) if match else None
    return float(match[1]) * unit if match and unit else None
