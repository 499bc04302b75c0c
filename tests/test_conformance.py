"""The conformance suite on every provider there is, on the README's own, and on ones that are wrong on purpose."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import tempfile
import textwrap
import threading
from pathlib import Path

import pytest

from dvdcli import http
from dvdcli.errors import DvdcliError
from dvdcli.providers import block, formatting, image
from dvdcli.providers.docker import DockerProvider
from dvdcli.providers.local import LocalProvider
from dvdcli.testing import ProviderConformance, Subject
from dvdcli.testing.options import Sizes
from tests.blocks import backing_files_below
from tests.doubles.plugin import Plugin, err
from tests.shelf import Shelf
from tests.shelves import MUTANTS, DiskShelfSubject
from tests.test_image import may_grow_ext4

pytest_plugins = "pytester"


class TestShelf(ProviderConformance):
    """The example of the README, whose entry point is installed for these tests alone."""

    @pytest.fixture
    def subject(self, tmp_path, monkeypatch):
        package = tmp_path / "shelf-1.dist-info"
        package.mkdir()
        (package / "entry_points.txt").write_text("[dvdcli.providers]\nshelf = tests.shelf:Shelf\n")
        (package / "METADATA").write_text("Metadata-Version: 2.1\nName: shelf\nVersion: 1\n")
        monkeypatch.syspath_prepend(tmp_path)
        return Subject(Shelf, {"path": str(tmp_path / "shelf")}, entry_point="shelf")


def test_the_readme_has_that_example_whole():
    root = Path(__file__).parents[1]
    assert textwrap.indent((root / "tests/shelf.py").read_text(), "    ") in (root / "README.md").read_text()


class TestDiskShelf(ProviderConformance):
    """What the mutants below are mutants of is right."""

    @pytest.fixture
    def subject(self, tmp_path):
        return DiskShelfSubject(tmp_path)


class KeepingPlugin(Plugin):
    """A plugin whose volumes' data go with the volumes."""

    def _on_volume(self, method, volume, mount_id):
        reply = super()._on_volume(method, volume, mount_id)
        if method == "Remove" and volume.name not in self.volumes:
            shutil.rmtree(self.place(volume), ignore_errors=True)
        return reply

    def place(self, volume):
        return self.root / f"v{len(volume.name)}-{abs(hash(volume.name)) % 10**8}"


class DockerSubject(Subject):
    """A plugin that tells in words alone that a volume is in use: the protocol has no codes."""

    in_use = DvdcliError
    most_kills = 60
    modules = (http.__file__,)

    def __init__(self, plugin):
        super().__init__(DockerProvider, {"address": plugin.url}, entry_point="docker", driver="plug")
        self.plugin = plugin

    def requests(self):
        return len(self.plugin.calls)

    @contextlib.contextmanager
    def elsewhere(self, name):
        self.plugin.always["Mount"] = err(f"volume {name} is attached to the host other-7")
        try:
            yield "other-7"
        finally:
            del self.plugin.always["Mount"]

    @contextlib.contextmanager
    def silent(self):
        speak = threading.Event()
        self.plugin.before = lambda method: speak.wait()
        try:
            yield
        finally:
            self.plugin.before = lambda method: None
            speak.set()

    def settle(self):
        self.plugin.wait_idle()

    def leftovers(self):
        return sorted({*self.plugin.mounted(), *(v.name for v in self.plugin.volumes.values() if v.attached)})


class TestDocker(ProviderConformance):
    @pytest.fixture
    def subject(self):
        # Not tmp_path: a unix socket's path has at most 107 bytes.
        root = Path(tempfile.mkdtemp(prefix="dvd"))
        plugin = KeepingPlugin(f"unix:{root}/plug.sock", root / "mnt")
        yield DockerSubject(plugin)
        plugin.close()
        shutil.rmtree(root)
        assert plugin.faults == []


class TestLocalDirectories(ProviderConformance):
    @pytest.fixture
    def subject(self, tmp_path):
        settings = {"path": str(tmp_path / "volumes")}
        return Subject(
            LocalProvider, settings, entry_point="local", permanent=True, contradiction={"size": "64M"}, most_kills=100
        )


class ImageSubject(Subject):
    """Volumes with a size: somebody else has one in use where its image is mounted at another place."""

    sizes = ("32M", "48M")
    grows = may_grow_ext4()
    many = 12
    most_kills = 24
    modules = (block.__file__, formatting.__file__, image.__file__)

    def __init__(self, root):
        super().__init__(LocalProvider, {"path": str(root / "volumes")}, entry_point="local")
        self.root = root

    @contextlib.contextmanager
    def elsewhere(self, name):
        path, place = self.root / "volumes" / name / "image", self.root / "elsewhere"
        place.mkdir()
        subprocess.run(["mkfs.ext4", "-q", "-F", path], check=True)
        subprocess.run(["mount", "-o", "loop", path, place], check=True)
        try:
            yield str(place)
        finally:
            subprocess.run(["umount", place], check=True)

    def leftovers(self):
        return backing_files_below(self.root)


@pytest.mark.root
class TestLocalWithASize(ProviderConformance):
    @pytest.fixture
    def subject(self, tmp_path):
        subject = ImageSubject(tmp_path)
        yield subject
        assert subject.leftovers() == []


class XfsSubject(ImageSubject):
    """The kernel lets root make a mounted xfs larger everywhere."""

    options = {"fsType": "xfs"}  # noqa: RUF012
    sizes = ("320M", "400M")
    grows = True


@pytest.mark.root
class TestLocalWithXfs(Sizes):
    @pytest.fixture
    def subject(self, tmp_path):
        subject = XfsSubject(tmp_path)
        yield subject
        assert subject.leftovers() == []


CASES = {f"test_mutants.py::Test{kind.__name__}::{test}" for kind, tests in MUTANTS.items() for test in tests}


def test_the_suite_finds_everything_that_is_wrong(pytester):
    """All mutants in one run, each by the tests that are there to find it."""
    pytester.makepyfile(
        test_mutants="""
        import pytest

        from dvdcli.testing import ProviderConformance
        from tests.shelves import MUTANTS, DiskShelfSubject

        for kind in MUTANTS:
            class Mutant(ProviderConformance):
                kind = kind

                @pytest.fixture
                def subject(self, tmp_path):
                    return DiskShelfSubject(tmp_path, self.kind)

            globals()[f"Test{kind.__name__}"] = type(f"Test{kind.__name__}", (Mutant,), {})
        del Mutant
        """
    )
    reports = pytester.inline_run("-p", "no:cacheprovider", *sorted(CASES)).getreports("pytest_runtest_logreport")
    outcomes = {report.nodeid: report.outcome for report in reports if report.when == "call"}
    assert [test for test in sorted(CASES) if outcomes.get(test) != "failed"] == []
    assert len(MUTANTS) > 50
