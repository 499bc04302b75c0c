"""The values of `--volumeopts`, one a line, as every provider of ours reads them."""

from __future__ import annotations

import os
from typing import Any

from dvdcli.clock import Deadline
from dvdcli.providers.ebs.provider import EbsProvider
from dvdcli.providers.local import LocalProvider
from dvdcli.providers.scaleio.provider import ScaleIoProvider
from dvdcli.volume import parse_options
from tests.fuzz.watch import World, refused, target

SEEDS = [
    b"size=10\nfsType=ext4\nmountopts=ro,noatime,context=\"a,b\"\nuid=1000\ngid=0\nmode=0750",
    b"Size=512MiB\nnewFsType=xfs", b"size=1T\nvolumeType=gp3\niops=3000\nencrypted=true\nvolumeID=vol-01234567",
    b"storagePool=a\nvolumeType=thick\noverwriteFs=TRUE", b"mountopts=data=ordered,subvol=x",
]  # fmt: skip


@target
def one_input(world: World, data: bytes) -> None:
    with refused():
        options = parse_options(os.fsdecode(line) for line in data.split(b"\n"))
        settings: dict[str, dict[str, Any]] = {"local": {}, "ebs": {}, "scaleio": {}}
        for kind, name in ((LocalProvider, "local"), (EbsProvider, "ebs"), (ScaleIoProvider, "scaleio")):
            with refused():
                provider = kind(name, settings[name], Deadline(1.0), 0.0)
                provider.check(options)
                assert 0 <= provider.option(options, "size") < 2**63
                assert 0 <= provider.option(options, "uid") < 2**32
                assert 0 <= int(provider.option(options, "mode"), 8) <= 0o7777
                mountopts = provider.option(options, "mountopts")
                assert mountopts.isprintable()
                assert not {"bind", "loop", "offset", "remount", "move", "suid="} & set(mountopts.split(","))
