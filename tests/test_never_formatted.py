"""What is not proven blank is mounted as it is or refused: never formatted, never changed. Real tools, real images.

The table and what is mounted as it is are for every provider of block devices, by the same code; the rest, which no
provider has a say in, is on `local`.
"""

from __future__ import annotations

import os
import struct
from pathlib import Path

import pytest

from tests.expect import refused
from tests.sized import OfWorld, Sized, digest, run, tags
from tests.worlds import WORLDS

FAILURE = 1
MIB = 1 << 20

pytestmark = pytest.mark.root


# What is put on an image, each by the tool that does it in the field where it can run here


def swap(image: Path) -> None:
    run("mkswap", "-q", image)


def luks(version: str, image: Path) -> None:
    cheap = ["--pbkdf=pbkdf2"] if version == "luks2" else []
    line = ["cryptsetup", "luksFormat", "-q", "--type", version, *cheap, "--pbkdf-force-iterations=1000", image, "-"]
    run(*line, input="secret")


def lvm(image: Path) -> None:
    device = run("losetup", "--find", "--show", image).strip()
    only = f'["a|^{device}$|", "r|.*|"]'
    config = f"devices{{filter={only} global_filter={only}}} backup{{backup=0 archive=0}}"
    try:
        run("pvcreate", "-q", "--devicesfile=", "--config", config, device)
    finally:
        run("losetup", "-d", device)


def raid(offset: int, image: Path) -> None:
    """A member of a mirror, superblock version 1: mdadm itself needs the md driver. Source: <linux/raid/md_p.h>."""
    at = offset if offset >= 0 else image.stat().st_size + offset
    size = image.stat().st_size // 512
    block = struct.pack("<4I16s32sQ2IQ4I", 0xA92B4EFC, 1, 0, 0, os.urandom(16), b"here:0", 0, 1, 0, size, 0, 2, 0, 0)
    block += struct.pack("<Q4I", 0, 0, 0, 0, 0)
    block += struct.pack("<4Q2I16s2BHI", 0, size - 2048, at // 512, 0, 0, 0, os.urandom(16), 0, 0, 0, 0)
    block += struct.pack("<3Q", 0, 1, (1 << 64) - 1)
    rest = struct.pack("<I32s2H", 2, b"", 0, 1)
    total = sum(struct.unpack(f"<{len(block + rest) // 4 + 1}I", block + bytes(4) + rest))
    put(at, block + struct.pack("<I", ((total >> 32) + total) & 0xFFFFFFFF) + rest, image)


def old_raid(image: Path) -> None:
    """A member with a superblock of version 0.90: 64 KiB before the end. Source: <linux/raid/md_p.h>."""
    at = (image.stat().st_size & ~0xFFFF) - (64 << 10)
    put(at, struct.pack("<8I", 0xA92B4EFC, 0, 90, 0, 992, 0x01234567, 0, 1) + bytes(480), image)


def table(kind: str, image: Path) -> None:
    run("sfdisk", "-q", image, input=f"label: {kind}\n,32M\n")


def fat(image: Path) -> None:
    run("mkfs.vfat", image)


def squashfs(image: Path) -> None:
    made = image.with_name("squashed")
    run("mksquashfs", Path(__file__).parent / "doubles", made, "-quiet", "-no-progress")
    put(0, made.read_bytes(), image)
    made.unlink()


def minix(image: Path) -> None:
    run("mkfs.minix", image)


def journal(image: Path) -> None:
    run("mke2fs", "-q", "-O", "journal_dev", image)


def put(at: int, data: bytes, image: Path) -> None:
    with image.open("r+b") as file:
        file.seek(at if at >= 0 else image.stat().st_size + at)
        file.write(data)


def noise(at: int, length: int, image: Path) -> None:
    put(at, bytes(byte or 1 for byte in os.urandom(length)), image)


def two_signatures(image: Path) -> None:
    """An ext4 over which somebody began an xfs, and cleared nothing: blkid is ambivalent."""
    other = image.with_name("other")
    with other.open("wb") as file:
        file.truncate(400 * MIB)
    run("mkfs.xfs", "-q", other)
    run("mkfs.ext4", "-q", image)
    with other.open("rb") as file:
        put(0, file.read(512), image)
    other.unlink()


def sized_by(*arguments):
    """Return a maker of content that calls the first of *arguments* with the others."""
    return lambda image: arguments[0](*arguments[1:], image)


# name: how it is made, what blkid says of it, what the error says of it
FOREIGN = {
    "swap": (swap, {"TYPE": "swap"}, "swap"),
    "LUKS 1": (sized_by(luks, "luks1"), {"TYPE": "crypto_LUKS"}, "crypto_LUKS"),
    "LUKS 2": (sized_by(luks, "luks2"), {"TYPE": "crypto_LUKS"}, "crypto_LUKS"),
    "LVM": (lvm, {"TYPE": "LVM2_member"}, "LVM2_member"),
    "RAID 1.2": (sized_by(raid, 4096), {"TYPE": "linux_raid_member", "VERSION": "1.2"}, "linux_raid_member"),
    "RAID 1.0": (sized_by(raid, -8192), {"TYPE": "linux_raid_member", "VERSION": "1.0"}, "linux_raid_member"),
    "RAID 0.90": (old_raid, {"TYPE": "linux_raid_member", "VERSION": "0.90.0"}, "linux_raid_member"),
    "GPT": (sized_by(table, "gpt"), {"PTTYPE": "gpt"}, "a partition table (gpt)"),
    "MBR": (sized_by(table, "dos"), {"PTTYPE": "dos"}, "a partition table (dos)"),
    "vfat": (fat, {"TYPE": "vfat"}, "vfat"),
    "squashfs": (squashfs, {"TYPE": "squashfs"}, "squashfs"),
    "minix": (minix, {"TYPE": "minix"}, "minix"),
    "a journal of ext4": (journal, {"TYPE": "jbd"}, "jbd"),
    "two signatures": (two_signatures, {"exit": "8"}, "more than one signature"),
    "noise at the start": (sized_by(noise, 0, 4096), {"exit": "2"}, "data of an unknown kind"),
    "noise at the end": (sized_by(noise, -512, 512), {"exit": "2"}, "data of an unknown kind"),
    "one byte at the end": (sized_by(noise, -1, 1), {"exit": "2"}, "data of an unknown kind"),
    "one byte in the middle": (sized_by(noise, 32 * MIB, 1), {"exit": "2"}, "data of an unknown kind"),
}


FORMATTED = [driver for driver, world in WORLDS.items() if world.formats]

# driver, the file system that is there, the one that is asked for
THERE = [("local", kind, wanted) for kind in ("ext2", "ext3", "ext4", "xfs", "btrfs") for wanted in ("ext4", "xfs")]
THERE += [(driver, kind, "ext4") for driver in FORMATTED if driver != "local" for kind in ("xfs", "btrfs")]
THERE += [(driver, "ext4", "xfs") for driver in FORMATTED if driver != "local"]


@pytest.fixture
def of(request):
    """Make the volumes of a driver, by its name."""
    worlds = []

    def make(driver: str) -> Sized:
        if driver == "local":
            return request.getfixturevalue("sized")
        worlds.append(WORLDS[driver](request.getfixturevalue("command")))
        return OfWorld(worlds[-1])

    yield make
    for world in worlds:
        world.close()


def nothing_is_left(sized: Sized) -> None:
    assert sized.left() == []
    assert sized.home.mounts() == []


@pytest.mark.parametrize("what", FOREIGN)
@pytest.mark.parametrize("driver", FORMATTED)
def test_what_is_not_ours_is_refused_and_stays_as_it_is(of, driver, what):
    make, known, said = FOREIGN[what]
    sized = of(driver)
    image = sized.create()
    make(image)
    assert known.items() <= tags(image).items()
    before = digest(image)
    for options in ([], ["fsType=xfs"], ["mountopts=ro"]) if driver == "local" else ([],):
        error = refused(sized.mount(*options), FAILURE)
        assert f" holds {said}" in error or f" of type {said}" in error, error
        nothing_is_left(sized)
    assert digest(image) == before


@pytest.mark.parametrize("what", FOREIGN)
def test_overwriting_is_for_whoever_asks_for_it_by_name(sized, what):
    image = sized.create()
    FOREIGN[what][0](image)
    done = sized.mount("overwriteFs=true")
    assert done.code == 0, done
    assert sized.unmount().code == 0
    assert (tags(image)["TYPE"], "PTTYPE" in tags(image)) == ("ext4", False)
    assert sized.mount().code == 0
    assert sized.unmount().code == 0
    nothing_is_left(sized)


@pytest.mark.parametrize(("driver", "kind", "wanted"), THERE)
def test_a_file_system_that_is_there_is_mounted_with_what_is_in_it(of, driver, kind, wanted):
    sized = of(driver)
    image = sized.create("400M")
    run(f"mkfs.{kind}", "-q", image)
    uuid = tags(image)["UUID"]
    sized.write_by_hand(image)
    done = sized.mount(f"fsType={wanted}", "mode=700", "uid=7")
    assert done.code == 0, done
    assert (sized.path() / "file").read_text() == "kept"
    assert sized.path().stat().st_uid == 0
    assert sized.unmount().code == 0
    assert (tags(image)["TYPE"], tags(image)["UUID"]) == (kind, uuid)
    nothing_is_left(sized)


@pytest.mark.parametrize("kind", ["ext4", "xfs", "btrfs"])
@pytest.mark.parametrize("driver", FORMATTED)
def test_a_blank_one_is_formatted_once(of, driver, kind):
    sized = of(driver)
    image = sized.create("400M")
    assert sized.mount(f"fsType={kind}").code == 0
    (sized.path() / "file").write_text("kept")
    assert sized.unmount().code == 0
    uuid = tags(image)["UUID"]
    assert tags(image)["TYPE"] == kind
    assert sized.mount(f"fsType={kind}").code == 0
    assert (sized.path() / "file").read_text() == "kept"
    assert sized.unmount().code == 0
    assert tags(image)["UUID"] == uuid
    nothing_is_left(sized)


def test_what_cannot_be_read_is_not_taken_for_blank(sized):
    image = sized.create()
    device = sized.attach()
    os.truncate(image, 32 * MIB)  # the loop device has its 64 MiB still, and the second half is an I/O error
    with pytest.raises(OSError, match="Input/output error"), open(device, "rb") as file:
        file.seek(48 * MIB)
        file.read(4096)
    before = digest(image)
    assert "cannot be read: Input/output error" in refused(sized.mount(), FAILURE)
    assert digest(image) == before
    nothing_is_left(sized)


def test_a_read_only_device_is_not_formatted(sized):
    image = sized.create()
    sized.attach("--read-only")
    before = digest(image)
    for options in ([], ["overwriteFs=true"]):
        assert "read-only" in refused(sized.mount(*options), FAILURE)
        assert digest(image) == before
        nothing_is_left(sized)
        sized.attach("--read-only")
    assert sized.unmount().code == 0
    nothing_is_left(sized)


@pytest.mark.parametrize("kind", ["ext4", "xfs", "btrfs"])
def test_a_file_system_on_a_read_only_device_is_not_handed_out_as_a_writable_one(sized, kind):
    image = sized.create("400M")
    run(f"mkfs.{kind}", "-q", image)
    before = digest(image)
    sized.attach("--read-only")
    assert "read-only" in refused(sized.mount(), FAILURE)
    nothing_is_left(sized)
    sized.attach("--read-only")
    done = sized.mount("mountopts=ro")
    assert done.code == 0, done
    assert sized.unmount().code == 0
    nothing_is_left(sized)
    assert digest(image) == before


@pytest.mark.parametrize("options", [["mountopts=ro"], ["mountopts=ro", "overwriteFs=true"]])
def test_a_read_only_mount_of_a_blank_one_is_refused(sized, options):
    image = sized.create()
    before = digest(image)
    assert "the mount is read-only" in refused(sized.mount(*options), FAILURE)
    assert digest(image) == before
    nothing_is_left(sized)


def test_a_read_only_mount_writes_nothing_to_what_is_overwritten_otherwise(sized):
    image = sized.create()
    run("mkfs.ext4", "-q", image)
    before = digest(image)
    assert "the mount is read-only" in refused(sized.mount("mountopts=ro", "overwriteFs=true"), FAILURE)
    assert digest(image) == before
    nothing_is_left(sized)


def test_it_is_not_overwritten_while_somebody_holds_it(sized):
    sized.create()
    overwrite = "overwriteFs=true"
    assert sized.mount(overwrite).code == 0
    file = sized.path() / "file"
    file.write_text("kept")
    assert sized.mount(overwrite, "--hold=second").code == 0
    assert file.read_text() == "kept"
    run("umount", sized.path())  # by somebody, behind our back
    assert sized.mount(overwrite, "--hold=third").code == 0
    assert file.read_text() == "kept"
    run("umount", sized.path())
    sized.home.edit_record("v", "local", status="mounting", adding="name:dead")
    pending = sized.home.state / "pending" / "local" / "v"
    pending.parent.mkdir(parents=True, exist_ok=True)
    pending.touch()
    done = sized.home.recover()
    assert (done.code, "completed" in done.out) == (0, True)
    assert file.read_text() == "kept"
    for hold in ("second", "third", "host"):
        assert sized.unmount(f"--hold={hold}").code == 0
    nothing_is_left(sized)
    assert sized.mount(overwrite).code == 0
    assert not file.exists()
    assert sized.unmount().code == 0
