"""The words of `dvdcli bind`, which root carries out in a container."""

from __future__ import annotations

import os

from dvdcli import bind
from tests.fuzz.watch import World, refused, target

SEEDS = [
    b'{"source": "/mnt/v", "base": "/w/slaves", "path": "s/data", "owner": [1000, 1000], "read_only": true}',
    b'{"source": "/mnt/v", "base": "/img", "through": "/mnt/mesos/sandbox", "path": "x"}',
]


@target
def one_input(world: World, data: bytes) -> None:
    word = os.fsdecode(data)
    with refused():
        made = bind.Bind.from_argument(word)
        for path in (made.source, made.base, made.through, made.path):
            assert "\0" not in path
            os.fsencode(path)
        assert made.owner is None or all(0 <= number < 2**32 for number in made.owner)
        again = bind.Bind.from_argument(made.to_argument())
        assert again.to_argument() == made.to_argument()
    call = bind.parse(["bind", f"--outside={word}", word, "--make-slave"])
    assert call is None or (call.words == [word] and call.make_slave)
