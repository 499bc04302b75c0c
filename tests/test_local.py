"""The embedded default: directories that outlive an unmount, and go only with remove."""

from __future__ import annotations

import os
import subprocess

import pytest

from tests.gate import flags

NOT_FOUND, IN_USE = 3, 4


def local(home, verb, name="v", *more):
    return home.run(verb, *flags(name, "local"), *more)


def test_a_file_outlives_an_unmount(home):
    path = local(home, "mount").out.strip()
    assert path == f"{home.state}/mounts/local/v/data"
    with open(f"{path}/file", "w") as file:
        file.write("kept")
    assert local(home, "unmount").code == 0
    assert home.mounts() == []
    assert local(home, "mount").out.strip() == path
    assert open(f"{path}/file").read() == "kept"


def test_create_list_get_path_remove(home):
    assert local(home, "mount", "v", "--explicitcreate").code == NOT_FOUND
    assert local(home, "get").code == NOT_FOUND
    assert local(home, "path").code == NOT_FOUND
    assert local(home, "remove").code == NOT_FOUND
    assert local(home, "create").out == ""
    assert local(home, "create").code == 0
    assert local(home, "get").out == "v\n"
    assert local(home, "path").out == f"{home.state}/mounts/local/v/data\n"
    assert home.run("list", "--volumedriver=local").out == "v\n"
    assert local(home, "remove").code == 0
    assert home.run("list", "--volumedriver=local").out == ""
    assert home.leftovers() == []


def test_names_are_told_whole(home):
    names = ["a" * 1000, "x/y", "..", ".hidden", "volume ☃", "50%"]
    for name in names:
        assert local(home, "create", name).code == 0
    assert home.run("list", "--volumedriver=local").out.splitlines() == sorted(names)


def test_mode_of_a_new_volume(home):
    path = local(home, "mount", "v", "--volumeopts=mode=1770").out.strip()
    assert os.stat(path).st_mode & 0o7777 == 0o1770
    assert local(home, "unmount").code == 0
    assert local(home, "mount", "v", "--volumeopts=mode=700").out.strip() == path
    assert os.stat(path).st_mode & 0o7777 == 0o1770


@pytest.mark.root
def test_owner_of_a_new_volume_who_can_reach_it(home):
    """A task of another user, without a container path, reads and writes there."""
    os.chmod(home.root, 0o711)
    path = local(home, "mount", "v", "--volumeopts=uid=1234", "--volumeopts=gid=4321").out.strip()
    status = os.stat(path)
    assert (status.st_uid, status.st_gid) == (1234, 4321)
    subprocess.run(["touch", f"{path}/file"], user=1234, group=4321, extra_groups=[], check=True)


@pytest.mark.parametrize(
    "option", ["size=0", "size=5x", "size=-1", "fsType=ext4", "mode=999", "mode=", "uid=root", "uid=-1"]
)
def test_options_that_are_none(home, option):
    done = local(home, "mount", "v", f"--volumeopts={option}")
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert option.partition("=")[0] in done.err
    assert home.leftovers() == []
    assert home.run("list", "--volumedriver=local").out == ""


def test_one_provider_as_two_drivers(home):
    home.config.write_text(f'[drivers.fast]\nprovider = "local"\npath = "{home.root}/ssd"\n')
    assert home.mount("v", "fast").out == f"{home.root}/ssd/v/data\n"
    home.config.unlink()
    assert home.unmount("v", "fast").code == 0


@pytest.mark.parametrize("text", ['path = "relative"', "path = 5", 'paths = "/x"', "size = 1"])
def test_settings_that_are_none(home, text):
    home.config.write_text(f'[drivers.fast]\nprovider = "local"\n{text}\n')
    done = home.mount("v", "fast")
    assert (done.code, "[drivers.fast]" in done.err, done.err.count("\n")) == (2, True, 1)


def test_a_half_made_volume_is_no_volume(home):
    """Killed in create: what it left aside is nobody's volume, and the next create starts anew."""
    local(home, "create", "other")
    half = home.state / "mounts" / "local" / ".new-v"
    (half / "data").mkdir(parents=True)
    assert home.run("list", "--volumedriver=local").out == "other\n"
    assert local(home, "get").code == NOT_FOUND
    assert local(home, "mount").code == 0
    assert not half.exists()


def test_a_half_removed_volume_is_gone(home):
    path = local(home, "mount").out.strip()
    local(home, "unmount")
    gone = home.state / "mounts" / "local" / ".gone-v"
    os.rename(os.path.dirname(path), gone)
    assert local(home, "get").code == NOT_FOUND
    assert local(home, "create").code == 0
    assert local(home, "remove").code == 0
    assert not gone.exists()


@pytest.mark.root
def test_remove_refuses_what_is_mounted_somewhere(home):
    path = local(home, "mount").out.strip()
    local(home, "unmount")
    elsewhere = home.root / "elsewhere"
    elsewhere.mkdir()
    subprocess.run(["mount", "--bind", path, elsewhere], check=True)
    try:
        done = local(home, "remove")
        assert (done.code, str(elsewhere) in done.err) == (IN_USE, True)
        assert os.path.isdir(path)
    finally:
        subprocess.run(["umount", elsewhere], check=True)
    below = f"{path}/below"
    os.mkdir(below)
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", below], check=True)
    try:
        assert local(home, "remove").code == IN_USE
    finally:
        subprocess.run(["umount", below], check=True)
    assert local(home, "remove").code == 0
