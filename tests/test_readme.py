"""README.md is true: its exit codes, its commands, its example."""

from __future__ import annotations

import re
from pathlib import Path

from dvdcli import cli
from dvdcli.errors import Exit

README = (Path(__file__).parents[1] / "README.md").read_text()


def test_every_exit_code_is_documented():
    table = README.partition("## Exit codes")[2].partition("\n\n##")[0]
    documented = {int(code) for code in re.findall(r"^\| (\d+) \|", table, re.MULTILINE)}
    assert documented == {value for key, value in vars(Exit).items() if key.isupper()}


def test_every_command_is_documented():
    table = README.partition("## Commands")[2].partition("\n\nEvery")[0]
    assert set(re.findall(r"`(\w+)`(?=[,| ])", table.replace("`--explicitcreate`", ""))) >= set(cli.dvdcli.commands)


def test_every_error_that_is_explained_can_happen():
    table = README.partition("## Troubleshooting")[2].partition("\n## ")[0]
    words = [word for row in re.findall(r"^\| (`.*?) \|", table, re.MULTILINE) for word in re.findall(r"`(.+?)`", row)]
    assert len(words) > 15
    source = "".join(path.read_text() for path in Path(cli.__file__).parent.rglob("*.py"))
    assert [word for word in words if word not in source] == []


def without_age(cells: list[str]) -> list[str]:
    return [cell for cell in cells if not re.fullmatch(r"\d+s", cell)]


def test_the_example_runs_as_it_stands(home):
    """The first code block of "A task with a volume": each `$` line, and what it prints."""
    block = re.search(r"## A task with a volume\n\n((?:    .*\n)+)", README)
    assert block is not None
    shown: list[tuple[str, list[str]]] = []
    for line in block.group(1).splitlines():
        text = line.removeprefix("    ")
        if text.startswith("$ "):
            shown.append((text[2:], []))
        else:
            shown[-1][1].append(text)
    assert [words.split()[1] for words, _ in shown] == ["mount", "list", "unmount"]
    for words, expected in shown:
        done = home.run(*words.split()[1:])
        assert (done.code, done.err) == (0, "")
        printed = done.out.replace(f"{home.state}/mounts/", "/var/lib/dvdcli-mounts/")
        assert [without_age(line.split()) for line in printed.splitlines()] == [
            without_age(line.split()) for line in expected
        ]
