"""A device that is given to another disk between its proof and its use: nothing is written to that, nor mounted."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dvdcli.clock import Deadline
from dvdcli.errors import DvdcliError
from dvdcli.linux import blank, holders, loop, mountinfo
from dvdcli.linux.blockdev import Device
from dvdcli.providers.block import LostError
from dvdcli.providers.image import ImageProvider
from dvdcli.providers.local import LocalProvider
from dvdcli.testing.calls import Note
from dvdcli.volume import Volume
from tests.blocks import backing_files_below, format_by_hand
from tests.sized import Sized, digest, run
from tests.waiting import wait_until
from tests.walk import needs_strace

pytestmark = pytest.mark.root


class Robbed(ImageProvider):
    """Loses the device to the image *theirs* as soon as it has it, so many *times*."""

    def __init__(self, root: Path, theirs: Path, times: int) -> None:
        options = LocalProvider.options
        super().__init__("local", str(root), options, Deadline(60))
        self.theirs = theirs
        self.times = times

    def attach(self, *args):
        attached = super().attach(*args)
        self.lose(attached.device.path)
        return attached

    def lose(self, device: str) -> None:
        if self.times:
            self.times -= 1
            run("losetup", "--detach", device)
            wait_until(lambda: self._taken(device))

    def _taken(self, device: str) -> bool:
        """Put their image on the very device, which who only looks at it can still have, or another test has taken."""
        if subprocess.run(["losetup", device, self.theirs], capture_output=True, check=False).returncode == 0:
            return True
        backing = Path(f"/sys/block/{Path(device).name}/loop/backing_file")
        try:
            return backing.read_text().strip() not in ("", self.image("v"))
        except OSError:
            return False


@pytest.fixture
def theirs(tmp_path) -> Iterator[Path]:
    """Another image, with somebody's file system."""
    path = tmp_path / "theirs"
    with path.open("wb") as file:
        file.truncate(64 << 20)
    format_by_hand(path, "ext4")
    yield path
    for name in backing_files_below(tmp_path):
        run("losetup", "--detach", f"/dev/{name}")


@pytest.fixture
def robbed(sized, theirs, in_process) -> Callable[[int], Robbed]:
    in_process()
    sized.create()
    return lambda times: Robbed(sized.home.state / "mounts" / "local", theirs, times)


@pytest.mark.parametrize("options", [{}, {"overwriteFs": "true"}], ids=["mount", "overwrite"])
def test_a_device_that_is_lost_once_is_got_anew(sized: Sized, theirs, robbed, options) -> None:
    before = digest(theirs)
    provider = robbed(1)
    mounted = provider.mount(Volume("local", "v"), options, {}, Note())
    assert provider.times == 0
    assert digest(theirs) == before
    there = mountinfo.at(mounted.path, mountinfo.read())
    device = loop.find(str(sized.image()))
    assert device is not None
    assert there is not None
    assert there.is_of(device.number)
    assert provider.mounted_at(Volume("local", "v"), mounted.handle) == mounted.path
    provider.unmount(Volume("local", "v"), mounted.handle, Note())


@pytest.mark.parametrize("options", [{}, {"overwriteFs": "true"}], ids=["mount", "overwrite"])
def test_a_device_that_is_always_lost_is_left_alone(sized: Sized, theirs, robbed, options) -> None:
    before = digest(theirs)
    provider, note = robbed(100), Note()
    losing = re.escape(f"was taken off {sized.image()} by somebody")
    with pytest.raises(LostError, match=losing):
        provider.mount(Volume("local", "v"), options, {}, note)
    assert digest(theirs) == before
    assert sized.mounts() == []
    assert "format" not in note.durable
    provider.times = 0
    assert provider.unmount(Volume("local", "v"), note.durable, note)


def test_what_an_interrupted_mkfs_left_is_not_looked_for_on_anothers(sized: Sized, theirs, robbed, monkeypatch) -> None:
    """An unmount finishes it. The image there is neither whole nor blank, as half a file system would be."""
    with theirs.open("r+b") as file:
        file.write(b"somebody's" * 1000)
    before = digest(theirs)
    provider = robbed(0)
    device = Path(sized.attach())
    found = provider.locate({"id": str(sized.image())})
    assert found is not None
    handle = {
        "id": str(sized.image()), "path": str(sized.path()), "device": found.to_json(),
        "format": {"type": "ext4", "uuid": "0" * 36, "attachment": provider.attachment({"id": str(sized.image())})},
    }  # fmt: skip
    provider.times = 1
    monkeypatch.setattr("dvdcli.linux.mounting.await_free", lambda *_: provider.lose(str(device)))
    with pytest.raises(LostError, match="was taken off"):
        provider.unmount(Volume("local", "v"), handle, Note())
    assert provider.times == 0
    assert digest(theirs) == before


def test_a_file_system_is_made_larger_on_its_own_device_alone(sized: Sized, theirs, robbed, monkeypatch) -> None:
    """Somebody unmounts the volume by hand, and its device is another image's, when the file system is to grow."""
    provider = robbed(0)
    mounted = provider.mount(Volume("local", "v"), {}, {}, Note())
    before, look = digest(theirs), provider.place

    def place(name, device):
        monkeypatch.undo()
        there = look(name, device)
        run("umount", there)
        provider.times = 1
        provider.lose(device.path)
        return there

    monkeypatch.setattr(provider, "place", place)
    with pytest.raises(LostError, match="was taken off"):
        provider.resize("v", {"size": "96M"})
    assert provider.times == 0
    assert digest(theirs) == before
    assert provider.unmount(Volume("local", "v"), mounted.handle, Note())


def unbound() -> int:
    """Return a descriptor of a loop device without a file, which nobody can give one while it is open."""
    while True:
        path = Path(run("losetup", "--find").strip())
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_EXCL)
        except OSError:  # another test has it by now
            continue
        if not Path(f"/sys/block/{path.name}/loop").exists():
            return descriptor
        os.close(descriptor)


def test_a_device_without_a_size_is_not_blank() -> None:
    descriptor = unbound()
    try:
        with pytest.raises(DvdcliError, match="has a size of 0 bytes"):
            blank.probe(Device(os.readlink(f"/proc/self/fd/{descriptor}")), Deadline(60))
    finally:
        os.close(descriptor)


@needs_strace
@pytest.mark.parametrize("look", [1, 2, 3])
def test_a_loop_device_that_goes_as_we_look_at_it_is_not_mounted(sized: Sized, look) -> None:
    """Somebody's `mount -o loop` has ended, and whoever has the device open still is us: it goes when we close it."""
    home = sized.home
    assert sized.mount("size=64M").code == 0
    (sized.path() / "file").write_text("kept")
    assert sized.unmount().code == 0
    wait_until(lambda: not sized.loops())
    dying = sized.attach()
    looker = Path(dying).open("rb")
    run("losetup", "--detach", dying)
    assert sized.loops() == [dying], "it goes with its last opener"
    slow = f"-einject=ioctl:delay_exit=1000000:when={look}"
    strace = ["strace", "-o", "/dev/null", "-P", dying, "-etrace=ioctl", slow]
    process = subprocess.Popen([*strace, home.command, *sized.line("mount")], env=home.env, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE)  # fmt: skip
    wait_until(lambda: len(holders.opening([dying])) == 1 or process.poll() is not None)
    looker.close()  # while our look takes a second
    done = home.finish(process)
    assert done.code == 0, done
    assert (sized.path() / "file").read_text() == "kept"
    assert sized.unmount().code == 0
    assert sized.left() == []
