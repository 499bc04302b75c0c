"""Our JSON beside the json package: what one takes, the other takes in the same way, and it can be written again."""

from __future__ import annotations

import json
from typing import Any

from dvdcli import fastjson
from tests.fuzz.watch import World, target

SEEDS = [
    b'{"a": [1, -2.5e3, true, null, "x\\u00e9\\n"], "b": {}}', b" [] ", b'"\\ud800"', b"[[[[]]]]", b"1e5", b"-0",
]


def _no_constant(name: str) -> Any:
    raise ValueError(name)


@target
def one_input(world: World, data: bytes) -> None:
    try:
        ours = fastjson.loads(data)
    except ValueError:
        return
    theirs = json.loads(data.decode(), strict=False, parse_constant=_no_constant)
    assert repr(ours) == repr(theirs)
    said = fastjson.dumps(ours)
    assert said.isascii()
    assert repr(fastjson.loads(said.encode())) == repr(json.loads(said))
    assert f"{ours!a}"
    assert fastjson.loads_first(data.decode() + " {") == ours or ours != ours
