"""What a driver is like: written by a test as JSON, read anew by the driver at every call."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

MIB = 1 << 20
CONTROLLER = (
    "CREATE_DELETE_VOLUME", "PUBLISH_UNPUBLISH_VOLUME", "LIST_VOLUMES", "LIST_VOLUMES_PUBLISHED_NODES", "GET_CAPACITY",
    "EXPAND_VOLUME", "PUBLISH_READONLY", "GET_VOLUME",
)  # fmt: skip
NODE = ("STAGE_UNSTAGE_VOLUME", "GET_VOLUME_STATS", "EXPAND_VOLUME")


@dataclass
class Settings:
    """A driver that can all of it; what it cannot is left out by name.

    name, version     what GetPluginInfo says
    plugin            its services
    expansion         how volumes grow: ONLINE, OFFLINE, or "" for not at all
    controller, node  the capabilities of those services; a number is one that nobody knows yet
    modes             the access modes that its volumes can have
    fs_types          the file systems that it makes, the first unless told; none where it has no plain volumes
    block             it can publish a block device
    parameters        what CreateVolume knows
    secrets           what a call must carry, by its name
    zones             the topologies where it has storage; none where it has no topology
    places            the topology of each node, by its name
    contexts          it hands out volume and publish contexts
    page, most        entries in a page at most; the largest max_entries that it takes (0: any)
    smallest, largest, step, default, pool   bytes of a volume, and of all
    most_volumes      how many a node can have, 0 for any number
    longest_path      in bytes
    patience          seconds for the kernel to be done with a device
    forgiven          seconds in which it must be noticed that a caller listens no more
    instant           its volumes are directories, which take no time, and whatever the type of a file system
    echoes            calls that answer for any volume id, as some drivers' ControllerGetVolume (with an abnormal
                      condition) and ValidateVolumeCapabilities do
    forgets           its nodes forget when they are started again, and do nothing about what they have forgotten
    reckless          a node unmounts one mount from a target, and removes whatever it finds there then
    deaf              a node mounts what is to be read-only as if it were not
    ready             what Probe says: "yes", "no", "silent", or the message of an error
    """

    name: str = "double.csi.example.com"
    version: str = "0.9.1-double"
    plugin: tuple[str, ...] = ("CONTROLLER_SERVICE",)
    expansion: str = "ONLINE"
    controller: tuple[str | int, ...] = CONTROLLER
    node: tuple[str | int, ...] = NODE
    modes: tuple[str, ...] = ("SINGLE_NODE_WRITER", "SINGLE_NODE_READER_ONLY", "MULTI_NODE_READER_ONLY")
    fs_types: tuple[str, ...] = ("ext4", "xfs")
    block: bool = True
    parameters: tuple[str, ...] = ("type", "replicas")
    secrets: dict[str, dict[str, str]] = field(default_factory=dict)
    zones: tuple[dict[str, str], ...] = ()
    places: dict[str, dict[str, str]] = field(default_factory=dict)
    contexts: bool = True
    page: int = 0
    most: int = 0
    smallest: int = MIB
    largest: int = 4096 * MIB
    step: int = MIB
    default: int = 16 * MIB
    pool: int = 1 << 40
    most_volumes: int = 0
    longest_path: int = 4095
    patience: float = 20
    forgiven: float = 20
    instant: bool = False
    echoes: tuple[str, ...] = ()
    forgets: bool = False
    reckless: bool = False
    deaf: bool = False
    ready: str = "yes"

    def write(self, root: Path) -> None:
        new = root / ".settings.json"
        new.write_text(json.dumps(dataclasses.asdict(self)))
        new.rename(root / "settings.json")

    @classmethod
    def read(cls, root: Path) -> Settings:
        return cls(**json.loads((root / "settings.json").read_text()))

    def change(self, **changes: Any) -> Settings:
        return dataclasses.replace(self, **changes)

    def publishes(self) -> bool:
        return "PUBLISH_UNPUBLISH_VOLUME" in self.controller

    def stages(self) -> bool:
        return "STAGE_UNSTAGE_VOLUME" in self.node

    def constrained(self) -> bool:
        return "VOLUME_ACCESSIBILITY_CONSTRAINTS" in self.plugin
