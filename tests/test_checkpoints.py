"""Checkpoints of other isolators: real bytes, and any bytes at all."""

from __future__ import annotations

import json
import sys
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dvdcli import checkpoints
from dvdcli.errors import DvdcliError


def field(number, value):
    """Return one field of a protobuf message, as the encoding's documentation has it."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    data = value if isinstance(value, bytes) else value.encode()
    return varint(number << 3 | 2) + varint(len(data)) + data


def varint(value):
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def mount(container="c1", driver="rexray", name="v", *more):
    return field(1, field(1, container) + field(2, driver) + field(3, name) + b"".join(more))


EVERYTHING = (
    field(4, "/mnt/v"),
    field(5, "size=5,iops=1=2,junk"),
    field(6, "/data"),
    field(7, "/usr/bin/dvdcli"),
    field(8, "true"),
)
BYTES = mount("c1", "rexray", "v", *EVERYTHING) + mount("c2", "plug", "größe" * 60)


def framed(data):
    return len(data).to_bytes(4, sys.byteorder) + data


@pytest.mark.parametrize("data", [BYTES, framed(BYTES)], ids=["bare", "with its length"])
def test_dvdi(tmp_path, data):
    path = tmp_path / "dvdimounts.pb"
    path.write_bytes(data)
    first, second = checkpoints.read_dvdi(str(path))
    assert (first.container, first.driver, first.name, first.mountpoint) == ("c1", "rexray", "v", "/mnt/v")
    assert first.options == {"size": "5", "iops": "1=2"}
    assert (second.container, second.driver, second.name) == ("c2", "plug", "größe" * 60)
    assert (second.options, second.mountpoint, second.source) == ({}, "", str(path))


def test_fields_that_a_later_version_may_have(tmp_path):
    path = tmp_path / "x"
    more = field(9, 1 << 40), bytes([15 << 3 | 5]) + b"1234", varint(99 << 3 | 1) + b"12345678"
    path.write_bytes(mount("c", "d", "v", *more))
    assert checkpoints.read_dvdi(str(path))[0].name == "v"


@pytest.mark.parametrize("data", [b"", framed(b"")])
def test_nothing_listed(tmp_path, data):
    path = tmp_path / "x"
    assert checkpoints.read_dvdi(str(path)) == []
    path.write_bytes(data)
    assert checkpoints.read_dvdi(str(path)) == []


@pytest.mark.parametrize("data", [
    BYTES[:-1], framed(BYTES)[:-1], b"\x00", b"\x0b", b"\xff" * 20, field(2, "x"), field(1, 5), mount(""),
    mount("c", ""),
    field(1, field(1, "c") + field(2, "d")), mount(b"\xff"), field(1, field(1, 5)), b"junk junk junk", framed(b"junk"),
], ids=ascii)  # fmt: skip
def test_junk(tmp_path, data):
    path = tmp_path / "x"
    path.write_bytes(data)
    with pytest.raises(DvdcliError, match="no checkpoint of mesos-module-dvdi"):
        checkpoints.read_dvdi(str(path))


@given(st.binary(max_size=200))
def test_any_bytes(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "any"
    path.write_bytes(data)
    with suppress(DvdcliError):
        checkpoints.read_dvdi(str(path))


def write(directory, container, text):
    (directory / container).mkdir(parents=True)
    if text is not None:
        (directory / container / "volumes").write_text(text)


def test_docker_volume(tmp_path):
    volumes = [{"driver": "d", "name": "a"}, {"driver": "e", "name": "b"}]
    write(tmp_path, "c1", json.dumps({"volumes": volumes}))
    write(tmp_path, "c2", "{}")
    write(tmp_path, "c3", "")
    write(tmp_path, "c4", None)
    (tmp_path / "a file").write_text("")
    found, warnings = checkpoints.read_docker_volume(str(tmp_path))
    assert [(each.container, each.driver, each.name) for each in found] == [("c1", "d", "a"), ("c1", "e", "b")]
    assert [("empty" in text, "missing" in text) for text in warnings] == [(True, False), (False, True)]
    assert checkpoints.read_docker_volume(str(tmp_path / "no")) == ([], [])


@pytest.mark.parametrize(
    "text", ["{", "[]", "5", '{"volumes": 5}', '{"volumes": [{}]}', '{"volumes": [{"driver": 1, "name": "x"}]}']
)
def test_docker_volume_junk(tmp_path, text):
    write(tmp_path, "c1", text)
    with pytest.raises(DvdcliError, match="c1/volumes is no checkpoint of docker/volume"):
        checkpoints.read_docker_volume(str(tmp_path))
