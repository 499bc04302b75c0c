"""What a shell hands over of a command line: its kind, the word that it took, the line; NULs between them."""

from __future__ import annotations

import os
import threading
from unittest import mock

from dvdcli import cli, completion
from tests.fuzz.argv import quiet
from tests.fuzz.watch import World, refused, target

SEEDS = [
    b"bash_complete\0--vol\0dvdcli mount --vol", b"bash_complete\0\0dvdcli mount --volumedriver=lo",
    b"bash_complete\0it\0dvdcli unmount --volumename \"it", b"zsh_complete\0\0dvdcli\nmount\n--volumedriver=\n",
    b"fish_complete\0\0dvdcli\nhelp\nmo\n", b"zsh_source\0\0", b"bash_complete\0\0dvdcli recover --hold=a\\ b 'c",
]  # fmt: skip


@target
def one_input(world: World, data: bytes) -> None:
    shell, word, line = (os.fsdecode(each) for each in (data + b"\0\0").split(b"\0", 2))
    failed: list[BaseException] = []
    given = {"COMP_WORD": word.replace("\0", ""), "COMP_LINE": line.replace("\0", "")}
    with (
        quiet(), mock.patch.dict(os.environ, given),
        mock.patch.object(threading, "excepthook", lambda told: failed.append(told.exc_value)),
        mock.patch.object(completion, "_found", completion._Collector()),
        mock.patch.object(completion, "PATIENCE", 60.0),  # once it is over, the process ends: here that is ours
        refused(),
    ):  # fmt: skip
        assert completion.run(cli.dvdcli, shell) in (0, 2)
    if failed:
        raise failed[0]
