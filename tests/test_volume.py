"""Names, the file names they are kept under, options, records."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from dvdcli.errors import UsageError
from dvdcli.volume import (
    LONGEST_NAME,
    MOUNTED,
    Record,
    Volume,
    check_driver,
    check_name,
    decode,
    encode,
    parse_options,
    sha256,
)  # fmt: skip

TRICKY = st.sampled_from(("%", "%2F", "%2f", ".", "..", "~", "/", "a", "A", " ", "é", "\U0001f40b", "%2E", "-", "\\"))
names = st.lists(TRICKY | st.text(max_size=5), min_size=1, max_size=60).map("".join).filter(bool)


@given(names, names)
@example("a/b", "a%2Fb")
@example("x" * 200, "x" * 199 + "y")
@example(".a", "%2Ea")
@example("A", "a")
@example("x" * 80 + "~" + sha256(b"x" * 200), "x" * 200)
def test_different_names_have_different_file_names(one: str, other: str) -> None:
    assume(one != other)
    assert encode(one) != encode(other)


@given(names)
@example("..")
@example(".")
@example("/")
@example("%" * 1024)
@example("\U0001f40b" * 256)
@example("x" * LONGEST_NAME)
def test_a_file_name_is_safe(name: str) -> None:
    file_name = encode(name)
    assert file_name.isascii()
    assert file_name.isprintable()
    assert 0 < len(file_name) <= 145
    assert not set(file_name) & set("/\\ \0'\"$*?[]{}()<>|&;!#`")
    assert not file_name.startswith(".")
    assert encode(name) == file_name


@given(names)
@example("x" * 120)
@example("/" * 40)
def test_a_short_file_name_tells_its_name_and_a_long_one_nothing(name: str) -> None:
    file_name = encode(name)
    assert decode(file_name) == (name if len(file_name) <= 120 else None)


@given(st.text(st.sampled_from("%2FfEe.~aZ/ \udcff"), max_size=130) | st.text(max_size=10))
def test_a_foreign_file_name_tells_nothing(file_name: str) -> None:
    name = decode(file_name)
    assert name is None or encode(name) == file_name


@pytest.mark.parametrize(("name", "file_name"), [
    ("vol-1_a.b:c@d+e=f,g", "vol-1_a.b:c@d+e=f,g"), ("vieux/sshfs", "vieux%2Fsshfs"), (".a", "%2Ea"), ("..", "%2E."),
    ("a b", "a%20b"), ("~", "%7E"), ("é", "%C3%A9"), ("x" * 120, "x" * 120),
    ("x" * 121, "x" * 80 + "~" + hashlib.sha256(b"x" * 121).hexdigest()),
])  # fmt: skip
def test_file_names_are_those_that_are_on_disk_today(name: str, file_name: str) -> None:
    assert encode(name) == file_name


@given(st.binary())
def test_sha256(data: bytes) -> None:
    assert sha256(data) == hashlib.sha256(data).hexdigest()


@given(names)
def test_a_name_is_taken_as_it_is_or_refused(name: str) -> None:
    possible = len(name.encode()) <= LONGEST_NAME and not any(ord(c) < 32 or 127 <= ord(c) < 160 for c in name)
    if possible:
        assert check_name(name, "volume name") == name
    else:
        with pytest.raises(UsageError, match="volume name"):
            check_name(name, "volume name")


@given(names)
def test_a_driver_never_leads_out_of_a_directory(name: str) -> None:
    try:
        driver = check_driver(name)
    except UsageError:
        return
    assert driver == name
    assert not driver.startswith("/")
    assert not {"", ".", ".."} & set(driver.split("/"))


def test_drivers() -> None:
    assert check_driver("vieux/sshfs:latest") == "vieux/sshfs:latest"
    for name in ("a/../b", "/a", "a//b", "./a", "..", ""):
        with pytest.raises(UsageError):
            check_driver(name)


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
