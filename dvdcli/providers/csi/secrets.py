"""The secrets of a CSI driver: from a file of root's alone into the requests that take them, and nowhere else.

The file is TOML. Its strings go with every call that takes secrets; those of a table that is named like a call, such
as [NodeStageVolume], with that call alone, and before the others of the same name.
"""

from __future__ import annotations

import os

from dvdcli import private
from dvdcli.errors import DvdcliError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

MASK = "********"
_SETTING = "secrets_file"


class Secrets:
    """What is in the file at *path*, "" for no secrets; read when a call first needs one."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._read: dict[str, Any] | None = None

    def of(self, call: str) -> dict[str, str]:
        """Return what goes with *call*. Raises DvdcliError for a file that cannot be used."""
        told = self._all()
        table = told.get(call, {})
        return {**{key: value for key, value in told.items() if isinstance(value, str)}, **table}

    def masked(self, text: str) -> str:
        """Return *text*, a driver's words, without any secret, whichever call it was told with."""
        try:
            values = set(_strings(self._all()))
        except DvdcliError:
            return "its words are not shown: what the secrets in them are cannot be read"
        for value in sorted(values, key=len, reverse=True):
            if value:
                text = text.replace(value, MASK)
        return text

    def _all(self) -> dict[str, Any]:
        if self._read is None:
            self._read = _load(self._path) if self._path else {}
        return self._read


def _load(path: str) -> dict[str, Any]:
    import tomllib

    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            private.check_opened(path, file.fileno())
            told = tomllib.load(file)
    except OSError as error:
        raise DvdcliError(f"{path}: {error.strerror}", f"see {_SETTING}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError):
        # Not why, and from no cause: the parser's words can have a part of a secret in them.
        raise DvdcliError(f"{path} is no TOML", 'a line for each secret, like name = "value"') from None
    for key, value in told.items():
        values = value.values() if isinstance(value, dict) else [value]
        if not all(isinstance(each, str) for each in values):
            raise DvdcliError(f"{path}: {key} is neither a string nor a table of strings", f"see {_SETTING}")
    return told


def _strings(told: dict[str, Any]) -> Iterable[str]:
    for value in told.values():
        yield from value.values() if isinstance(value, dict) else [value]
