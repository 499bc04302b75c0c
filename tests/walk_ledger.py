"""The steps of each scene that is walked, as walk_points.toml has them; `python -m tests.walk_ledger` writes it anew.

A step is what changes the world outside: a file made, written, made durable, renamed or gone, a mount, a connection, a
program run. How a libc or a Python comes to it makes no difference, nor do the calls of the programs that are run.
"""

from __future__ import annotations

import difflib
import functools
import subprocess
import sys
import textwrap
import tomllib
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

STEPS, REQUESTS = (Path(__file__).with_name(f"walk_{name}.toml") for name in ("points", "requests"))
HEADS = {
    STEPS: "# What each scene of the crash walk does outside, in order. `make crash-walk-steps` writes this anew.\n",
    REQUESTS: "# What each scene of the crash walk asks of its storage. `make crash-walk-steps` writes this anew.\n",
}


def folded(steps: Sequence[str]) -> list[str]:
    """Return the steps with what comes several times in a row once: one write or two is the same."""
    return [step for step, _ in groupby(steps)]


@functools.cache
def read(file: Path) -> dict[str, list[str]]:
    data = tomllib.loads(file.read_text()) if file.exists() else {}
    return {scene: " ".join(text.split()).split("; ") for scene, text in data.items()}


def difference(file: Path, world: str, name: str, now: Sequence[str]) -> str:
    """Return in what *now* is not the steps, or the requests, of the scene, "" where it is."""
    known = read(file).get(f"{world} {name}", [])
    if known == now:
        return ""
    only = " and ".join([world, *name.split()])
    lines = [line for line in difflib.ndiff(known, now) if line[0] in "+-"]
    return (
        f"{world} {name} takes other steps than {file.name} says. Walk it: make crash-walk WALK=\"-k '{only}'\"; do "
        "the new ones leave nothing behind? Then run `make crash-walk-steps`.\n" + "\n".join(lines)
    )


def write(file: Path, scenes: dict[str, Sequence[str]]) -> None:
    blocks = []
    for name, steps in scenes.items():
        text = textwrap.fill("; ".join(steps), 118, break_long_words=False, break_on_hyphens=False)
        blocks.append(f'"{name}" = """\n{text}"""\n')
    file.write_text(HEADS[file] + "\n" + "\n".join(blocks))


def main(wanted: Sequence[str]) -> None:
    """Write all anew, or the scenes that are *wanted*, as `ebs unmount`."""
    from tests.scenes import AGAIN, make, pairs
    from tests.walk_trace import Trace

    steps, requests = dict(read(STEPS)), dict(read(REQUESTS))
    names = [f"{world} {name}" for world, name in pairs()]
    for world, name in pairs():
        if wanted and f"{world} {name}" not in wanted:
            continue
        scene = make(world, name)
        steps[f"{world} {name}"] = folded(Trace(scene).steps)
        requests[f"{world} {name}"] = scene.world.told()
        scene.finish(subprocess.CompletedProcess([], 0, b"", b""), "nothing", AGAIN)
        if scene.reusable:
            scene.close()
        print(f"{world} {name}: {len(steps[f'{world} {name}'])} steps", flush=True)
        write(STEPS, {name: steps[name] for name in names if name in steps})
        write(REQUESTS, {name: requests[name] for name in names if requests.get(name)})


if __name__ == "__main__":
    main(sys.argv[1:])
