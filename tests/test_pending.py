"""What waits for recover is found by the next one, in every boot's second look too.

A volume's place has a marker from before it is made until it is gone.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from dvdcli.locks import try_lock
from tests.conftest import Home
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
    slot = leave_place(looked, ".v.4711")
    lock = try_lock(f"{slot}/lock")
    assert lock is not None
    assert looked.recover("--dry-run").code == 0
    assert looked.recover().code == 0
    assert looked.places() == ["plug/v"]
    assert looked.places("pending") == ["plug/.v.4711"], "it is looked at again"
    lock.release()
    assert looked.recover().code == 0
    assert (looked.places(), looked.places("pending")) == ([], [])


def test_a_marker_of_who_has_gone_does_no_harm_to_who_came(looked: Home) -> None:
    assert looked.mount().code == 0
    (looked.state / "pending" / "plug" / ".v.4711").touch()
    assert looked.recover().code == 0
    assert [row["holds"] for row in looked.mounts()] == [["name:host"]]
    assert looked.places("pending") == []


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
    plugin._listen()
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
