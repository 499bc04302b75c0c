"""Replies as plugins really send them, and as broken ones do; deadlines that hold whatever the other side does."""

from __future__ import annotations

import json
import time

import pytest

from tests.doubles.plugin import DROP, Reply, chunked_frame, continue_frame, err, old_frame
from tests.gate import flags

TRY_AGAIN = 5


@pytest.mark.parametrize("frame", [chunked_frame, old_frame, continue_frame])
def test_every_framing_of_a_reply(home, frame):
    plugin = home.plugin()
    plugin.frame = frame
    assert home.mount().code == 0
    assert home.unmount().code == 0
    assert plugin.mounted() == []


@pytest.mark.parametrize("pieces", [1, 17])
def test_a_reply_in_pieces(home, pieces):
    plugin = home.plugin()
    for method in ("Activate", "Get", "Create", "Mount"):
        plugin.next(method, Reply(pieces=pieces, gap=0.001))
    assert home.mount().code == 0


@pytest.mark.parametrize(
    "shape",
    [
        lambda value: json.dumps({key.upper(): entry for key, entry in value.items()}).encode(),
        lambda value: json.dumps({key.lower(): entry for key, entry in value.items()}).encode(),
        lambda value: json.dumps(value).encode() + b" {junk",
        lambda value: b"\n\t " + json.dumps({**value, "Extra": [1, {"a": None}]}).encode() + b"\n",
        lambda value: json.dumps({**value, "Err": None}).encode() if "Err" in value and not value["Err"] else
        json.dumps(value).encode(),
    ],
    ids=["upper", "lower", "junk behind", "extra", "null"],
)  # fmt: skip
def test_json_as_go_reads_it(home, shape):
    plugin = home.plugin()
    plugin.shape = shape
    assert home.mount().code == 0
    assert home.run("list", "--volumedriver=plug").out == "v\n"
    assert home.unmount().code == 0


@pytest.mark.parametrize(
    ("reply", "code", "says"),
    [
        (err("no space"), 1, "no space"),
        (err("no space", 500), 1, "no space"),
        (err("two\nlines \x1b[31m"), 1, "two; lines \\x1b[31m"),
        (Reply(status=500, body=b"plain text"), 1, "plain text"),
        (Reply(status=404, body=b"404 page not found\n"), 1, "does not know VolumeDriver.Mount"),
        (Reply(status=200, body=b"<html>"), 1, "no JSON object"),
        (Reply(status=200, body=b"[]"), 1, "no JSON object"),
        (Reply(raw=b"SSH-2.0-OpenSSH\r\n"), 1, "no HTTP reply"),
        (Reply(raw=b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n"), 1, "no HTTP reply"),
        (Reply(raw=b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n"), 1, "no HTTP reply"),
        (Reply(raw=b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n"), 1, "no HTTP reply"),
        (Reply(raw=b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 20000), 1, "no HTTP reply"),
        (Reply(raw=b"x" * 100000), 1, "no HTTP reply"),
        (Reply(raw=b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{"), TRY_AGAIN, "in the middle of its reply"),
        (Reply(raw=b"HTTP/1.1 200"), TRY_AGAIN, "in the middle of its reply"),
        (DROP, TRY_AGAIN, "closed the connection"),
    ],
)
def test_a_reply_that_is_an_error_or_none(home, reply, code, says):
    plugin = home.plugin()
    plugin.next("Mount", reply)
    done = home.mount()
    assert (done.code, done.out, done.err.count("\n")) == (code, "", 1)
    assert says in done.err
    assert plugin.mounted() == []
    assert home.leftovers() == []


def test_a_request_that_arrived_is_not_sent_twice(home):
    plugin = home.plugin()
    plugin.next("Mount", DROP)
    home.mount()
    assert plugin.names().count("Mount") == 1


def test_something_that_is_no_volume_plugin(home):
    plugin = home.plugin()
    plugin.next("Activate", Reply(status=200, body=b'{"Implements": ["NetworkDriver"]}'))
    done = home.mount()
    assert (done.code, "no volume plugin" in done.err) == (1, True)
    assert home.leftovers() == []


@pytest.mark.parametrize("reply", [Reply(delay=30), Reply(pieces=1, gap=0.5)], ids=["silent", "a byte at a time"])
def test_the_deadline_holds_whatever_the_plugin_does(home, reply):
    plugin = home.plugin()
    plugin.next("Get", reply)
    start = time.monotonic()
    done = home.run("mount", *flags(), "--timeout=1")
    assert (done.code, "did not answer" in done.err) == (TRY_AGAIN, True)
    assert time.monotonic() - start < 15
    assert home.leftovers() == []


@pytest.mark.parametrize("backlog", [0, 1])
def test_a_plugin_that_is_slow_to_accept(home, backlog):
    """A full backlog refuses a unix connection at once: it is tried again."""
    home.plugin(backlog=backlog)
    processes = [home.start("mount", *flags(f"v{number}")) for number in range(8)]
    assert {home.finish(process).code for process in processes} == {0}


def test_a_nearly_dead_plugin_does_not_cost_a_list_its_patience(home):
    plugin = home.plugin()
    plugin.stop()
    start = time.monotonic()
    done = home.run("list", "--volumedriver=plug")
    assert (done.code, "cannot be reached" in done.err) == (TRY_AGAIN, True)
    assert time.monotonic() - start < 14


def test_capabilities(in_process):
    from dvdcli.clock import Deadline
    from dvdcli.providers.docker import DockerProvider

    plugin = in_process().plugin()
    provider = DockerProvider("plug", {"address": plugin.url}, Deadline(10), 1)
    assert provider.scope() == "global"
    plugin.next("Capabilities", Reply(status=404, body=b"404 page not found"), err("what?"))
    assert [provider.scope() for _ in range(2)] == ["local", "local"]
    assert len(provider.servers()) == 1
