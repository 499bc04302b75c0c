"""A kill in the middle of mkfs is repaired by the next call; a half-made file system of somebody else is left alone.

strace stops mkfs after one of its writes, and goes away: from there a test kills whom it wants.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from collections import Counter
from functools import cache
from pathlib import Path
from types import TracebackType

import pytest

from tests.conftest import Done
from tests.expect import refused
from tests.sized import Sized, digest, run, tags
from tests.waiting import wait_until

FAILURE, TRY_AGAIN = 1, 5
SIZES = {"ext4": "64M", "xfs": "300M", "btrfs": "128M"}
CHECKS = {"ext4": ["e2fsck", "-f", "-n"], "xfs": ["xfs_repair", "-n"], "btrfs": ["btrfs", "check", "--readonly"]}
POINTS = [0.0, 0.25, 0.5, 0.75, 1.0]  # from the first write to the last

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace (apt install strace)"),
]


@cache
def writes(command: Path, kind: str) -> int:
    """Return how many writes mkfs makes for a volume of *kind*, as its thread with the most of them counts."""
    import tempfile

    from tests.conftest import Home

    home = Home(Path(tempfile.mkdtemp(prefix="dvd")), command)
    sized, log = Sized(home), home.root / "trace"
    line = sized.line("mount", f"size={SIZES[kind]}", f"fsType={kind}")
    run("strace", "-f", "-o", log, "-e", "trace=pwrite64", command, *line, env=home.env)
    assert sized.unmount().code == 0
    counts = Counter(line.split()[0] for line in log.read_text(errors="replace").splitlines() if " pwrite64(" in line)
    home.close()
    assert max(counts.values()) > 10
    return max(counts.values())


def state(pid: int) -> str:
    """Return the letter of the state that the process *pid* is in; "" where it has gone, or is only to be reaped."""
    try:
        letter = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return ""
    return "" if letter in "ZX" else letter


def field(pid: int, name: str) -> int:
    """Return a number in /proc/PID/status."""
    return int(re.search(rf"^{name}:\t(\d+)", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)[1])


class Stopped:
    """A mount of a blank volume whose mkfs was stopped at *point*: `dvdcli` waits for it, `mkfs` is its pid."""

    def __init__(self, sized: Sized, kind: str, point: float, *options: str) -> None:
        self.sized = sized
        number = max(1, round(writes(sized.home.command, kind) * point))
        log = sized.home.root / "trace"
        inject = ["-e", "trace=pwrite64", "-e", f"inject=pwrite64:signal=STOP:when={number}"]
        line = [sized.home.command, *sized.line("mount", f"size={SIZES[kind]}", f"fsType={kind}", *options)]
        self.dvdcli = subprocess.Popen(
            ["strace", "-D", "-f", "-o", log, *inject, *line],
            env=sized.home.env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        stop = re.compile(r"^(\d+) +--- stopped by SIGSTOP", re.MULTILINE)
        wait_until(lambda: log.exists() and stop.search(log.read_text(errors="replace")))
        self.mkfs = field(int(stop.search(log.read_text(errors="replace"))[1]), "Tgid")
        assert field(self.mkfs, "PPid") == self.dvdcli.pid
        os.kill(field(self.mkfs, "TracerPid"), signal.SIGKILL)
        wait_until(lambda: state(self.mkfs) == "T" and field(self.dvdcli.pid, "TracerPid") == 0)

    def __enter__(self) -> Stopped:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        self.kill_dvdcli()
        self.kill_mkfs()

    def kill_dvdcli(self) -> None:
        self.dvdcli.kill()
        self.dvdcli.communicate()

    def kill_mkfs(self) -> None:
        if state(self.mkfs):
            os.kill(self.mkfs, signal.SIGKILL)
            wait_until(lambda: not state(self.mkfs))

    def go_on(self) -> None:
        os.kill(self.mkfs, signal.SIGCONT)
        wait_until(lambda: not state(self.mkfs))

    def end(self) -> Done:
        """Wait for the end of dvdcli, which nobody kills."""
        return self.sized.home.finish(self.dvdcli)

    def intent(self) -> dict[str, str]:
        return self.sized.home.record("v", "local")["handle"]["format"]


def device(sized: Sized) -> str:
    (found,) = sized.loops()
    return found


def kill_both(sized: Sized, kind: str, point: float, *options: str) -> dict[str, str]:
    """Kill dvdcli and its mkfs, and return the intent that is on record."""
    with Stopped(sized, kind, point, *options) as stopped:
        stopped.kill_dvdcli()
        stopped.kill_mkfs()
        return stopped.intent()


def is_mounted_and_whole(sized: Sized, kind: str, uuid: str) -> None:
    """The volume is mounted, with the file system of *uuid*, and can be used and unmounted."""
    assert sized.path().is_mount()
    (sized.path() / "file").write_text("kept")
    assert sized.unmount().code == 0
    assert sized.left() == []
    assert (tags(sized.image())["TYPE"], tags(sized.image())["UUID"]) == (kind, uuid)
    run(*CHECKS[kind], sized.image())


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("kind", SIZES)
def test_killed_with_its_mkfs_the_same_call_ends_right(sized, kind, point):
    intent = kill_both(sized, kind, point, "mode=751")
    assert intent["type"] == kind
    done = sized.mount(f"size={SIZES[kind]}", f"fsType={kind}", "mode=751")
    assert done.code == 0, done
    assert "format" not in sized.home.record("v", "local")["handle"]
    assert sized.path().stat().st_mode & 0o777 == 0o751
    is_mounted_and_whole(sized, kind, intent["uuid"])


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("kind", SIZES)
def test_killed_with_its_mkfs_recover_leaves_nothing_and_the_volume_can_be_used(sized, kind, point):
    kill_both(sized, kind, point)
    done = sized.home.recover()
    assert (done.code, "unmounted" in done.out) == (0, True), done
    assert sized.left() == []
    done = sized.mount(f"size={SIZES[kind]}", f"fsType={kind}")
    assert done.code == 0, done
    is_mounted_and_whole(sized, kind, tags(device(sized))["UUID"])


@pytest.mark.parametrize("kind", SIZES)
def test_killed_alone_its_mkfs_keeps_the_volume_busy_and_is_named(sized, kind):
    with Stopped(sized, kind, 0.5, "mode=751") as stopped:
        stopped.kill_dvdcli()
        uuid = stopped.intent()["uuid"]
        for command in ("mount", "unmount"):
            busy = sized.home.run(*sized.line(command, "--timeout=0.5"))
            assert f"pid {stopped.mkfs} " in refused(busy, TRY_AGAIN)
        assert '"action": "busy"' in sized.home.recover("--json").out
        assert state(stopped.mkfs) == "T"
        stopped.go_on()
        done = sized.mount(f"size={SIZES[kind]}", f"fsType={kind}", "mode=751")
        assert done.code == 0, done
        assert sized.path().stat().st_mode & 0o777 == 0o751
        is_mounted_and_whole(sized, kind, uuid)


@pytest.mark.parametrize("kind", SIZES)
def test_a_kill_of_mkfs_alone_is_a_failure_that_the_next_call_mends(sized, kind):
    with Stopped(sized, kind, 0.5) as stopped:
        stopped.kill_mkfs()
        assert f"mkfs.{kind} failed" in refused(stopped.end(), FAILURE)
    assert sized.left() == []
    done = sized.mount(f"size={SIZES[kind]}", f"fsType={kind}")
    assert done.code == 0, done
    is_mounted_and_whole(sized, kind, tags(device(sized))["UUID"])


@pytest.mark.parametrize("ends", ["after the call", "while the call is undone"])
def test_a_mkfs_slower_than_the_call_goes_on_and_a_later_call_succeeds(sized, ends):
    with Stopped(sized, "ext4", 0.5, "mode=751", "--timeout=1") as stopped:
        if ends == "while the call is undone":
            wait_until(lambda: not list((sized.home.slot("v", "local") / "holds").iterdir()))
            stopped.go_on()
        assert f"pid {stopped.mkfs} goes on" in refused(stopped.end(), TRY_AGAIN)
        if ends == "after the call":
            assert state(stopped.mkfs) == "T"
            stopped.go_on()
    done = sized.mount("size=64M", "fsType=ext4", "mode=751")
    assert done.code == 0, done
    assert sized.path().stat().st_mode & 0o777 == 0o751
    is_mounted_and_whole(sized, "ext4", tags(device(sized))["UUID"])


# What is there is somebody else's


def copy(source: Path | str, target: Path | str) -> None:
    run("dd", f"if={source}", f"of={target}", "bs=1M", "conv=notrunc,fsync", "status=none")


@pytest.mark.parametrize("kind", SIZES)
def test_half_made_without_an_intent_is_refused_and_stays_as_it_is(sized, kind):
    kill_both(sized, kind, 0.5)
    image = sized.create(SIZES[kind], name="other")
    copy(device(sized), image)
    before = digest(image)
    error = refused(sized.mount(f"fsType={kind}", name="other"), FAILURE)
    assert " holds data of an unknown kind" in error or " could not be mounted as xfs" in error
    assert digest(image) == before
    assert sized.home.recover().code == 0
    assert sized.left() == []


def fresh(sized: Sized, kind: str, size: str, *options: str) -> Path:
    """Return an image, aside, with a file system of *kind* that has a file in it."""
    aside = sized.home.root / "aside"
    with aside.open("wb") as file:
        file.truncate(int(size[:-1]) << 20)
    run(f"mkfs.{kind}", "-q", *options, aside)
    sized.write_by_hand(aside)
    return aside


def break_attachment(sized: Sized) -> None:
    handle = sized.home.record("v", "local")["handle"]
    handle["format"]["attachment"] = "inode 1"
    sized.home.edit_record("v", "local", handle=handle)


def is_mounted_with_its_file(sized: Sized) -> None:
    done = sized.mount()
    assert done.code == 0, done
    assert (sized.path() / "file").read_text() == "kept"
    assert sized.unmount().code == 0
    assert sized.left() == []


@pytest.mark.parametrize("attachment", ["broken", "kept"])
@pytest.mark.parametrize("kind", SIZES)
def test_a_file_system_of_another_uuid_is_mounted_whatever_is_intended(sized, kind, attachment):
    kill_both(sized, "ext4", 0.5)
    if attachment == "broken":
        break_attachment(sized)
    run("truncate", f"--size={SIZES[kind]}", sized.image())
    run("losetup", "--set-capacity", device(sized))
    aside = fresh(sized, kind, SIZES[kind])
    copy(aside, device(sized))
    is_mounted_with_its_file(sized)
    assert tags(sized.image())["UUID"] == tags(aside)["UUID"]


@pytest.mark.parametrize("attachment", ["broken", "kept"])
def test_a_whole_file_system_of_the_intended_uuid_is_mounted(sized, attachment):
    uuid = kill_both(sized, "ext4", 0.5)["uuid"]
    if attachment == "broken":
        break_attachment(sized)
    copy(fresh(sized, "ext4", "64M", "-U", uuid), device(sized))
    is_mounted_with_its_file(sized)


@pytest.mark.parametrize("what", ["noise", "half made"])
@pytest.mark.parametrize("kind", SIZES)
def test_after_the_attachment_was_broken_nothing_is_made_again(sized, kind, what):
    kill_both(sized, kind, 0.5)
    break_attachment(sized)
    if what == "noise":
        run("dd", "if=/dev/urandom", f"of={device(sized)}", "bs=1M", "count=8", "conv=fsync", "status=none")
    before = digest(Path(device(sized)))
    refused(sized.mount(), FAILURE)
    assert sized.left() == []
    assert digest(sized.image()) == before


@pytest.mark.parametrize("kind", SIZES)
def test_what_was_mounted_since_is_never_made_again(sized, kind):
    """dvdcli was killed, its mkfs ended, somebody mounted it by hand; then the power failed, and a log is left."""
    with Stopped(sized, kind, 0.5) as stopped:
        stopped.kill_dvdcli()
        stopped.go_on()
    there, crashed = sized.home.root / "there", sized.home.root / "crashed"
    there.mkdir()
    run("mount", device(sized), there)
    (there / "file").write_text("kept")
    (there / "directory").mkdir()
    run("sync", "-f", there)
    (there / "directory" / "late").write_text("not yet on disk")
    run("cp", "--sparse=always", sized.image(), crashed)
    run("umount", there)
    copy(crashed, device(sized))
    is_mounted_with_its_file(sized)
