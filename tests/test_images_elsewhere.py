"""An image can be in a file system of any kind: its loop device is known again, and nothing is left of it."""

from __future__ import annotations

import shutil

import pytest

from tests.sized import run

pytestmark = pytest.mark.root


@pytest.fixture(params=["ext4", "xfs", "btrfs", "a subvolume of btrfs", "tmpfs", "overlay"])
def place(sized, request):
    """A directory in a file system of its own, as the driver `there` has it in its configuration."""
    kind, top = request.param, sized.home.root / "top"
    top.mkdir()
    path = top
    if kind in ("tmpfs", "overlay"):
        run("mount", "-t", "tmpfs", "somewhere", top)
    else:
        image = sized.home.root / "host"
        run("truncate", "--size=400M", image)
        run(f"mkfs.{kind.rpartition(' ')[2]}", "-q", image)
        run("mount", "-o", "loop", image, top)
    if kind == "overlay":
        for name in ("lower", "upper", "work", "merged"):
            (top / name).mkdir()
        path = top / "merged"
        layers = ",".join(f"{name}dir={top / name}" for name in ("lower", "upper", "work"))
        run("mount", "-t", "overlay", "-o", layers, "overlay", path)
    if kind.startswith("a subvolume"):
        path = top / "subvolume"
        run("btrfs", "subvolume", "create", path)
    sized.home.config.write_text(f'[drivers.there]\nprovider = "local"\npath = "{path}"\n')
    yield path
    run("umount", "-R", top)
    shutil.rmtree(top)


def test_an_image_there_is_attached_mounted_and_let_go_of(sized, place):
    host = sized.loops()
    for _ in range(2):
        done = sized.home.mount("v", "there", "--volumeopts=size=64M")
        assert done.code == 0, done
        assert done.out.strip() == f"{place}/v/data"
        assert len(sized.loops()) == len(host) + 1
        assert sized.home.unmount("v", "there").code == 0
        assert sized.loops() == host
    assert sized.home.leftovers() == []
