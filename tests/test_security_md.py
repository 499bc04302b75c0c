"""SECURITY.md's table of threats: each row names a test that there is."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
ROW = re.compile(r"\| (?P<threat>[^|]+) \| (?P<means>[^|]+) \| `(?P<file>tests/test_\w+\.py)::(?P<test>test_\w+)` \|")


def rows() -> list[re.Match[str]]:
    text = (ROOT / "SECURITY.md").read_text()
    table = text.partition("| Threat | What stops it | Test |\n|---|---|---|\n")[2].partition("\n\n")[0]
    found = [(line, ROW.fullmatch(line)) for line in table.splitlines()]
    assert [line for line, row in found if row is None] == []
    return [row for _, row in found if row is not None]


def functions_of(path: Path) -> set[str]:
    tree = ast.parse(path.read_text())
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_every_threat_has_its_test() -> None:
    named = rows()
    assert len(named) > 50
    missing = [row["file"] + "::" + row["test"] for row in named if row["test"] not in functions_of(ROOT / row["file"])]
    assert missing == []
    threats = [row["threat"] for row in named]
    assert len(set(threats)) == len(threats)


def test_every_malice_is_in_the_table() -> None:
    malice = {name for name in functions_of(ROOT / "tests" / "test_malice.py") if name.startswith("test_")}
    assert malice - {row["test"] for row in rows()} == set()
