"""CSI where no thread can be had: a call ends with one line before its deadline, and gRPC is not asked."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dvdcli.providers.csi import threads
from tests.anydriver import AnyDriver
from tests.conftest import COMMAND
from tests.expect import refused

TRY_AGAIN = 5
USER = 54321  # who runs nothing else
CGROUPS = Path("/sys/fs/cgroup")


@pytest.fixture
def driver(home):
    """A driver that any user may ask, and a configuration that names it."""
    home.command = COMMAND  # what measures coverage in its stead is root's alone
    driver = AnyDriver(home.root / "csi.sock")
    home.config.write_text(f'[drivers.any]\nprovider = "csi"\nendpoint = "{driver.path}"\n')
    yield driver
    driver.close()


@pytest.fixture
def cgroup():
    """A cgroup whose tasks can be limited, of either version."""
    parent = CGROUPS if (CGROUPS / "cgroup.controllers").exists() else CGROUPS / "pids"
    group = parent / f"dvdcli-test-{os.getpid()}"
    try:
        group.mkdir()
    except OSError as error:
        pytest.skip(f"no cgroup can be made: {error}")
    try:
        if not (group / "pids.max").exists():
            pytest.skip("the controller of pids is not given to this cgroup")
        yield group
    finally:
        group.rmdir()


def told(home, **options):
    """Return the line that a call is refused with, long before its deadline."""
    start = time.monotonic()
    line = refused(home.run("list", "--volumedriver=any", "--timeout=40", **options), TRY_AGAIN)
    assert time.monotonic() - start < 35, "it is not the deadline that ends it"
    return line


@pytest.mark.root
@pytest.mark.parametrize("limit", [1, 5])
def test_a_cgroup_without_room_for_threads_is_one_line(home, driver, cgroup, limit):
    def enter():
        (cgroup / "cgroup.procs").write_text("0")
        (cgroup / "pids.max").write_text(str(limit))

    line = told(home, preexec_fn=enter)
    assert f"only {limit - 1} can be started" in line
    assert "pids.max" in line
    assert driver.calls == []


@pytest.mark.root
def test_a_user_who_may_run_no_more_is_one_line(home, driver):
    driver.path.chmod(0o777)
    home.root.chmod(0o755)
    os.chown(home.config, USER, USER)

    def limit():
        resource.setrlimit(resource.RLIMIT_NPROC, (3, 3))

    line = told(home, preexec_fn=limit, user=USER, group=USER, extra_groups=[])
    assert "only 2 can be started" in line
    assert driver.calls == []


@pytest.mark.root
def test_with_as_many_as_are_needed_the_call_is_made(home, driver, cgroup):
    count = threads.needed(os.sysconf("SC_NPROCESSORS_CONF"))

    def enter():
        (cgroup / "cgroup.procs").write_text("0")
        (cgroup / "pids.max").write_text(str(1 + count))

    assert "does not say its name" in home.run("list", "--volumedriver=any", preexec_fn=enter).err
    assert driver.names() == ["GetPluginInfo"]


@pytest.mark.parametrize(("processors", "count"), [(1, 8), (4, 8), (8, 12), (256, 20)])
def test_how_many_are_needed(processors, count):
    assert threads.needed(processors) == count


CALL = """
import os, sys
from dvdcli.clock import Deadline
from dvdcli.providers.csi.client import Client
from dvdcli.providers.csi.secrets import Secrets
Client("any", sys.argv[1], Secrets(""), Deadline(20)).call("Probe")
os.write(1, str(len(os.listdir("/proc/self/task"))).encode())
os._exit(0)
"""


def test_grpc_starts_no_more_than_are_looked_for(driver):
    """A release of gRPC that does is to be known."""
    found = subprocess.run([sys.executable, "-c", CALL, driver.path], capture_output=True, text=True, check=True)
    assert 1 < int(found.stdout) <= 1 + threads.needed(os.sysconf("SC_NPROCESSORS_CONF"))
