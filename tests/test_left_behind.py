"""What a killed or failed call leaves in the state is found by the next recover, in every boot's second look too.

A volume's place has a marker from before it is made until it is gone; a record stays until its claim is gone; the
first recover of a boot finds claims without a record.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from dvdcli.locks import try_lock
from tests.conftest import Home
from tests.gate import flags
from tests.sized import Sized
from tests.walk import needs_strace

STATE = 6
EDGES = "mkdir,flock,rename,unlink,rmdir,openat"


@pytest.fixture
def looked(home: Home) -> Home:
    """A home where every record was looked at in this boot, and a recover looks at what is pending alone."""
    home.plugin().add("v")
    assert home.mount("first").code == 0
    assert home.unmount("first").code == 0
    assert home.recover().code == 0
    assert (home.state / "boot").exists()
    return home


def places(home: Home, tree: str = "volumes") -> list[str]:
    """Return what is in the directories of *tree*, those of the drivers, or providers, excepted."""
    found = (path.relative_to(home.state).parts for path in home.state.glob(f"{tree}/*/*"))
    return sorted("/".join(parts[1:]) for parts in found)


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
        assert (places(looked), places(looked, "pending"), looked.leftovers()) == ([], [], [])
    assert looked.unmount().code == 0
    assert (places(looked), places(looked, "pending"), looked.leftovers()) == ([], [], [])


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
    assert places(looked) == ["plug/v"]
    assert places(looked, "pending") == ["plug/.v.4711"], "it is looked at again"
    lock.release()
    assert looked.recover().code == 0
    assert (places(looked), places(looked, "pending")) == ([], [])


def test_a_marker_of_who_has_gone_does_no_harm_to_who_came(looked: Home) -> None:
    assert looked.mount().code == 0
    (looked.state / "pending" / "plug" / ".v.4711").touch()
    assert looked.recover().code == 0
    assert [row["holds"] for row in looked.mounts()] == [["name:host"]]
    assert places(looked, "pending") == []


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


# Claims


def claim(home: Home) -> Path:
    [path] = home.state.glob("claims/local/*/claim.json")
    return path


@pytest.mark.root
def test_a_claim_whose_removal_fails_keeps_its_record(sized: Sized) -> None:
    """That is said, and the next recover removes both."""
    home = sized.home
    assert home.recover().code == 0
    assert sized.mount("size=16M").code == 0
    path = claim(home)
    text = path.read_text()
    path.unlink()
    path.mkdir()  # cannot be read, nor unlinked
    done = sized.unmount()
    assert (done.code, done.err.count("\n")) == (STATE, 1)
    assert sized.mounts() == []
    assert [row["holds"] for row in home.mounts()] == [[]]
    path.rmdir()
    path.write_text(text)
    assert home.recover().code == 0
    assert (places(home, "claims"), home.leftovers()) == ([], [])


@pytest.mark.root
def test_a_claim_without_a_record_goes_with_the_first_recover_of_a_boot(sized: Sized) -> None:
    """One that counts stays, and so does one whose record is damaged until that is set right."""
    home = sized.home
    for name in ("lost", "there"):
        assert sized.mount("size=16M", name=name).code == 0
    lost = home.slot("lost", "local")
    kept = (lost / "record.json").read_text()
    assert sized.unmount(name="lost").code == 0
    old = json.loads(kept)["claim"]
    stray = claim(home).parents[1] / old.replace("/", "%2F")
    stray.mkdir()
    (stray / "claim.json").write_text(json.dumps({"schema": 1, "driver": "local", "name": "lost"}))
    (stray / "lock").touch()
    empty = stray.with_name("empty")
    empty.mkdir()
    (empty / "lock").touch()
    (home.state / "boot").unlink(missing_ok=True)
    assert home.recover("--dry-run").code == 0
    assert len(places(home, "claims")) == 3
    assert home.recover().code == 0
    assert places(home, "claims") == [f"local/{json.loads(claim(home).read_text())['name']}".replace(
        "local/there", f"local/{claim(home).parent.name}")]  # fmt: skip
    assert json.loads(claim(home).read_text())["name"] == "there"
    assert (home.state / "boot").exists()
    assert places(home) == ["local/there"]
    assert sized.unmount(name="there").code == 0
    assert home.leftovers() == []


@pytest.mark.root
def test_what_a_killed_create_left_goes_with_the_mount_that_made_it(sized: Sized) -> None:
    """Half an image is no volume, and nobody asks for that volume again."""
    home = sized.home
    assert sized.mount("size=16M").code == 0
    place = sized.image().parents[1]
    (place / ".new-v").mkdir()
    home.edit_record("v", "local", status="mounting", adding="name:host", fresh=True)
    (home.state / "pending" / "local").mkdir(parents=True, exist_ok=True)
    (home.state / "pending" / "local" / "v").touch()
    assert home.recover().code == 0
    assert [name for name in os.listdir(place) if name.startswith(".")] == []
    assert home.leftovers() == []


# The metrics


@needs_strace
def test_half_written_metrics_are_written_again(home: Home) -> None:
    path = home.root / "dvdcli.prom"
    assert home.recover().code == 0
    line = ["strace", "-o", "/dev/null", "-e", "trace=rename", "-e", "inject=rename:signal=KILL:when=1", home.command]
    done = subprocess.run([*line, "recover", f"--metrics={path}"], env=home.env, capture_output=True, check=False)
    assert done.returncode != 0
    assert [name.name for name in home.root.glob(".dvdcli.prom*")] == [".dvdcli.prom.new"]
    assert home.recover(f"--metrics={path}").code == 0
    assert path.stat().st_mode & 0o777 == 0o644
    assert "dvdcli_mounts" in path.read_text()
    assert list(home.root.glob(".dvdcli.prom*")) == []


def test_what_others_put_in_the_way_of_the_metrics_is_not_written_to(home: Home) -> None:
    """A hard link leads anywhere."""
    other = home.root / "other"
    other.write_text("theirs")
    os.link(other, home.root / ".dvdcli.prom.new")
    done = home.recover(f"--metrics={home.root}/dvdcli.prom")
    assert (done.code, "is not ours" in done.err) == (1, True), done
    assert other.read_text() == "theirs"
