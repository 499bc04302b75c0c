"""Volumes of a driver that speaks the Container Storage Interface. Source: its specification, version 1."""

from __future__ import annotations

from dvdcli import output
from dvdcli.errors import DvdcliError, InUseError, NotFoundError
from dvdcli.linux import mountinfo
from dvdcli.providers.base import Info, Mounted, check_settings
from dvdcli.providers.csi import sockets, usage
from dvdcli.providers.csi.access import MOUNT, Access
from dvdcli.providers.csi.catalogue import ADOPTED, Catalogue, published_in, target
from dvdcli.providers.csi.driver import Driver
from dvdcli.providers.csi.growing import Grower
from dvdcli.providers.csi.making import Maker, check_name
from dvdcli.providers.csi.publishing import PUBLISHED, Publisher
from dvdcli.providers.csi.secrets import Secrets
from dvdcli.providers.csi.terms import CsiTerms, table
from dvdcli.providers.ownership import dress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Any

    from dvdcli.clock import Deadline
    from dvdcli.findings import Finding
    from dvdcli.providers.base import Note
    from dvdcli.providers.csi.catalogue import Entry
    from dvdcli.volume import Volume

class CsiProvider(CsiTerms):
    """The volumes that one CSI driver makes, or has."""

    def __init__(self, driver: str, settings: Mapping[str, Any], deadline: Deadline, patience: float) -> None:
        super().__init__(driver, settings, deadline, patience)
        check_settings(driver, settings, self.settings)
        for _, fault in self.settings_faults(driver, settings):
            raise fault
        if not settings.get("endpoint"):
            self.pinned.update(_found(str(settings.get("plugin") or driver), driver))
        self._made_driver: Driver | None = None
        self._found: dict[str, Entry] = {}  # what was found or made a moment ago, in this same call of ours

    @property
    def _driver(self) -> Driver:
        if self._made_driver is None:
            node = sockets.path_in(self.pinned["endpoint"], "endpoint")
            controller = self.pinned.get("controller_endpoint")
            self._made_driver = Driver(
                self.driver, node, sockets.path_in(controller, "controller_endpoint") if controller else node,
                self.pinned.get("plugin", ""), Secrets(self.pinned.get("secrets_file", "")), self.deadline,
            )  # fmt: skip
        self._made_driver.give(self.patience)
        return self._made_driver

    @property
    def _catalogue(self) -> Catalogue:
        return Catalogue(self.driver, self._driver.plugin())

    @property
    def _maker(self) -> Maker:
        return Maker(self._driver, self._catalogue)

    def _access_here(self, options: Mapping[str, str]) -> Access:
        """Return how the volume is accessed on this host: the group of its files is the driver's work where it can."""
        wanted = self.access(options)
        if "gid" in self.canonical(options) and wanted.kind == MOUNT and self._driver.serves("VOLUME_MOUNT_GROUP"):
            wanted.group = str(self.option(options, "gid"))
        return wanted

    # Volumes

    def _find(self, name: str) -> Entry | None:
        check_name(name)
        given = self.canonical(self.given)
        wanted = given.get("volumeID", "")
        return self._maker.find(name, wanted, table(given, "context."), self.access(self.given).fields())

    def get(self, name: str) -> Info | None:
        """Return the volume *name*, None where there is none: neither by name nor by the driver's id."""
        entry = self._find(name)
        if entry is None:
            return None
        self._found[name] = entry
        return Info(name, self._path(name), entry.size)

    def list(self) -> list[Info]:
        """Return all volumes that the driver lists, by name, or by id where they have none here.

        Those that are known here, where the driver lists none.
        """
        entries = {entry.id or entry.name: entry for entry in self._catalogue.entries()}
        if not self._driver.controls("LIST_VOLUMES"):
            known = [entry for entry in entries.values() if entry.is_there]
            return sorted((Info(e.name, self._path(e.name), e.size) for e in known), key=lambda info: info.name)
        found = []
        for each in self._driver.entries():
            volume = each.volume
            entry = entries.get(volume.volume_id)
            if entry is None or entry.is_there:
                name = entry.name if entry is not None else volume.volume_id
                found.append(Info(name, self._path(name), volume.capacity_bytes))
        return sorted(found, key=lambda info: info.name)

    def create(self, name: str, options: Mapping[str, str]) -> None:
        """Have the driver make the volume; one that is there is fine, unless it is another one than asked for."""
        check_name(name)
        self.check(options)
        given = self.canonical(options)
        wanted_id = given.get("volumeID", "")
        if wanted_id:
            entry = self._maker.find(name, wanted_id, table(given, "context."), self.access(options).fields())
            if entry is None:
                raise NotFoundError(f"the driver {self.driver} has no volume {wanted_id}", "see its storage system")
            self._maker.adopt(entry)
            return
        self._found[name] = self._maker.make(name, self.wanted(options))

    def remove(self, name: str) -> None:
        """Have the driver delete the volume; one that is not there is fine."""
        check_name(name)
        if self._path(name) or self._catalogue.has_begun(name):  # by whatever name its driver is configured
            raise InUseError(f"the volume {name!r} is mounted on this host, or half mounted", "unmount it first")
        self._maker.remove(name)

    def tidy(self, name: str) -> None:
        """Finish what a killed create or remove has begun: then the volume is there, or it is not."""
        check_name(name)
        self._maker.complete(name)

    def abandon(self, name: str) -> None:
        """Finish what a killed create has begun: its volume has a name here then, or is not there."""
        self.tidy(name)

    def resize(self, name: str, options: Mapping[str, str]) -> None:
        """Make the volume larger, and its file system where it is mounted here: else at the next mount."""
        entry = self._find(name)
        if entry is None:
            raise NotFoundError(f"there is no volume {name!r}")
        size, mounted = self.option(options, "size"), bool(self._path(name))
        Grower(self._driver, self._catalogue).grow(entry, size, self._access_here(self.given), mounted)

    # Mounts

    def _path(self, name: str) -> str:
        path = target(self.driver, name)
        there = mountinfo.at(path, mountinfo.read()) is not None or usage.block_at(path) is not None
        return path if there else ""

    def path(self, name: str) -> str:
        """Return where the volume *name* is published on this host, "" where it is not."""
        return self._path(name)

    def identity(self, handle: Mapping[str, Any]) -> str:
        """Return the driver's name and the volume's id: two records cannot have the same."""
        return str(handle.get("id", ""))

    def mount(self, volume: Volume, options: Mapping[str, str], handle: Mapping[str, Any], note: Note) -> Mounted:
        """Attach, stage and publish the volume, as far as its driver has these steps."""
        state, name = dict(handle), volume.name
        if state.get("volume_id"):
            entry = self._catalogue.load(name)
        else:
            entry = self._found.pop(name, None) or self._find(name)
            if entry is None:
                raise NotFoundError(f"there is no volume {volume}", "create it first, with dvdcli create")
            state.update(id=f"{self._driver.plugin()}/{entry.id}", volume_id=entry.id, context=entry.context)
            self._check_topology(entry)
            if entry.status == ADOPTED:
                note(state)  # its claim first: another record can have that volume
                self._maker.adopt(entry)
        wanted = self._access_here(options)
        Publisher(self._driver, self._catalogue, name, state, note, self.guard).publish(wanted)
        if entry is not None and entry.expand and not wanted.read_only:
            self._fill(entry, state["path"], wanted)
        self._dress(entry, state["path"], options, wanted)
        return Mounted(state["path"], state)

    def _fill(self, entry: Entry, path: str, wanted: Access) -> None:
        """Let the file system grow to the size that its volume has; where it does not, it is tried again next time."""
        try:
            Grower(self._driver, self._catalogue).fill(entry, wanted)
        except DvdcliError as error:
            output.warn(f"the file system at {path} does not fill its volume: {error}")

    def _check_topology(self, entry: Entry) -> None:
        """Raise DvdcliError for a volume that this node certainly does not reach."""
        here = self._driver.segments() if entry.topology else {}
        reach = [all(here.get(key) == value for key, value in place.items()) for place in entry.topology]
        if here and not any(reach):
            told = " or ".join(_spelt(place) for place in entry.topology)
            raise DvdcliError(
                f"the volume {entry.name!r} is reached from {told}, and this node is {_spelt(here)}",
                "use it there, or make another one here",
            )

    def _dress(self, entry: Entry | None, path: str, options: Mapping[str, str], wanted: Access) -> None:
        """Set the owner and mode that were asked for, at the first mount of a volume that was made here."""
        asked = {"uid", "gid", "mode"} & self.canonical(options).keys()
        if entry is None or entry.status == ADOPTED or entry.dressed or wanted.read_only or not asked:
            return
        told = {key: value for key, value in self.canonical(options).items() if not (key == "gid" and wanted.group)}
        try:
            dress(self, path, told)
        except OSError as error:
            what = f"{path} cannot be given its owner: {error.strerror}"
            raise DvdcliError(what, "leave uid, gid and mode out") from error
        entry.dressed = True
        self._catalogue.save(entry)

    def unmount(self, volume: Volume, handle: Mapping[str, Any], note: Note) -> bool:
        """Unpublish, unstage and detach the volume, each when the one before is proven to be done."""
        if not handle.get("volume_id"):
            return True  # it is on disk before anything is attached
        catalogue = Catalogue(self.driver, str(handle["id"]).removesuffix(f"/{handle['volume_id']}"))
        return Publisher(self._driver, catalogue, volume.name, dict(handle), note, self.guard).unpublish()

    def mounted_at(self, volume: Volume, handle: Mapping[str, Any]) -> str:
        """Return where the volume is: what is published at its path is what was noted when it was."""
        path = str(handle.get("path", ""))
        return path if path and handle.get("step") == PUBLISHED and usage.is_proven(path, handle) else ""

    def said(self, handle: Mapping[str, Any]) -> str:
        """Return how full the volume is, and what is wrong with it, by the driver's word."""
        return self._driver.condition(handle)

    def here(self, name: str) -> Mounted | None:
        """Return what this host has of the volume *name*, by the mount table, the catalogue, and the driver."""
        check_name(name)
        entry = self._catalogue.load(name)
        if entry is None or not entry.id:
            return None
        path = self._path(name)
        handle: dict[str, Any] = {
            "id": f"{self._driver.plugin()}/{entry.id}", "volume_id": entry.id, "context": entry.context,
            "path": target(self.driver, name), "staging": self._catalogue.staging(name), "step": PUBLISHED,
            "namespace": mountinfo.namespace(), "own": [],  # whoever has it besides may be a container
        }  # fmt: skip
        attached = False
        if self._driver.controls("PUBLISH_UNPUBLISH_VOLUME"):
            handle["node"] = self._driver.node_info().node_id
            attached = handle["node"] in (self._driver.nodes_of(entry.id) or ())
        if not self._driver.serves("STAGE_UNSTAGE_VOLUME"):
            del handle["staging"]
        if not (path or attached or self._catalogue.has_begun(name)):
            return None
        if path:
            handle.update(usage.proof(path, usage.block_at(path) is not None, handle["namespace"]))
        return Mounted(path, handle)

    def users(self, path: str, handle: Mapping[str, Any]) -> Sequence[str]:
        """Return who uses the volume at *path*, but for the driver itself."""
        return usage.users(path, self.servers(), (*handle.get("own", ()), str(handle.get("staging", ""))))

    def servers(self) -> tuple[int, ...]:
        """Return the process of the driver's node service, where its socket tells."""
        pid = self._driver.server()
        return (pid,) if pid else ()

    def check_ready(self) -> Iterator[Finding]:
        """Ask the driver what it is and what it can, and whether its mounts reach this host."""
        from dvdcli.providers import readiness as common
        from dvdcli.providers.csi import readiness

        new = self.wanted({})
        yield from readiness.check(self._driver, published_in(self.driver), new.capability, new.parameters)
        yield from common.root()

    def scope(self) -> str:
        """Return `global` where a controller attaches volumes to nodes, or where every node reaches every volume."""
        if not self._driver.has_controller():
            return "local"
        return "local" if self._driver.is_constrained() else "global"


def _found(plugin: str, driver: str) -> dict[str, str]:
    path = sockets.find(plugin)
    if not path:
        raise NotFoundError(
            f"there is no socket of a CSI driver {plugin!r} for the driver {driver!r}",
            "start it, or name its socket with endpoint in dvdcli.toml",
        )
    return {"plugin": plugin, "endpoint": f"unix://{path}"}


def _spelt(segments: Mapping[str, str]) -> str:
    return ", ".join(f"{key}={value}" for key, value in sorted(segments.items()))


