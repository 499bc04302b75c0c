"""What a shell can complete: drivers, volumes, holds, containers, mountpoints. Questions only; no failure is told."""

from __future__ import annotations

import os

from dvdcli import config, fastjson, inventory, providers, survey
from dvdcli.clock import Deadline
from dvdcli.config import Config
from dvdcli.containers import ANY_PARENT
from dvdcli.errors import DvdcliError
from dvdcli.http import Address, request
from dvdcli.names import check_driver
from dvdcli.providers.plugins import field
from dvdcli.state import State, boot_id

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from dvdcli.volume import Volume

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
    yield from _unless_it_fails(survey.recorded)
    yield from _unless_it_fails(lambda: Config().drivers())
    yield from (name for name in providers.PROVIDERS if name != "docker")
    yield from _unless_it_fails(survey.plugin_names)
    yield from _unless_it_fails(_managed_plugins)


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
    yield from _unless_it_fails(lambda: (each.name for each in _recorded() if driver in ("", each.driver)))
    if driver:
        yield from _unless_it_fails(lambda: _volumes_of(driver))


def recorded_volumes() -> Iterator[str]:
    """Return the volumes on record, each as DRIVER/NAME."""
    return _unless_it_fails(lambda: map(str, _recorded()))


def _recorded() -> Iterator[Volume]:
    for slot in State(Deadline(ANSWER_WITHIN)).slots():
        if slot.volume is None:  # a long name, of which the directory has a part only
            slot.look_only = True
            slot.load()
        if slot.volume is not None:
            yield slot.volume


def _volumes_of(driver: str) -> list[str]:
    return [info.name for info in inventory.volumes(check_driver(driver), Deadline(ANSWER_WITHIN))]


def _all_holds() -> Iterator[str]:
    boot = boot_id()
    for slot in State(Deadline(ANSWER_WITHIN)).slots():
        slot.look_only = True
        yield from slot.holds.valid(boot)


def holds() -> Iterator[str]:
    """Return the names of the holds on record that were taken by name."""
    return (who.removeprefix(_BY_HAND) for who in _unless_it_fails(_all_holds) if who.startswith(_BY_HAND))


def container_ids() -> Iterator[str]:
    """Return the ids of the containers that have volumes, as list and inspect take them."""
    return _unless_it_fails(lambda: (_id(who) for who in _all_holds() if who.startswith(_CONTAINER)))


def _id(who: str) -> str:
    return who.partition(":")[2].removeprefix(f"{ANY_PARENT}/")


def mountpoints() -> Iterator[str]:
    """Return where the volumes on record are mounted."""
    return _unless_it_fails(_mountpoints)


def _mountpoints() -> Iterator[str]:
    for slot in State(Deadline(ANSWER_WITHIN)).slots():
        slot.look_only = True
        record = slot.load()
        if record is not None and record.path:
            yield record.path
