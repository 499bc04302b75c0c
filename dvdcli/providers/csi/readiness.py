"""Whether this host can use a CSI driver: its sockets, what it says of itself, whether its mounts are seen here."""

from __future__ import annotations

import os
import stat

from dvdcli.errors import DvdcliError
from dvdcli.findings import attempt, failed, from_error, ok, warning
from dvdcli.linux import mountinfo, paths, places
from dvdcli.providers import readiness

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from dvdcli.findings import Finding
    from dvdcli.providers.csi.driver import Driver

_CAN = {
    "CREATE_DELETE_VOLUME": "make and delete volumes", "PUBLISH_UNPUBLISH_VOLUME": "attach them",
    "LIST_VOLUMES": "list them", "EXPAND_VOLUME": "resize them", "STAGE_UNSTAGE_VOLUME": "stage them",
}  # fmt: skip


def check(driver: Driver, directory: str, capability: dict[str, Any], parameters: dict[str, str]) -> Iterator[Finding]:
    """Return what is found; *directory* is where we publish, and a new volume has *capability* and *parameters*."""
    info = attempt(lambda: f"{driver.plugin()} {driver.info().vendor_version} answers at {driver.node.path}")
    yield info
    for path in {driver.node.path, driver.controller.path}:
        yield from _socket(path)
    if info.status == "ok":
        yield from _service(driver, capability, parameters)
        yield from _propagation(driver, directory)
    yield from readiness.directory(directory, driver.deadline)


def _service(driver: Driver, capability: dict[str, Any], parameters: dict[str, str]) -> Iterator[Finding]:
    try:
        for client in {driver.node, driver.controller}:
            answer = client.call("Probe")
            if answer.HasField("ready") and not answer.ready.value:
                yield warning(f"the driver at {client.path} is not ready yet", "see its log")
        if not driver.has_controller():
            yield warning("it has no controller: it makes no volumes", "take those there are, with volumeID")
        known = driver.node_capabilities() | (driver.controller_capabilities() if driver.has_controller() else set())
        yield ok(f"it can {', '.join([text for key, text in _CAN.items() if key in known] or ['publish volumes'])}")
        yield _node(driver)
        if driver.controls("GET_CAPACITY"):
            yield _capacity(driver, capability, parameters)
    except DvdcliError as error:
        yield from_error(error)


def _node(driver: Driver) -> Finding:
    info = driver.node_info()
    segments = ", ".join(f"{key}={value}" for key, value in sorted(info.accessible_topology.segments.items()))
    most = f", which takes {info.max_volumes_per_node} volumes" if info.max_volumes_per_node else ""
    return ok(f"this is its node {info.node_id}{f' ({segments})' if segments else ''}{most}")


def _capacity(driver: Driver, capability: dict[str, Any], parameters: dict[str, str]) -> Finding:
    fields: dict[str, Any] = {"volume_capabilities": [capability], "parameters": parameters}
    if driver.segments():
        fields["accessible_topology"] = {"segments": driver.segments()}
    answer = driver.controller.call("GetCapacity", "new volumes", frozenset(), **fields)
    free = answer.available_capacity
    text = f"{free / (1 << 30):.1f} GiB are free for new volumes"
    return ok(text) if free > 0 else warning(text, "free some, or see parameters and topology")


def _socket(path: str) -> Iterator[Finding]:
    try:
        risk = paths.replaceable(path)
        mode = os.stat(path).st_mode
    except OSError:
        return  # that nobody answers has been said
    if risk:
        yield failed(f"{path} is below {risk}, where others can write", f"chown root {risk} and chmod go-w it")
    elif stat.S_ISSOCK(mode) and mode & 0o002:
        yield warning(f"anybody can tell the driver at {path} to mount", f"chmod o-w {path}")


def _propagation(driver: Driver, directory: str) -> Iterator[Finding]:
    """Return whether the mounts of a driver in a mount namespace of its own are seen in ours."""
    space = mountinfo.namespace(driver.server() or "self")
    if space in ("", mountinfo.namespace()):
        return
    there = mountinfo.mount_of(os.path.realpath(places.existing(directory)), mountinfo.read())
    seen = mountinfo.mount_of(os.path.realpath(places.existing(directory)), mountinfo.read_in(space))
    hint = f"mount --make-rshared it here, and give the driver {os.path.dirname(directory)} with rshared propagation"
    if there is None or not there.shared:
        yield failed(f"{there.path if there else directory} is not shared: the driver's mounts do not get here", hint)
    elif seen is None or not seen.shared:
        yield failed(f"in the driver's container {directory} is not shared: its mounts do not get here", hint)
    else:
        yield ok("the mounts that the driver makes in its container get here")
