"""Volumes, options, records."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dvdcli.errors import UsageError
from dvdcli.volume import MOUNTED, Record, Volume, parse_options


def test_volumes_are_compared_by_driver_and_name() -> None:
    volume = Volume("d", "v")
    assert volume == Volume("d", "v")
    assert len({volume, Volume("d", "v"), Volume("D", "v"), Volume("d", "V"), Volume("v", "d")}) == 4
    assert volume != "d/v"
    assert str(volume) == "d/v"


keys = st.text(st.characters(exclude_characters="=\0", exclude_categories=["Cs"]), min_size=1, max_size=5)
texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=9) | st.just("a=b,c =")


@given(st.lists(st.tuples(keys, texts)))
def test_options_are_split_at_the_first_equals_sign_and_the_last_of_a_key_wins(pairs: list[tuple[str, str]]) -> None:
    assert parse_options(f"{key}={value}" for key, value in pairs) == dict(pairs)


@pytest.mark.parametrize("item", ["", "size", "=", "=v", "a=\0", "a\0=b", "a=\udcff", "\udcff=a"])
def test_what_is_no_option(item: str) -> None:
    with pytest.raises(UsageError, match="volume option"):
        parse_options(["fine=1", item])


def whole_record() -> dict[str, Any]:
    record = Record(Volume("d", "v"), "docker", {"address": "unix:///x"}, {"a": "b"})
    record.status, record.path, record.handle, record.adding = MOUNTED, "/mnt/v", {"name": "v"}, "name:host"
    record.boot, record.mount_namespace, record.since, record.failure = "b", "mnt:[1]", {"wall": 1.0}, "no"
    record.fresh, record.claim, record.within = True, "vol-1", "/mnt/v"
    return record.to_json()


def test_a_record_survives_its_json() -> None:
    data = whole_record()
    again = Record.from_json(json.loads(json.dumps(data)))
    assert again.to_json() == data
    assert all(data.values())
    assert again.volume == Volume("d", "v")


@pytest.mark.parametrize("key", sorted(set(whole_record()) - {"schema"}))
@pytest.mark.parametrize("value", [None, 7, [], "", {"a": 1}])
def test_a_record_with_a_field_of_another_kind_is_none(key: str, value: object) -> None:
    data = whole_record()
    fits = type(value) is type(data[key]) and (value or key not in ("driver", "name", "status"))
    fits = fits and not (key == "options" and value)  # an option is a text
    data[key] = value
    if fits:
        assert Record.from_json(data).to_json() == data
    else:
        with pytest.raises(ValueError, match=r"."):
            Record.from_json(data)
    del data[key]
    if key in ("claim", "within"):  # which the first records had none of
        assert getattr(Record.from_json(data), key) == ""
        return
    with pytest.raises(ValueError, match=key):
        Record.from_json(data)
