"""Whether this host can use ScaleIO: its gateway, its SDC, and where new volumes would be. Changes nothing."""

from __future__ import annotations

import os

from dvdcli import config
from dvdcli.errors import DvdcliError
from dvdcli.findings import attempt, ok, warning
from dvdcli.providers.scaleio.gateway import Gateway
from dvdcli.providers.scaleio.sdc import Sdc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dvdcli.findings import Finding


def check(gateway: Gateway, sdc: Sdc, pool: Callable[[], str]) -> Iterator[Finding]:
    """Return what is found; *pool* returns the id of the pool of new volumes, or raises."""
    login = attempt(lambda: f"the gateway answers, version {'.'.join(map(str, gateway.version()))}")
    guid = attempt(sdc.guid)
    yield login
    if login.status == "ok":
        yield attempt(lambda: f"new volumes are made in the pool {pool()}")
    yield guid if guid.status != "ok" else ok(f"drv_cfg answers: the SDC is {guid.text}")
    if login.status == guid.status == "ok":
        yield attempt(lambda: _connected(gateway, guid.text))
    directory = f"{config.device_directory()}/disk/by-id"
    if not os.path.isdir(directory):
        yield warning(f"there is no {directory}", "see that udev runs: it names the devices of volumes there")


def _connected(gateway: Gateway, guid: str) -> str:
    states = []
    for system in gateway.get("types/System/instances") or ():
        for each in gateway.get(f"instances/System::{system['id']}/relationships/Sdc") or ():
            if str(each.get("sdcGuid") or "").upper() == guid:
                states.append(str(each.get("mdmConnectionState")))
    if not states:
        raise DvdcliError(f"the gateway knows no SDC {guid}", "see that this host's SDC is set up for that system")
    if "Connected" not in states:
        raise DvdcliError(f"this host's SDC is {states[0].lower()} for the MDM", "see that it runs, and the network")
    return "this host's SDC is connected"
