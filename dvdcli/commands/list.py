"""dvdcli list."""

from __future__ import annotations

from typing import Any

from dvdcli import inventory, output, render
from dvdcli.clock import Deadline
from dvdcli.commands.base import command, report_all
from dvdcli.errors import Exit
from dvdcli.flags import FLAGS, JSON, TALK, Asked, timeout_option
from dvdcli.volume import check_driver, without_controls


@command("list", *FLAGS, JSON, timeout_option(inventory.READ_TIMEOUT), *TALK)
def command_(as_json: bool, timeout: float, **flags: Any) -> int:
    """List the mounts on record; with --volumedriver, the volumes of that driver."""
    asked = Asked(flags)
    if asked.driver is not None:
        deadline = Deadline(timeout)
        infos = inventory.volumes(check_driver(asked.driver), deadline)
        if as_json:
            rows = [{"name": info.name, "mountpoint": info.mountpoint} for info in infos]
            scope = inventory.scope(asked.driver, deadline)
            return render.envelope("list", {"driver": asked.driver, "scope": scope, "volumes": rows}, [])
        for info in infos:
            output.to_stdout(without_controls(info.name))
        return Exit.DONE
    found, errors = inventory.mounts()
    if as_json:
        return render.envelope("list", {"mounts": found}, errors)
    render.mounts(found)
    return report_all("list", errors)
