"""The conformance suite on CSI, against the strict driver double: one that can do all, and one that only publishes."""

from __future__ import annotations

import contextlib
import threading

import pytest

from dvdcli.errors import DvdcliError, InUseError
from dvdcli.linux import mountinfo
from dvdcli.providers.csi import access, catalogue, client, driver, making, provider
from dvdcli.testing import ProviderConformance, Subject
from tests.csi import PLAIN, Cluster
from tests.test_image import may_grow_ext4

pytestmark = pytest.mark.root
MODULES = (access, catalogue, client, driver, making, provider)


class CsiSubject(Subject):
    """One node; somebody else is another node that has the volume."""

    sizes = ("16M", "32M")
    grows = may_grow_ext4()
    many = 12
    at_once = 2
    most_kills = 16
    longest = 128
    modules = tuple(module.__file__ for module in MODULES)

    def __init__(self, cluster, in_use):
        self.in_use = in_use
        self.double = cluster.driver
        self.below = f"{cluster.root}/state/mounts/"
        self.machine, self.other = cluster.machine("a"), cluster.machine("b")
        settings = {key: value for key, value in self.machine.settings.items() if key != "provider"}
        super().__init__(provider.CsiProvider, settings, entry_point="csi", driver="csi")

    def allows(self, name):
        return len(name.encode()) <= self.longest

    def requests(self):
        return len(self.double.calls)

    @contextlib.contextmanager
    def elsewhere(self, name):
        assert self.other.csi("mount", name).code == 0
        try:
            yield self.other.host.id
        finally:
            assert self.other.csi("unmount", name).code == 0

    @contextlib.contextmanager
    def silent(self):
        speak = threading.Event()
        self.double.before = lambda rpc, moment: speak.wait() and None
        try:
            yield
        finally:
            self.double.before = lambda rpc, moment: None
            speak.set()

    def settle(self):
        self.double.wait_idle()

    def leftovers(self):
        below = [mount.path for mount in mountinfo.read() if mount.path.startswith(self.below)]
        return [*self.double.used_on("a"), *below]


class OnCsi(ProviderConformance):
    @staticmethod
    def driver():
        raise NotImplementedError

    in_use = InUseError

    @pytest.fixture
    def subject(self, command, monkeypatch):
        cluster = Cluster(command, **self.driver())
        subject = CsiSubject(cluster, self.in_use)
        monkeypatch.setenv("DVDCLI_STATE_DIR", str(cluster.root / "state"))
        yield subject
        assert subject.leftovers() == []
        cluster.close()


class TestCsi(OnCsi):
    @staticmethod
    def driver():
        return {"apart": True}


class TestPlainCsi(OnCsi):
    in_use = DvdcliError  # there is no code for it: its words say where

    @staticmethod
    def driver():
        return PLAIN
