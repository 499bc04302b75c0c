"""Fixtures: an isolated home for dvdcli, the installed command in a real process, plugin doubles on real sockets."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from dvdcli.linux import mountinfo
from tests.blocks import backing_files_below
from tests.doubles.acceptor import waiting_at_closed
from tests.doubles.plugin import Plugin
from tests.waiting import wait_until

COMMAND = Path(sys.executable).parent / "dvdcli"
IS_ROOT = os.geteuid() == 0
# The conformance suite forks; without this, which grpc reads when it is imported, a fork that goes on with it can hang.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "1")
# In a chroot it is none, and what is mounted in a namespace of a test's own cannot be kept from the host.
ROOT_IS_A_MOUNT = any(mount.path == "/" for mount in mountinfo.read())
NO_PROCESS = 2**22 + 1  # no pid is as high


# By default a test fails whose input once took 200 ms, or is slow to make.
hypothesis.settings.register_profile("slow", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("slow")


def pytest_configure() -> None:
    # A worker is measured, but not the doubles that it starts: they would take a fifth of a second longer each.
    if "PYTEST_XDIST_WORKER" in os.environ:
        for name in [name for name in os.environ if name.startswith("COVERAGE_PROCESS")]:
            del os.environ[name]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("namespace") and not (IS_ROOT and ROOT_IS_A_MOUNT):
            item.add_marker(pytest.mark.skip(reason="launches in mount namespaces: needs root, and / to be a mount"))
        if item.get_closest_marker("root") and not IS_ROOT:
            item.add_marker(pytest.mark.skip(reason="makes real mounts, which only root can"))


@pytest.fixture(autouse=True)
def nothing_waits_at_a_closed_descriptor() -> Iterator[None]:
    """It would take what is the next test's."""
    yield
    wait_until(lambda: not waiting_at_closed(), f"threads wait at a closed descriptor: {waiting_at_closed()}", 10)


@pytest.fixture(scope="session")
def command(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The installed command, or under DVDCLI_TEST_COVERAGE=DIR a stand-in for its launcher that measures coverage."""
    root = os.environ.get("DVDCLI_TEST_COVERAGE")
    if not root:
        return COMMAND
    wrapper = tmp_path_factory.mktemp("covered") / "dvdcli"
    site = sysconfig.get_paths()["purelib"]
    covered = Path(__file__).parent / "covered.py"
    wrapper.write_text(f'#!/bin/sh\nexec "{sys.executable}" -I -S "{covered}" "{site}" "{root}" "$@"\n')
    wrapper.chmod(0o755)
    return wrapper


class Done:
    def __init__(self, code: int, out: str, err: str) -> None:
        self.code = code
        self.out = out
        self.err = err

    def __repr__(self) -> str:
        return f"exit {self.code}, stdout {self.out!r}, stderr {self.err!r}"


class Home:
    """A state directory, plugin directories and a configuration of its own; `run` calls the command there."""

    def __init__(self, root: Path, command: Path) -> None:
        self.root = root
        self.command = command
        self.state = root / "state"
        self.sockets = root / "run"
        self.specs = root / "etc"
        self.config = root / "dvdcli.toml"
        for path in (self.sockets, self.specs, root / "lib"):
            path.mkdir()
        self.env = {
            "PATH": os.environ["PATH"],
            "HOME": str(root),
            "DVDCLI_STATE_DIR": str(self.state),
            "DVDCLI_PLUGIN_DIRS": f"{self.sockets}:{self.specs}:{root / 'lib'}",
            "DVDCLI_CONFIG": str(self.config),
            "DVDCLI_ENGINE_SOCKET": str(root / "docker.sock"),
        }
        self.plugins: list[Plugin] = []

    def start(self, *args: str | bytes, env: dict[str, str] | None = None, **options: Any) -> subprocess.Popen[bytes]:
        pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return subprocess.Popen([self.command, *args], env={**self.env, **(env or {})}, **{**pipes, **options})

    def run(self, *args: str | bytes, env: dict[str, str] | None = None, timeout: float = 60, **options: Any) -> Done:
        process = self.start(*args, env=env, **options)
        return self.finish(process, timeout)

    def finish(self, process: subprocess.Popen[bytes], timeout: float = 60) -> Done:
        try:
            out, err = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            raise
        return Done(process.returncode, (out or b"").decode("utf-8", "surrogateescape"), (err or b"").decode())

    def mount(self, name: str = "v", driver: str = "plug", *more: str, **options: Any) -> Done:
        return self.run("mount", f"--volumedriver={driver}", f"--volumename={name}", *more, **options)

    def unmount(self, name: str = "v", driver: str = "plug", *more: str, **options: Any) -> Done:
        return self.run("unmount", f"--volumedriver={driver}", f"--volumename={name}", *more, **options)

    def recover(self, *more: str) -> Done:
        return self.run("recover", *more)

    def plugin(self, name: str = "plug", **options: Any) -> Plugin:
        plugin = Plugin(f"unix:{self.sockets}/{name}.sock", self.root / "mnt", **options)
        self.plugins.append(plugin)
        return plugin

    def mounts(self) -> list[dict[str, Any]]:
        done = self.run("list", "--json")
        assert done.code == 0, done
        rows: list[dict[str, Any]] = json.loads(done.out)["data"]["mounts"]
        return rows

    def slot(self, name: str = "v", driver: str = "plug") -> Path:
        return self.state / "volumes" / driver / name

    def record(self, name: str = "v", driver: str = "plug") -> dict[str, Any]:
        data: dict[str, Any] = json.loads((self.slot(name, driver) / "record.json").read_text())
        return data

    def edit_record(self, name: str = "v", driver: str = "plug", **changes: Any) -> None:
        path = self.slot(name, driver) / "record.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))

    def edit_hold(self, who: str = "name:host", name: str = "v", driver: str = "plug", **changes: Any) -> None:
        path = self.slot(name, driver) / "holds" / f"{who}.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))

    def reboot(self) -> None:
        """Make everything on record look as if another boot had written it; the doubles lose their mounts."""
        for path in self.state.glob("volumes/*/*/record.json"):
            path.write_text(json.dumps({**json.loads(path.read_text()), "boot": "older"}))
        for path in self.state.glob("volumes/*/*/holds/*.json"):
            path.write_text(json.dumps({**json.loads(path.read_text()), "boot": "older"}))
        (self.state / "boot").unlink(missing_ok=True)
        for plugin in self.plugins:
            plugin.reboot()

    def age(self) -> None:
        """Make everything on record look minutes old, as if no plugin could still be at work on it."""
        for path in self.state.glob("volumes/*/*/record.json"):
            path.write_text(json.dumps({**json.loads(path.read_text()), "since": {"wall": 0, "uptime": -1000.0}}))

    def places(self, tree: str = "volumes") -> list[str]:
        """Return what is in the directories of *tree*, those of the drivers, or providers, excepted."""
        found = (path.relative_to(self.state).parts for path in self.state.glob(f"{tree}/*/*"))
        return sorted("/".join(parts[1:]) for parts in found)

    def leftovers(self) -> list[str]:
        """Return every file that the state still has, which after everything is undone is none."""
        return sorted(
            str(path.relative_to(self.state))
            for path in self.state.rglob("*")
            if path.is_file() and "mounts" not in path.parts and path.name != "boot"
        )

    def release(self) -> None:
        """Unmount and detach what a test that failed has left, from this machine."""
        if not IS_ROOT:
            return
        for mount in reversed(mountinfo.read()):
            if mount.path.startswith(f"{self.root}/"):
                subprocess.run(["umount", "-l", mount.path], check=False)
        for name in backing_files_below(self.root):
            subprocess.run(["losetup", "-d", f"/dev/{name}"], check=False)

    def close(self) -> None:
        for plugin in self.plugins:
            plugin.close()
        self.release()
        shutil.rmtree(self.root, ignore_errors=True)
        assert [fault for plugin in self.plugins for fault in plugin.faults] == []


@pytest.fixture
def home(command: Path) -> Iterator[Home]:
    # Not tmp_path: a unix socket's path has at most 107 bytes.
    home = Home(Path(tempfile.mkdtemp(prefix="dvd")), command)
    yield home
    home.close()


@pytest.fixture
def installed_home() -> Iterator[Home]:
    """As home, with the command exactly as pip installed it, coverage or not."""
    home = Home(Path(tempfile.mkdtemp(prefix="dvd")), COMMAND)
    yield home
    home.close()


@pytest.fixture
def in_process(home: Home, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Home]:
    """Point this very process at home's directories, for tests of single modules."""
    for key, value in home.env.items():
        monkeypatch.setenv(key, value)
    return lambda: home


@pytest.fixture
def sized(home: Home) -> Iterator[Any]:
    """Volumes of `local` with a size; what is left of them makes the test fail."""
    from tests.sized import Sized

    sized = Sized(home)
    yield sized
    left = [*sized.mounts(), *sized.loops()]
    home.release()
    assert left == []


# For the isolators' tests


@pytest.fixture(scope="session")
def shared(tmp_path_factory):
    """A directory that all workers of pytest-xdist build in."""
    base = tmp_path_factory.getbasetemp()
    path = (base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base) / "isolators"
    path.mkdir(exist_ok=True)
    return path


@pytest.fixture
def stand_in(home):
    """Write a stand-in for dvdcli: a shell script."""

    def write(script):
        path = home.root / "stand-in"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        return path

    return write


@pytest.fixture
def cloud(command: Path) -> Iterator[Any]:
    from tests.ebs import Cloud  # which is built on Home

    cloud = Cloud(command)
    yield cloud
    cloud.close()


@pytest.fixture
def ec2(cloud: Any) -> Any:
    return cloud.ec2


@pytest.fixture
def machine(cloud: Any) -> Any:
    return cloud.machine()


@pytest.fixture
def grid(command: Path) -> Iterator[Any]:
    from tests.scaleio import Grid

    grid = Grid(command)
    yield grid
    grid.close()


@pytest.fixture
def gateway(grid: Any) -> Any:
    return grid.gateway


@pytest.fixture
def cluster(request: pytest.FixtureRequest, command: Path) -> Iterator[Any]:
    """Nodes of a CSI driver, which by indirect parametrization is another than the one that can do all."""
    from tests.csi import Cluster

    cluster = Cluster(command, **getattr(request, "param", {}))
    yield cluster
    cluster.close()


@pytest.fixture
def driver(cluster: Any) -> Any:
    return cluster.driver
