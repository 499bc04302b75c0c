"""Our own files: whole or not at all."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from dvdcli.linux import files

REPLACE_FOR_EVER = """
import sys
sys.path.append(sys.argv[2])
from dvdcli.linux import files
while True:
    for letter, size in ((b"a", 300_000), (b"b", 7), (b"c", 70_000)):
        files.replace(sys.argv[1], letter * size, durable=False)
"""


def test_read(tmp_path: Path) -> None:
    path = tmp_path / "file"
    assert files.read(str(path)) is None
    path.write_bytes(b"x" * 200_000)
    assert files.read(str(path)) == b"x" * 200_000
    (tmp_path / "link").symlink_to(path)
    with pytest.raises(OSError, match="link"):
        files.read(str(tmp_path / "link"))


@pytest.mark.parametrize("durable", [True, False])
def test_replace(tmp_path: Path, durable: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    order: list[str] = []
    for name in ("fsync", "rename"):
        real = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *args, name=name, real=real: (order.append(name), real(*args)))
    for data in (b"old", b"", b"new" * 100_000):
        files.replace(str(path), data, durable=durable)
        assert path.read_bytes() == data
        assert os.listdir(tmp_path) == ["file"]
    assert order == (["fsync", "rename"] if durable else ["rename"]) * 3  # on disk before the name points to it
    assert path.stat().st_mode & 0o777 == 0o600


def test_what_a_killed_call_left_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "file.new").write_bytes(b"half of something longer")
    files.replace(str(tmp_path / "file"), b"whole", durable=True)
    assert (tmp_path / "file").read_bytes() == b"whole"
    assert os.listdir(tmp_path) == ["file"]


def test_a_reader_finds_the_old_or_the_new(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"b" * 7)
    arguments = [str(path), str(Path(files.__file__).parents[2])]
    writer = subprocess.Popen([sys.executable, "-I", "-S", "-c", REPLACE_FOR_EVER, *arguments])
    seen = set()
    try:
        while len(seen) < 3:  # each of the three contents, and nothing else
            assert writer.poll() is None
            data = files.read(str(path))
            assert data is not None
            seen.add((data[:1], len(data), len(set(data))))
    finally:
        writer.kill()
        writer.wait()
    assert seen == {(b"a", 300_000, 1), (b"b", 7, 1), (b"c", 70_000, 1)}


def test_a_failed_replace_leaves_what_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    for name in ("write", "fsync", "rename"):
        with monkeypatch.context() as patch, pytest.raises(OSError, match="No space") as caught:
            patch.setattr(os, name, _fail)
            files.replace(str(path), b"new", durable=True)
        assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, str(path))
        assert path.read_bytes() == b"old"
        assert os.listdir(tmp_path) == ["file"]


def _fail(*_: object) -> int:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_no_descriptor_is_left_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = os.listdir("/proc/self/fd")
    files.replace(str(tmp_path / "file"), b"new", durable=True)
    files.read(str(tmp_path / "file"))
    files.touch(str(tmp_path / "touched"))
    files.sync_directory(str(tmp_path))
    with pytest.raises(OSError, match="directory"):
        files.read(str(tmp_path))
    monkeypatch.setattr(os, "write", _fail)
    with pytest.raises(OSError, match="No space"):
        files.replace(str(tmp_path / "file"), b"new", durable=True)
    assert os.listdir("/proc/self/fd") == before


def test_a_temporary_name_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "other").write_bytes(b"untouched")
    (tmp_path / "file.new").symlink_to(tmp_path / "other")
    with pytest.raises(OSError, match=r"file\.new"):
        files.replace(str(tmp_path / "file"), b"new", durable=False)
    assert (tmp_path / "other").read_bytes() == b"untouched"


@pytest.fixture
def tiny(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB."""
    path = tmp_path / "tiny"
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k,nr_inodes=16", "dvdcli-test", path], check=True)
    yield path
    subprocess.run(["umount", "-l", path], check=True)


@pytest.mark.root
@pytest.mark.parametrize("durable", [True, False])
def test_a_full_disk(tiny: Path, durable: bool) -> None:
    path = tiny / "file"
    files.replace(str(path), b"old", durable=durable)
    with pytest.raises(OSError, match="No space") as caught:
        files.replace(str(path), b"x" * 100_000, durable=durable)
    assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, str(path))
    assert path.read_bytes() == b"old"
    assert os.listdir(tiny) == ["file"]
    files.replace(str(path), b"x" * 40_000, durable=durable)  # there is room for it again


@pytest.mark.root
def test_no_inodes(tiny: Path) -> None:
    path = tiny / "file"
    files.replace(str(path), b"old", durable=False)
    with pytest.raises(OSError, match="No space"):
        for number in range(20):
            files.touch(str(tiny / str(number)))
    with pytest.raises(OSError, match="No space"):
        files.replace(str(path), b"new", durable=False)
    assert path.read_bytes() == b"old"
    assert files.unlink(str(tiny / "0"))  # letting go needs no space
    files.replace(str(path), b"new", durable=False)


def test_names_unlink_touch(tmp_path: Path) -> None:
    assert files.names_in(str(tmp_path / "nowhere")) == []
    for name in ("b", "a"):
        files.touch(str(tmp_path / name))
    (tmp_path / "a").write_text("kept")
    files.touch(str(tmp_path / "a"))
    assert (tmp_path / "a").read_text() == "kept"
    assert files.names_in(str(tmp_path)) == ["a", "b"]
    assert files.unlink(str(tmp_path / "a")) is True
    assert files.unlink(str(tmp_path / "a")) is False
    with pytest.raises(OSError, match="directory"):
        files.unlink(str(tmp_path))
    assert files.names_in(str(tmp_path / "b")) == []
