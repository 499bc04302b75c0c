"""The holds on one volume, on disk: each a file, so that letting go is an unlink, which needs no space.

    volumes/<driver>/<name>/holds/<who>.json
"""

from __future__ import annotations

import os

from dvdcli import fastjson
from dvdcli.errors import NewerError
from dvdcli.linux import files
from dvdcli.names import decode, encode
from dvdcli.volume import Hold, is_time, refuse_newer

_ENDING = ".json"


class Holds:
    """The holds in *directory*, which need not be there. Whoever changes them has the volume's lock."""

    __slots__ = ("_void", "directory")

    def __init__(self, directory: str) -> None:
        self.directory = directory
        self._void: list[str] = []

    def valid(self, boot: str) -> dict[str, Hold]:
        """Return the valid holds by who has them. One of another boot is void, and left out.

        One that cannot be read counts as valid, under the name of its file: when in doubt, the volume is in use.
        """
        found = {}
        for file_name in self._files():
            hold = self._read(file_name, boot)
            if hold.boot == boot:
                found[hold.who] = hold
            else:
                self._void.append(file_name)
        return found

    def names(self, boot: str) -> list[str]:
        """Return who has a hold, sorted, where the record is of *boot*: then every hold is too; they are not read."""
        return sorted(decode(name[: -len(_ENDING)]) or self._read(name, boot).who for name in self._files())

    def every_name(self) -> list[str]:
        """Return who has a hold, valid or void, as the files themselves say; those of a newer schema are left out."""
        found = []
        for file_name in self._files():
            try:
                found.append(self._read(file_name, "").who)
            except NewerError:
                continue
        return found

    def has(self, who: str) -> bool:
        """Return whether there is a hold of *who*, valid or void."""
        return os.path.lexists(self._path(who))

    def are_none(self) -> bool:
        """Return whether there is nothing at all, neither a hold nor what a killed call left of one."""
        return not files.names_in(self.directory)

    def take(self, hold: Hold) -> None:
        """Add *hold*. It need not be durable: a power cut ends the boot, and every hold with it. Raises OSError."""
        path = self._path(hold.who)
        data = fastjson.dumps(hold.to_json()).encode()
        try:
            files.replace(path, data, durable=False)
        except FileNotFoundError:
            os.mkdir(self.directory, 0o700)
            files.replace(path, data, durable=False)

    def drop(self, who: str) -> bool:
        """Remove the hold of *who*; return whether there was one. Needs no space. Raises OSError."""
        return files.unlink(self._path(who))

    def drop_all(self) -> None:
        """Remove every hold. Raises OSError."""
        for file_name in files.names_in(self.directory):
            files.unlink(f"{self.directory}/{file_name}")

    def drop_void(self) -> None:
        """Remove the holds that valid() left out. Raises OSError."""
        while self._void:
            files.unlink(f"{self.directory}/{self._void.pop()}")

    def sweep(self) -> None:
        """Remove what killed calls left beside the holds. Raises OSError."""
        for file_name in files.names_in(self.directory):
            if file_name.endswith(f"{_ENDING}.new"):
                files.unlink(f"{self.directory}/{file_name}")

    def _files(self) -> list[str]:
        return [name for name in files.names_in(self.directory) if name.endswith(_ENDING)]

    def _path(self, who: str) -> str:
        return f"{self.directory}/{encode(who)}{_ENDING}"

    def _read(self, file_name: str, boot: str) -> Hold:
        path = f"{self.directory}/{file_name}"
        stem = file_name[: -len(_ENDING)]
        try:
            fields = fastjson.loads(files.read(path) or b"")
            refuse_newer(path, fields)
            who, of_boot = fields.pop("who"), fields.pop("boot")
            if not is_time(fields.get("since", {})):
                del fields["since"]
            if isinstance(who, str) and isinstance(of_boot, str) and encode(who) == stem:
                return Hold(who, of_boot, fields)
        except (ValueError, KeyError):
            pass
        return Hold(decode(stem) or stem, boot, {})
