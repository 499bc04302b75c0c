"""Every known driver asked at once for its volumes: a dead one costs its deadline and one line, never the others."""

from __future__ import annotations

import os

from dvdcli import config, inventory, parallel
from dvdcli.clock import Deadline
from dvdcli.errors import DvdcliError, from_os_error
from dvdcli.linux import files
from dvdcli.names import decode
from dvdcli.state import State

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

TIMEOUT = 10.0  # seconds for each driver


def drivers() -> list[str]:
    """Return the names of the drivers that are known: configured, `local`, Docker plugins, CSI, those on record."""
    found = {"local", *config.Config().drivers(), *plugin_names(), *recorded()}
    return sorted(found)


def recorded() -> list[str]:
    """Return the names of the drivers that a volume is on record for."""
    tree = f"{State().root}/volumes"
    names = (decode(name) for name in files.names_in(tree) if files.names_in(f"{tree}/{name}"))
    return sorted(name for name in names if name)


def plugin_names() -> list[str]:
    """Return the names under which Docker plugins and CSI drivers are found here. Managed ones only the Engine knows.

    A CSI driver that is configured has the name that it has there.
    """
    found = set(_csi_names())
    for index, directory in enumerate(config.plugin_directories()):
        for ending in (".sock",) if index == 0 else (".spec", ".json"):
            for name in files.names_in(directory):
                path = f"{directory}/{name}"
                if name.endswith(ending) and not os.path.isdir(path):
                    found.add(name.removesuffix(ending))
                elif os.path.exists(f"{path}/{name}{ending}"):
                    found.add(name)
    return sorted(found)


def _csi_names() -> list[str]:
    from dvdcli.providers.csi import sockets

    names = sockets.names()
    if not names:
        return []
    try:
        tables = list((config.Config().table("drivers") or {}).values())
    except DvdcliError:
        tables = []  # who asks for a configured driver is told what is wrong
    configured = [each for each in tables if isinstance(each, dict)]
    taken = {str(each.get("endpoint", "")).removeprefix("unix://") for each in configured}
    taken |= {sockets.find(str(each.get("plugin", ""))) for each in configured if not each.get("endpoint")}
    return [name for name in names if sockets.find(name) not in taken]


def volumes(seconds: float = TIMEOUT) -> tuple[list[dict[str, Any]], list[tuple[str, DvdcliError]]]:
    """Return the volumes of every known driver, as Info has them with their driver, and which drivers failed, and how.

    Each driver has *seconds* to answer; all are asked at once.
    """
    names = drivers()
    answers: list[list[dict[str, Any]]] = [[] for _ in names]

    def ask(index: int) -> None:
        infos = inventory.volumes(names[index], Deadline(seconds))
        answers[index] = [{"driver": names[index], **info.to_json()} for info in infos]

    failed = []
    for name, failure in zip(names, parallel.each(ask, range(len(names))), strict=True):
        if isinstance(failure, OSError):
            failure = from_os_error(failure)
        if isinstance(failure, DvdcliError):
            failed.append((name, failure))
        elif failure is not None:
            raise failure
    return [row for rows in answers for row in rows], failed
