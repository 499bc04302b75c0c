"""Volumes of a driver that speaks the Container Storage Interface. Source: its specification, version 1."""

from __future__ import annotations

from dvdcli.errors import DvdcliError, InUseError, NotFoundError, UsageError
from dvdcli.linux import mountinfo
from dvdcli.providers.base import Info, Mounted, Option, Provider, SizeOption, check_settings
from dvdcli.providers.csi import access, sockets, usage
from dvdcli.providers.csi.access import BLOCK, MOUNT, Access
from dvdcli.providers.csi.catalogue import ADOPTED, Catalogue
from dvdcli.providers.csi.driver import Driver
from dvdcli.providers.csi.growing import Grower
from dvdcli.providers.csi.making import Maker, Wanted, check_name
from dvdcli.providers.csi.publishing import PUBLISHED, Publisher
from dvdcli.providers.csi.secrets import Secrets
from dvdcli.providers.ownership import OWNERSHIP, check_ownership, dress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

    from dvdcli.clock import Deadline
    from dvdcli.findings import Finding
    from dvdcli.providers.base import Note
    from dvdcli.providers.csi.catalogue import Entry
    from dvdcli.volume import Volume

_TABLES = ("parameter.", "context.")  # options by any name behind it


class CsiProvider(Provider):
    """The volumes that one CSI driver makes, or has."""

    settings = {  # noqa: RUF012
        "plugin": Option(str, "", "what the driver calls itself, by default the name that its socket is looked for by"),
        "endpoint": Option(str, "", "the socket of its node service, instead of looking for its name"),
        "controller_endpoint": Option(str, "", "the socket of its controller service, where that is another one"),
        "parameters": Option(dict, {}, "the parameters of new volumes, by the driver's own names"),
        "mount_flags": Option(list, [], "mount options of all volumes"),
        "fs_type": Option(str, "", "the file system of volumes, by default the driver's own choice"),
        "access_mode": Option(str, access.MODES[0], "the access mode of volumes, by the specification's name"),
        "secrets_file": Option(str, "", "a TOML file with the driver's secrets, which root alone can read", secret=True),
        "topology": Option(dict, {}, "where new volumes are to be reached from, by default this node's own segments"),
    }
    options = {  # noqa: RUF012
        "size": SizeOption("the size of a new volume, by default the driver's own choice"),
        "fsType": Option(str, "", "its file system, by default the setting fs_type"),
        "mountopts": Option(str, "", "mount options, separated by commas; ro for reading only"),
        "access": Option(str, MOUNT, "what is at its path: mount, a file system, or block, a block device"),
        "accessMode": Option(str, "", "its access mode, by default the setting access_mode"),
        "volumeID": Option(str, "", "take this volume of the driver's, made elsewhere, under that name"),
        "parameter.NAME": Option(str, "", "the parameter NAME of a new volume"),
        "context.NAME": Option(str, "", "the key NAME of the volume context that goes with volumeID"),
        **OWNERSHIP,
    }
    aliases = {  # noqa: RUF012
        "newfstype": "fsType", "mountoptions": "mountopts", "access_mode": "accessMode", "volume_id": "volumeID",
    }  # fmt: skip

    def __init__(self, driver: str, settings: Mapping[str, Any], deadline: Deadline, patience: float) -> None:
        super().__init__(driver, settings, deadline, patience)
        check_settings(driver, settings, self.settings)
        for _, fault in self.settings_faults(driver, settings):
            raise fault
        if not settings.get("endpoint"):
            self.pinned.update(_found(str(settings.get("plugin") or driver), driver))
        self._catalogue = Catalogue(driver)
        self._made_driver: Driver | None = None

    @classmethod
    def settings_faults(cls, driver: str, settings: Mapping[str, Any]) -> Iterator[tuple[str, DvdcliError]]:
        """Return sockets that can be none, and an access mode that is none."""
        for key in ("endpoint", "controller_endpoint"):
            if settings.get(key):
                try:
                    sockets.path_in(settings[key], f"[drivers.{driver}] {key}")
                except DvdcliError as fault:
                    yield key, fault
        try:
            access.mode(settings.get("access_mode") or access.MODES[0])
        except DvdcliError as fault:
            yield "access_mode", UsageError(f"[drivers.{driver}] access_mode: {fault.message}", fault.hint)

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
    def _maker(self) -> Maker:
        return Maker(self._driver, self._catalogue)

    def close(self) -> None:
        """Let go of the driver's sockets."""
        if self._made_driver is not None:
            self._made_driver.close()

    # Options

    def canonical(self, options: Mapping[str, str]) -> dict[str, str]:
        """Return *options* by the names that we have for them; the names behind a dot are the driver's."""
        own = {key: value for key, value in options.items() if not _table_of(key)}
        tables = {f"{_table_of(key)}{key.partition('.')[2]}": options[key] for key in options if _table_of(key)}
        return {**super().canonical(own), **tables}

    def check(self, options: Mapping[str, str]) -> None:
        """Raise UsageError for an option that is not known, or a value that is not possible."""
        given = self.canonical(options)
        super().check({key: value for key, value in given.items() if not _table_of(key)})
        check_ownership(self, options)
        if self.option(options, "access") not in (MOUNT, BLOCK):
            raise UsageError(f"the volume option access={self.option(options, 'access')} is none of {MOUNT}, {BLOCK}")
        wanted = self._access(options)
        if wanted.kind == BLOCK and {"fsType", "uid", "gid", "mode"} & given.keys():
            raise UsageError("a volume with access=block has no file system of ours", "leave fsType and owner out")
        check_name(self.option(options, "volumeID"))
        if _table(given, "context.") and not given.get("volumeID"):
            raise UsageError("the volume options context.… go with the volume option volumeID", "name the volume")

    def _access(self, options: Mapping[str, str]) -> Access:
        flags = [*self.pinned.get("mount_flags", ()), *access.words(self.option(options, "mountopts"))]
        mode = access.mode(self.option(options, "accessMode") or self.pinned.get("access_mode") or access.MODES[0])
        fs_type = self.option(options, "fsType") or self.pinned.get("fs_type", "")
        return Access(self.option(options, "access"), mode, fs_type, list(dict.fromkeys(flags)))

    def _access_here(self, options: Mapping[str, str]) -> Access:
        """Return how the volume is accessed on this host: the group of its files is the driver's work where it can."""
        wanted = self._access(options)
        if "gid" in self.canonical(options) and wanted.kind == MOUNT and self._driver.serves("VOLUME_MOUNT_GROUP"):
            wanted.group = str(self.option(options, "gid"))
        return wanted

    # Volumes

    def _find(self, name: str) -> Entry | None:
        given = self.canonical(self.given)
        wanted = given.get("volumeID", "")
        return self._maker.find(name, wanted, _table(given, "context."), self._access(self.given).fields())

    def get(self, name: str) -> Info | None:
        """Return the volume *name*, None where there is none: neither by name nor by the driver's id."""
        entry = self._find(name)
        return Info(name, self._path(name), entry.size) if entry is not None else None

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
            entry = self._maker.find(name, wanted_id, _table(given, "context."), self._access(options).fields())
            if entry is None:
                raise NotFoundError(f"the driver {self.driver} has no volume {wanted_id}", "see its storage system")
            self._maker.adopt(entry)
            return
        self._maker.make(name, self._wanted(options))

    def _wanted(self, options: Mapping[str, str]) -> Wanted:
        given = self.canonical(options)
        own = _table(given, "parameter.")
        asked = {"size": "size" in given, "parameters": bool(own), "capability": bool({"access", "accessMode"} & given.keys())}
        return Wanted(
            self.option(options, "size"), {**self.pinned.get("parameters", {}), **own}, self._access(options).fields(),
            self.pinned.get("topology", {}), frozenset(key for key in asked if asked[key]),
        )  # fmt: skip

    def remove(self, name: str) -> None:
        """Have the driver delete the volume; one that is not there is fine."""
        for path in (self._catalogue.target(name), self._catalogue.staging(name)):
            if mountinfo.at(path, mountinfo.read()) is not None:
                raise InUseError(f"the volume {name!r} is mounted at {path}", "unmount it first")
        self._maker.remove(name)

    def tidy(self, name: str) -> None:
        """Finish what a killed create or remove has begun: then the volume is there, or it is not."""
        check_name(name)
        self._maker.complete(name)

    def resize(self, name: str, options: Mapping[str, str]) -> None:
        """Make the volume larger, and its file system where it is mounted here: else at the next mount."""
        entry = self._find(name)
        if entry is None:
            raise NotFoundError(f"there is no volume {name!r}")
        size, mounted = self.option(options, "size"), bool(self._path(name))
        Grower(self._driver, self._catalogue).grow(entry, size, self._access_here(self.given), mounted)

    # Mounts

    def _path(self, name: str) -> str:
        path = self._catalogue.target(name)
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
        entry = self._catalogue.load(name) if state.get("volume_id") else self._find(name)
        if not state.get("volume_id"):
            if entry is None:
                raise NotFoundError(f"there is no volume {volume}", "create it first, with dvdcli create")
            state.update(id=f"{self._driver.plugin()}/{entry.id}", volume_id=entry.id, context=entry.context)
            self._check_topology(entry)
            if entry.status == ADOPTED:
                note(state)  # its claim first: another record can have that volume
                self._maker.adopt(entry)
        wanted = self._access_here(options)
        Publisher(self._driver, self._catalogue, name, state, note, self.deadline).publish(wanted)
        if entry is not None and entry.expand and not wanted.read_only:
            Grower(self._driver, self._catalogue).fill(entry, wanted)
        self._dress(entry, state["path"], options, wanted)
        return Mounted(state["path"], state)

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
            raise DvdcliError(f"{path} cannot be given its owner: {error.strerror}", "leave uid, gid and mode out") from error
        entry.dressed = True
        self._catalogue.save(entry)

    def unmount(self, volume: Volume, handle: Mapping[str, Any], note: Note) -> bool:
        """Unpublish, unstage and detach the volume, each when the one before is proven to be done."""
        if not handle.get("volume_id"):
            return True  # it is on disk before anything is attached
        return Publisher(self._driver, self._catalogue, volume.name, dict(handle), note, self.deadline).unpublish()

    def mounted_at(self, volume: Volume, handle: Mapping[str, Any]) -> str:
        """Return where the volume is: what is published at its path is what was noted when it was."""
        path = str(handle.get("path", ""))
        return path if path and handle.get("step") == PUBLISHED and usage.is_proven(path, handle) else ""

    def here(self, name: str) -> Mounted | None:
        """Return what this host has of the volume *name*, by the mount table, the catalogue, and the driver."""
        check_name(name)
        entry = self._catalogue.load(name)
        if entry is None or not entry.id:
            return None
        path = self._path(name)
        handle: dict[str, Any] = {
            "id": f"{self._driver.plugin()}/{entry.id}", "volume_id": entry.id, "context": entry.context,
            "path": self._catalogue.target(name), "staging": self._catalogue.staging(name), "step": PUBLISHED,
            "namespace": mountinfo.namespace(),
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

    def users(self, path: str, handle: Mapping[str, Any]) -> list[str]:
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

        new = self._wanted({})
        yield from readiness.check(self._driver, self._catalogue.root, new.capability, new.parameters)
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


def _table_of(key: str) -> str:
    return next((table for table in _TABLES if key.lower().startswith(table) and len(key) > len(table)), "")


def _table(given: Mapping[str, str], table: str) -> dict[str, str]:
    return {key[len(table) :]: value for key, value in given.items() if key.startswith(table)}


def _spelt(segments: Mapping[str, str]) -> str:
    return ", ".join(f"{key}={value}" for key, value in sorted(segments.items()))


