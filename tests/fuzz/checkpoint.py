"""The checkpoints of other isolators: mesos-module-dvdi's protobuf, or after a `j` docker/volume's JSON."""

from __future__ import annotations

from dvdcli import adoption
from dvdcli.clock import Deadline
from dvdcli.recovery import ACTIONS
from tests.fuzz.watch import World, check_text, refused, target, unwatched


def _field(number: int, value: bytes) -> bytes:
    return bytes([number << 3 | 2, len(value)]) + value


_MOUNT = _field(1, b"".join(_field(n + 1, v) for n, v in enumerate((b"c1", b"local", b"v", b"/mnt/v", b"a=b,c=d"))))
SEEDS = [
    b"p" + len(_MOUNT).to_bytes(4, "little") + _MOUNT, b"p" + _MOUNT * 2,
    b'j{"volumes": [{"driver": "local", "name": "v"}, {"driver": "a/b", "name": "w"}]}',
]  # fmt: skip


@target
def one_input(world: World, data: bytes) -> None:
    with unwatched():
        dvdi, other = world.specs / "dvdimounts.pb", world.specs / "docker"
        (other / "c1").mkdir(parents=True)
        (other / "c1" / "volumes" if data[:1] == b"j" else dvdi).write_bytes(data[1:])
    with refused():
        found, warnings = adoption.listed_in(str(dvdi), str(other))
        for line in warnings:
            check_text(line)
        for outcome in adoption.adopt(found[:20], "a", Deadline(0.0), dry_run=True):
            assert outcome.action in ACTIONS
            assert outcome.detail.isprintable()
