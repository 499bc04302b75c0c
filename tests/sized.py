"""A home whose volumes are images: their content, their loop devices, what is left of them.

`Sized` is `local` with a size; `OfWorld` has the same to say of the volumes of a storage system.
"""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

from dvdcli.linux import mountinfo
from tests.blocks import backing_files, backing_files_below
from tests.conftest import Done, Home
from tests.gate import flags
from tests.waiting import wait_until
from tests.worlds import World


def run(*argv: str | Path, **options) -> str:
    """Return the stdout of a program that has to succeed."""
    return subprocess.run(argv, check=True, capture_output=True, **{"text": True, **options}).stdout


class Sized:
    """The volumes with a size of one home."""

    driver = "local"

    def __init__(self, home: Home) -> None:
        self.home = home

    def line(self, command: str, *options: str, name: str = "v") -> list[str]:
        """Return the arguments of a call; what starts with -- is a flag, anything else an option of the volume."""
        words = [option if option.startswith("--") else f"--volumeopts={option}" for option in options]
        return [command, *flags(name, self.driver), *words]

    def mount(self, *options: str, name: str = "v") -> Done:
        return self.home.run(*self.line("mount", *options, name=name))

    def unmount(self, *options: str, name: str = "v") -> Done:
        return self.home.run(*self.line("unmount", *options, name=name))

    def create(self, size: str = "64M", name: str = "v") -> Path:
        """Make a volume with a blank image, and return that."""
        done = self.home.run(*self.line("create", f"size={size}", name=name))
        assert done.code == 0, done
        return self.image(name)

    def image(self, name: str = "v") -> Path:
        return self.home.state / "mounts" / "local" / name / "image"

    def path(self, name: str = "v") -> Path:
        return self.image(name).parent / "data"

    def attach(self, *options: str, image: Path | None = None) -> str:
        """Put the image on a loop device by hand, and return its path."""
        return run("losetup", "--find", "--show", *options, image or self.image()).strip()

    def loops(self) -> list[str]:
        """Return the loop devices that are on files of this home."""
        return [f"/dev/{name}" for name in backing_files_below(self.home.root)]

    def mounts(self) -> list[str]:
        """Return where something is mounted in this home, the latest last; the state itself can be a mount."""
        return [mount.path for mount in mountinfo.read() if self._is_ours(mount.path)]

    def _is_ours(self, path: str) -> bool:
        return path.startswith(f"{self.home.root}/") and path != str(self.home.state)

    def write_by_hand(self, image: Path) -> None:
        """Leave a file in the file system on *image*. A container of another test can have a copy of the mount."""
        there = self.home.root / "there"
        there.mkdir()
        run("mount", "-o", "loop", image, there)
        (there / "file").write_text("kept")
        run("umount", there)
        wait_until(lambda: str(image) not in backing_files())

    def recovered(self) -> bool:
        """Return whether recover leaves nothing to do; a container of another test can stand in its way a while."""
        return self.home.recover().code == 0

    def left(self) -> list[str]:
        """Return what is left once all is undone: mounts, loop devices, files of the state."""
        return [*self.mounts(), *self.loops(), *self.home.leftovers()]


class OfWorld(Sized):
    """The volumes of a storage system, on the only machine that it has."""

    def __init__(self, world: World) -> None:
        super().__init__(world.home)
        self.world = world
        self.driver = world.driver

    def create(self, size: str = "64M", name: str = "v") -> Path:
        self.world.blank(name, int(size.removesuffix("M")) << 20)
        return self.image(name)

    def image(self, name: str = "v") -> Path:
        return self.world.image(name)

    def path(self, name: str = "v") -> Path:
        return self.home.state / "mounts" / self.driver / name

    def left(self) -> list[str]:
        return [*self.mounts(), *self.world.attached(), *self.world.strays(), *self.home.leftovers()]


def digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def tags(path: Path | str) -> dict[str, str]:
    """Return what blkid says of the image or device at *path*, with `exit`, its exit code."""
    done = subprocess.run(["blkid", "-p", "-o", "export", path], capture_output=True, text=True, check=False)
    return {"exit": str(done.returncode), **dict(line.partition("=")[::2] for line in done.stdout.splitlines())}
