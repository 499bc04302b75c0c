"""Walks that nobody leads astray."""

from __future__ import annotations

import os

import pytest

from dvdcli.errors import DvdcliError
from dvdcli.linux.paths import Walk, is_of_root_alone, is_within, parts, resolve

ME = (os.geteuid(), os.getegid())


def reached(walk):
    return os.readlink(f"/proc/self/fd/{walk.descriptor}")


def test_parts_and_within():
    assert parts("//a/./b//") == ["a", "b"]
    assert is_within("/a/b", "/a")
    assert is_within("/a", "/a")
    assert is_within("/a", "/")
    assert not is_within("/ab", "/a")


def test_a_way_that_is_there(tmp_path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    with Walk(str(tmp_path), None) as walk:
        walk.along("a/./b", follow=False)
        assert reached(walk) == str(tmp_path / "a" / "b")


def test_what_is_missing_is_made_or_not(tmp_path):
    with Walk(str(tmp_path), ME) as walk:
        walk.along("a/b", follow=False)
        assert reached(walk) == str(tmp_path / "a" / "b")
    assert (tmp_path / "a").stat().st_mode & 0o7777 == 0o755
    with Walk(str(tmp_path), None) as walk, pytest.raises(FileNotFoundError):
        walk.along("a/c", follow=False)


@pytest.mark.root
def test_what_is_made_is_the_owners(tmp_path):
    with Walk(str(tmp_path), (1234, 4321)) as walk:
        walk.along("a/b", follow=False)
    for path in (tmp_path / "a", tmp_path / "a" / "b"):
        assert (path.stat().st_uid, path.stat().st_gid) == (1234, 4321)


@pytest.mark.parametrize("path", ["../x", "a/../../x", ".."])
def test_no_way_up(tmp_path, path):
    (tmp_path / "a").mkdir()
    with Walk(str(tmp_path), ME) as walk, pytest.raises(DvdcliError, match=r"\.\."):
        walk.along(path, follow=False)


@pytest.mark.parametrize("target", ["/etc", "b", ".", "..", "/proc/self/root", "dangling"])
def test_no_link_where_none_may_be(tmp_path, target):
    (tmp_path / "b").mkdir()
    (tmp_path / "a").symlink_to(target)
    for path in ("a", "a/b"):
        with Walk(str(tmp_path), ME) as walk, pytest.raises(DvdcliError, match="symbolic link"):
            walk.along(path, follow=False)
    assert sorted(os.listdir(tmp_path)) == ["a", "b"]


def test_links_are_read_as_in_a_chroot(tmp_path):
    (tmp_path / "run" / "x").mkdir(parents=True)
    (tmp_path / "var").mkdir()
    (tmp_path / "var" / "run").symlink_to("/run")
    (tmp_path / "var" / "relative").symlink_to("../run")
    (tmp_path / "twice").symlink_to("var/relative/x")
    for way in ("var/run/x", "var/relative/x", "twice"):
        with Walk(str(tmp_path), None) as walk:
            walk.along(way, follow=True)
            assert reached(walk) == str(tmp_path / "run" / "x")
    with Walk(str(tmp_path), ME) as walk:
        walk.along("var/run/new", follow=True)
    assert (tmp_path / "run" / "new").is_dir()


@pytest.mark.parametrize("target", ["..", "../..", "a/../../..", "/.."])
def test_a_link_out_is_refused(tmp_path, target):
    root = tmp_path / "root"
    (root / "a").mkdir(parents=True)
    (root / "out").symlink_to(target)
    with Walk(str(root), ME) as walk, pytest.raises(DvdcliError, match="out of"):
        walk.along("out/etc", follow=True)
    assert sorted(os.listdir(tmp_path)) == ["root"]


def test_an_absolute_link_stays_in(tmp_path):
    (tmp_path / "out").symlink_to("/etc/made-by-a-test")
    with Walk(str(tmp_path), ME) as walk:
        walk.along("out", follow=True)
        assert reached(walk) == str(tmp_path / "etc" / "made-by-a-test")


def test_a_loop_ends(tmp_path):
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with Walk(str(tmp_path), ME) as walk, pytest.raises(OSError, match="symbolic links"):
        walk.along("a", follow=True)


def test_a_file_is_no_directory(tmp_path):
    (tmp_path / "f").write_text("")
    with Walk(str(tmp_path), ME) as walk, pytest.raises(DvdcliError, match="no directory"):
        walk.along("f", follow=True)


def test_nothing_stays_open(tmp_path):
    before = os.listdir("/proc/self/fd")
    for path in ("a/b/c", "a/../x", "a/b"):
        try:
            with Walk(str(tmp_path), ME) as walk:
                walk.along(path, follow=True)
        except DvdcliError:
            pass
    assert len(os.listdir("/proc/self/fd")) == len(before)


@pytest.mark.root
def test_of_root_alone():
    import tempfile

    assert is_of_root_alone("/usr/share")
    with tempfile.TemporaryDirectory(dir="/srv") as root:
        os.chmod(root, 0o755)
        inner = os.path.join(root, "a", "b")
        os.makedirs(inner)
        assert is_of_root_alone(inner)
        os.chown(inner, 1000, 1000)
        assert is_of_root_alone(inner), "whoever owns the place itself cannot put another one there"
        os.chmod(os.path.dirname(inner), 0o775)
        assert not is_of_root_alone(inner)
        os.chmod(os.path.dirname(inner), 0o755)
        os.chown(root, 1000, 0)
        assert not is_of_root_alone(inner)
    assert not is_of_root_alone("/tmp/x")


@pytest.mark.root
def test_resolved_and_who_can_change_the_way(tmp_path):
    tmp_path.chmod(0o700)
    base = os.path.realpath(tmp_path)
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "up").symlink_to("a/../a/./b")
    (tmp_path / "whole").symlink_to(f"{base}/up")
    (tmp_path / "loop").symlink_to("loop")
    for way in ("a/b", "up", "whole", "a//b/", "a/../whole"):
        assert resolve(f"{base}/{way}") == (f"{base}/a/b", "")
    assert resolve(f"{base}/no") == (f"{base}/no", "")
    with pytest.raises(OSError, match="symbolic links"):
        resolve(f"{base}/loop")
    os.lchown(tmp_path / "up", 1000, 1000)
    assert resolve(f"{base}/whole/x")[1] == f"{base}/up", "whose link it is can make another one"
    os.chown(tmp_path / "a", 1000, 1000)
    assert resolve(f"{base}/a/b") == (f"{base}/a/b", f"{base}/a")
    assert resolve(f"{base}/a") == (f"{base}/a", ""), "the place itself is its owner's"
    tmp_path.chmod(0o1777)
    assert resolve(f"{base}/a") == (f"{base}/a", "")
