"""contrib/iam-policy.json allows what the code calls, and nothing else."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path
from typing import Any

import botocore.session
import pytest
from botocore import xform_name

from tests.ebs import Cloud

ROOT = Path(__file__).parents[1]
SOURCES = sorted((ROOT / "dvdcli" / "providers" / "ebs").glob("*.py"))
README = (ROOT / "contrib" / "README.md").read_text()
POLICY = json.loads((ROOT / "contrib" / "iam-policy.json").read_text())
STATEMENTS: list[dict[str, Any]] = POLICY["Statement"]
OPERATIONS = botocore.session.get_session().get_service_model("ec2").operation_names
API_NAMES = {xform_name(name): name for name in OPERATIONS}  # create_volume: CreateVolume
DOOR = "ec2.py"  # where `pages` hands on to `call` what it was given


def many(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


def allowed() -> list[str]:
    return [action.removeprefix("ec2:") for each in STATEMENTS for action in many(each["Action"])]


def calls() -> list[tuple[str, ast.Call]]:
    """Return the file and the node of each call of the door to EC2."""
    return [
        (path.name, node)
        for path in SOURCES for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in ("call", "pages")
    ]  # fmt: skip


def called() -> set[str]:
    """Return the API's names of the actions in the source. One that is no literal can be checked by nobody."""
    found = set()
    for file, node in calls():
        first = node.args[0]
        if isinstance(first, ast.Constant):
            found.add(API_NAMES[first.value])
        else:
            assert file == DOOR, f"{file}:{node.lineno}: which action?"
    return found


def tags_what_it_creates() -> bool:
    return any(word.arg == "TagSpecifications" for _, node in calls() for word in node.keywords)


def needed() -> set[str]:
    return called() | ({"CreateTags"} if tags_what_it_creates() else set())


def test_what_is_called_is_allowed_and_nothing_else() -> None:
    assert len(called()) >= 8
    assert sorted(allowed()) == sorted(needed())
    assert all(each["Effect"] == "Allow" for each in STATEMENTS)


def test_nobody_goes_around_the_door_to_ec2() -> None:
    for path in SOURCES:
        text = path.read_text()
        assert path.name == DOOR or not re.search(r"boto3|botocore\.|_client\(", text.partition('"""\n\n')[2]), path


def test_each_action_has_the_resources_that_ec2_knows_for_it() -> None:
    kinds = {
        "AttachVolume": {"instance", "volume"}, "DetachVolume": {"instance", "volume"},
        "CreateVolume": {"snapshot", "volume"},
    }  # fmt: skip
    for each in STATEMENTS:
        for action in (name.removeprefix("ec2:") for name in many(each["Action"])):
            resources = set(many(each["Resource"]))
            if action.startswith("Describe"):
                assert resources == {"*"}, action
                assert "Condition" not in each, action
            else:
                expected = {f"arn:aws:ec2:*:*:{kind}/*" for kind in kinds.get(action, {"volume"})}
                assert resources == expected, action
    [tags] = [each for each in STATEMENTS if "CreateTags" in str(each["Action"])]
    assert tags["Condition"] == {"StringEquals": {"ec2:CreateAction": "CreateVolume"}}


def test_the_readme_says_what_each_statement_is_for() -> None:
    section = README.partition("## What Amazon EBS needs")[2].partition("\n## ")[0]
    assert re.findall(r"^\| `(\w+)`", section, re.MULTILINE) == [each["Sid"] for each in STATEMENTS]
    block = json.loads("\n".join(line for line in section.splitlines() if line.startswith("    ")))
    assert {action.partition(":")[0] for each in block["Statement"] for action in many(each["Action"])} == {"kms"}


@pytest.mark.root
def test_a_volumes_whole_life_makes_exactly_these_calls(command: Path) -> None:
    cloud = Cloud(command)
    try:
        machine = cloud.machine()
        assert machine.ebs("mount", "v", *machine.opts(size=1)).code == 0
        assert machine.ebs("resize", "v", "--yes", *machine.opts(size=1)).code == 0
        assert machine.ebs("unmount").code == 0
        assert machine.ebs("resize", "v", "--yes", *machine.opts(size=2)).code == 0
        assert machine.ebs("remove").code == 0
        assert set(cloud.ec2.names()) == called()
        assert set(cloud.ec2.names()) <= set(allowed())
    finally:
        cloud.close()
