"""What can be set of a CSI driver and its volumes: settings, options, and what they say together."""

from __future__ import annotations

from dvdcli.errors import DvdcliError, UsageError
from dvdcli.linux import filesystems
from dvdcli.providers.base import Option, Provider, SizeOption
from dvdcli.providers.csi import access, sockets
from dvdcli.providers.csi.access import BLOCK, MOUNT, Access
from dvdcli.providers.csi.making import Wanted, check_name
from dvdcli.providers.ownership import OWNERSHIP, check_ownership

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

_TABLES = ("parameter.", "context.")  # options by any name behind it
_RISKY = ("volumeID", *_TABLES)  # what a driver does with the latter nobody can know: it can be told another server
_TASKS = ["volumeID"]  # as a volume's name can be an id


class CsiTerms(Provider):
    """The part of the provider that asks no driver anything."""

    settings = {  # noqa: RUF012
        "plugin": Option(str, "", "what the driver calls itself, by default the name that its socket is looked for by"),
        "endpoint": Option(str, "", "the socket of its node service, instead of looking for its name"),
        "controller_endpoint": Option(str, "", "the socket of its controller service, where that is another one"),
        "parameters": Option(dict, {}, "the parameters of new volumes, by the driver's own names"),
        "mount_flags": Option(list, [], "mount options of all volumes"),
        "fs_type": Option(str, "", "the file system of volumes, by default the driver's own choice"),
        "access_mode": Option(str, access.MODES[0], "the access mode of volumes, by the specification's name"),
        "secrets_file": Option(str, "", "a TOML file with the driver's secrets, of root alone", secret=True),
        "topology": Option(dict, {}, "where new volumes are to be reached from, by default this node's own segments"),
        "task_options": Option(list, _TASKS, "what a mount, whose options a task can write, may say of volumeID, "
                               "context.NAME and parameter.NAME; context. and parameter. stand for all of those"),
    }
    options = {  # noqa: RUF012
        "size": SizeOption("the size of a new volume, by default the driver's own choice"),
        "fsType": Option(str, "", "its file system, by default the setting fs_type"),
        "mountopts": Option(str, "", "mount options, separated by commas; ro for reading only"),
        "access": Option(str, MOUNT, "what is at its path: mount, a file system, or block, a block device"),
        "accessMode": Option(str, "", "its access mode, by default the setting access_mode"),
        "volumeID": Option(str, "", "take this volume of the driver's, made elsewhere, under that name"),
        "parameter.": Option(str, "", "a parameter of a new volume, by the driver's name for it: parameter.type=fast"),
        "context.": Option(str, "", "what goes with volumeID: a key of its volume context"),
        **OWNERSHIP,
    }
    aliases = {  # noqa: RUF012
        "newfstype": "fsType", "mountoptions": "mountopts", "access_mode": "accessMode", "volume_id": "volumeID",
    }  # fmt: skip

    @classmethod
    def settings_faults(cls, driver: str, settings: Mapping[str, Any]) -> Iterator[tuple[str, DvdcliError]]:
        """Return sockets that can be none, an access mode that is none, and options that tasks cannot be given."""
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
        for name in settings.get("task_options", ()):
            if name not in _RISKY and not _table_of(str(name)):
                hint = "volumeID, context. or parameter., or one of these with a name behind it"
                yield "task_options", UsageError(f"[drivers.{driver}] task_options has {name!r}, which is none", hint)

    def canonical(self, options: Mapping[str, str]) -> dict[str, str]:
        """Return *options* by the names that we have for them; the names behind a dot are the driver's."""
        own = {key: value for key, value in options.items() if not _table_of(key)}
        found = super().canonical(own)
        for key in options.keys() - own.keys():
            name = f"{_table_of(key)}{key.partition('.')[2]}"
            if found.setdefault(name, options[key]) != options[key]:
                raise UsageError(f"the volume option {name} is given twice, with two values")
        return found

    def check(self, options: Mapping[str, str]) -> None:
        """Raise UsageError for an option that is not known, or a value that is not possible."""
        given = self.canonical(options)
        super().check({key: value for key, value in given.items() if not _table_of(key)})
        check_ownership(self, options)
        if self.option(options, "access") not in (MOUNT, BLOCK):
            raise UsageError(f"the volume option access={self.option(options, 'access')} is none of {MOUNT}, {BLOCK}")
        for key in _TABLES:
            if key in given:
                raise UsageError(f"the volume option {key}={given[key]} has no name", f"{key}NAME=VALUE")
        # A task can choose these: the operator's own mount_flags and fs_type are free.
        filesystems.check_options(self.option(options, "mountopts"), list(filesystems.FILE_SYSTEMS.values()))
        fs_type = self.option(options, "fsType")
        if fs_type and not (fs_type.isascii() and fs_type.isalnum()):
            raise UsageError(f"the volume option fsType={fs_type} is no file system's name", "such as ext4 or xfs")
        wanted = self.access(options)
        if wanted.kind == BLOCK and {"fsType", "uid", "gid", "mode"} & given.keys():
            raise UsageError("a volume with access=block has no file system of ours", "leave fsType and owner out")
        check_name(self.option(options, "volumeID"))
        if table(given, "context.") and not given.get("volumeID"):
            raise UsageError("the volume options context.… go with the volume option volumeID", "name the volume")

    def check_mount(self, options: Mapping[str, str]) -> None:
        """Raise UsageError, as check() does, and for what the setting task_options does not let a mount say."""
        self.check(options)
        allowed = self.pinned.get("task_options", _TASKS)
        for key in sorted(self.canonical(options)):
            if key not in allowed and (_table_of(key) or key) in _RISKY and _table_of(key) not in allowed:
                raise UsageError(
                    f"the driver {self.driver} takes no volume option {key} from a mount, which may be a task's",
                    "say it to dvdcli create first, or let mounts say it with the setting task_options",
                )

    def access(self, options: Mapping[str, str]) -> Access:
        """Return how a volume with *options* is accessed. Raises UsageError."""
        flags = [*self.pinned.get("mount_flags", ()), *filesystems.split_options(self.option(options, "mountopts"))]
        mode = access.mode(self.option(options, "accessMode") or self.pinned.get("access_mode") or access.MODES[0])
        fs_type = self.option(options, "fsType") or self.pinned.get("fs_type", "")
        return Access(self.option(options, "access"), mode, fs_type, list(dict.fromkeys(flags)))

    def wanted(self, options: Mapping[str, str]) -> Wanted:
        """Return what a new volume with *options* is to be like. Raises UsageError."""
        given = self.canonical(options)
        own = table(given, "parameter.")
        of_access = bool({"access", "accessMode"} & given.keys())
        asked = {"size": "size" in given, "parameters": bool(own), "capability": of_access}
        return Wanted(
            self.option(options, "size"), {**self.pinned.get("parameters", {}), **own}, self.access(options).fields(),
            self.pinned.get("topology", {}), frozenset(key for key in asked if asked[key]),
        )  # fmt: skip


def _table_of(key: str) -> str:
    return next((table for table in _TABLES if key.lower().startswith(table) and len(key) > len(table)), "")


def table(given: Mapping[str, str], name: str) -> dict[str, str]:
    """Return the options *given* by a name behind *name*, such as `parameter.`, by those names."""
    return {key[len(name) :]: value for key, value in given.items() if key.startswith(name)}


