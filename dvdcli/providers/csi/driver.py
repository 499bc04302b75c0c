"""A CSI driver as a whole: its two sockets, what it can do, which node this host is, which volumes it knows."""

from __future__ import annotations

from dvdcli.errors import DvdcliError, TryAgainError
from dvdcli.linux import unixsockets
from dvdcli.providers.csi.client import Client
from dvdcli.providers.csi.errors import status_of
from dvdcli.providers.csi.secrets import Secrets

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

    from dvdcli.clock import Deadline

_MOST_STARTS = 3  # of one list, whose tokens the driver takes back
_GONE = frozenset(("NOT_FOUND",))


class Driver:
    """The driver *name*, whose node service listens at *node*, and its controller at *controller*.

    *plugin* is what it has to call itself, "" for any name. Nothing is asked before it is needed, and nothing twice.
    """

    def __init__(
        self, name: str, node: str, controller: str, plugin: str, secrets: Secrets, deadline: Deadline
    ) -> None:
        self.name = name
        self.deadline = deadline
        self._wanted = plugin
        self.node = Client(name, node, secrets, deadline)
        self.controller = self.node
        if controller != node:
            self.controller = Client(name, controller, secrets, deadline)
        self._known: dict[str, Any] = {}

    def close(self) -> None:
        """Let go of the connections, in a process that goes on."""
        self.node.close()
        self.controller.close()

    def give(self, patience: float) -> None:
        """Let *patience* be how many seconds long nobody has to listen."""
        self.node.patience = self.controller.patience = patience

    def server(self) -> int:
        """Return the process that serves this node, 0 where that cannot be seen."""
        return unixsockets.listener_pid(self.node.path)

    # What it is

    def plugin(self) -> str:
        """Return what the driver calls itself. Raises DvdcliError where it has another name than it should."""
        name: str = self.info().name
        if self._wanted and name != self._wanted:
            raise DvdcliError(
                f"the driver at {self.node.path} calls itself {name!r}, not {self._wanted!r}",
                "see which driver listens there",
            )
        if not name:
            raise DvdcliError(f"the driver at {self.node.path} does not say its name", "see that it is a CSI driver")
        return name

    def info(self) -> Any:
        """Return what GetPluginInfo answers: name, vendor_version."""
        return self._once("GetPluginInfo", self.node)

    def _once(self, call: str, client: Client) -> Any:
        if call not in self._known:
            self._known[call] = client.call(call)
        return self._known[call]

    def has_controller(self) -> bool:
        """Return whether there is a controller service at all."""
        return "CONTROLLER_SERVICE" in self.services()

    def is_constrained(self) -> bool:
        """Return whether not every node reaches every volume."""
        return "VOLUME_ACCESSIBILITY_CONSTRAINTS" in self.services()

    def services(self) -> frozenset[str]:
        """Return the services of GetPluginCapabilities; and ONLINE or OFFLINE, how its volumes grow."""
        found = set()
        for each in self._once("GetPluginCapabilities", self.controller).capabilities:
            if each.HasField("service"):
                found.add(_name(each.service, each.service.type))
            elif each.HasField("volume_expansion"):
                found.add(_name(each.volume_expansion, each.volume_expansion.type))
        return frozenset(found)

    def controls(self, capability: str) -> bool:
        """Return whether the controller has *capability*, by its name in the specification."""
        return self.has_controller() and capability in self.controller_capabilities()

    def controller_capabilities(self) -> frozenset[str]:
        """Return the names of what the controller can do."""
        try:
            answer = self._once("ControllerGetCapabilities", self.controller)
        except DvdcliError as error:
            if status_of(error) != "UNIMPLEMENTED":
                raise
            what = f"the driver {self.name} has a controller service, which is not at {self.controller.path}"
            raise DvdcliError(what, "name its socket with controller_endpoint in dvdcli.toml") from error
        return frozenset(_name(each.rpc, each.rpc.type) for each in answer.capabilities)

    def serves(self, capability: str) -> bool:
        """Return whether the node service has *capability*."""
        return capability in self.node_capabilities()

    def node_capabilities(self) -> frozenset[str]:
        """Return the names of what the node service can do."""
        answer = self._once("NodeGetCapabilities", self.node)
        return frozenset(_name(each.rpc, each.rpc.type) for each in answer.capabilities)

    def node_info(self) -> Any:
        """Return what NodeGetInfo answers: node_id, accessible_topology, max_volumes_per_node."""
        answer = self._once("NodeGetInfo", self.node)
        if not answer.node_id:
            raise DvdcliError(f"the driver {self.name} does not say which node this is", "see how it is started")
        return answer

    def segments(self) -> dict[str, str]:
        """Return where this node is, in the driver's own terms; nothing where that makes no difference."""
        return dict(self.node_info().accessible_topology.segments) if self.is_constrained() else {}

    # Volumes

    def is_there(self, volume_id: str, capability: Mapping[str, Any], context: Mapping[str, str]) -> bool | None:
        """Return whether the driver has the volume *volume_id*, which somebody has named; None where it does not say.

        There are drivers that know any id that they are asked for: a yes is not proof.
        """
        if not self.has_controller():
            return None
        what = f"volume {volume_id}"
        try:
            answer = self.controller.call(
                "ValidateVolumeCapabilities", what, _GONE, volume_id=volume_id, volume_context=dict(context),
                volume_capabilities=[capability],
            )  # fmt: skip
            return answer is not None
        except DvdcliError as error:
            if status_of(error) != "UNIMPLEMENTED":
                raise
        if not self.controls("GET_VOLUME"):
            return None
        answer = self.controller.call("ControllerGetVolume", what, _GONE, volume_id=volume_id)
        if answer is None:
            return False
        return None if answer.status.volume_condition.abnormal else True

    def lists(self, volume_id: str) -> bool:
        """Return whether the driver lists a volume *volume_id*, which may be no id at all."""
        if not self.controls("LIST_VOLUMES"):
            return False
        return any(entry.volume.volume_id == volume_id for entry in self.entries())

    def nodes_of(self, volume_id: str) -> list[str] | None:
        """Return the ids of the nodes that the volume *volume_id* is attached to; None where nobody can tell."""
        if not self.controls("LIST_VOLUMES_PUBLISHED_NODES"):
            return None
        if self.controls("GET_VOLUME"):
            answer = self.controller.call("ControllerGetVolume", f"volume {volume_id}", _GONE, volume_id=volume_id)
            return list(answer.status.published_node_ids) if answer is not None else []
        found = [entry for entry in self.entries() if entry.volume.volume_id == volume_id]
        return [node for entry in found for node in entry.status.published_node_ids]

    def condition(self, handle: Mapping[str, Any]) -> str:
        """Return what NodeGetVolumeStats says of the published volume of *handle*, "" where there is no such call."""
        if not (self.serves("GET_VOLUME_STATS") or self.serves("VOLUME_CONDITION")):
            return ""
        volume_id = str(handle["volume_id"])
        answer = self.node.call(
            "NodeGetVolumeStats", f"volume {volume_id}", volume_id=volume_id, volume_path=str(handle["path"]),
            staging_target_path=str(handle.get("staging", "")),
        )  # fmt: skip
        told = [f"{each.used} of {each.total} {_name(each, each.unit, 'unit').lower()} used"
                for each in answer.usage if each.total]  # fmt: skip
        abnormal = answer.volume_condition.abnormal
        return ", ".join([*told, *([f"abnormal: {answer.volume_condition.message}"] if abnormal else [])])

    def entries(self) -> list[Any]:
        """Return every entry of ListVolumes once, page by page. Raises DvdcliError."""
        for _ in range(_MOST_STARTS):
            try:
                return list({entry.volume.volume_id: entry for entry in self._pages()}.values())
            except _TokenError:
                continue  # as the specification says: again from the beginning
        raise TryAgainError(f"the driver {self.name} takes back the tokens of its list", "try again")

    def _pages(self) -> Iterator[Any]:
        token, seen = "", set()
        while True:
            expected = frozenset(("ABORTED",)) if token else frozenset()
            answer = self.controller.call("ListVolumes", "volumes", expected, starting_token=token)
            if answer is None:
                raise _TokenError
            yield from answer.entries
            token = answer.next_token
            if not token:
                return
            if token in seen:
                raise DvdcliError(f"the list of the driver {self.name} has no end: a token comes twice", "report that")
            seen.add(token)


class _TokenError(Exception):
    """The driver does not know a token any more that it gave a moment ago."""


def _name(message: Any, number: int, field: str = "type") -> str:
    """Return the name of the value *number* of the *field* of *message*; a number that is too new by itself."""
    values = message.DESCRIPTOR.fields_by_name[field].enum_type.values_by_number
    return str(values[number].name) if number in values else str(number)
