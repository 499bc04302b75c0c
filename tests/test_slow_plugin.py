"""A plugin that answers one byte a second: whichever call it is, in the headers or in the body, the deadline holds."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from dvdcli.errors import Exit
from tests.conftest import Home
from tests.doubles.acceptor import Acceptor, in_threads
from tests.doubles.plugin import Reply
from tests.expect import one_line, refused

# Each of the plugin's calls, and the command that makes it.
CALLS = {
    "Activate": "get", "Get": "path", "Create": "create", "Mount": "mount", "Path": "path", "Unmount": "unmount",
    "Remove": "remove", "List": "list",
}  # fmt: skip
HEADERS = b"HTTP/1.1 200 OK\r\n"
SECONDS = 90  # that the whole answer takes
SLACK = 20  # seconds that a busy machine may take, beside the deadline


def in_headers() -> Reply:
    return Reply(raw=HEADERS + b"X" * SECONDS, pieces=1, gap=1, at_once=len(HEADERS))


def in_body() -> Reply:
    head = HEADERS + b"Content-Length: %d\r\n\r\n{" % SECONDS
    return Reply(raw=head + b" " * SECONDS, pieces=1, gap=1, at_once=len(head))


def from_the_start() -> Reply:
    return Reply(raw=b"HTTP/1.1 200 OK\r\n" * SECONDS, pieces=1, gap=1)


@pytest.mark.parametrize("slow", [from_the_start, in_headers, in_body])
def test_every_call_keeps_its_deadline_and_names_the_plugin(home: Home, slow) -> None:
    for method in CALLS:
        plugin = home.plugin(method)
        plugin.add("v")
        if method == "Unmount":
            assert home.mount(driver=method).code == 0
        plugin.always[method] = slow()
    began = time.monotonic()
    processes = {}
    for method, verb in CALLS.items():
        words = [] if method == "List" else ["--volumename=v"]
        words += ["--yes"] if method == "Remove" else []
        processes[method] = home.start(verb, f"--volumedriver={method}", *words, "--timeout=1")
    done = {method: home.finish(process, SECONDS) for method, process in processes.items()}
    assert time.monotonic() - began < SLACK
    for method, each in done.items():
        said = f"the plugin {method!r}: unix://{home.sockets}/{method}.sock did not answer within 1 s"
        assert said in refused(each, Exit.TRY_AGAIN)
        assert method in [name for name, _ in next(p for p in home.plugins if f"/{method}." in p.where).calls]


@pytest.mark.parametrize("slow", [in_headers, in_body])
def test_a_check_and_a_list_of_all_go_on_to_the_next_plugin(home: Home, slow) -> None:
    home.plugin("sound").add("v")
    for method in ("List", "Capabilities"):
        home.plugin(method).always[method] = slow()
    listed = home.run("list", "--all", "--timeout=1", timeout=SECONDS)
    assert listed.code == Exit.TRY_AGAIN
    assert [line.split()[:2] for line in listed.out.splitlines()[1:]] == [["sound", "v"]]
    assert "the plugin 'List': unix://" in listed.err
    checked = home.run("check", "sound", "Capabilities", "--timeout=1", timeout=SECONDS)
    assert "driver sound" in checked.out
    assert "the plugin 'Capabilities': unix://" in checked.out


@contextmanager
def dripping(server: socket.socket, said: bytes) -> Iterator[None]:
    """Say a byte of *said* a second to whoever connects, whatever he asks."""
    over = threading.Event()

    def speak(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            for byte in said:
                connection.sendall(bytes([byte]))
                if over.wait(1):
                    return

    acceptor = Acceptor(server, in_threads(speak))
    try:
        yield
    finally:
        over.set()
        acceptor.stop()


def test_a_handshake_of_a_byte_a_second(home: Home) -> None:
    server = socket.create_server(("127.0.0.1", 0))
    url = f"https://127.0.0.1:{server.getsockname()[1]}"
    home.config.write_text(f'[drivers.far]\nprovider = "docker"\naddress = "{url}"\ninsecure = true\n')
    with dripping(server, b"\x16\x03\x03\x40\x00" + bytes(SECONDS)):
        began = time.monotonic()
        done = home.run("get", "--volumedriver=far", "--volumename=v", "--timeout=1", timeout=SECONDS)
    assert time.monotonic() - began < SLACK
    assert f"the plugin 'far' cannot be reached: {url}: no TLS connection" in refused(done, Exit.TRY_AGAIN)


def test_an_engine_of_a_byte_a_second_holds_up_nobody_else(home: Home) -> None:
    """It is asked for managed plugins, which can be called anything: what has a provider of ours does not need it."""
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(home.root / "docker.sock"))
    server.listen()
    with dripping(server, HEADERS * SECONDS):
        began = time.monotonic()
        done = home.run("get", "--volumedriver=managed", "--volumename=v", "--timeout=2", timeout=SECONDS)
        error = refused(done, Exit.TRY_AGAIN)
        assert "the Docker Engine: unix://" in error
        assert "docker.sock did not answer within 1 s" in error
        home.config.write_text('[drivers.shelf]\nprovider = "local"\n')
        assert home.run("mount", "--volumedriver=shelf", "--volumename=v", timeout=SECONDS).code == 0
        built_in = home.run("get", "--volumedriver=scaleio", "--volumename=v", "--timeout=2", timeout=SECONDS)
        assert "[drivers.scaleio] has no endpoint" in one_line(built_in), "so it got as far as that"
    assert time.monotonic() - began < SLACK


def test_slow_and_in_time_is_right(home: Home) -> None:
    """Two bytes a second would be as good, if there were time: patience is the deadline's alone."""
    plugin = home.plugin()
    plugin.add("v")
    for method in ("Activate", "Get", "Mount"):
        plugin.next(method, Reply(pieces=1, gap=0.003))
    assert home.mount().out == f"{plugin.volumes['v'].mountpoint}\n"


def test_what_was_given_up_is_undone_once_the_plugin_is_itself_again(home: Home) -> None:
    """A mount whose answer came too late was made: recover lets go of it."""
    plugin = home.plugin()
    plugin.add("v")
    plugin.next("Mount", Reply(act=True, raw=b"HTTP/1.1 200 OK\r\n" * 9, pieces=1, gap=1))
    error = refused(home.mount("v", "plug", "--timeout=1", timeout=SECONDS), Exit.TRY_AGAIN)
    assert "the plugin 'plug': unix://" in error
    assert plugin.mounted() == home.leftovers() == []
