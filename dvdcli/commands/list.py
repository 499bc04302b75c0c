"""dvdcli list."""

from __future__ import annotations

from typing import Any

import click

from dvdcli import inventory, listing, output, render, survey, tables
from dvdcli.clock import Deadline
from dvdcli.commands.base import command, report_all
from dvdcli.errors import DvdcliError, Exit, UsageError
from dvdcli.flags import FLAGS, JSON, TALK, Asked, completed_by, timeout_option
from dvdcli.names import check_driver, without_controls


@command(
    "list", *FLAGS,
    click.option(
        "--driver", "drivers", metavar="DRIVER", multiple=True, help="Only mounts of this driver.",
        shell_complete=completed_by("drivers"),
    ),
    click.option(
        "--container", "containers", metavar="ID", multiple=True, help="Only mounts that this container holds.",
        shell_complete=completed_by("container_ids"),
    ),
    click.option(
        "--status", "statuses", type=click.Choice(listing.STATUSES), multiple=True, help="Only mounts with this status."
    ),
    click.option("--wide", is_flag=True, help="Show the types of the file systems and the last failures too."),
    click.option("--all", "every", is_flag=True, help="Ask every known driver at once for its volumes."),
    JSON, timeout_option(inventory.READ_TIMEOUT), *TALK,
    example="--driver local --status lost",
)  # fmt: skip
def command_(every: bool, wide: bool, as_json: bool, timeout: float, **flags: Any) -> int:
    """List what is mounted on this host, and who holds it.

    With --volumedriver list the volumes of that driver instead, with --all those of every driver. Filters can be
    repeated: then any of them will do.
    """
    asked = Asked(flags)
    wanted = listing.Filter(flags["drivers"], flags["containers"], flags["statuses"])
    filtered = any(flags[key] for key in ("drivers", "containers", "statuses"))
    if filtered and (every or asked.driver is not None):
        raise UsageError("--driver, --container and --status choose among mounts", "leave them or the other flag out")
    if asked.driver is not None:
        if every:
            raise UsageError("--all asks every driver, --volumedriver one", "leave one of them out")
        return _of_driver(check_driver(asked.driver), as_json, Deadline(timeout))
    if every:
        return _of_all(as_json, min(timeout, survey.TIMEOUT))
    if as_json:
        rows, errors = listing.mounts_as_json(wanted)
        return render.envelope("list", {}, errors, mounts=rows)
    found, errors = listing.mounts(wanted)
    tables.mounts(found, wide, "no mount matches" if filtered else "nothing is mounted")
    return report_all("list", errors)


def _of_driver(driver: str, as_json: bool, deadline: Deadline) -> int:
    infos = inventory.volumes(driver, deadline)
    if as_json:
        rows = [info.to_json() for info in infos]
        scope = inventory.scope(driver, deadline)
        return render.envelope("list", {"driver": driver, "scope": scope, "volumes": rows}, [])
    for info in infos:
        output.to_stdout(without_controls(info.name))
    return Exit.DONE


def _of_all(as_json: bool, seconds: float) -> int:
    rows, failed = survey.volumes(seconds)
    if as_json:
        silent = [{"driver": driver, "code": error.code, "message": str(error)} for driver, error in failed]
        return render.envelope("list", {"volumes": rows, "failed": silent}, [_named(*each) for each in failed])
    tables.volumes(rows)
    return report_all("list", [_named(*each) for each in failed])


def _named(driver: str, error: DvdcliError) -> DvdcliError:
    named = DvdcliError(f"{driver}: {error.message}", error.hint)
    named.code = error.code
    return named
