"""What waits for recover is found by the next one, in every boot's second look too.

A volume's place has a marker from before it is made until it is gone.
"""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from dvdcli.clock import Deadline
from dvdcli.locks import try_lock
from dvdcli.state import Slot, State
from dvdcli.volume import Volume
from tests.conftest import NO_PROCESS, Home
from tests.gate import flags
from tests.walk import needs_strace


@pytest.fixture
def looked(home: Home) -> Home:
    """A home where every record was looked at in this boot, and a recover looks at what is pending alone."""
    home.plugin().add("v")
    assert home.mount("first").code == 0
    assert home.unmount("first").code == 0
    assert home.recover().code == 0
    assert (home.state / "boot").exists()
    return home


def killed(home: Home, verb: str, call: str, number: int) -> bool:
    """Run the call, and kill it before its *number*th system call *call*; return whether it was."""
    inject = f"inject={call}:signal=KILL:when={number}"
    line = ["strace", "-o", "/dev/null", "-e", f"trace={call}", "-e", inject, home.command, verb, *flags()]
    return subprocess.run(line, env=home.env, capture_output=True, check=False, timeout=120).returncode != 0


@needs_strace
@pytest.mark.parametrize(
    ("verb", "call", "number"),
    [("mount", "mkdir", 1), ("mount", "mkdir", 2), ("mount", "flock", 1), ("unmount", "rename", 1),
     ("unmount", "flock", 1), ("unmount", "rmdir", 1), ("unmount", "rmdir", 2), ("nothing", "rmdir", 2),
     ("nothing", "flock", 1), ("nothing", "unlink", 3)],
)  # fmt: skip
def test_a_place_that_a_killed_call_left_is_found(looked: Home, verb: str, call: str, number: int) -> None:
    if verb == "unmount":
        assert looked.mount().code == 0
    assert killed(looked, verb.replace("nothing", "unmount"), call, number)
    assert looked.recover().code == 0
    if verb == "mount" or not looked.mounts():
        assert (looked.places(), looked.places("pending"), looked.leftovers()) == ([], [], [])
    assert looked.unmount().code == 0
    assert (looked.places(), looked.places("pending"), looked.leftovers()) == ([], [], [])


def leave_place(home: Home, marker: str) -> Path:
    """Leave an empty place, as a call does that was killed in its last steps."""
    slot = home.slot("v", "plug")
    slot.mkdir()
    (slot / "lock").touch()
    (home.state / "pending" / "plug" / marker).touch()
    return slot


def test_a_place_that_was_going_is_gone_unless_somebody_is_there(looked: Home) -> None:
    slot = leave_place(looked, f".v.{NO_PROCESS}")
    lock = try_lock(f"{slot}/lock")
    assert lock is not None
    assert looked.recover("--dry-run").code == 0
    assert looked.recover().code == 0
    assert looked.places() == ["plug/v"]
    assert looked.places("pending") == [f"plug/.v.{NO_PROCESS}"], "it is looked at again"
    lock.release()
    assert looked.recover().code == 0
    assert (looked.places(), looked.places("pending")) == ([], [])


def test_a_marker_of_who_has_gone_does_no_harm_to_who_came(looked: Home) -> None:
    assert looked.mount().code == 0
    (looked.state / "pending" / "plug" / f".v.{NO_PROCESS}").touch()
    assert looked.recover().code == 0
    assert [row["holds"] for row in looked.mounts()] == [["name:host"]]
    assert looked.places("pending") == []


# Two at once


@pytest.fixture
def slot(looked: Home, monkeypatch: pytest.MonkeyPatch) -> Slot:
    monkeypatch.setenv("DVDCLI_STATE_DIR", str(looked.state))
    return State().slot(Volume("plug", "v"))


# Takes the volume's lock, says so before it makes its place, and is killed as soon as it has what *until* says.
SLOW = """
import os, signal, sys
from dvdcli.clock import Deadline
from dvdcli.state import State
from dvdcli.volume import Volume

def mkdir(path, mode):
    if path == slot.directory:
        print("ready", flush=True)
        sys.stdin.readline()
    make(path, mode)
    if path == slot.directory and sys.argv[1] == "directory":
        os.kill(os.getpid(), signal.SIGKILL)

slot, make, os.mkdir = State().slot(Volume("plug", "v")), os.mkdir, mkdir
slot._give_marker = lambda lock: os.kill(os.getpid(), signal.SIGKILL)
slot.acquire(Deadline(10.0))
"""


@pytest.fixture
def slow(slot: Slot, request: pytest.FixtureRequest) -> Iterator[subprocess.Popen[str]]:
    line = [sys.executable, "-I", "-c", SLOW, request.param]
    with subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process
        process.kill()


@pytest.mark.parametrize("slow", ["directory", "lock"], indirect=True)
@pytest.mark.parametrize("verb", ["unmount", "mount", "recover"])
def test_a_place_that_a_killed_call_made_after_another_went_is_found(
    looked: Home, slow: subprocess.Popen[str], verb: str
) -> None:
    """Whoever is at work on the volume while it is about to make its place leaves its marker alone."""
    done = looked.recover() if verb == "recover" else looked.run(verb, *flags())
    assert done.code == 0
    if verb == "mount":
        assert looked.unmount().code == 0
    assert looked.places() == []
    slow.communicate("go on\n")
    assert looked.places() == ["plug/v"], "it was killed too early"
    assert looked.recover().code == 0
    assert (looked.places(), looked.places("pending"), looked.leftovers()) == ([], [], [])


def test_a_place_that_somebody_came_to_as_it_went_keeps_a_marker(
    looked: Home, slot: Slot, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who waited for the lock has made its file anew in the same directory, and is killed before it marks anything."""

    def rmdir(path: str) -> None:
        if path == slot.directory:
            newcomer = try_lock(f"{path}/lock")
            assert newcomer is not None
            newcomer.release()
        remove(path)

    remove = os.rmdir
    lock = slot.acquire(Deadline(10.0))
    with monkeypatch.context() as patch:
        patch.setattr(os, "rmdir", rmdir)
        slot.erase()
    lock.release()
    assert (looked.places(), looked.places("pending")) == (["plug/v"], ["plug/v"])
    assert looked.recover().code == 0
    assert (looked.places(), looked.places("pending"), looked.leftovers()) == ([], [], [])


@pytest.mark.parametrize("locked", [False, True])
def test_a_marker_that_cannot_be_made_the_volumes_own_stays(
    looked: Home, slot: Slot, monkeypatch: pytest.MonkeyPatch, locked: bool
) -> None:
    """A place is made, and then its file system fails; *locked* is whether that was after the lock had been taken."""

    def rename(source: str, target: str) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), target)

    def opened(path: str, *arguments: int) -> int:
        if path == f"{slot.directory}/lock" and os.path.exists(slot.directory):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)
        return open_(path, *arguments)

    open_ = os.open
    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", rename)
        if not locked:
            patch.setattr(os, "open", opened)
        with pytest.raises(OSError, match=os.strerror(errno.EROFS if locked else errno.ENOSPC)):
            slot.acquire(Deadline(10.0))
    marker = f"plug/.v.{os.getpid()}"
    assert (looked.places(), looked.places("pending")) == (["plug/v"], [marker])
    assert looked.recover().code == 0
    assert (looked.places(), looked.places("pending")) == ([], [marker]), "its process is still there"
    (looked.state / "pending" / marker).rename(looked.state / "pending" / "plug" / f".v.{NO_PROCESS}")
    assert looked.recover().code == 0
    assert looked.leftovers() == []


def test_without_space_for_another_name_of_the_marker_the_next_recover_looks_at_everything(
    looked: Home, slot: Slot, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The call is killed before it has removed the place whose marker it had to remove first."""

    def rename(source: str, target: str) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), target)

    def rmdir(path: str) -> None:
        if path == slot.directory:
            raise InterruptedError
        remove(path)

    remove = os.rmdir
    lock = slot.acquire(Deadline(10.0))
    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", rename)
        patch.setattr(os, "rmdir", rmdir)
        with pytest.raises(InterruptedError):
            slot.erase()
    lock.release()
    assert (looked.places(), looked.places("pending")) == (["plug/v"], [])
    assert looked.recover().code == 0
    assert (looked.places(), looked.leftovers()) == ([], [])


# Without space, or without a volume


def test_what_can_leave_no_marker_makes_the_next_recover_look_at_everything(looked: Home) -> None:
    """The directory of the markers cannot be written to: a full disk, to who wants to make one."""
    plugin = looked.plugins[0]
    assert looked.mount().code == 0
    plugin.volumes["v"].ids.add("another")
    pending = looked.state / "pending"
    pending.rename(looked.state / "aside")
    pending.write_text("")  # no directory
    plugin.stop()
    assert looked.unmount().code != 0
    assert not (looked.state / "boot").exists()
    pending.unlink()
    (looked.state / "aside").rename(pending)
    assert [row["status"] for row in looked.mounts()] == ["unmounting"]
    Path(plugin.where.removeprefix("unix:")).unlink()
    plugin.listen()
    assert looked.recover().code == 0
    assert (looked.mounts(), looked.leftovers()) == ([], [])


def test_a_marker_without_a_volume_goes(home):
    home.plugin()
    home.mount()
    home.recover()
    marker = home.state / "pending" / "plug" / "gone"
    marker.touch()
    assert home.recover("--dry-run").out == ""
    assert marker.exists()
    assert home.recover().out == ""
    assert not marker.exists()
