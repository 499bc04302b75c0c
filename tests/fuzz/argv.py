"""Command lines, words ended by NULs: what the machines' door takes, click takes in the same way, and all is refused well."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterator
from unittest import mock

from dvdcli import bind, cli, hook, inventory, isolator, lifecycle, output, work
from dvdcli.errors import Exit
from tests.fuzz.watch import World, target, unwatched
from tests.test_hook import Doors

SEEDS = [
    line.replace(" ", "\0").encode()
    for line in (
        "mount --volumedriver=local --volumename=v --volumeopts=size=5 --explicitCreate=true",
        "unmount --volumedriver=local --volumename=v", "mount --volumename v --explicitcreate --volumedriver plug -q",
        "mount --volumedriver=d --volumename=v --hold=a --timeout=1", "--volumename=v list --volumedriver=local --json",
        "mount --isolator", "list --all --wide --status lost --container c1", "inspect local/v --json", "config show --json",
        "config check", "recover --dry-run --json", "recover --agent http://127.0.0.1:1 --grace 1 --agent-name x",
        "create --volumedriver=local --volumename=v --volumeopts mode=700", "get --volumedriver=local --volumename=v",
        "path --volumedriver=local --volumename=v --timeout 1", "remove --volumedriver=local --volumename=v",
        "resize --volumedriver=local --volumename=v --volumeopts=size=2 --yes", "forget local/v --yes", "help mount",
        "version --json", "--version", "-h", "recover --adopt --dvdi-checkpoint /nowhere", "bind --outside=mnt:[1] {}",
    )
]  # fmt: skip
_NOT_RUN = ("bind", "check", "--metrics")  # mounts, asks everybody, and writes where the caller says


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Send what is printed to nowhere."""
    null, kept = os.open(os.devnull, os.O_WRONLY), os.dup(1)
    os.dup2(null, 1)
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
        os.close(null)


@target
def one_input(world: World, data: bytes) -> None:
    argv = [os.fsdecode(word) for word in data.split(b"\0")]
    bind.parse(argv)
    isolator.parse(argv)
    call = hook.parse(argv)
    doors = Doors()
    with (
        quiet(),
        mock.patch.multiple(lifecycle, mount=doors.mount, unmount=doors.unmount),
        mock.patch.object(hook, "parse_options", doors.parse_options),
        mock.patch("dvdcli.flags.parse_options", doors.parse_options),
        mock.patch.multiple(output, report=doors.report, verbose=False, quiet=False),
        mock.patch.object(inventory, "PATIENCE", 0.0),
        mock.patch.object(inventory, "READ_PATIENCE", 0.0),
        mock.patch.object(work, "PATIENCE", 0.0),
    ):
        if call is not None:
            assert doors.go(hook.run, call) == doors.go(cli.run, argv)
            return
        if any(word.partition("=")[0] in _NOT_RUN for word in argv):
            return
        code, _, _ = doors.go(cli.run, argv)
    assert code in {value for key, value in vars(Exit).items() if key.isupper()}
    with unwatched():
        assert not (world.root / "dvdcli.toml").exists()
