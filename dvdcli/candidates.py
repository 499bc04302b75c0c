"""What a shell can complete: drivers, volumes, holds, containers, mountpoints. Questions only, and no failure is told."""

from __future__ import annotations

import os

from dvdcli import config, fastjson, inventory, providers
from dvdcli.clock import Deadline
from dvdcli.config import Config
from dvdcli.errors import DvdcliError
from dvdcli.http import Address, request
from dvdcli.linux import files
from dvdcli.providers.plugins import field
from dvdcli.state import State, boot_id
from dvdcli.volume import check_driver

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

ANSWER_WITHIN = 2.0  # seconds that a shell waits for a storage system
_BY_HAND = "name:"
_CONTAINER = "container"


def _unless_it_fails(question: Callable[[], Iterable[str]]) -> Iterator[str]:
    """Return the answers to *question* that come before it fails, if it does."""
    try:
        yield from question()
    except (DvdcliError, OSError, ValueError):
        return


def drivers() -> Iterator[str]:
    """Return the names that --volumedriver takes: on record, configured, built in, plugins that are there."""
    yield from _unless_it_fails(lambda: (row["driver"] for row in inventory.mounts()[0]))
    yield from _unless_it_fails(_configured)
    yield from (name for name in providers.PROVIDERS if name != "docker")
    yield from _unless_it_fails(_plugins)
    yield from _unless_it_fails(_managed_plugins)


def _configured() -> Iterable[str]:
    return Config().drivers()


def _plugins() -> Iterator[str]:
    sockets, *others = config.plugin_directories()
    for directory, endings in ((sockets, (".sock",)), *((other, (".spec", ".json")) for other in others)):
        for name in files.names_in(directory):
            for ending in endings:
                if name.endswith(ending):
                    yield name.removesuffix(ending)
                elif os.path.exists(f"{directory}/{name}/{name}{ending}"):
                    yield name


def _managed_plugins() -> Iterator[str]:
    engine = config.engine_socket()
    if not os.path.exists(engine):
        return
    reply = request(Address(f"unix://{engine}"), "GET", "/plugins", b"", Deadline(ANSWER_WITHIN))
    plugins = fastjson.loads_first(reply.body.decode("utf-8", "replace")) if reply.status == 200 else []
    for plugin in plugins if isinstance(plugins, list) else []:
        name = field(plugin, "Name")
        if isinstance(name, str):
            yield name.removesuffix(":latest")


def volumes(driver: str) -> Iterator[str]:
    """Return the names of the volumes of *driver*, those on record first; "" is every driver's on record."""
    rows = _unless_it_fails(lambda: (r["name"] for r in inventory.mounts()[0] if driver in ("", r["driver"])))
    yield from rows
    if driver:
        yield from _unless_it_fails(lambda: _volumes_of(driver))


def _volumes_of(driver: str) -> list[str]:
    return [info.name for info in inventory.volumes(check_driver(driver), Deadline(ANSWER_WITHIN))]


def _all_holds() -> Iterator[str]:
    boot = boot_id()
    for slot in State().slots():
        slot.look_only = True
        yield from slot.holds(boot)


def holds() -> Iterator[str]:
    """Return the names of the holds on record that were taken by name."""
    return (who.removeprefix(_BY_HAND) for who in _unless_it_fails(_all_holds) if who.startswith(_BY_HAND))


def container_ids() -> Iterator[str]:
    """Return the ids of the containers that have volumes, as their holds have them: from the root to the leaf, with slashes."""
    return (who.partition(":")[2] for who in _unless_it_fails(_all_holds) if who.startswith(_CONTAINER))


def mountpoints() -> Iterator[str]:
    """Return where the volumes on record are mounted."""
    return _unless_it_fails(lambda: (row["mountpoint"] for row in inventory.mounts()[0] if row["mountpoint"]))
