"""contrib/ is true: its manifests and its README name what the module has."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "contrib" / "README.md").read_text()
MODULE = (ROOT / "isolators" / "module.cpp").read_text()
PARAMETERS = set(re.findall(r'key == "(\w+)"', MODULE)) - {"work_dir", "isolator_command"}
NAMES = set(re.findall(r"Isolator> (\w+)\(", MODULE))
MANIFESTS = sorted((ROOT / "contrib" / "modules").glob("*.json"))


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.name)
def test_manifests(path):
    for library in json.loads(path.read_text())["libraries"]:
        assert re.fullmatch(r"/usr/lib/mesos/modules/libdvdcli_isolator-\d+\.\d+\.\d+\.so", library["file"])
        for module in library["modules"]:
            assert module["name"] in NAMES
            assert {parameter["key"] for parameter in module["parameters"]} <= PARAMETERS
            assert all(isinstance(parameter["value"], str) for parameter in module["parameters"]), "or Mesos refuses it"
    assert f"modules/{path.name}" in README


def test_every_parameter_and_variable_is_documented():
    tables = README.partition("## What a task can say")[2]
    assert len(PARAMETERS) == 5
    for name in PARAMETERS:
        assert f"| `{name}` |" in tables
    from dvdcli.wanted import _KEYS

    assert {name for name in _KEYS if f"`DVDI_VOLUME_{name}`" in tables} == set(_KEYS)
    assert len(NAMES) == 2
