"""The embedded default: a volume is a directory on this host, kept across unmounts, gone only with `remove`.

    <root>/<volume>/name     the volume's full name
    <root>/<volume>/data     the volume; its path never changes
    <root>/<volume>/image    where it was made with a size: the blocks of what is mounted at data, see image.py
"""

from __future__ import annotations

import os

from dvdcli.config import mounts_directory
from dvdcli.errors import DvdcliError, InUseError, NotFoundError, UsageError
from dvdcli.linux import files, mountinfo
from dvdcli.names import encode
from dvdcli.providers.base import Info, Mounted, Option, Provider, SizeOption
from dvdcli.providers.ownership import OWNERSHIP, check_ownership, dress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

    from dvdcli.clock import Deadline
    from dvdcli.findings import Finding
    from dvdcli.providers.base import Note
    from dvdcli.providers.image import ImageProvider
    from dvdcli.volume import Volume


_PATH = "the directory that holds the volumes, by default one of the driver's name beside the other mounts"


class LocalProvider(Provider):
    """Directories below the setting `path`, by default a directory of this driver's beside the other mounts."""

    settings = {"path": Option(str, "", _PATH)}  # noqa: RUF012
    options = {  # noqa: RUF012
        "size": SizeOption("the size of a new volume, which is an image file then: a number of GiB, or with M, G or T"),
        "fsType": Option(str, "ext4", "the file system of a new volume with a size: ext4, xfs or btrfs"),
        "mountopts": Option(str, "", "mount options of a volume with a size, separated by commas"),
        "overwriteFs": Option(bool, False, "make a new file system at every mount: the data on it is lost"),
        **OWNERSHIP,
    }
    aliases = {"newfstype": "fsType", "mountoptions": "mountopts"}  # noqa: RUF012

    def __init__(self, driver: str, settings: Mapping[str, Any], deadline: Deadline, patience: float) -> None:
        super().__init__(driver, settings, deadline, patience)
        self._path: str = settings.get("path") or f"{mounts_directory()}/{encode(driver)}"
        self._occupied: set[str] | None = None  # volumes on whose mounts no look is dared; None until _root has asked
        for _, fault in self.settings_faults(driver, settings):
            raise fault
        self.pinned = {"path": self._path}

    @classmethod
    def settings_faults(cls, driver: str, settings: Mapping[str, Any]) -> Iterator[tuple[str, DvdcliError]]:
        """Return a path that is none."""
        path = settings.get("path") or "/"
        if not path.startswith("/") or "\0" in path:
            yield "path", UsageError(f"[drivers.{driver}] path = {path!r} is no absolute path")

    def check(self, options: Mapping[str, str]) -> None:
        """Raise UsageError for an unknown option, or a value that is not possible."""
        super().check(options)
        check_ownership(self, options)
        if {"fsType", "mountopts", "overwriteFs"} & self.canonical(options).keys():
            self._images.check(options)

    @property
    def _root(self) -> str:
        """The directory of the volumes, which can be in a file system of the network: once it has answered.

        Raises TryAgainError at the deadline.
        """
        if self._occupied is None:
            self._occupied = set()
            if mountinfo.may_hang():
                from dvdcli.linux import aside

                aside.ask(self._path, self.deadline)
                root = os.path.realpath(self._path)
                below = (each.path for each in mountinfo.read() if each.can_hang and each.path.startswith(f"{root}/"))
                self._occupied = {f"{self._path}{path[len(root):]}" for path in below}
        return self._path

    @property
    def _images(self) -> ImageProvider:
        """The provider of the volumes that have a size."""
        from dvdcli.providers.image import ImageProvider

        images = ImageProvider(self.driver, self._root, self.options, self.deadline)
        images.guard = self.guard
        return images

    def _is_sized(self, name: str) -> bool:
        return os.path.exists(f"{self._home(name)}/image")

    def create(self, name: str, options: Mapping[str, str]) -> None:
        """Make the directory of the volume *name*, and its image where it has a size: whole, or not at all."""
        self.check(options)
        home, size = self._home(name), self.option(options, "size")
        if os.path.isdir(home):
            self._compare(name, size)
            return
        unused = {"fsType", "mountopts", "overwriteFs"} & self.canonical(options).keys()
        if unused and not size:
            raise UsageError(f"the volume option {min(unused)} is for a volume with a size", "give it a size")
        self._make_root()
        new = self._aside("new", name)
        self._discard(new)
        try:
            os.mkdir(new, 0o711)
            os.chmod(new, 0o711)  # nosec B103 # noqa: S103 - a task without a container path passes through
            os.mkdir(f"{new}/data", 0o700)
            if size:
                _make_image(f"{new}/image", size)
            else:
                dress(self, f"{new}/data", options)
            files.replace(f"{new}/name", name.encode(), durable=True)
            files.sync_directory(new)
            os.rename(new, home)
        except OSError as error:
            self._discard(new)
            raise DvdcliError(f"{home} cannot be made: {error.strerror}", "see that directory") from error
        files.sync_directory(self._root)

    def of_mount(self, options: Mapping[str, str]) -> list[str]:
        """Return the options for the file system of a volume with a size, which is made by the first mount."""
        return self._images.of_mount(options) if self.option(options, "size") else []

    def _compare(self, name: str, size: int) -> None:
        """Raise UsageError where the volume *name*, which is there, has another size than *size* bytes (0 for any)."""
        disk = self._images.find(name) if size else None
        if size and (disk is None or disk.size != size):
            has = f"{disk.size} bytes" if disk else "no size of its own"
            raise UsageError(f"the volume {name!r} is there, with {has}", "resize it, or take it as it is")

    def remove(self, name: str) -> None:
        """Delete the volume *name* and all that is in it, unless it is mounted anywhere."""
        home = self._home(name)
        if os.path.isdir(home):
            users = mountinfo.users(f"{home}/data")
            if self._is_sized(name) and self._images.locate({"id": self._images.image(name)}) is not None:
                raise InUseError(f"the volume {name!r} is attached to a loop device", "unmount it first")
            below = [mount.path for mount in mountinfo.read() if mount.path.startswith(f"{home}/")]
            if users or below:
                by = ", ".join([*map(str, users), *below])
                raise InUseError(f"the volume {name!r} is in use: {by}", "unmount it there first")
            gone = self._aside("gone", name)
            self._discard(gone)
            os.rename(home, gone)
            files.sync_directory(self._root)
        self._discard(self._aside("gone", name))

    def tidy(self, name: str) -> None:
        """Delete what is half made, or half deleted: that has all of a volume's data still."""
        for purpose in ("new", "gone"):
            self._discard(self._aside(purpose, name))

    def abandon(self, name: str) -> None:
        """Delete what is half made."""
        self._discard(self._aside("new", name))

    def get(self, name: str) -> Info | None:
        """Return the volume *name*, None where it has no directory."""
        return self._info(name) if os.path.isdir(self._home(name)) else None

    def _info(self, name: str) -> Info:
        disk = self._images.find(name) if self._is_sized(name) else None
        return Info(name, self.path(name), disk.size if disk else 0)

    def list(self) -> list[Info]:
        """Return all volumes."""
        found = []
        for file_name in files.names_in(self._root):
            data = None if file_name.startswith(".") else files.read(f"{self._root}/{file_name}/name")
            if data is not None:
                found.append(self._info(data.decode("utf-8", "backslashreplace")))
        return sorted(found, key=lambda info: info.name)

    def path(self, name: str) -> str:
        """Return the directory of the volume *name*: it is always in place, unless the volume has a size."""
        if self._is_sized(name):
            return self._images.path(name)
        path = f"{self._home(name)}/data"
        return path if path in (self._occupied or ()) or os.path.isdir(path) else ""

    def here(self, name: str) -> Mounted | None:
        """Return what is attached to a loop device; that a directory is in place is no trace of a mount."""
        return self._images.here(name) if self._is_sized(name) else None

    def mounted_at(self, volume: Volume, handle: Mapping[str, Any]) -> str:
        """Return where *volume* is."""
        if handle.get("id"):
            return self._images.mounted_at(volume, handle)
        return self.path(volume.name)

    def identity(self, handle: Mapping[str, Any]) -> str:
        """Return the path of the volume's image, "" for a directory."""
        return str(handle.get("id", ""))

    def mount(self, volume: Volume, options: Mapping[str, str], handle: Mapping[str, Any], note: Note) -> Mounted:
        """Return the volume's directory; that of a volume with a size is mounted first."""
        if self._is_sized(volume.name):
            return self._images.mount(volume, options, handle, note)
        path = self.path(volume.name)
        if not path:
            raise NotFoundError(f"there is no volume {volume}")
        return Mounted(path, {})

    def unmount(self, volume: Volume, handle: Mapping[str, Any], note: Note) -> bool:
        """Leave the directory where it is; a volume with a size is unmounted."""
        return self._images.unmount(volume, handle, note) if handle.get("id") else True

    def resize(self, name: str, options: Mapping[str, str]) -> None:
        """Make the volume *name* larger, if it has a size."""
        if self.get(name) is None:
            raise NotFoundError(f"there is no volume {name!r}")
        if not self._is_sized(name):
            raise UsageError(f"the volume {name!r} is a directory: it has no size", "make another one, with a size")
        self._images.resize(name, options)

    def check_ready(self) -> Iterator[Finding]:
        """Return whether the directory of the volumes can be used, and whether volumes can have a size."""
        from dvdcli.findings import failed
        from dvdcli.providers import readiness

        yield from readiness.directory(self._root, self.deadline)
        yield from readiness.only_odd(readiness.root(), "no volumes with a size")
        yield from readiness.only_odd(readiness.programs(), "no volumes with a size")
        lost = [failed(error.message, error.hint) for error in readiness.missing(("losetup",))]
        if not os.path.exists("/dev/loop-control"):
            lost.append(failed("there is no /dev/loop-control", "modprobe loop"))
        yield from readiness.only_odd(iter(lost), "no volumes with a size")

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
                os.chmod(path, 0o711)  # nosec B103 # noqa: S103 - as above
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


def _make_image(path: str, size: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.ftruncate(descriptor, size)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
