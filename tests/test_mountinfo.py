"""The mount table, as text and as the kernel writes it."""

from __future__ import annotations

import os
import resource
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dvdcli.errors import TryAgainError
from dvdcli.linux import mountinfo

TABLE = """\
21 22 0:4 / /proc rw - proc proc rw
22 1 254:1 / / rw,relatime - ext4 /dev/vda1 rw
30 22 0:5 / /dev rw shared:2 - devtmpfs udev rw
41 22 254:1 /srv/a /mnt/a rw shared:7 master:3 - ext4 /dev/vda1 rw
42 22 254:2 / /mnt/b\\040c rw master:9 - ext4 /dev/vdb rw
43 42 254:3 / /mnt/b\\040c/deep rw unbindable - xfs /dev/vdc rw
44 42 254:4 / /mnt/b\\040c rw propagate_from:2 - xfs /dev/vdd rw
"""
STRANGE = (
    "a b", "t\tab", "new\nline", "back\\slash", "back\\040slash", "#", "\x0b", "\x0c", "\x1c", "\x85", "\u2028",
    "r\rr", "\U0001f40b", "\udcff", " - ",
)  # fmt: skip


def test_parse() -> None:
    mounts = mountinfo.parse(TABLE)
    assert [(m.device, m.root, m.path, m.propagates) for m in mounts] == [
        ("0:4", "/", "/proc", False),
        ("254:1", "/", "/", False),
        ("0:5", "/", "/dev", True),
        ("254:1", "/srv/a", "/mnt/a", True),
        ("254:2", "/", "/mnt/b c", True),
        ("254:3", "/", "/mnt/b c/deep", False),
        ("254:4", "/", "/mnt/b c", False),
    ]


@pytest.mark.parametrize(
    ("field", "path"),
    [
        ("/a\\040b", "/a b"), ("/a\\011b", "/a\tb"), ("/a\\012b", "/a\nb"), ("/a\\134b", "/a\\b"), ("/a#b", "/a#b"),
        ("/a\\134040b", "/a\\040b"), ("/a\\134134b", "/a\\134b"), ("/\\134\\040", "/\\ "),
    ],
)  # fmt: skip
def test_escapes(field: str, path: str) -> None:
    (mount,) = mountinfo.parse(f"22 1 254:1 {field} {field} rw - ext4 /dev/vda1 rw\n")
    assert (mount.root, mount.path) == (path, path)


@pytest.mark.parametrize("line", ["", "junk", "22 1 8:1 / / rw", "22 1 8:1 / / rw shared:1 ext4 /dev/sda rw", " " * 9])
def test_a_line_of_another_form_is_left_out(line: str) -> None:
    paths = [mount.path for mount in mountinfo.parse(TABLE)]
    assert [mount.path for mount in mountinfo.parse(f"{line}\n{TABLE}{line}")] == paths


@pytest.mark.parametrize(
    ("path", "place"),
    [
        ("/", ("254:1", "/")), ("/srv/x", ("254:1", "/srv/x")), ("/dev", ("0:5", "/")), ("/devil", ("254:1", "/devil")),
        ("/proc/a", ("0:4", "/a")),  # mounted before the root was, as an initramfs does
        ("/mnt/a", ("254:1", "/srv/a")), ("/mnt/a/b/c", ("254:1", "/srv/a/b/c")), ("/mnt/b", ("254:1", "/mnt/b")),
        ("/mnt/b c", ("254:4", "/")), ("/mnt/b c/x", ("254:4", "/x")),
        ("/mnt/b c/deep", ("254:4", "/deep")),  # what was mounted there is covered by the last mount
    ],
)  # fmt: skip
def test_place_of(path: str, place: tuple[str, str]) -> None:
    assert mountinfo.place_of(path, mountinfo.parse(TABLE)) == place


def test_a_path_that_nothing_leads_to() -> None:
    chroot = mountinfo.parse("30 22 0:5 / /dev rw - devtmpfs udev rw\n")
    assert mountinfo.place_of("/a", []) is None
    assert mountinfo.place_of("/a", chroot) is None
    assert mountinfo.place_of("/dev/a", chroot) == ("0:5", "/a")


def test_our_own_table_agrees_with_stat(tmp_path: Path) -> None:
    place = mountinfo.place_of("/proc/self", mountinfo.read())
    device = os.stat("/proc").st_dev
    assert place == (f"{os.major(device)}:{os.minor(device)}", "/self")
    assert {mount.path for mount in mountinfo.read(os.getpid())} == {mount.path for mount in mountinfo.read()}
    assert mountinfo.namespace() == mountinfo.namespace(os.getpid()) == os.readlink("/proc/self/ns/mnt")


def test_a_process_that_has_gone() -> None:
    process = subprocess.Popen(["true"])
    process.wait()
    assert mountinfo.read(process.pid) == []
    assert mountinfo.namespace(process.pid) == ""


def test_a_process_that_waits_for_its_parent_alone() -> None:
    process = subprocess.Popen(["true"])
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    try:
        assert mountinfo.read(process.pid) == []
    finally:
        process.wait()


@pytest.mark.parametrize("pid", ["self", 1])
def test_a_table_that_cannot_be_read_is_not_empty(pid: int | str) -> None:
    """Nobody has a volume of whom nothing is seen: that would be a reason to unmount it."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, before[1]))
    try:
        with pytest.raises(TryAgainError, match=f"cannot be told: /proc/{pid}/mountinfo: Too many open files"):
            mountinfo.read(pid)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.fixture
def volume(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, mounted privately."""
    path = tmp_path / "volume"
    path.mkdir()
    _mount("-t", "tmpfs", "-o", "size=1m", "dvdcli-test", path)
    _mount("--make-private", path)
    yield path
    subprocess.run(["umount", "-l", path], check=True)


def _mount(*arguments: str | Path) -> None:
    subprocess.run(["mount", *arguments], check=True)


Enter = Callable[..., subprocess.Popen[bytes]]
# A new mount namespace has private copies of the mounts of all tests that run now: to them we would be a user.
ENTER = """
while read -r line; do
    case $line in *" shared:"* | *" master:"*) continue ;; *" - tmpfs dvdcli-test "*) ;; *) continue ;; esac
    set -f; at=$(printf %s "$line" | cut -d" " -f5)
    case $at in "$0"/*) ;; *) umount -l "$at" 2>/dev/null || : ;; esac
done </proc/self/mountinfo
"""


@pytest.fixture
def enter(tmp_path: Path) -> Iterator[Enter]:
    """Start a process in a mount namespace of its own, which runs a script there and then waits."""
    started = []

    def enter(script: str, *arguments: Path) -> subprocess.Popen[bytes]:
        unshare = ["unshare", "-m", "--propagation", "unchanged", "sh", "-ec"]  # in a chroot / has none to change
        whole = f"{ENTER}\n{script}\necho ready\nread end"
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        process = subprocess.Popen([*unshare, whole, tmp_path, *arguments], **pipes)
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        return process

    yield enter
    for process in started:
        process.communicate()


def users(path: Path, process: subprocess.Popen[bytes], servers: tuple[int, ...] = ()) -> list[str]:
    """Return where users() saw *process* (others' tests may copy our mounts at the same time)."""
    return sorted(user.path for user in mountinfo.users(str(path), servers) if user.pid == process.pid)


@pytest.mark.root
def test_a_bind_mount_in_another_namespace_is_a_user(tmp_path: Path, volume: Path, enter: Enter) -> None:
    target, data = tmp_path / "target", volume / "data"
    target.mkdir()
    data.mkdir()
    process = enter('mount --make-private "$1"; mount --bind "$1/data" "$2"; umount "$1"', volume, target)
    assert users(volume, process) == [str(target)]
    assert users(data, process) == [str(target)]
    assert users(data, process, servers=(process.pid,)) == []  # the plugin itself
    (found,) = [user for user in mountinfo.users(str(volume)) if user.pid == process.pid]
    assert str(found) == f"pid {process.pid} at {target}"
    (volume / "other").mkdir()
    assert users(volume / "other", process) == []
    process.communicate()
    assert users(volume, process) == []


@pytest.mark.root
def test_a_private_copy_is_a_user_and_one_that_an_unmount_reaches_is_none(volume: Path, enter: Enter) -> None:
    private = enter('mount --make-private "$1"', volume)
    assert users(volume, private) == [str(volume)]
    _mount("--make-shared", volume)
    for script in (":", 'mount --make-slave "$1"'):
        assert users(volume, enter(script, volume)) == []
    assert users(volume, private) == [str(volume)]


@pytest.mark.root
def test_a_bind_mount_in_our_own_namespace_is_a_user(tmp_path: Path, volume: Path) -> None:
    (volume / "inside").mkdir()
    _mount("--bind", volume, volume / "inside")
    target = tmp_path / "target"
    target.mkdir()
    _mount("--bind", volume, target)
    try:
        found = [(user.pid, user.path) for user in mountinfo.users(str(volume)) if user.pid == os.getpid()]
        assert found == [(os.getpid(), str(target))]
    finally:
        subprocess.run(["umount", target], check=True)
        subprocess.run(["umount", volume / "inside"], check=True)


@pytest.mark.root
def test_a_mount_that_a_later_one_covers_is_no_place(volume: Path) -> None:
    for path in (volume / "x", volume):
        path.mkdir(exist_ok=True)
        _mount("-t", "tmpfs", "-o", "size=1m", "dvdcli-test", path)
    try:
        (volume / "x").mkdir()
        device = os.stat(volume / "x").st_dev
        place = mountinfo.place_of(str(volume / "x"), mountinfo.read())
        assert place == (f"{os.major(device)}:{os.minor(device)}", "/x")
    finally:
        subprocess.run(["umount", volume], check=True)
        subprocess.run(["umount", volume / "x"], check=True)


@pytest.mark.root
@pytest.mark.parametrize("name", STRANGE, ids=ascii)
def test_mounts_at_strange_paths(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.mkdir()
    _mount("-t", "tmpfs", "dvdcli-test", path)
    try:
        device = os.stat(path).st_dev
        place = mountinfo.place_of(f"{path}/x", mountinfo.read())
        assert place == (f"{os.major(device)}:{os.minor(device)}", "/x")
        (path / name).mkdir()
        _mount("--bind", path / name, path / name)
        assert f"/{name}" in {mount.root for mount in mountinfo.read() if mount.path == f"{path}/{name}"}
    finally:
        subprocess.run(["umount", "-R", path], check=True)
