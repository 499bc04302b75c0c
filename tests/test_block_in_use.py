"""In use is in use: nothing is unmounted, detached or mounted that a process, a container or the kernel still has."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.expect import refused
from tests.sized import Sized, digest, run
from tests.test_recovery import Container
from tests.waiting import wait_until

FAILURE, IN_USE, TRY_AGAIN = 1, 4, 5
MIB = 1 << 20
SOON = "--timeout=1"  # not the 10 s that a busy mount is tried again
THROTTLE = Path("/sys/fs/cgroup/blkio/blkio.throttle.write_bps_device")

pytestmark = pytest.mark.root


def mounted(sized: Sized) -> Path:
    done = sized.mount("size=64M")
    assert done.code == 0, done
    return Path(done.out.strip())


def is_kept(sized: Sized, name: str = "file", text: str = "kept") -> None:
    """The volume can be mounted, and what was written is in it."""
    assert (mounted(sized) / name).read_text() == text
    assert sized.unmount().code == 0
    assert sized.left() == []


# Containers


@pytest.fixture
def shared_state(sized) -> Iterator[None]:
    """Whatever is mounted below the state appears in every mount namespace."""
    state = sized.home.state
    state.mkdir(0o700)
    run("mount", "--bind", state, state)
    run("mount", "--make-shared", state)
    yield
    sized.home.release()


def keeps_the_device(sized: Sized, container: Container, path: Path) -> None:
    """The container still has the volume after the host's umount: it stays attached until the container is gone."""
    pid = container.process.pid
    error = refused(sized.unmount(SOON), IN_USE)
    assert f"pid {pid} (sh) has it mounted at {path}" in error
    assert not path.is_mount()
    assert len(sized.loops()) == 1
    assert sized.home.record("v", "local")["status"] == "unmounting"
    again = refused(sized.mount(SOON), TRY_AGAIN)
    assert f"pid {pid} " in again
    done = sized.home.recover(SOON)
    assert (done.code, f"pid {pid} " in done.err) == (IN_USE, True), done
    assert len(sized.loops()) == 1
    run("nsenter", f"--mount=/proc/{pid}/ns/mnt", "sh", "-c", f"echo -n kept >{path}/late")
    container.stop()
    wait_until(sized.recovered)
    assert sized.left() == []
    is_kept(sized, "late")


@pytest.mark.namespace
def test_a_containers_private_copy_keeps_the_device(sized):
    path = mounted(sized)
    keeps_the_device(sized, Container("private", str(path)), path)


@pytest.mark.namespace
def test_a_container_that_shares_nothing_with_the_host_keeps_the_device(sized, shared_state):
    path = mounted(sized)
    keeps_the_device(sized, Container("rprivate", str(sized.home.state)), path)


@pytest.mark.namespace
@pytest.mark.parametrize("propagation", ["shared", "slave"])
def test_a_copy_that_the_hosts_umount_reaches_goes_with_it(sized, shared_state, propagation):
    container = Container(propagation, str(mounted(sized)))
    assert sized.unmount().code == 0
    assert sized.loops() == []
    assert container.process.poll() is None
    container.stop()


@pytest.mark.namespace
@pytest.mark.parametrize("propagation", ["shared", "slave"])
def test_a_copy_that_is_busy_keeps_the_mount_and_the_device(sized, shared_state, propagation):
    path = mounted(sized)
    (path / "file").write_text("kept")
    container = Container(propagation, str(path), f"cd {path}")
    assert f"pid {container.process.pid} " in refused(sized.unmount(SOON), IN_USE)
    assert len(sized.loops()) == 1
    held = run("nsenter", f"--mount=/proc/{container.process.pid}/ns/mnt", "cat", path / "file")
    assert held == "kept"
    assert sized.home.recover(SOON).code == IN_USE
    container.stop()
    wait_until(sized.recovered)
    is_kept(sized)


# Processes

MAPPED = """
import mmap, sys
with open(sys.argv[1]) as file:
    kept = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
print("ready", flush=True)
sys.stdin.read()
"""
SAY = "echo ready; read gone"
USES = {
    "a working directory": (["sh", "-c", f'cd "$(dirname "$0")"; {SAY}'], ""),
    "an open file": (["sh", "-c", f'exec 3<"$0"; {SAY}'], "/file"),
    "an open file that was deleted": (["sh", "-c", f'exec 3<"$0"; rm "$0"; {SAY}'], "/file"),
    "a mapped file": ([sys.executable, "-c", MAPPED], "/file"),
}


@contextmanager
def user(*argv: str | Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program that says when it is ready, and end it."""
    process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert process.stdout.readline() == b"ready\n"
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("how", USES)
def test_a_process_that_uses_the_volume_is_named_and_keeps_it(sized, how):
    path = mounted(sized)
    (path / "file").write_text("kept")
    (path / "other").write_text("kept")
    argv, used = USES[how]
    with user(*argv, path / "file") as process:
        name = Path(f"/proc/{process.pid}/comm").read_text().strip()
        assert f"pid {process.pid} ({name}) uses {path}{used}" in refused(sized.unmount(SOON), IN_USE)
        assert (path.is_mount(), len(sized.loops())) == (True, 1)
    wait_until(sized.recovered)
    is_kept(sized, "other")


def test_a_program_that_runs_from_the_volume_keeps_it(sized):
    path = mounted(sized)
    run("cp", run("sh", "-c", "command -v dash || command -v sh").strip(), path / "program")
    with user(path / "program", "-c", SAY) as process:
        assert f"pid {process.pid} (program) uses {path}/program" in refused(sized.unmount(SOON), IN_USE)
    wait_until(sized.recovered)
    assert sized.left() == []


def test_a_bind_mount_elsewhere_on_the_host_keeps_the_device(sized):
    path, there = mounted(sized), sized.home.root / "there"
    there.mkdir()
    run("mount", "--bind", path, there)
    assert f"has it mounted at {there}" in refused(sized.unmount(SOON), IN_USE)
    (there / "file").write_text("kept")
    assert sized.home.recover(SOON).code == IN_USE
    run("umount", there)
    wait_until(sized.recovered)
    is_kept(sized)


# Mounts of somebody else


def test_a_mount_on_top_of_ours_is_not_unmounted(sized):
    path = mounted(sized)
    (path / "file").write_text("kept")
    run("mount", "-t", "tmpfs", "somebody", path)
    (path / "theirs").touch()
    assert f"somebody is mounted at {path}" in refused(sized.mount("--hold=second"), FAILURE)
    assert f"somebody is mounted at {path}" in refused(sized.unmount(), FAILURE)
    assert sized.home.recover().code == FAILURE
    assert (path / "theirs").exists()
    assert len(sized.loops()) == 1
    run("umount", path)
    assert (path / "file").read_text() == "kept"
    wait_until(sized.recovered)
    is_kept(sized)


def test_nothing_is_mounted_over_a_mount_of_somebody_else(sized):
    sized.create()
    run("mount", "-t", "tmpfs", "somebody", sized.path())
    (sized.path() / "theirs").touch()
    assert f"somebody is mounted at {sized.path()}" in refused(sized.mount(), FAILURE)
    assert (sized.path() / "theirs").exists()
    run("umount", sized.path())
    wait_until(sized.recovered)
    assert sized.left() == []


def by_hand(sized: Sized, device: str) -> Path:
    """Make a file system on *device*, and mount it at a place that dvdcli does not know."""
    there = sized.home.root / "there"
    there.mkdir()
    run("mkfs.ext4", "-q", device)
    run("mount", device, there)
    (there / "file").write_text("kept")
    return there


def test_a_device_that_is_mounted_elsewhere_is_neither_mounted_nor_formatted(sized):
    sized.create()
    there = by_hand(sized, sized.attach())
    assert f"has it mounted at {there}" in refused(sized.mount("overwriteFs=true"), IN_USE)
    assert not sized.path().is_mount()
    assert (there / "file").read_text() == "kept"
    run("umount", there)
    wait_until(sized.recovered)
    is_kept(sized)


def test_an_image_that_is_mounted_through_another_loop_device_is_left_alone(sized):
    sized.create()
    found, other = sorted([sized.attach(), sized.attach()])  # dvdcli finds the first, which is free
    there = by_hand(sized, other)
    refused(sized.mount("overwriteFs=true", SOON), IN_USE)
    assert not sized.path().is_mount()
    assert (there / "file").read_text() == "kept"
    run("umount", there)
    run("losetup", "-d", other)
    wait_until(lambda: other not in sized.loops())
    assert set(sized.loops()) <= {found}
    wait_until(sized.recovered)
    is_kept(sized)


def test_a_look_at_the_device_by_somebody_else_does_not_fail_an_unmount(sized):
    """Each call opens every loop device for a moment, as udev does: whoever detaches meanwhile waits for that."""
    mounted(sized)
    (device,) = sized.loops()
    look = os.open(device, os.O_RDONLY)
    unmount = sized.home.start(*sized.line("unmount"))
    wait_until(lambda: "1" in Path(f"/sys/block/{device[5:]}/loop/autoclear").read_text())
    os.close(look)
    done = sized.home.finish(unmount)
    assert done.code == 0, done
    assert sized.left() == []


# The kernel, which writes back


@contextmanager
def throttled(device: str) -> Iterator[None]:
    """Let *device* be written at 4 MiB a second."""
    if not THROTTLE.exists():
        pytest.skip("needs the blkio controller of cgroup v1")
    number = Path(f"/sys/block/{device[5:]}/dev").read_text().strip()
    THROTTLE.write_text(f"{number} {4 * MIB}")
    try:
        yield
    finally:
        THROTTLE.write_text(f"{number} 0")


def dirty(path: Path) -> str:
    """Write what takes seconds to reach the throttled device, and return its digest."""
    (path / "large").write_bytes(os.urandom(8 * MIB))
    return digest(path / "large")


def has_it_all(sized: Sized, wanted: str) -> None:
    """Nothing is left of the volume but its image, and in that is everything."""
    assert sized.left() == []
    assert digest(mounted(sized) / "large") == wanted
    assert sized.unmount().code == 0


def is_written_back(sized: Sized) -> bool:
    """Whether the volume has gone from the mount table, and is on its device still."""
    return not sized.path().is_mount() and len(sized.loops()) == 1


@pytest.mark.parametrize("kind", ["ext4", "xfs", "btrfs"])
def test_the_device_goes_after_the_data_is_there(sized, kind):
    sized.create("300M")
    assert sized.mount(f"fsType={kind}").code == 0
    path = sized.path()
    (device,) = sized.loops()
    with throttled(device):
        wanted = dirty(path)
        unmount = sized.home.start(*sized.line("unmount"))
        wait_until(lambda: is_written_back(sized))
        assert unmount.poll() is None
        done = sized.home.finish(unmount)
        assert done.code == 0, done
    has_it_all(sized, wanted)


def test_killed_in_the_write_back_the_next_call_waits_for_its_end(sized):
    path = mounted(sized)
    (device,) = sized.loops()
    with throttled(device):
        wanted = dirty(path)
        unmount = sized.home.start(*sized.line("unmount"))
        wait_until(lambda: is_written_back(sized))
        unmount.send_signal(signal.SIGKILL)
        unmount.communicate()
        assert sized.home.record("v", "local")["status"] in ("mounted", "unmounting")
        busy = refused(sized.unmount("--timeout=0.2"), TRY_AGAIN)
        assert "another call has been at work on this volume by pid " in busy or "the kernel still writes" in busy
        assert sized.unmount().code == 0
    has_it_all(sized, wanted)


def test_an_unmount_slower_than_the_call_goes_on_and_a_later_call_ends_it(sized):
    path = mounted(sized)
    (device,) = sized.loops()
    with throttled(device):
        wanted = dirty(path)
        refused(sized.unmount("--timeout=0.3"), TRY_AGAIN)
        assert is_written_back(sized)
        assert sized.home.record("v", "local")["status"] == "unmounting"
        done = sized.unmount()
        assert done.code == 0, done
    has_it_all(sized, wanted)


def test_the_write_back_of_a_umount_by_hand_is_waited_for(sized):
    path = mounted(sized)
    (device,) = sized.loops()
    with throttled(device):
        wanted = dirty(path)
        with subprocess.Popen(["umount", path]) as umount:
            wait_until(lambda: is_written_back(sized))
            again = refused(sized.mount("--timeout=0.2"), TRY_AGAIN)
            assert "the kernel still writes to it" in again
            assert umount.poll() is None
            assert sized.unmount().code == 0
    has_it_all(sized, wanted)
