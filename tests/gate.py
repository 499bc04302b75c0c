"""Stop a plugin double in the middle of a call, so that a test can look, or kill, at that moment."""

from __future__ import annotations

import signal
import threading
from types import TracebackType

from tests.conftest import Home
from tests.doubles.plugin import Plugin


class Gate:
    """The next call of *method* waits inside the plugin until the gate is opened; `reached` is when it is there."""

    def __init__(self, plugin: Plugin, method: str) -> None:
        self.plugin = plugin
        self.method = method
        self.reached = threading.Event()
        self.opened = threading.Event()

    def __enter__(self) -> Gate:
        self.plugin.before = self._before
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        self.open()

    def _before(self, method: str) -> None:
        if method == self.method and not self.reached.is_set():
            self.reached.set()
            self.opened.wait(60)

    def open(self) -> None:
        self.opened.set()
        self.plugin.before = lambda method: None

    def wait(self) -> None:
        assert self.reached.wait(60), f"{self.method} was never called"


def kill_during(home: Home, plugin: Plugin, method: str, *args: str) -> None:
    """Run dvdcli with *args* and SIGKILL it while the plugin works on *method*; the plugin then carries it out."""
    with Gate(plugin, method) as gate:
        process = home.start(*args)
        gate.wait()
        process.send_signal(signal.SIGKILL)
        process.wait()
        for stream in (process.stdout, process.stderr):
            assert stream is not None
            stream.close()
    plugin.wait_idle()


def flags(name: str = "v", driver: str = "plug") -> tuple[str, str]:
    return f"--volumedriver={driver}", f"--volumename={name}"
