"""What bench.py measures in: a directory on a disk, a plugin, an environment with someone else's provider."""

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).resolve().parent
PYTHON = Path(sys.executable)  # make runs the benchmark with the environment that the command is installed into
DOCKER_PLUGINS = Path("/run/docker/plugins")  # where a peer looks
NO_DISK = ("tmpfs", "ramfs", "devtmpfs")  # fsync costs nothing there


def file_system(path: Path) -> str:
    """Return the type of the file system that *path* is on."""
    best, kind = "", "unknown"
    with open("/proc/self/mountinfo") as file:
        for line in file:
            fields = line.split()
            point = fields[4].rstrip("/")
            if len(point) >= len(best) and f"{path.resolve()}/".startswith(f"{point}/"):
                best, kind = point, fields[fields.index("-", 6) + 1]
    return kind


@contextlib.contextmanager
def disk_directory(wanted: str | None) -> Iterator[Path]:
    """Make a temporary directory on a disk, not on tmpfs: below *wanted*, else in the first place that will do."""
    for place in [Path(wanted)] if wanted else [Path("/var/tmp"), HERE, Path.home()]:
        if os.access(place, os.W_OK) and file_system(place) not in NO_DISK:
            break
    else:
        sys.exit(f"bench: no disk file system at {wanted or 'any usual place'}: name a directory with --dir")
    with tempfile.TemporaryDirectory(prefix="dvdcli-bench-", dir=place) as path:
        yield Path(path)


@contextlib.contextmanager
def plugin(driver: str, for_peer: bool = False, delay: int = 0) -> Iterator[Path]:
    """Run the plugin *driver*, whose Mount takes *delay* ms; yield the directory that its socket is in.

    A peer looks in /run/docker/plugins: as root the plugin listens there too.
    """
    with contextlib.ExitStack() as stack:
        sockets = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="dvdb")))
        paths = [str(sockets / f"{driver}.sock")]
        if for_peer and os.geteuid() == 0:
            for folder in reversed([f for f in (DOCKER_PLUGINS, DOCKER_PLUGINS.parent) if not f.is_dir()]):
                folder.mkdir()
                stack.callback(folder.rmdir)
            paths.append(str(DOCKER_PLUGINS / f"{driver}.sock"))
        argv = [str(PYTHON), "-I", "-S", str(HERE / "plugin.py"), f"--delay={delay}", *paths]
        process = stack.enter_context(subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE))
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            if process.stdout.readline() != b"ready\n":
                sys.exit("bench: the plugin does not start")
            yield sockets
        finally:
            process.stdin.close()
            process.wait()


def environment_with_entry_point(root: Path) -> Path:
    """Make a copy of the command's environment in which someone else's provider is installed; return its command."""
    site = Path("lib") / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"
    (root / "bin").mkdir(parents=True)
    (root / site).mkdir(parents=True)
    shutil.copy(PYTHON.parent / "dvdcli", root / "bin")
    shutil.copy(PYTHON.parents[1] / "pyvenv.cfg", root)
    (root / "bin" / "python3").symlink_to(PYTHON.resolve())
    for item in (PYTHON.parents[1] / site).iterdir():
        (root / site / item.name).symlink_to(item)
    info = root / site / "foreign_example-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: foreign-example\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[dvdcli.providers]\nforeign = foreign_example:Provider\n")
    return root / "bin" / "dvdcli"
