"""Calls that are interrupted somewhere: each made ready in a world, hit by a test, looked at afterwards.

A scene is a class; one that changes something and is not here is not walked. `SCENES` has them by name, `PAIRS` with
the worlds that they are played in.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from dvdcli.containers import directory_name
from dvdcli.linux import mountinfo
from tests import walk as walking
from tests.conftest import COMMAND
from tests.doubles.mesos_agent import MesosAgent
from tests.isolators import Isolator, variables
from tests.plainworlds import WALKED
from tests.worlds import WORLDS, CsiWorld, LocalWorld, ScaleIoWorld, World, close_after_failure

AGAIN, RECOVER = THENS = ["the same call", "recover"]
HOST, FIRST, C1, ADOPTED = "name:host", "name:first", "container:c1", "container:~/c1"
NOT_FOUND = 3


class Scene:
    """A call in a world: a mount of a volume that is there, unless a subclass says otherwise.

    `finish` makes the same call once more, or recovers, and then asserts all that must hold. *previous* is a scene
    that has ended well: its world is used again, whose volume is unmounted then.
    """

    verb = "mount"
    more: tuple[str, ...] = ()
    fresh = False  # whether there is no volume before
    ends: tuple[int, ...] = (0,)  # what the same call made again exits with
    holds: tuple[str, ...] = (HOST,)  # who holds the volume after it
    kept: tuple[str, ...] = ()  # who holds it whatever happens
    mounted = False  # whether it is mounted whatever happens
    gone = False  # whether the volume is not there any more after it
    pending = False  # whether what the call could not do is recover's, and its caller is done
    reusable = True
    before: tuple[str, ...] = ()

    def __init__(self, world: str, previous: Scene | None = None) -> None:
        self.name = next((name for name, kind in SCENES.items() if kind is type(self)), self.verb)
        self.world: World = previous.world if previous else WALKED[world](COMMAND)
        self.home = self.world.home
        self.place = self.home.state
        self.isolator = Isolator(self.home)
        self.request = Path(os.devnull)
        self.files: list[str] = []
        self.seed = ""
        try:
            self.furnish()
            if previous is not None:
                self.files, self.seed = previous.files, previous.seed
                (self.home.state / "boot").unlink()  # recover looks at everything, as in a new world
            elif not self.fresh:
                self.write("before", self.world.mount("v", *self.world.options))
                self.seed = self.world.seed()
                self.unmount()
            self.args: tuple[str, ...] = (self.verb, *self.world.arguments(), *self.more)
            self.start()
            self.world.forget()
        except BaseException:
            close_after_failure(self.world)
            raise

    # What each scene has of its own

    def furnish(self) -> None:
        """Make the world different from others."""

    def start(self) -> None:
        """Come to where the call is made."""

    def undo(self) -> None:
        """Take back what the call has done, however far it came."""
        self.unmount(*(["--hold=first"] if FIRST in self.kept else []))
        if FIRST in self.kept:
            self.unmount()

    def judge(self, then: str) -> None:
        """Assert what is special after the same call, or after recover."""

    # What all share

    def unmount(self, *more: str) -> None:
        done = self.world.call("unmount", "v", *more)
        assert done.code == 0, done

    def ask(self, verb: str, request: dict[str, Any]) -> None:
        """Let the call be an isolator's: *request* is what it reads."""
        self.args = (verb, "--isolator")
        self.request = self.home.root / "request.json"
        self.request.write_text(json.dumps(request))

    def launch(self) -> dict[str, Any]:
        return self.isolator.request("c1", variables(NAME="v", DRIVER=self.world.driver))

    def write(self, name: str, place: Path) -> None:
        if not self.world.keeps_data or name in self.files:
            return
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
        self.check_kept()

    def check_kept(self) -> None:
        rows = self.world.slots()
        assert set(self.kept) <= set(rows["v"]["holds"] if rows else ()), rows
        assert not self.mounted or not self.world.claimed or len(self.world.mounts()) == 1

    def check_data(self, place: Path) -> None:
        assert os.path.isdir(place)
        assert not self.world.claimed or os.path.ismount(place)
        assert {name: (place / name).read_text() for name in self.files} == {name: name for name in self.files}
        assert self.seed in ("", self.world.seed()), "a second file system was made"

    def check(self, then: str) -> None:
        """Everything agrees, and what was written is there, now or at the next mount."""
        names = self.world.check_agreement()
        rows = self.world.slots()
        self.check_kept()
        if then == AGAIN:
            assert (sorted(rows["v"]["holds"]) if names else []) == sorted(self.holds), rows
        there = self.world.volumes()
        assert not (self.gone and then == AGAIN and there), there
        if not there and self.gone:
            self.files, self.seed = [], ""
        elif not self.fresh or (then == AGAIN and not self.gone):
            assert there == ["v"]
        self.judge(then)
        if names:
            self.check_data(Path(str(rows["v"]["mountpoint"])))
        elif not self.reusable:  # else the next scene mounts it
            more = ["--explicitcreate"] if self.world.findable() else self.world.options
            self.check_data(self.world.mount("v", *more))

    def finish(self, hit: subprocess.CompletedProcess[bytes], point: object, then: str) -> None:
        """Make the same call again, or recover; all is right then, and whatever goes wrong says where it was hit.

        Afterwards the volume is unmounted, or the world is closed.
        """
        where = f"{self.name}, {then}, at {point}: exit {hit.returncode}, {hit.stderr!r}, {self.world.told()}"
        try:
            self.look()
            run = (lambda: walking.again(self)) if then == AGAIN else self.recover
            done = self.world.patiently(run)
            assert done.code in (self.ends if then == AGAIN else (0,)), done
            last = self.world.recover()
            if self.pending and then == AGAIN and not last.code:
                last = self.world.recover()
            assert (last.code, last.out) == (0, ""), last
            self.check(then)
            self.undo()
            assert self.world.check_agreement() == []
            if not self.reusable:
                self.close()
        except BaseException as error:
            self.give_up()
            raise AssertionError(where) from error

    def recover(self) -> Any:
        return self.world.recover()

    def close(self) -> None:
        """Take the world down, whose volume is unmounted."""
        if self.files and self.world.volumes():
            self.check_data(self.world.mount("v", "--explicitcreate"))
            self.unmount()
        self.world.close()

    def give_up(self) -> None:
        close_after_failure(self.world)


class Create(Scene):
    verb, fresh, holds, reusable = "create", True, (), False

    def start(self) -> None:
        self.args += self.world.options

    def undo(self) -> None:
        self.unmount()
        done = self.world.call("remove")
        assert done.code == 0, done
        assert self.world.volumes() == self.world.strays() == []
        self.files = []


class Remove(Create):
    verb, fresh, ends, gone = "remove", False, (0, NOT_FOUND), True

    def start(self) -> None:
        """The volume is there."""


class FirstMount(Scene):
    fresh, reusable = True, False

    def start(self) -> None:
        self.args += self.world.options


class SecondMount(Scene):
    holds, kept, mounted = (HOST, FIRST), (FIRST,), True

    def start(self) -> None:
        self.world.mount("v", "--hold=first")


class PreemptingMount(Scene):
    """Another host has the volume, which has stopped."""

    reusable = False

    def start(self) -> None:
        self.world.rival()


class Unmount(Scene):
    verb, holds = "unmount", ()

    def start(self) -> None:
        self.world.mount("v")


class UnmountOfTwo(SecondMount):
    verb, holds = "unmount", (FIRST,)

    def start(self) -> None:
        super().start()
        self.world.mount("v")


class Recover(Unmount):
    verb = "recover"

    def start(self) -> None:
        super().start()
        self.world.reboot()
        self.args = ("recover",)


class Prepare(Scene):
    """An agent's calls. Its recover knows of no container."""

    holds: tuple[str, ...] = (C1,)

    def start(self) -> None:
        self.ask("mount", self.launch())

    def recover(self) -> Any:
        self.world.pass_time()
        assert self.isolator.recover() == []
        return super().recover()

    def undo(self) -> None:
        assert self.isolator.cleanup("c1") == []


class Cleanup(Prepare):
    verb, holds, pending = "unmount", (), True

    def start(self) -> None:
        done = self.world.patiently(lambda: self.isolator.call("mount", self.launch()))
        assert done.code == 0, done
        self.ask(self.verb, self.isolator.envelope(container_id=["c1"]))


class Sweep(Cleanup):
    verb, pending = "recover", False

    def start(self) -> None:
        super().start()
        self.ask("recover", self.isolator.envelope(containers=[], orphans=[]))


class RecoverAgent(Cleanup):
    """The agent's container has gone. It is asked three times, a second after each other."""

    pending = False

    def start(self) -> None:
        super().start()
        self.agent = MesosAgent()
        self.agent.run("c2")
        self.request = Path(os.devnull)
        self.args = ("recover", f"--agent={self.agent.url}", "--grace=0")
        # What a container has besides its holds goes with the next recover that knows of containers.
        self.world.may_be = frozenset(f"containers/:c1/{name}" for name in ("lock", "container.json"))

    def recover(self) -> Any:
        return self.world.recover()

    def undo(self) -> None:
        super().undo()
        self.world.may_be = frozenset()
        self.agent.close()
        assert self.agent.faults == []

    def give_up(self) -> None:
        self.agent.close()
        super().give_up()


class Adopt(Scene):
    verb, holds, mounted = "recover", (ADOPTED,), True

    def start(self) -> None:
        self.world.mount("v")
        place = self.home.root / "checkpoints"
        (place / "c1").mkdir(parents=True, exist_ok=True)
        listed = {"volumes": [{"driver": self.world.driver, "name": "v"}]}
        (place / "c1" / "volumes").write_text(json.dumps(listed))
        # Written before the hold; a container without one is let go of by its own agent.
        names = ("lock", "container.json", "container.json.new")
        self.world.may_be = frozenset(f"containers/{directory_name(ADOPTED)}/{name}" for name in names)
        self.args = ("recover", "--adopt", f"--docker-volume-checkpoints={place}", f"--dvdi-checkpoint={place}/none")

    def judge(self, then: str) -> None:
        assert set(self.world.slots()["v"]["holds"]) in ({HOST}, {ADOPTED}, {HOST, ADOPTED})

    def undo(self) -> None:
        self.unmount()
        assert self.isolator.cleanup("c1") == []
        self.world.may_be = frozenset()


class Forget(Scene):
    """What is mounted stays so, however far the call came; unmount asks the driver of what is on record no more."""

    verb, holds, ends, mounted = "forget", (), (0, NOT_FOUND), True

    def start(self) -> None:
        self.world.mount("v")
        self.args = ("forget", f"{self.world.driver}/v", "--yes")

    def check(self, then: str) -> None:
        rows = self.world.slots()
        assert list(rows) in ([], ["v"])
        assert then != AGAIN or not [path for path in self.home.leftovers() if not path.startswith("claims/")]
        if isinstance(self.world, tuple(kind for kind in WORLDS.values() if isinstance(kind, type))):
            assert len(self.world.mounts()) == 1 or not self.world.claimed
        assert self.world.volumes() == ["v"]


class Resize(Scene):
    verb, holds, reusable = "resize", (), False
    more = ("--yes",)

    def furnish(self) -> None:
        if isinstance(self.world, ScaleIoWorld):
            self.world.double.gib = 1 << 30  # dvdcli waits for the device to have the very size

    def __init__(self, world: str, previous: Scene | None = None) -> None:
        super().__init__(world, previous)
        self.size = self.world.image("v").stat().st_size

    def start(self) -> None:
        self.args += self.world.larger

    def judge(self, then: str) -> None:
        sizes = (2 * self.size,) if then == AGAIN else (self.size, 2 * self.size)
        assert self.world.image("v").stat().st_size in sizes
        assert self.world.image("v").stat().st_size == self.size or self.grown(), "the file system does not fill it"

    def grown(self) -> bool:
        return True  # at the next mount


class ResizeMounted(Resize):
    """With XFS: whether a mounted ext4 may be grown is a question of the capabilities that the tests run with."""

    holds, kept, mounted = (HOST,), (HOST,), True

    def furnish(self) -> None:
        if isinstance(self.world, (LocalWorld, CsiWorld)):
            self.world.options, self.world.larger = ("--volumeopts=size=400M",), ("--volumeopts=size=800M",)
        else:
            self.world.double.gib = (1 << 30) if isinstance(self.world, ScaleIoWorld) else (400 << 20)
        self.world.options += ("--volumeopts=fsType=xfs",)

    def start(self) -> None:
        super().start()
        self.world.mount("v")

    def grown(self) -> bool:
        there = os.statvfs(str(self.world.slots()["v"]["mountpoint"]))
        return there.f_blocks * there.f_frsize > 1.5 * self.size

    def judge(self, then: str) -> None:
        if then == AGAIN:
            super().judge(then)


class Bind(Scene):
    """In a mount namespace of its own each time, which goes with the call; the volume is in the host's all along."""

    verb, holds, kept, mounted = "bind", (HOST,), (HOST,), True
    before = ("unshare", "--mount", "--propagation=unchanged")

    def start(self) -> None:
        self.place = self.home.root
        place = self.world.mount("v")
        word = {"source": str(place), "base": str(self.home.root), "path": "task/a/b", "owner": [12, 34]}
        self.args = ("bind", f"--outside={mountinfo.namespace()}", "--make-slave", json.dumps(word))

    def judge(self, then: str) -> None:
        where = self.home.root / "task/a/b"
        made = [path for path in (where, where.parent) if path.exists()]
        assert not os.path.ismount(where)
        # Whose launch was killed is not launched again: what that one made may be root's still.
        assert {path.stat().st_uid for path in made} <= {0, 12}
        assert then == RECOVER or len(made) == 2
        if then == AGAIN:
            script = '"$0" "$@" && cat task/a/b/before'
            line = [*self.before, "sh", "-c", script, self.home.command, *self.args]
            done = subprocess.run(line, env=self.home.env, cwd=self.home.root, capture_output=True, check=False)
            assert (done.returncode, done.stdout) == (0, b"before"), done

    def undo(self) -> None:
        super().undo()
        subprocess.run(["rm", "-r", "-f", self.home.root / "task"], check=True)


SCENES: dict[str, type[Scene]] = {
    "create": Create, "remove": Remove, "first mount": FirstMount, "mount": Scene, "second mount": SecondMount,
    "preempting mount": PreemptingMount,
    "unmount": Unmount, "unmount of two": UnmountOfTwo, "recover": Recover, "prepare": Prepare, "cleanup": Cleanup,
    "sweep": Sweep, "recover agent": RecoverAgent, "adopt": Adopt, "forget": Forget, "resize": Resize,
    "resize mounted": ResizeMounted, "bind": Bind,
}  # fmt: skip


def pairs() -> list[tuple[str, str]]:
    """Return which scenes are played in which worlds."""
    found = []
    for world, kind in WALKED.items():
        for scene in SCENES:
            sized = bool(getattr(kind, "larger", ()))
            fits = (
                scene != "bind" or world == "directory",
                sized or not scene.startswith("resize"),
                world in ("ebs", "scaleio") or not scene.startswith("preempting"),
                world != "csi-publish" or scene in ("first mount", "unmount"),  # the rest is as that of csi
            )
            if all(fits):
                found.append((world, scene))
    return found


def make(world: str, scene: str, previous: Scene | None = None) -> Scene:
    return SCENES[scene](world, previous)
