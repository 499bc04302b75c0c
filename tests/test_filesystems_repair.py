"""What a crash left on a file system is replayed or mended at the next mount; the rest is for people to decide."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.expect import refused
from tests.sized import Sized, digest, run

FAILURE = 1
SUPERBLOCK = 1024
STATE, INCOMPAT, RECOVER, CHECKSUM = SUPERBLOCK + 0x3A, SUPERBLOCK + 0x60, 4, SUPERBLOCK + 0x3FC

pytestmark = pytest.mark.root


def byte(image: Path, at: int) -> int:
    with image.open("rb") as file:
        file.seek(at)
        return file.read(1)[0]


def used(sized: Sized, kind: str = "ext4") -> Path:
    image = sized.create("300M")
    assert sized.mount(f"fsType={kind}").code == 0
    (sized.path() / "file").write_text("kept")
    assert sized.unmount().code == 0
    return image


def programs(sized: Sized, *options: str) -> list[str]:
    """Mount, which has to succeed, and return the names of the programs that this ran."""
    log = sized.home.root / "programs"
    line = ["strace", "-f", "-o", log, "-e", "trace=execve", sized.home.command, *sized.line("mount", *options)]
    run(*line, env=sized.home.env)
    lines = [line for line in log.read_text().splitlines() if line.endswith(" = 0") and "execve(" in line]
    return [os.path.basename(line.split('"')[1]) for line in lines[1:]]


def crash(sized: Sized, image: Path) -> None:
    """Let the power fail while the volume is mounted and something is written to it."""
    there, crashed = sized.home.root / "there", sized.home.root / "crashed"
    there.mkdir(exist_ok=True)
    run("mount", "-o", "loop", image, there)
    (there / "late").write_text("late")
    run("sync", "-f", there)
    shutil.copyfile(image, crashed)
    run("umount", there)
    os.replace(crashed, image)


def is_whole(sized: Sized, image: Path) -> None:
    assert (sized.path() / "file").read_text() == "kept"
    assert sized.unmount().code == 0
    run("e2fsck", "-f", "-n", image)
    assert sized.left() == []


def test_a_file_system_that_was_unmounted_well_is_not_checked(sized):
    image = used(sized)
    assert "e2fsck" not in programs(sized)
    is_whole(sized, image)


@pytest.mark.parametrize("kind", ["ext4", "xfs"])
def test_the_kernel_replays_a_journal(sized, kind):
    image = used(sized, kind)
    crash(sized, image)
    assert kind != "ext4" or byte(image, INCOMPAT) & RECOVER
    assert not {"e2fsck", "xfs_repair"} & set(programs(sized))
    assert (sized.path() / "late").read_text() == "late"
    assert sized.unmount().code == 0
    run(*(["e2fsck", "-f", "-n"] if kind == "ext4" else ["xfs_repair", "-n"]), image)


def test_an_ext2_in_use_when_the_power_failed_is_checked(sized):
    image = sized.create("64M")
    run("mkfs.ext2", "-q", image)
    sized.write_by_hand(image)
    crash(sized, image)
    assert byte(image, STATE) & 1 == 0
    assert "e2fsck" in programs(sized)
    is_whole(sized, image)


def test_known_errors_are_mended(sized):
    image = used(sized)
    run("debugfs", "-w", "-R", "set_super_value state 3", image)
    assert byte(image, STATE) & 2
    assert "e2fsck" in programs(sized)
    is_whole(sized, image)
    assert byte(image, STATE) & 3 == 1


@pytest.mark.parametrize("options", [["mountopts=ro"], []])
def test_what_the_kernel_refuses_and_e2fsck_does_not_mend_alone_is_for_people(sized, options):
    image = used(sized)
    with image.open("r+b") as file:
        file.seek(CHECKSUM)
        file.write(b"\1\2\3\4")
    before = digest(image)
    error = refused(sized.mount(*options), FAILURE)
    assert ("by hand" in error) == (not options)
    assert sized.left() == []
    assert options == [] or digest(image) == before
    done = subprocess.run(["e2fsck", "-f", "-y", image], capture_output=True, check=False)
    assert done.returncode == 1, done
    assert sized.mount().code == 0
    is_whole(sized, image)
