"""The embedded default: a volume is a directory on this host, kept across unmounts, gone only with `remove`.

    <root>/<volume>/name    the volume's full name
    <root>/<volume>/data    the volume; its path never changes
"""

from __future__ import annotations

import os

from dvdcli.config import mounts_directory
from dvdcli.errors import DvdcliError, InUseError, NotFoundError, UsageError
from dvdcli.linux import files
from dvdcli.providers.base import Info, Mounted, Option, Provider
from dvdcli.volume import encode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from dvdcli.clock import Deadline
    from dvdcli.providers.base import Note
    from dvdcli.volume import Volume

_UNCHANGED = 2**32 - 1  # chown(2)'s "leave it"


class LocalProvider(Provider):
    """Directories below the setting `path`, by default a directory of this driver's beside the other mounts."""

    settings = {"path": Option(str, "", "the directory that holds the volumes")}  # noqa: RUF012
    options = {  # noqa: RUF012
        "uid": Option(int, _UNCHANGED, "the owner of a new volume"),
        "gid": Option(int, _UNCHANGED, "the group of a new volume"),
        "mode": Option(str, "755", "the permissions of a new volume, in octal"),
    }

    def __init__(self, driver: str, settings: Mapping[str, Any], deadline: Deadline, patience: float) -> None:
        super().__init__(driver, settings, deadline, patience)
        self._root: str = settings.get("path") or f"{mounts_directory()}/{encode(driver)}"
        if not self._root.startswith("/") or "\0" in self._root:
            raise UsageError(f"[drivers.{driver}] path = {self._root!r} is no absolute path")
        self.pinned = {"path": self._root}

    def check(self, options: Mapping[str, str]) -> None:
        """Raise UsageError for an unknown option, or a mode that is none."""
        super().check(options)
        mode = options.get("mode", "755")
        if not (0 < len(mode) <= 4 and all(digit in "01234567" for digit in mode)):
            raise UsageError(f"the volume option mode={mode} is no octal mode")
        for key in ("uid", "gid"):
            if self.option(options, key) > _UNCHANGED:
                raise UsageError(f"the volume option {key}={options[key]} is no id", f"at most {_UNCHANGED - 1}")

    def create(self, name: str, options: Mapping[str, str]) -> None:
        """Make the directory of the volume *name*: whole, or not at all."""
        self.check(options)
        home = self._home(name)
        if os.path.isdir(home):
            return
        self._make_root()
        new = self._aside("new", name)
        self._discard(new)
        try:
            os.mkdir(new, 0o711)
            os.chmod(new, 0o711)  # noqa: S103 - a task without a container path passes through
            os.mkdir(f"{new}/data", 0o700)
            os.chown(f"{new}/data", self.option(options, "uid"), self.option(options, "gid"))
            os.chmod(f"{new}/data", int(options.get("mode", "755"), 8))  # last: chown clears setuid and setgid
            files.replace(f"{new}/name", name.encode(), durable=True)
            files.sync_directory(new)
            os.rename(new, home)
        except OSError as error:
            self._discard(new)
            raise DvdcliError(f"{home} cannot be made: {error.strerror}", "see that directory") from error
        files.sync_directory(self._root)

    def remove(self, name: str) -> None:
        """Delete the volume *name* and all that is in it, unless it is mounted anywhere."""
        from dvdcli.linux import mountinfo

        home = self._home(name)
        if os.path.isdir(home):
            users = mountinfo.users(f"{home}/data")
            below = [mount.path for mount in mountinfo.read() if mount.path.startswith(f"{home}/")]
            if users or below:
                by = ", ".join([*map(str, users), *below])
                raise InUseError(f"the volume {name!r} is in use: {by}", "unmount it there first")
            gone = self._aside("gone", name)
            self._discard(gone)
            os.rename(home, gone)
            files.sync_directory(self._root)
        self._discard(self._aside("gone", name))

    def get(self, name: str) -> Info | None:
        """Return the volume *name*, None where it has no directory."""
        home = self._home(name)
        return Info(name, f"{home}/data") if os.path.isdir(f"{home}/data") else None

    def list(self) -> list[Info]:
        """Return all volumes."""
        found = []
        for file_name in files.names_in(self._root):
            name = None if file_name.startswith(".") else files.read(f"{self._root}/{file_name}/name")
            if name is not None:
                found.append(Info(name.decode("utf-8", "backslashreplace"), f"{self._root}/{file_name}/data"))
        return sorted(found, key=lambda info: info.name)

    def path(self, name: str) -> str:
        """Return the directory of the volume *name*: it is always in place."""
        info = self.get(name)
        return info.mountpoint if info else ""

    def mount(self, volume: Volume, options: Mapping[str, str], handle: Mapping[str, Any], note: Note) -> Mounted:
        """Return the volume's directory."""
        path = self.path(volume.name)
        if not path:
            raise NotFoundError(f"there is no volume {volume}")
        return Mounted(path, {})

    def unmount(self, volume: Volume, handle: Mapping[str, Any], note: Note) -> bool:
        """Leave the directory where it is."""
        return True

    def _home(self, name: str) -> str:
        return f"{self._root}/{encode(name)}"

    def _aside(self, purpose: str, name: str) -> str:
        # No encoded name starts with a dot, so this is nobody's volume.
        return f"{self._root}/.{purpose}-{encode(name)}"

    def _make_root(self) -> None:
        missing = []
        path = self._root
        while not os.path.isdir(path):
            missing.append(path)
            path = os.path.dirname(path)
        for path in reversed(missing):
            try:
                os.mkdir(path, 0o711)
                os.chmod(path, 0o711)  # noqa: S103 - as above
            except FileExistsError:
                continue
            files.sync_directory(os.path.dirname(path))

    def _discard(self, path: str) -> None:
        if not os.path.lexists(path):
            return
        import shutil

        try:
            shutil.rmtree(path)
        except OSError as error:
            raise DvdcliError(f"{error.filename}: {error.strerror}", f"see what is in {path}") from error
