"""What drivers and volumes can be called, and the file names that they are kept under."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from dvdcli.errors import UsageError
from dvdcli.names import LONGEST_NAME, check_driver, check_name, decode, encode, sha256

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
