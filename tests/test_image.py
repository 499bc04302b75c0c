"""Volumes of `local` with a size: real loop devices, real file systems, a real limit."""

from __future__ import annotations

import errno
import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.blocks import backing_files, backing_files_below, content, format_by_hand
from tests.gate import flags
from tests.walk import needs_strace

USAGE, NOT_FOUND, IN_USE = 2, 3, 4

pytestmark = pytest.mark.root


def mount(home, name="v", *options):
    return home.run("mount", *flags(name, "local"), *(f"--volumeopts={option}" for option in options))


def unmount(home, name="v"):
    return home.run("unmount", *flags(name, "local"))


def may_grow_ext4() -> bool:
    """Return whether the kernel lets us: it asks for CAP_SYS_RESOURCE."""
    effective = re.search(r"CapEff:\s*(\w+)", Path("/proc/self/status").read_text())
    return bool(int(effective.group(1), 16) >> 24 & 1)


def image(home, name="v") -> Path:
    return home.state / "mounts" / "local" / name / "image"


@pytest.mark.parametrize("kind", ["ext4", "xfs", "btrfs"])
def test_a_file_outlives_an_unmount_and_space_is_limited(home, kind):
    done = mount(home, "v", "size=400M", f"fsType={kind}")
    assert done.code == 0, done
    path = Path(done.out.strip())
    assert os.path.ismount(path)
    (path / "file").write_text("kept")
    with pytest.raises(OSError, match="No space") as full, (path / "large").open("wb") as file:
        for _ in range(500):
            file.write(os.urandom(1 << 20))
            file.flush()
    assert full.value.errno == errno.ENOSPC
    (path / "large").unlink()
    assert unmount(home).code == 0
    assert not os.path.ismount(path)
    assert str(image(home)) not in backing_files()
    assert home.leftovers() == []
    assert mount(home).out.strip() == str(path)
    assert (path / "file").read_text() == "kept"
    assert unmount(home).code == 0


def test_it_is_made_as_asked_and_taken_as_it_is(home):
    assert mount(home, "v", "size=64M").code == 0
    assert image(home).stat().st_size == 64 << 20
    assert unmount(home).code == 0
    assert home.run("create", *flags("v", "local"), "--volumeopts=size=64M").code == 0
    wrong = home.run("create", *flags("v", "local"), "--volumeopts=size=65M")
    assert (wrong.code, "67108864 bytes" in wrong.err, wrong.err.count("\n")) == (USAGE, True, 1)
    assert mount(home, "v", "size=65M").code == 0  # a scheduler sends the size each time
    assert unmount(home).code == 0


def test_owner_and_mode_are_those_of_a_fresh_file_system_only(home):
    path = mount(home, "v", "size=64M", "uid=1234", "gid=4321", "mode=1770").out.strip()
    status = os.stat(path)
    assert (status.st_uid, status.st_gid, status.st_mode & 0o7777) == (1234, 4321, 0o1770)
    unmount(home)
    assert mount(home, "v", "uid=1", "mode=700").code == 0
    status = os.stat(path)
    assert (status.st_uid, status.st_mode & 0o7777) == (1234, 0o1770)
    unmount(home)


def test_options_in_any_case_and_rex_rays_spelling(home):
    assert mount(home, "v", "SIZE=400M", "newFsType=xfs").code == 0
    assert content(image(home))["TYPE"] == "xfs"
    unmount(home)
    twice = mount(home, "w", "size=64M", "Size=65M")
    assert (twice.code, "given twice" in twice.err) == (USAGE, True)


@pytest.mark.parametrize(
    "option",
    ["fsType=ext5", "fsType=vfat", "mountopts=bind", "mountopts=loop=/dev/sda", "mountopts=remount",
     "mountopts=noatime,journal_path=/dev/sda", "mountopts=X-mount.mkdir", "mountopts=errors=panic",
     "mountopts=device=/dev/sda", 'mountopts=context="a', "mountopts=noatime\n", "overwriteFs=maybe"],
)  # fmt: skip
def test_options_that_are_refused(home, option):
    done = mount(home, "v", "size=64M", option)
    assert (done.code, done.err.count("\n"), done.out) == (USAGE, 1, "")
    assert not image(home).exists()
    assert home.leftovers() == []


def test_mount_options_are_passed_on(home):
    path = mount(home, "v", "size=64M", "mountopts=noatime,nodev,errors=remount-ro").out.strip()
    line = next(line for line in Path("/proc/self/mountinfo").read_text().splitlines() if f" {path} " in line)
    assert {"noatime", "nodev"} <= set(line.split()[5].split(","))
    unmount(home)
    assert mount(home, "v", "mountopts=ro").code == 0
    with pytest.raises(OSError, match="Read-only"):
        Path(path, "file").touch()
    unmount(home)


def test_a_volume_in_use_stays_and_says_by_whom(home):
    path = mount(home, "v", "size=64M").out.strip()
    with subprocess.Popen(["sleep", "60"], cwd=path) as sleeper:
        busy = unmount(home)
        assert (busy.code, f"pid {sleeper.pid} (sleep) uses {path}" in busy.err) == (IN_USE, True)
        assert os.path.ismount(path)
        assert home.run("recover").code == IN_USE
        again = mount(home)
        assert again.code == 5
        sleeper.kill()
    assert home.run("recover").code == 0
    assert str(image(home)) not in backing_files()
    assert home.leftovers() == []


def test_remove_and_resize(home):
    path = mount(home, "v", "size=400M", "fsType=xfs").out.strip()
    assert home.run("remove", *flags("v", "local")).code == IN_USE
    before = os.statvfs(path).f_blocks
    grown = home.run("resize", "--yes", *flags("v", "local"), "--volumeopts=size=500M")
    assert grown.code == 0, grown
    assert os.statvfs(path).f_blocks > before
    assert home.run("resize", "--yes", *flags("v", "local"), "--volumeopts=size=450M").code == USAGE
    assert home.run("resize", "--yes", *flags("w", "local"), "--volumeopts=size=500M").code == NOT_FOUND
    unmount(home)
    assert home.run("remove", *flags("v", "local")).code == 0
    assert not image(home).parent.exists()


@pytest.mark.parametrize("kind", ["ext4", "xfs", "btrfs"])
def test_a_larger_volume_has_a_larger_file_system_at_its_next_mount(home, kind):
    path = mount(home, "v", "size=400M", f"fsType={kind}").out.strip()
    before = os.statvfs(path)
    Path(path, "file").write_text("kept")
    unmount(home)
    assert home.run("resize", "--yes", *flags("v", "local"), "--volumeopts=size=600M").code == 0
    done = mount(home)
    after = os.statvfs(path)
    if kind == "ext4" and not may_grow_ext4():
        assert (done.code, "denied" in done.err, done.err.count("\n")) == (0, True, 1)
    else:
        assert (done.code, done.err) == (0, "")
        assert after.f_blocks * after.f_frsize > before.f_blocks * before.f_frsize + (150 << 20)
    assert Path(path, "file").read_text() == "kept"
    unmount(home)


def test_after_a_reboot_nothing_is_trusted_and_everything_is_there(home):
    path = mount(home, "v", "size=64M").out.strip()
    Path(path, "file").write_text("kept")
    subprocess.run(["umount", path], check=True)
    for line in subprocess.run(["losetup", "-j", image(home)], capture_output=True, text=True).stdout.splitlines():
        subprocess.run(["losetup", "-d", line.partition(":")[0]], check=True)
    home.reboot()
    assert mount(home).out.strip() == path
    assert Path(path, "file").read_text() == "kept"
    assert unmount(home).code == 0
    assert home.leftovers() == []


def test_one_image_through_two_drivers_is_refused_by_name(home):
    home.config.write_text(
        f'[drivers.a]\nprovider = "local"\npath = "{home.root}/ssd"\n'
        f'[drivers.b]\nprovider = "local"\npath = "{home.root}/ssd"\n'
    )
    assert home.mount("v", "a", "--volumeopts=size=64M").code == 0
    done = home.mount("v", "b")
    assert (done.code, "on record as a/v" in done.err, done.err.count("\n")) == (IN_USE, True, 1)
    assert home.unmount("v", "b").code == 0
    assert [row["driver"] for row in home.mounts()] == ["a"]
    assert os.path.ismount(f"{home.root}/ssd/v/data")
    assert home.unmount("v", "a").code == 0
    assert home.mount("v", "b").code == 0
    assert home.unmount("v", "b").code == 0
    assert home.leftovers() == []


def test_an_image_with_a_file_system_of_somebody_else_is_mounted_as_it_is(home):
    assert home.run("create", *flags("v", "local"), "--volumeopts=size=400M").code == 0
    format_by_hand(image(home), "xfs")
    assert mount(home, "v", "fsType=ext4").code == 0
    assert content(image(home))["TYPE"] == "xfs"
    unmount(home)


def test_a_size_that_is_too_small_for_its_file_system(home):
    """mkfs.xfs says it first, and then how it is used, in forty lines."""
    done = mount(home, "v", "size=64M", "fsType=xfs")
    assert done.code == 1, done
    assert "Filesystem must be larger than 300MB.; see that device, and the volume's size" in done.err
    assert home.leftovers() == []


@needs_strace
@pytest.mark.parametrize("call", ["openat", "ioctl"])
def test_a_device_that_does_not_tell_its_file_is_not_taken_for_anothers(home, call):
    """Else an unmount would leave the image on its device, and a mount put it on a second one."""
    assert mount(home, "v", "size=64M").code == 0
    [device] = backing_files_below(image(home).parent)
    hit = ["-P", f"/dev/{device}", "-e", f"trace={call}", "-e", f"inject={call}:error=EIO:when=1"]
    line = ["strace", "-o", "/dev/null", *hit, home.command, "unmount", *flags("v", "local")]
    done = subprocess.run(line, env=home.env, capture_output=True, text=True, check=False, timeout=120)
    assert (done.returncode, f"/dev/{device} does not tell what it is on" in done.stderr) == (5, True), done
    assert unmount(home).code == 0
    assert str(image(home)) not in backing_files()
    assert home.leftovers() == []
