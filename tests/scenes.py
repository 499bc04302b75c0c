"""One call on a block device that is interrupted somewhere: made ready, hit by a test, looked at afterwards."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from tests import walk as walking
from tests.conftest import COMMAND
from tests.worlds import VARIANTS, WORLDS, World, close_after_failure

AGAIN, RECOVER = THENS = ["the same call", "recover"]


class Scene:
    """A world, and the call in it: `first mount`, which makes the volume, `mount`, `unmount`, `recover` after a boot.

    `finish` makes the same call once more, or recovers, and then asserts all that must hold.
    """

    def __init__(self, world: str, scene: str) -> None:
        self.world: World = {**WORLDS, **VARIANTS}[world](COMMAND)
        self.home = self.world.home
        self.request = Path(os.devnull)
        self.scene = scene
        self.verb = {"first mount": "mount"}.get(scene, scene)
        options = self.world.options if scene == "first mount" else ()
        self.args = (self.verb, *self.world.arguments(), *options) if self.verb != "recover" else ("recover",)
        self.files: list[str] = []
        self.seed = ""
        if scene != "first mount":
            self.write("before", self.world.mount("v", *self.world.options))
            self.seed = self.world.seed()
        if scene == "mount":
            assert self.world.call("unmount").code == 0
        if scene == "recover":
            self.world.reboot()

    def write(self, name: str, place: Path) -> None:
        with (place / name).open("w") as file:
            file.write(name)
            os.fsync(file.fileno())
        self.files.append(name)

    def look(self) -> None:
        """After the hit: what is mounted or complete now is never made anew."""
        self.world.settle()
        self.world.wait_for_children()
        for place in self.world.mounts():
            self.write("meanwhile", Path(place))
        self.seed = self.seed or self.world.seed()

    def check_data(self, place: Path) -> None:
        assert os.path.ismount(place)
        assert {name: (place / name).read_text() for name in self.files} == {name: name for name in self.files}
        assert self.seed in ("", self.world.seed()), "a second file system was made"

    def check(self, held: bool | None) -> None:
        """Everything agrees, and what was written is there, now or at the next mount; then nothing is left."""
        names = self.world.check_agreement()
        if held is not None:
            assert names == (["v"] if held else [])
        if not names:
            more = ["--explicitcreate"] if self.world.findable() else self.world.options
            self.world.mount("v", *more)
        place = Path(str(self.world.slots()["v"]["mountpoint"]))
        self.check_data(place)
        assert self.world.volumes() == ["v"]
        done = self.world.call("unmount")
        assert done.code == 0, done
        assert self.world.check_agreement() == []

    def finish(self, hit: subprocess.CompletedProcess[bytes], point: object, then: str) -> None:
        """Make the same call again, or recover; all is right then, and whatever goes wrong says where it was hit."""
        where = f"{self.scene}, {then}, at {point}: exit {hit.returncode}, {hit.stderr!r}, {self.world.told()}"
        try:
            self.look()
            again = then == AGAIN
            done = self.world.patiently(lambda: walking.again(self)) if again else self.world.recover()
            assert done.code == 0, done
            last = self.world.recover()
            assert (last.code, last.out) == (0, ""), last
            held = self.verb == "mount" if again else None
            self.check(held)
            self.world.close()
        except BaseException as error:
            close_after_failure(self.world)
            raise AssertionError(where) from error
