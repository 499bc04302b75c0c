"""The filters of DescribeVolumes."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from tests.doubles.ec2.errors import Error
from tests.doubles.ec2.model import Volume

MOST_VALUES = 200
FIELDS: dict[str, Callable[[Volume], list[str]]] = {
    "attachment.device": lambda volume: [one.device for one in volume.attachments],
    "attachment.instance-id": lambda volume: [one.host.id for one in volume.attachments],
    "attachment.status": lambda volume: [one.state for one in volume.attachments],
    "availability-zone": lambda volume: [volume.zone],
    "size": lambda volume: [str(volume.size)],
    "status": lambda volume: [volume.state],
    "tag-key": lambda volume: list(volume.tags),
    "volume-id": lambda volume: [volume.id],
    "volume-type": lambda volume: [volume.type],
}


def compile_filters(filters: list[dict[str, Any]]) -> Callable[[Volume], bool]:
    """Return the test that all of the filters make together."""
    if sum(len(one.get("Value", [])) for one in filters) > MOST_VALUES:
        raise Error("FilterLimitExceeded", f"A call can have at most {MOST_VALUES} filter values")
    tests = []
    for one in filters:
        name, values = one.get("Name", ""), one.get("Value", [])
        if not values:
            raise Error("InvalidParameterValue", f"The filter '{name}' has no value")
        tests.append((_field(name), [pattern(value) for value in values]))
    return lambda volume: all(
        any(value.fullmatch(text) for value in values for text in read(volume)) for read, values in tests
    )


def _field(name: str) -> Callable[[Volume], list[str]]:
    if name.startswith("tag:"):
        key = name.removeprefix("tag:")
        return lambda volume: [volume.tags[key]] if key in volume.tags else []
    if name not in FIELDS:
        raise Error("InvalidParameterValue", f"The filter '{name}' is invalid")
    return FIELDS[name]


def pattern(value: str) -> re.Pattern[str]:
    r"""Compile a value, where * and ? are wildcards and a backslash makes the next character an ordinary one."""
    parts = re.findall(r"\\.|.|\\", value, re.DOTALL)
    wild = {"*": ".*", "?": "."}
    text = "".join(wild.get(part) or re.escape(part[-1]) for part in parts)
    return re.compile(text, re.DOTALL)
