"""What a directory is like as a place, on real directories and mounts."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from dvdcli.clock import Deadline
from dvdcli.findings import Finding
from dvdcli.linux import paths, places
from dvdcli.providers import readiness

IS_ROOT = os.geteuid() == 0


@pytest.fixture
def base(home) -> Iterator[Path]:
    path = home.root / "a" / "b"
    path.mkdir(parents=True)
    for each in (home.root, home.root / "a", path):
        each.chmod(0o755)
    yield path
    home.root.chmod(0o700)


def test_the_first_name_that_is_there(base):
    assert places.existing(f"{base}/x/y/z") == str(base)
    assert places.existing(str(base)) == str(base)
    (base / "file").touch()
    assert places.existing(f"{base}/file/x") == f"{base}/file"
    (base / "dangling").symlink_to("/nowhere")
    assert places.existing(f"{base}/dangling/x") == f"{base}/dangling"


def test_where_others_can_put_something_else(base):
    assert paths.replaceable(str(base)) == ""
    base.chmod(0o777)
    assert paths.replaceable(str(base)) == "", "what is in it is another question"
    assert paths.replaceable(f"{base}/x") == os.path.realpath(base)
    base.chmod(0o1777)
    assert paths.replaceable(f"{base}/x") == ""
    base.parent.chmod(0o775)
    assert paths.replaceable(str(base)) == os.path.realpath(base.parent)


@pytest.mark.skipif(not IS_ROOT, reason="only root can give directories away")
def test_a_directory_of_somebody_else_on_the_way(base):
    os.chown(base.parent, 12345, -1)
    assert paths.replaceable(str(base)) == os.path.realpath(base.parent)


def test_where_others_cannot_pass(base):
    assert places.impassable(str(base)) == ""
    base.chmod(0o700)
    assert places.impassable(str(base)) == os.path.realpath(base)
    base.parent.chmod(0o744)
    assert places.impassable(str(base)) == os.path.realpath(base.parent)


def test_the_work_directory_of_an_agent(base):
    assert places.work_directory(str(base)) == ""
    (base.parent / "meta" / "slaves").mkdir(parents=True)
    assert places.work_directory(f"{base}") == os.path.realpath(base.parent)


@pytest.mark.root
def test_what_it_is_on(base):
    subprocess.run(["mount", "-t", "tmpfs", "dvdcli-test", base], check=True)
    try:
        (base / "x").mkdir()
        assert places.file_system(f"{base}/x") == "tmpfs"
    finally:
        subprocess.run(["umount", base], check=True)
    assert places.file_system("/proc") == "proc"


@pytest.mark.parametrize(("kind", "shared"), [
    ("nfs4", True), ("cifs", True), ("fuse.sshfs", True), ("fuse.glusterfs", True), ("ext4", False), ("xfs", False),
    ("tmpfs", False), ("overlay", False), ("fuse.lxcfs", False),
])  # fmt: skip
def test_what_other_hosts_share(kind, shared):
    assert places.is_network(kind) == shared


def told(found: Iterator[Finding]) -> list[tuple[str, str]]:
    return [(each.status, each.text) for each in found]


def test_a_directory_of_volumes(base):
    assert told(readiness.directory(f"{base}/x", Deadline(60))) == [("ok", f"{base}/x is made when it is needed")]
    assert told(readiness.directory(str(base), Deadline(60))) == [("ok", str(base))]
    (base / "file").touch()
    assert told(readiness.directory(f"{base}/file/x", Deadline(60))) == [("failed", f"{base}/file is no directory")]
    base.chmod(0o777)
    assert [status for status, _ in told(readiness.directory(str(base), Deadline(60)))] == ["failed"]


def test_programs_that_are_missing():
    found = told(readiness.programs(("mount", "mkfs.nonsense")))
    assert found == [("failed", "there is no mkfs.nonsense on this host")]
    only_odd = told(readiness.only_odd(readiness.programs(("mkfs.nonsense",)), "no x"))
    assert only_odd == [("warning", "no x: there is no mkfs.nonsense on this host")]
