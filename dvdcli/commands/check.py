"""dvdcli check."""

from __future__ import annotations

from typing import Any

import click

from dvdcli import output, render, tables
from dvdcli.agent_settings import DEFAULT_URL
from dvdcli.checks import drivers, host
from dvdcli.commands.base import command
from dvdcli.errors import DvdcliError, Exit
from dvdcli.findings import FAILED, OK, Finding
from dvdcli.flags import JSON, TALK, Asked, completed_by, timeout_option
from dvdcli.names import check_driver


@command(
    "check",
    click.option(
        "--agent", is_flag=False, flag_value="", metavar="[URL]",
        help="Ask the Mesos agent of this host for its flags, and compare them with what dvdcli needs. "
        f"URL: by default the configuration's, else {DEFAULT_URL}.",
    ),
    click.argument("names", nargs=-1, metavar="[DRIVER]...", shell_complete=completed_by("drivers")),
    JSON, timeout_option(drivers.TIMEOUT), *TALK,
    example="local",
)  # fmt: skip
def command_(names: tuple[str, ...], agent: str | None, as_json: bool, timeout: float, **flags: Any) -> int:
    """Check whether this host is ready for each driver.

    The host itself is looked at, and each driver that is known; or those drivers alone that are named. Nothing is
    changed. Each driver, and the agent, has --timeout seconds. With -q only what is not ok is shown.
    """
    Asked(flags)
    found: list[Finding] = []
    if names:
        found += drivers.findings([check_driver(name) for name in names], timeout)
    else:
        found += host.findings(timeout)
        found += drivers.asked_for_by_nobody(drivers.findings(drivers.known(), timeout))
    if agent is not None:
        from dvdcli.checks import agent as mesos

        found += mesos.findings(agent, timeout)
    errors = [DvdcliError(f"{each.subject}: {each.text}", each.hint) for each in found if each.status == FAILED]
    if as_json:
        return render.envelope("check", {"findings": [each.to_json() for each in found]}, errors)
    shown = [each for each in found if each.status != OK or not output.quiet]
    if shown:
        tables.show(["STATUS", "SUBJECT", "FINDING"], [[each.status, each.subject, _said(each)] for each in shown])
    return Exit.FAILURE if errors else Exit.DONE


def _said(finding: Finding) -> str:
    return str(DvdcliError(finding.text, finding.hint))
