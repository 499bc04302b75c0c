"""A storage system with its CSI driver, as a test has it: the processes, the books, what was asked, what went wrong."""

from __future__ import annotations

import atexit
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path
from typing import Any

from tests.doubles.csi import disks
from tests.doubles.csi.books import Books, Volume
from tests.doubles.csi.call import node_id
from tests.doubles.csi.control import Control
from tests.doubles.csi.controller import make
from tests.doubles.csi.settings import Settings
from tests.doubles.loops import copy
from tests.waiting import wait_until

REPOSITORY = Path(__file__).resolve().parents[3]
CONTROLLER = "controller"


class Plugin:
    """A process of the driver on a socket: the plugin of a node, or of the controller."""

    def __init__(self, driver: Driver, name: str, *served: str) -> None:
        self.driver = driver
        self.name = name
        self.served = served
        self.socket = driver.root / f"{name}.sock"
        self.process: subprocess.Popen[bytes] | None = None
        self.wanted = False
        self.ready = False
        self.starts = 0

    @property
    def id(self) -> str:
        """What NodeGetInfo calls the node."""
        return node_id(self.name)

    @property
    def endpoint(self) -> str:
        return f"unix://{self.socket}"

    def start(self) -> None:
        """Start it, and wait until it serves."""
        self.launch()
        self.await_ready()

    def launch(self) -> None:
        """Start it."""
        self.wanted, self.ready = True, False
        self.starts += 1
        line = [sys.executable, "-m", "tests.doubles.csi", self.driver.root, self.name, self.socket, *self.served]
        with (self.driver.root / f"{self.name}.log").open("ab") as log:
            self.process = subprocess.Popen(
                line, cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log
            )

    def await_ready(self) -> None:
        """Wait until it serves."""
        assert self.process is not None
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == b"ready\n", (self.driver.root / f"{self.name}.log").read_text()
        self.ready = True
        if self.driver.supervised:
            threading.Thread(target=self._watch, args=(self.process,), daemon=True).start()

    def settle(self) -> None:
        """Wait until all that it has read is carried out; who has been killed has read nothing."""
        wait_until(lambda: self.ready or self.process is None, f"the CSI double {self.name} does not start")
        process = self.process
        if process is None:
            return
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(b"settle\n")
            process.stdin.flush()
        except (BrokenPipeError, ValueError):  # the latter where it has been stopped meanwhile
            return
        assert process.stdout.readline() in (b"settled\n", b""), (self.driver.root / f"{self.name}.log").read_text()

    def stop(self, signal_number: int = signal.SIGKILL) -> None:
        self.wanted = False
        if self.process is None:
            return
        self.process.send_signal(signal_number)
        self.process.wait(60)
        for stream in (self.process.stdin, self.process.stdout):
            assert stream is not None
            stream.close()
        self.process = None

    def restart(self) -> None:
        self.stop()
        self.start()

    def die(self) -> None:
        """Let the node lose power: nothing is mounted there any more; the controller still has what it published."""
        self.driver.lose_power(self.name)

    def boot(self) -> None:
        """Start the node anew."""
        if self.process:
            self.die()
        self.start()

    def _watch(self, process: subprocess.Popen[bytes]) -> None:
        process.wait()
        if self.wanted and process is self.process:
            try:
                self.start()
            except (AssertionError, ValueError):
                if self.wanted:
                    raise  # else it was stopped as it started


class Driver:
    """A storage system below *root* and its driver, which is like *settings*, else like Settings' own.

    With *apart* the controller has a process and a socket of its own, else every node's plugin is one too. What dies
    is started again at once where `supervised`. `calls` is what was asked, in order; `faults` is what no right caller
    does.
    """

    def __init__(self, root: Path, apart: bool = False, supervised: bool = False, **settings: Any) -> None:
        self.root = Path(root).resolve()
        for path in (self.root, self.root / "permits"):
            path.mkdir(parents=True, exist_ok=True)
        self.apart = apart
        self.supervised = supervised
        self.settings = Settings(**settings)
        self.settings.write(self.root)
        self.books = Books(self.root)
        self.control = Control(self.root / "control.sock")
        self.next = self.control.next
        self.replies = self.control.replies
        self.wait_idle = self.control.wait_idle
        self.plugins: dict[str, Plugin] = {}
        self._launched: list[Plugin] = []
        self.closed = False
        atexit.register(self.close)
        if apart:
            self._start(Plugin(self, CONTROLLER, "Identity", "Controller"))

    def settle(self) -> None:
        """Wait until all is carried out that was sent by callers who have ended: even killed ones have sent it."""
        wait_until(lambda: not self._has_callers(), "somebody is still connected to the CSI double")
        for plugin in self.plugins.values():
            plugin.settle()
        self.wait_idle()

    def _has_callers(self) -> bool:
        connected = [line.split() for line in Path("/proc/net/unix").read_text().splitlines() if " 03 " in line]
        return not {str(plugin.socket) for plugin in self.plugins.values()}.isdisjoint(line[-1] for line in connected)

    def node(self, name: str = "a", **place: str) -> Plugin:
        """Add a node, *place* being its topology, and start its plugin."""
        if place:
            self.change(places={**self.settings.places, name: place})
        with self.books.change_node(name):
            pass  # so that it is known
        return self._start(Plugin(self, name, "Identity", "Node", *([] if self.apart else ["Controller"])))

    def _start(self, plugin: Plugin) -> Plugin:
        self.plugins[plugin.name] = plugin
        plugin.launch()
        if plugin.name != CONTROLLER:
            for each in self._launched:
                each.await_ready()
            self._launched.clear()
            plugin.await_ready()
        else:
            self._launched.append(plugin)  # it is waited for with the first node
        return plugin

    @property
    def before(self) -> Any:
        return self.control.before

    @before.setter
    def before(self, hook: Any) -> None:
        self.control.before = hook

    def leave_alone(self) -> None:
        """Let the driver do without the line to its test, which takes time: nothing can be told to it any more."""
        (self.root / "control.sock").unlink()
        self.control.close()

    def change(self, **settings: Any) -> None:
        """Let the driver be another from the next call on."""
        self.settings = self.settings.change(**settings)
        self.settings.write(self.root)

    # What was asked

    @property
    def calls(self) -> list[dict[str, Any]]:
        return self._lines("calls")

    def names(self) -> list[str]:
        return [call["rpc"] for call in self.calls]

    def counts(self) -> Counter[str]:
        return Counter(self.names())

    def forget(self) -> None:
        """Forget what was asked until now."""
        (self.root / "calls.jsonl").unlink(missing_ok=True)
        self.control.moments.clear()

    @property
    def faults(self) -> list[str]:
        return [*self._lines("faults"), *self.control.failures]

    def forgive(self) -> list[str]:
        """Return the faults until now, and forget them: a test wanted them."""
        found = self.faults
        (self.root / "faults.jsonl").unlink(missing_ok=True)
        self.control.failures.clear()
        return found

    def _lines(self, name: str) -> list[Any]:
        path = self.root / f"{name}.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    # What there is

    @property
    def volumes(self) -> dict[str, Volume]:
        return self.books.read().volumes

    def volume(self, name: str, size: int = 16 << 20, image: Path | None = None, **fields: Any) -> Volume:
        """Make a volume that is there already, of a copy of *image* or blank."""
        with self.books.change() as book:
            volume = make(self.root, book, name, size, self.settings.contexts)
            vars(volume).update(fields)
        if image:
            copy(image, self.books.image(volume))
            os.truncate(self.books.image(volume), size)
        return volume

    def named(self, name: str) -> Volume:
        found = self.books.read().named(name)
        assert found is not None, f"there is no volume {name}"
        return found

    def image(self, name: str) -> Path:
        volume = self.books.read().named(name)
        return self.books.image(volume) if volume else self.root / "none"

    def used_on(self, node: str) -> list[str]:
        """Return the names of the volumes that are published to the node, staged, or published on it."""
        book, there = self.books.read_node(node), self.volumes.values()
        return [each.name for each in there if node_id(node) in each.published
                or each.id in book.staged or each.id in book.published]  # fmt: skip

    def pull(self, name: str, node: str) -> None:
        """Take a volume, whose targets are unmounted, from a node, without telling the node's plugin in time."""
        volume = self.named(name)
        with self.books.change_node(node) as book:
            staged = book.staged.pop(volume.id, None)
            book.published.pop(volume.id, None)
        if staged:
            disks.unmount(staged["staging_target_path"])
        disks.in_use(self.books.image(volume))
        with self.books.change() as whole:
            whole.volumes[volume.id].published.pop(node_id(node), None)

    def staged_at(self, node: str) -> list[str]:
        """Return the paths at which the node has something staged."""
        return [args["staging_target_path"] for args in self.books.read_node(node).staged.values()]

    def permit(self, name: str) -> None:
        """Let the volume be taken away once from a node that uses it, which is else a sin."""
        (self.root / "permits" / name).touch()

    # What happens

    def restart(self) -> None:
        """Kill the driver's processes and start them again: what they did is on their books."""
        for plugin in self.plugins.values():
            plugin.stop()
        for plugin in self.plugins.values():
            plugin.launch()
        for plugin in self.plugins.values():
            plugin.await_ready()

    def lose_power(self, node: str) -> None:
        """Stop a node's plugin, and unmount all that it has mounted."""
        self.plugins[node].stop()
        book = self.books.read_node(node)
        places = [target for targets in book.published.values() for target in targets]
        places += [args["staging_target_path"] for args in book.staged.values()]
        images = [self.books.image(self.volumes[id]) for id in {*book.staged, *book.published} if id in self.volumes]
        for place in places:
            for _ in range([path for path, _ in disks.mounts()].count(place)):
                subprocess.run(["umount", "-l", place], check=True)
        for device in book.loops.values():
            subprocess.run(["losetup", "--detach", device], capture_output=True, check=False)
        for image in images:
            disks.in_use(image)
        self.books.forget_node(node)

    def stray_devices(self) -> list[str]:
        """Return the loop devices of volumes that no node uses."""
        used = {id for node in self.books.nodes() for id in {**self.books.read_node(node).staged,
                                                            **self.books.read_node(node).published}}  # fmt: skip
        idle = [volume for volume in self.volumes.values() if volume.id not in used]
        return [device for volume in idle for device in disks.devices(self.books.image(volume))]

    def close(self) -> None:
        """Stop everything and let go of every device."""
        if self.closed:
            return
        self.closed = True
        atexit.unregister(self.close)
        for plugin in self.plugins.values():
            plugin.stop()
        for node in self.books.nodes():
            self.lose_power(node)
        (self.root / "control.sock").unlink(missing_ok=True)
        self.control.close()

    def remove(self) -> None:
        self.close()
        shutil.rmtree(self.root, ignore_errors=True)
