"""The JSON that costs no import agrees with the json package, and raises nothing but ValueError."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dvdcli import fastjson

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text() | st.text(st.sampled_from("\udcff\ud83d\"\\/\b\x7f\u2028a"), max_size=3),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip
NOT_JSON = (
    "", " ", "{", "}", "[", "[1", "[1,", "[1,]", "[,1]", '{"a"}', '{"a":}', '{"a":1', '{"a":1,}', "{a:1}", "{1:2}", '"',
    '"a', '"\\', '"\\u12', '"\\u12x4"', '"\\x"', "nul", "nulll", "True", "None", "'a'", "01", "1.", ".1", "+1", "-",
    "1e", "0x1", "NaN", "Infinity", "-Infinity", "[NaN]", '{"a":Infinity}', "1 2", "{} x", "[]]", "\ufeff{}", "\xa01",
    "//\n1", "\x0b1", "9" * 5000, "[" * 200_000, '{"a":' * 100_000, "\0",
)  # fmt: skip


def codecs() -> list[Any]:
    return [fastjson._c_codec(), fastjson._package_codec()]


def by_the_package(text: str) -> Any:
    """Return what the json package reads; ValueError stands for all that it refuses."""
    try:
        return json.loads(text, strict=False, parse_constant=fastjson._ScannerContext.parse_constant)
    except (ValueError, RecursionError):
        return ValueError


def by_us(data: bytes) -> Any:
    try:
        return fastjson.loads(data)
    except ValueError:
        return ValueError


@pytest.fixture(params=["C", "package"])
def codec(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    scan, encode = fastjson._c_codec() if request.param == "C" else fastjson._package_codec()
    monkeypatch.setattr(fastjson, "_scan", scan)
    monkeypatch.setattr(fastjson, "_encode", encode)


@given(values)
@example("")
@example({"b": 1, "a": [1.5, -0.0, 1e300, 10**40, None, True, "\udcff\u2028\U0001f40b"]})
def test_what_is_written_is_what_the_package_writes_and_reads_back(value: Any) -> None:
    text = fastjson.dumps(value)
    assert text == json.dumps(value, sort_keys=True, allow_nan=False)
    assert text.isascii()
    assert "\n" not in text
    assert fastjson.loads(f" \t\r\n{text} \n".encode()) == json.loads(text)
    assert fastjson.loads_first(f"{text} junk") == json.loads(text)
    for scan, encode in codecs():
        assert encode(value) == text
        assert scan(text, 0) == (json.loads(text), len(text))


@given(values, st.data())
def test_what_is_cut_or_spoilt_is_read_as_the_package_reads_it(value: Any, data: st.DataObject) -> None:
    text = json.dumps(value, ensure_ascii=False, indent=data.draw(st.sampled_from((None, 1))))
    at = data.draw(st.integers(0, len(text)))
    junk = data.draw(st.sampled_from(("", "", "x", "\x00", '"', "{", "]", ",", ":", "\\", "1", "-", "é", "\n", "\x0b")))
    spoilt = text[:at] + junk + text[at + data.draw(st.integers(0, 3)) :]
    encoded = spoilt.encode("utf-8", "replace")
    assert by_us(encoded) == by_the_package(encoded.decode())


@given(st.binary(max_size=20) | st.text(st.sampled_from('[]{}:,"\\u019.e-+ntrue \n'), max_size=12).map(str.encode))
def test_bytes_are_json_or_a_value_error(data: bytes) -> None:
    try:
        expected = by_the_package(data.decode())
    except UnicodeDecodeError:
        expected = ValueError
    assert by_us(data) == expected


@pytest.mark.usefixtures("codec")
@pytest.mark.parametrize("text", NOT_JSON, ids=lambda text: ascii(text[:12]))
def test_what_is_no_json_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        fastjson.loads(text.encode())


@pytest.mark.usefixtures("codec")
def test_the_first_value_of_several() -> None:
    assert fastjson.loads_first(' {"a": 1}{"b"') == {"a": 1}
    for text in ("", "x {}", "\x0b1"):
        with pytest.raises(ValueError, match=r"not JSON|Expecting"):
            fastjson.loads_first(text)


@pytest.mark.usefixtures("codec")
def test_raw_control_characters_in_a_string_are_taken() -> None:
    assert fastjson.loads(b'"a\n\tb\x00"') == "a\n\tb\0"


@pytest.mark.usefixtures("codec")
@pytest.mark.parametrize("value", [float("nan"), float("inf"), [float("-inf")]])
def test_what_json_cannot_say_is_a_value_error(value: Any) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        fastjson.dumps(value)


@pytest.mark.usefixtures("codec")
@pytest.mark.parametrize("value", [{"a": b"b"}, {1, 2}, object(), {(1,): 2}])
def test_what_has_no_json_is_a_type_error(value: Any) -> None:
    with pytest.raises(TypeError):
        fastjson.dumps(value)


@pytest.mark.parametrize("missing", [False, True])
def test_without_the_json_package(missing: bool) -> None:
    """In an interpreter that has not imported json, as on the hook's way; and in one whose _json is another."""
    program = f"""
import sys
sys.path.append({str(Path(fastjson.__file__).parents[1])!r})
if {missing}:
    import types
    sys.modules["_json"] = types.ModuleType("_json")
from dvdcli import fastjson
assert ("json" in sys.modules) is {missing}
for text in {NOT_JSON!r}:
    try:
        fastjson.loads(text.encode())
    except ValueError:
        continue
    raise AssertionError(text[:50])
assert fastjson.dumps({{"b": 1, "a": ["\\u00e9"]}}) == '{{"a": ["\\\\u00e9"], "b": 1}}'
assert fastjson.loads(b'{{"a": [1.5, null]}}') == {{"a": [1.5, None]}}
assert ("json" in sys.modules) is {missing}
"""
    done = subprocess.run([sys.executable, "-I", "-S", "-"], input=program, text=True, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
