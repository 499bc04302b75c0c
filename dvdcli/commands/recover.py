"""dvdcli recover."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import Any

import click

from dvdcli import clock, output, recovery, render
from dvdcli.clock import Deadline
from dvdcli.commands.base import command
from dvdcli.errors import DvdcliError, Exit, from_os_error
from dvdcli.flags import ADOPT, AGENT, ISOLATOR, JSON, TALK, Asked, timeout_option
from dvdcli.mesos import check_agent


@command(
    "recover",
    click.option("--dry-run", is_flag=True, help="Show what would be done, and do nothing."),
    *AGENT, *ADOPT,
    click.option(
        "--metrics", metavar="FILE",
        help="Write what there is and what was done, for node_exporter's textfile collector.",
    ),
    ISOLATOR, JSON, timeout_option(recovery.TIMEOUT), *TALK,
    example="--dry-run",
)  # fmt: skip
def command_(dry_run: bool, as_json: bool, timeout: float, metrics: str | None, **flags: Any) -> int:
    """Finish what a crash, a failure or a reboot left.

    That is interrupted calls, unmounts that failed, mounts of an earlier boot; with --agent also what the
    containers hold that live no more. Silent when there is nothing to do, and safe to run at any time. With -q only
    failures are told.
    """
    Asked(flags)
    deadline = Deadline(timeout)
    started = clock.now()["uptime"]
    outcomes: list[recovery.Outcome] = []
    try:
        for outcome in chain(
            _adopted(flags, deadline, dry_run), _released(flags, deadline, dry_run), recovery.recover(deadline, dry_run)
        ):
            outcomes.append(outcome)
            if not as_json:
                _tell_outcome(outcome, dry_run)
    except BaseException as error:
        known = from_os_error(error) if isinstance(error, OSError) else error
        _write_metrics(metrics, outcomes, known.code if isinstance(known, DvdcliError) else Exit.FAILURE, started)
        raise
    failed = [outcome for outcome in outcomes if outcome.code]
    unwritten = _write_metrics(metrics, outcomes, failed[0].code if failed else Exit.DONE, started)
    errors = [_as_error(outcome) for outcome in failed] + ([unwritten] if unwritten else [])
    if as_json:
        return render.envelope("recover", {"dry_run": dry_run, "outcomes": [o.to_json() for o in outcomes]}, errors)
    return errors[0].code if errors else Exit.DONE


def _adopted(flags: dict[str, Any], deadline: Deadline, dry_run: bool) -> Iterator[recovery.Outcome]:
    if not flags["adopt"]:
        return
    from dvdcli import adoption

    listed, warnings = adoption.listed_in(flags["dvdi_checkpoint"], flags["docker_volume_checkpoints"])
    for warning in warnings:
        output.warn(warning)
    yield from adoption.adopt(listed, check_agent(_settings(flags).name), deadline, dry_run)


def _released(flags: dict[str, Any], deadline: Deadline, dry_run: bool) -> Iterator[recovery.Outcome]:
    if flags["agent"] is None:
        return
    from dvdcli import releasing
    from dvdcli.agent import Agent

    settings = _settings(flags)
    agent = Agent(settings, deadline)
    try:
        yield from releasing.release(agent, check_agent(settings.name), settings.grace, dry_run)
    finally:
        agent.close()


def _settings(flags: dict[str, Any]) -> Any:
    """Return `[agent]` of the configuration, with what the flags say instead."""
    from dvdcli import agent_settings
    from dvdcli.config import Config

    return agent_settings.settings(Config(), url=flags["agent"] or None, name=flags["agent_name"], grace=flags["grace"])


def _write_metrics(path: str | None, outcomes: list[recovery.Outcome], code: int, started: float) -> DvdcliError | None:
    """Write the metrics to *path*, where there is one; return why that failed, which is said."""
    if not path:
        return None
    from dvdcli import metrics

    now = clock.now()
    try:
        metrics.write(path, outcomes, code, now["wall"], round(now["uptime"] - started, 3))
    except DvdcliError as error:
        output.report("recover", error)
        return error
    return None


def _as_error(outcome: recovery.Outcome) -> DvdcliError:
    error = DvdcliError(f"{outcome}: {outcome.detail}")
    error.code = outcome.code
    return error


def _tell_outcome(outcome: recovery.Outcome, dry_run: bool) -> None:
    detail = f" ({outcome.detail})" if outcome.detail else ""
    if outcome.code:
        output.to_stderr(f"recover {outcome}: {outcome.action}: {outcome.detail}")
    elif outcome.action in (recovery.BUSY, recovery.WAITING, recovery.SKIPPED):
        output.tell(f"recover {outcome}: skipped{detail}")
    elif not output.quiet:
        output.to_stdout(f"{outcome}: {'would be ' if dry_run else ''}{outcome.action}{detail}")
