"""A provider of directories: a volume lies on the shelf, or on the table while it is mounted."""

import os
import shutil
from typing import ClassVar

from dvdcli.errors import InUseError, NotFoundError
from dvdcli.names import encode
from dvdcli.providers.base import Info, Mounted, Option, Provider


class Shelf(Provider):
    settings: ClassVar = {"path": Option(str, "/srv/shelf", "the directory of all volumes")}
    options: ClassVar = {"private": Option(bool, False, "for the volume's owner alone")}

    def create(self, name, options):
        if self.get(name) is None:
            new = self._aside(name)
            os.makedirs(f"{new}/shelf")
            os.chmod(f"{new}/shelf", 0o700 if self.option(options, "private") else 0o755)
            with open(f"{new}/name", "w", encoding="utf-8") as file:
                file.write(name)
            os.rename(new, self._home(name))  # whole or not at all: we can be killed anywhere

    def remove(self, name):
        if self.path(name):
            raise InUseError(f"the volume {name!r} lies on the table", "unmount it first")
        aside = self._aside(name)
        if self.get(name) is not None:
            os.rename(self._home(name), aside)
        shutil.rmtree(aside, ignore_errors=True)

    def get(self, name):
        return Info(name, self.path(name)) if os.path.isdir(self._home(name)) else None

    def list(self):
        root = self._home("")
        homes = [file for file in os.listdir(root) if not file.startswith(".")] if os.path.isdir(root) else []
        names = [open(f"{root}{home}/name", encoding="utf-8").read() for home in homes]
        return [Info(name, self.path(name)) for name in sorted(names)]

    def path(self, name):
        table = f"{self._home(name)}/table"
        return table if os.path.isdir(table) else ""

    def mount(self, volume, options, handle, note):
        if self.get(volume.name) is None:
            raise NotFoundError(f"there is no volume {volume}")
        home = self._home(volume.name)
        if not self.path(volume.name):
            os.rename(f"{home}/shelf", f"{home}/table")
        return Mounted(f"{home}/table", {})

    def unmount(self, volume, handle, note):
        home = self._home(volume.name)
        if self.path(volume.name):
            os.rename(f"{home}/table", f"{home}/shelf")
        return True

    def _home(self, name):
        return f"{self.pinned['path']}/{encode(name)}"

    def _aside(self, name):
        aside = f"{self.pinned['path']}/.{encode(name)}"
        shutil.rmtree(aside, ignore_errors=True)  # what a killed call left
        return aside
