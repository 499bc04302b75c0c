"""What a killed or failed call leaves of claims, of a volume in the making and of metrics is found by the next one.

A record stays until its claim is gone; the first recover of a boot finds claims without a record.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.conftest import Home
from tests.sized import Sized
from tests.walk import needs_strace

STATE = 6


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
    assert (home.places("claims"), home.leftovers()) == ([], [])


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
    assert len(home.places("claims")) == 3
    assert home.recover().code == 0
    assert home.places("claims") == [f"local/{json.loads(claim(home).read_text())['name']}".replace(
        "local/there", f"local/{claim(home).parent.name}")]  # fmt: skip
    assert json.loads(claim(home).read_text())["name"] == "there"
    assert (home.state / "boot").exists()
    assert home.places() == ["local/there"]
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
