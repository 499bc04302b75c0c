"""The steps of each scene that is walked, as tests/walk_points.toml has them: `python -m tests.walk_ledger` rewrites it.

A step is what changes the world outside: a file made, written, made durable, renamed or gone, a mount, a connection, a
program run. How a libc or a Python comes to it makes no difference, nor do the calls of the programs that are run.
"""

from __future__ import annotations

import difflib
import functools
import subprocess
import textwrap
import tomllib
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

FILE = Path(__file__).with_name("walk_points.toml")
HEAD = "# What every scene of the crash walk does outside, in order. `make crash-walk-steps` writes this anew.\n"


def folded(steps: Sequence[str]) -> list[str]:
    """Return the steps with what comes several times in a row once: one write or two is the same."""
    return [step for step, _ in groupby(steps)]


@functools.cache
def read() -> dict[str, list[str]]:
    data = tomllib.loads(FILE.read_text()) if FILE.exists() else {}
    return {scene: " ".join(text.split()).split("; ") for scene, text in data.items()}


def check(world: str, name: str, steps: Sequence[str]) -> None:
    """Assert that these are the steps of the scene."""
    known, now = read().get(f"{world} {name}", []), folded(steps)
    differences = [line for line in difflib.ndiff(known, now) if line[0] in "+-"]
    assert known == now, (
        f"{world} {name} takes other steps than {FILE.name} says. Is each new one walked, and does a kill before it, or "
        "its failure, leave nothing behind? Then run `make crash-walk-steps`.\n" + "\n".join(differences)
    )


def write(scenes: dict[str, Sequence[str]]) -> None:
    blocks = []
    for name, steps in scenes.items():
        text = textwrap.fill("; ".join(folded(steps)), 118, break_long_words=False, break_on_hyphens=False)
        blocks.append(f'"{name}" = """\n{text}"""\n')
    FILE.write_text(HEAD + "\n" + "\n".join(blocks))


def main() -> None:
    from tests.scenes import AGAIN, make, pairs
    from tests.walk import Trace

    found: dict[str, Sequence[str]] = {}
    for world, name in pairs():
        scene = make(world, name)
        found[f"{world} {name}"] = Trace(scene).steps
        scene.finish(subprocess.CompletedProcess([], 0, b"", b""), "nothing", AGAIN)
        if scene.reusable:
            scene.close()
        print(f"{world} {name}: {len(found[f'{world} {name}'])} steps", flush=True)
    write(found)


if __name__ == "__main__":
    main()
