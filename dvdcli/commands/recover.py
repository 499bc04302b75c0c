"""dvdcli recover."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import Any

import click

from dvdcli import output, recovery, render
from dvdcli.clock import Deadline
from dvdcli.commands.base import command
from dvdcli.errors import DvdcliError, Exit
from dvdcli.flags import ADOPT, ISOLATOR, JSON, TALK, Asked, timeout_option
from dvdcli.mesos import check_agent


@command(
    "recover",
    click.option("--dry-run", is_flag=True, help="Show what would be done, and do nothing."),
    *ADOPT, ISOLATOR, JSON, timeout_option(recovery.TIMEOUT), *TALK,
)  # fmt: skip
def command_(dry_run: bool, as_json: bool, timeout: float, **flags: Any) -> int:
    """Finish what is pending: interrupted calls, unmounts that failed, mounts of an earlier boot.

    Silent when there is nothing to do, and safe to run at any time.
    """
    Asked(flags)
    deadline = Deadline(timeout)
    outcomes = []
    for outcome in chain(_adopted(flags, deadline, dry_run), recovery.recover(deadline, dry_run)):
        outcomes.append(outcome)
        if not as_json:
            _tell_outcome(outcome, dry_run)
    failed = [outcome for outcome in outcomes if outcome.code]
    if as_json:
        errors = [_as_error(outcome) for outcome in failed]
        return render.envelope("recover", {"dry_run": dry_run, "outcomes": [o.to_json() for o in outcomes]}, errors)
    return failed[0].code if failed else Exit.DONE


def _adopted(flags: dict[str, Any], deadline: Deadline, dry_run: bool) -> Iterator[recovery.Outcome]:
    if not flags["adopt"]:
        return
    from dvdcli import adoption

    listed, warnings = adoption.listed_in(flags["dvdi_checkpoint"], flags["docker_volume_checkpoints"])
    for warning in warnings:
        output.warn(warning)
    yield from adoption.adopt(listed, check_agent(flags["agent"]), deadline, dry_run)


def _as_error(outcome: recovery.Outcome) -> DvdcliError:
    error = DvdcliError(f"{outcome.volume}: {outcome.detail}")
    error.code = outcome.code
    return error


def _tell_outcome(outcome: recovery.Outcome, dry_run: bool) -> None:
    detail = f" ({outcome.detail})" if outcome.detail else ""
    if outcome.code:
        output.to_stderr(f"recover {outcome.volume}: {outcome.action}: {outcome.detail}")
    elif outcome.action in (recovery.BUSY, recovery.WAITING, recovery.SKIPPED):
        output.tell(f"recover {outcome.volume}: skipped{detail}")
    elif not output.quiet:
        output.to_stdout(f"{outcome.volume}: {'would be ' if dry_run else ''}{outcome.action}{detail}")
