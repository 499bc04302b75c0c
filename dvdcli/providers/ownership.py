"""Owner and mode of a new volume's root: the options uid, gid and mode."""

from __future__ import annotations

import os

from dvdcli.errors import UsageError
from dvdcli.providers.base import Option

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from dvdcli.providers.base import Provider

_UNCHANGED = 2**32 - 1  # chown(2)'s "leave it"

OWNERSHIP = {
    "uid": Option(int, _UNCHANGED, "the owner of a new volume"),
    "gid": Option(int, _UNCHANGED, "the group of a new volume"),
    "mode": Option(str, "755", "the permissions of a new volume, in octal"),
}


def check_ownership(provider: Provider, options: Mapping[str, str]) -> None:
    """Raise UsageError for a mode that is none, or an id that is too large."""
    mode = provider.option(options, "mode")
    if not (0 < len(mode) <= 4 and all(digit in "01234567" for digit in mode)):
        raise UsageError(f"the volume option mode={mode} is no octal mode", "one is like 750")
    for key in ("uid", "gid"):
        if provider.option(options, key) > _UNCHANGED:
            raise UsageError(f"the volume option {key}={provider.option(options, key)} is no id")


def dress(provider: Provider, path: str, options: Mapping[str, str]) -> None:
    """Give the root of a new volume, at *path*, its owner and mode. Raises OSError."""
    os.chown(path, provider.option(options, "uid"), provider.option(options, "gid"))
    os.chmod(path, int(provider.option(options, "mode"), 8))  # last: chown clears setuid and setgid


def is_untouched(path: str) -> bool:
    """Return whether the root of the file system at *path* is as mkfs makes it: nobody has used the volume yet.

    A call that was killed between mkfs and its end cannot tell the next one that the volume is new. Raises OSError.
    """
    status = os.stat(path)
    as_made = (status.st_uid, status.st_gid, status.st_mode & 0o7777) == (0, 0, 0o755)
    return as_made and set(os.listdir(path)) <= {"lost+found"}
