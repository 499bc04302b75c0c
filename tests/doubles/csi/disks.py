"""Devices, file systems and mounts of one machine: real ones."""

from __future__ import annotations

import ctypes
import os
import re
import subprocess
import time
from pathlib import Path

from tests.doubles.csi.books import Volume
from tests.doubles.csi.call import Call, Code, Refusal
from tests.doubles.loops import Loop

LIBC = ctypes.CDLL(None, use_errno=True)
BIND = 0x1000
BLANK = 2  # blkid's exit status


def run(*argv: str | Path, inherit: int = -1) -> None:
    """Run a program; *inherit* is a descriptor that it keeps open. Raises Refusal with its words."""
    fds = (inherit,) if inherit >= 0 else ()
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, pass_fds=fds)
    if done.returncode:
        raise Refusal(Code.INTERNAL, f"{argv[0]}: {' '.join(done.stderr.split()) or done.returncode}")


def mounts() -> list[tuple[str, str]]:
    """Return what is mounted where in this mount namespace: path, major:minor; in the order of the table."""
    found = []
    for line in Path("/proc/self/mountinfo").read_bytes().splitlines():
        row = line.split()
        path = re.sub(rb"\\([0-7]{3})", lambda code: bytes([int(code[1], 8)]), row[4])
        found.append((os.fsdecode(path), row[2].decode()))
    return found


def is_mounted(path: str) -> bool:
    return any(place == path for place, _ in mounts())


def unmount(path: str, most: int = 0) -> None:
    """Unmount whatever is mounted at *path*, or *most* of it. Raises Refusal where it is in use."""
    there = [place for place, _ in mounts()].count(path)
    for _ in range(min(most, there) if most else there):
        if LIBC.umount2(os.fsencode(path), 0):
            raise Refusal(Code.INTERNAL, f"umount {path}: {os.strerror(ctypes.get_errno())}")


def devices(image: Path) -> list[str]:
    """Return the devices that there are of *image*."""
    found = []
    for path in Path("/sys/block").glob("loop*/loop/backing_file"):
        try:
            if path.read_text().strip() == str(image):
                found.append(f"/dev/{path.parents[1].name}")
        except OSError:
            continue
    return found


def in_use(image: Path, patience: float = 20) -> bool:
    """Return whether the image's device is still in use, on whichever node, after *patience* seconds."""
    give_up = time.monotonic() + patience
    while devices(image):
        if time.monotonic() > give_up:
            return True
        time.sleep(0.01)
    return False


def bind(source: Path, place: str) -> None:
    """Mount the directory *source* at *place* without another process."""
    if LIBC.mount(os.fsencode(source), os.fsencode(place), None, BIND, None):
        raise OSError(ctypes.get_errno(), f"bind {source} at {place}")


def mount_volume(call: Call, volume: Volume, args: dict[str, object], place: str, readonly: bool) -> None:
    """Make the volume's device appear, a file system on it where it is blank, and mount that."""
    image = call.books.image(volume)
    if call.settings.instant:
        directory = image.with_suffix(".dir")
        directory.mkdir(exist_ok=True)
        return bind(directory, place)
    wanted = str(args.get("fs_type", ""))
    flags = [str(flag) for flag in args.get("mount_flags", [])]  # type: ignore[attr-defined]
    device, held = _hold(image)  # the mount of another place, or one that nobody sees any more
    loop = None if device else Loop(image)
    if loop:
        device, held = loop.path, loop.fd
    try:
        call.at("attached")
        kind = _file_system(call, volume, device, wanted)
        call.at("formatted")
        options = [*flags, *(["ro"] if readonly else []), *(["nouuid"] if kind == "xfs" else [])]
        run("mount", "-t", kind, *(["-o", ",".join(options)] if options else []), device, place)
        call.at("mounted")
        if loop and kind == "xfs" and not readonly:
            run("xfs_growfs", place)
    finally:
        os.close(held)  # the mount keeps the device
    return None


def _hold(image: Path) -> tuple[str, int]:
    """Return a device that there is of *image*, and a descriptor that keeps it; without one it can go at any moment."""
    for device in devices(image):
        held = os.open(device, os.O_RDONLY | os.O_CLOEXEC)
        if device in devices(image):
            return device, held
        os.close(held)
    return "", -1


def grow(volume_image: Path, place: str) -> None:
    """Let the mounted file system have all of a volume that has grown."""
    for device in devices(volume_image):
        run("losetup", "--set-capacity", device)
        run("resize2fs" if _type(device)[1] != "xfs" else "xfs_growfs", device if _type(device)[1] != "xfs" else place)


def _file_system(call: Call, volume: Volume, device: str, wanted: str) -> str:
    """Return the type of the volume's file system, which is made where there is none."""
    code, kind = _type(device)
    started = volume.format == "making"
    if started and kind:
        broken = subprocess.run(["fsck", "-n", device], capture_output=True, check=False).returncode
        kind = "" if broken else kind
    if not kind:
        if code != BLANK and not started:
            raise Refusal(Code.INTERNAL, f"{volume.id} has data of an unknown kind")
        kind = wanted or call.settings.fs_types[0]
        _change(call, volume, "making")
        force = ["-F", "-m0"] if kind.startswith("ext") else ["-f"]
        run(f"mkfs.{kind}", "-q", *force, device, inherit=call.lock)
    elif wanted and kind != wanted:
        raise Refusal(Code.INTERNAL, f"{volume.id} has {kind}, not {wanted}")
    elif kind == "ext4":
        _grow_unmounted(device)
    _change(call, volume, kind)
    return kind


def _grow_unmounted(device: str) -> None:
    header = subprocess.run(["dumpe2fs", "-h", device], capture_output=True, text=True, check=False).stdout
    fields = dict(line.split(":", 1) for line in header.splitlines() if ":" in line)
    size = int(fields["Block count"]) * int(fields["Block size"])
    with open(device, "rb") as file:
        there = file.seek(0, 2)
    if there - size >= 1 << 20:
        run("e2fsck", "-f", "-p", device)
        run("resize2fs", device)


def _change(call: Call, volume: Volume, state: str) -> None:
    if volume.format != state:
        volume.format = state
        with call.books.change() as book:
            book.volumes[volume.id].format = state


def _type(device: str) -> tuple[int, str]:
    """Return blkid's exit status, and the type of the file system."""
    argv = ["blkid", "-p", "-s", "TYPE", "-o", "value", device]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout.strip()
