"""How a volume is to be accessed: the volume capability of the specification, out of options and settings."""

from __future__ import annotations

from dvdcli.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MOUNT, BLOCK = "mount", "block"
MODES = (
    "SINGLE_NODE_WRITER", "SINGLE_NODE_READER_ONLY", "MULTI_NODE_READER_ONLY", "MULTI_NODE_SINGLE_WRITER",
    "MULTI_NODE_MULTI_WRITER", "SINGLE_NODE_SINGLE_WRITER", "SINGLE_NODE_MULTI_WRITER",
)  # fmt: skip
# As people know them from Kubernetes.
_SHORT = {
    "RWO": "SINGLE_NODE_WRITER", "ROX": "MULTI_NODE_READER_ONLY", "RWX": "MULTI_NODE_MULTI_WRITER",
    "RWOP": "SINGLE_NODE_SINGLE_WRITER",
}  # fmt: skip


def mode(word: str) -> str:
    """Return the access mode that *word* means, in any case. Raises UsageError."""
    name = word.upper().replace("-", "_")
    name = _SHORT.get(name, name)
    if name not in MODES:
        raise UsageError(f"{word!r} is no access mode", f"one of {', '.join(MODES)}, or {', '.join(_SHORT)}")
    return name


class Access:
    """How one volume is accessed: *kind*, one of the words above, and *mode*, an access mode's name.

    Of a file system: *fs_type*, "" for the driver's own choice, mount *flags*, and the *group* that its files are to
    be of, "" for none. With *read_only* nobody writes through this mount.
    """

    __slots__ = ("flags", "fs_type", "group", "kind", "mode", "read_only")

    def __init__(self, kind: str, mode_name: str, fs_type: str, flags: list[str], group: str = "") -> None:
        self.kind = kind
        self.mode = mode_name
        self.fs_type = fs_type
        self.flags = [flag for flag in flags if flag not in ("ro", "rw")]
        self.group = group
        self.read_only = "ro" in flags or mode_name.endswith("_READER_ONLY")

    def fields(self) -> dict[str, Any]:
        """Return the fields of the message VolumeCapability."""
        if self.kind == BLOCK:
            kind: dict[str, Any] = {"block": {}}
        else:
            mount: dict[str, Any] = {"fs_type": self.fs_type, "mount_flags": self.flags}
            kind = {"mount": {**mount, "volume_mount_group": self.group} if self.group else mount}
        return {**kind, "access_mode": {"mode": self.mode}}
