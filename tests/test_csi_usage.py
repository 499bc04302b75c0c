"""Who uses a CSI volume: what is looked at before it is unpublished, and how often."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from collections import Counter

import pytest

from dvdcli.linux import mountinfo
from tests.csi import IN_USE, Cluster, refused
from tests.gate import flags

pytestmark = pytest.mark.root
STAGED = ".csi/double.csi.example.com/v/staging"


@pytest.fixture
def machine(command):
    """One whose volumes are directories: no device tells who has something of them open."""
    cluster = Cluster(command, instant=True)
    yield cluster.machine()
    cluster.close()


def asked(machine):
    return [name for name in machine.host.driver.names() if name.startswith("NodeUn")]


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_an_unmount_looks_once_at_what_each_process_has_open(machine):
    assert machine.csi("mount").code == 0
    log = machine.root / "strace"
    line = ["strace", "-f", "-qq", "-e", "trace=openat", "-o", log, machine.command, "unmount", *flags("v", "csi")]
    subprocess.run(line, env={**os.environ, **machine.env}, check=True)
    looks = Counter(re.findall(r'"/proc/(\d+)/fd"', log.read_text()))
    assert looks[str(os.getpid())] == 1
    assert set(looks.values()) == {1}


def test_what_is_open_where_a_volume_is_staged_keeps_it_published(machine):
    assert machine.csi("mount").code == 0
    (machine.place / "file").write_text("kept")
    with (machine.state / "mounts" / STAGED / "file").open() as file:
        refused(machine.csi("unmount", "v", "--timeout=2"), IN_USE, f"pid {os.getpid()}", "staging/file")
        assert asked(machine) == []
        assert mountinfo.at(str(machine.place), mountinfo.read()) is not None
        assert file.read() == "kept"
    assert machine.recover().code == 0
    assert asked(machine) == ["NodeUnpublishVolume", "NodeUnstageVolume"]
    assert machine.leftovers() == []


def test_what_is_opened_while_a_driver_is_slow_to_unpublish_is_seen(machine):
    assert machine.csi("mount").code == 0
    (machine.place / "file").write_text("kept")
    opened = []

    def before(rpc, moment):
        if (rpc, moment) == ("NodeUnpublishVolume", "after") and not opened:
            opened.append((machine.state / "mounts" / STAGED / "file").open())
            time.sleep(1.1)  # what was looked at is that old by then

    machine.host.driver.before = before
    refused(machine.csi("unmount", "v", "--timeout=14"), IN_USE, f"pid {os.getpid()}", "staging/file")
    assert asked(machine) == ["NodeUnpublishVolume"]
    assert opened[0].read() == "kept"
    opened[0].close()
    assert machine.recover().code == 0
    assert machine.leftovers() == []


def test_a_copy_of_the_mount_made_while_the_driver_unpublishes_is_seen(machine):
    assert machine.csi("mount").code == 0
    (machine.root / "copy").mkdir()
    kept = []

    def before(rpc, moment):
        if (rpc, moment) == ("NodeUnpublishVolume", "before") and not kept:
            kept.append(machine.root / "copy")
            subprocess.run(["mount", "--bind", machine.state / "mounts" / STAGED, machine.root / "copy"], check=True)

    machine.host.driver.before = before
    refused(machine.csi("unmount", "v", "--timeout=2"), IN_USE, f"{machine.root}/copy")
    assert "NodeUnstageVolume" not in asked(machine)
    subprocess.run(["umount", kept[0]], check=True)
    assert machine.recover().code == 0
    assert machine.leftovers() == []


def test_what_is_mapped_and_not_open_any_more_is_use(machine):
    assert machine.csi("mount").code == 0
    (machine.place / "a file").write_text("kept")
    code = "import mmap, sys\nwith open(sys.argv[1], 'rb') as f: m = mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ)\n" \
           "print(flush=True); sys.stdin.read()"  # fmt: skip
    pipe = subprocess.PIPE
    user = subprocess.Popen(["python3", "-c", code, machine.place / "a file"], stdin=pipe, stdout=pipe)
    try:
        assert user.stdout.readline() == b"\n"
        refused(machine.csi("unmount", "v", "--timeout=2"), IN_USE, f"pid {user.pid}", "v/a file")
    finally:
        user.communicate()
    assert machine.recover().code == 0
    assert machine.leftovers() == []
