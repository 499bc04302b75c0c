"""The conformance suite on ScaleIO, against the strict gateway double."""

from __future__ import annotations

import contextlib
import threading

import pytest

from dvdcli.linux import mountinfo
from dvdcli.providers import block, formatting
from dvdcli.providers.scaleio import gateway, mapping, provider, sdc, volume
from dvdcli.testing import ProviderConformance, Subject
from tests.test_image import may_grow_ext4

pytestmark = pytest.mark.root
MODULES = (block, formatting, gateway, mapping, provider, sdc, volume)


class ScaleIoSubject(Subject):
    """One SDC; somebody else is another SDC that has the volume mapped."""

    sizes = ("8", "16")
    grows = may_grow_ext4()
    many = 12
    at_once = 2
    most_kills = 16
    longest = 31
    modules = tuple(module.__file__ for module in MODULES)

    def __init__(self, grid):
        self.gateway = grid.gateway
        self.below = f"{grid.root}/state/mounts/"
        self.machine, self.other = grid.machine("a"), grid.machine("b")
        self.hosts = self.machine.host, self.other.host
        settings = {key: value for key, value in self.machine.settings.items() if key != "provider"}
        super().__init__(provider.ScaleIoProvider, settings, entry_point="scaleio", driver="scaleio")

    def allows(self, name):
        return len(name) <= self.longest

    def requests(self):
        return len(self.gateway.calls)

    @contextlib.contextmanager
    def elsewhere(self, name):
        assert self.other.scaleio("mount", name).code == 0
        try:
            yield self.hosts[1].sdc
        finally:
            assert self.other.scaleio("unmount", name).code == 0

    @contextlib.contextmanager
    def silent(self):
        speak = threading.Event()
        self.gateway.before = lambda name, when: speak.wait()
        try:
            yield
        finally:
            self.gateway.before = lambda name, when: None
            speak.set()

    def settle(self):
        self.gateway.wait_idle()

    def leftovers(self):
        mapped = [each.id for each in self.gateway.volumes.values() if self.hosts[0].sdc in each.mapped]
        return [*mapped, *(mount.path for mount in mountinfo.read() if mount.path.startswith(self.below))]


class TestScaleIo(ProviderConformance):
    @pytest.fixture
    def subject(self, grid, monkeypatch):
        subject = ScaleIoSubject(grid)
        for key, value in subject.hosts[0].env().items():
            monkeypatch.setenv(key, value)
        monkeypatch.setenv("DVDCLI_STATE_DIR", str(grid.root / "state"))
        yield subject
        assert subject.leftovers() == []
