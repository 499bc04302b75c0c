"""Runs what documentation shows: each `$` line in a real shell, and what it prints is what is shown."""

from __future__ import annotations

import fnmatch
import re
import subprocess
from pathlib import Path

from tests.conftest import Home

ROOT = Path(__file__).parents[1]
Example = list[tuple[str, list[str]]]  # what is typed, and the lines that are shown


def read(lines: list[str]) -> Example:
    """Return the example that *lines* show. What is typed goes on until its quotes are closed and no `|` ends it."""
    example: Example = []
    typed = False
    for line in lines:
        if line.startswith("$ "):
            example.append((line[2:], []))
            typed = True
        elif typed and (example[-1][0].count("'") % 2 or example[-1][0].endswith("|")):
            example[-1] = (f"{example[-1][0]}\n{line}", [])
        else:
            typed = False
            example[-1][1].append(line)
    return example


def of_page(path: Path) -> list[Example]:
    """Return the examples of the manual page at *path*."""
    blocks = re.findall(r"^\.Bd -literal.*\n((?:.*\n)*?)\.Ed$", path.read_text(), re.MULTILINE)
    plain = [block.replace("\\e", "\\").replace("\\-", "-").replace("\\&", "").splitlines() for block in blocks]
    return [read(lines) for lines in plain if lines[0].startswith("$ ")]


def of_markdown(text: str) -> list[Example]:
    """Return the examples of *text*: the indented blocks that begin with `$`."""
    blocks = re.findall(r"(?:^    .*\n)+", text, re.MULTILINE)
    plain = [[line[4:] for line in block.splitlines()] for block in blocks]
    return [read(lines) for lines in plain if lines[0].startswith("$ ")]


def run(home: Home, examples: list[Example]) -> None:
    """Run *examples* one after the other in *home*, which has a plugin `nas` with whatever it is asked for."""
    plugin = home.plugin("nas")
    folder = home.root / "path"
    folder.mkdir()
    (folder / "dvdcli").symlink_to(home.command)
    steps = [step for example in examples for step in example]
    marks = "".join(f"{{\n{typed}\n}} 2>&1; status=$?; echo; echo =={number}==; (exit $status)\n"
                    for number, (typed, _) in enumerate(steps))  # fmt: skip
    env = {**home.env, "PATH": f"{folder}:{home.env['PATH']}"}
    done = subprocess.run(["sh", "-c", marks], env=env, cwd=home.root, capture_output=True, check=False, timeout=120)
    rest = done.stdout.decode().replace(f"{home.state}/mounts/", "/var/lib/dvdcli-mounts/")
    for number, (typed, shown) in enumerate(steps):
        said, _, rest = rest.partition(f"\n=={number}==\n")
        _compare(typed, said.splitlines(), shown)
    assert (done.stderr, plugin.faults) == (b"", [])


def _compare(typed: str, said: list[str], shown: list[str]) -> None:
    """Columns may be wider and ages others; `...` is anything, as a line any number of lines."""
    got, expected = [_plain(line) for line in said if line], [_plain(line) for line in shown]
    if expected[1:] and expected[-1] == "...":
        got, expected = got[: len(expected) - 1], expected[:-1]
    elif "..." in expected[1:]:  # and whatever comes in between
        at = expected.index("...")
        got = [*got[:at], "...", *got[len(got) - len(expected) + at + 1 :]]
    assert len(got) == len(expected), (typed, said)
    for line, pattern in zip(got, expected, strict=True):
        assert fnmatch.fnmatchcase(line, re.sub(r"[\[?*]", "?", pattern).replace("...", "*")), (typed, line, pattern)


def _plain(line: str) -> str:
    return re.sub(r"\b\d+[smhd]\b", "AGE", " ".join(line.split()))
