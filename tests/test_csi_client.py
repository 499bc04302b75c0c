"""The client of CSI drivers: deadlines, what is tried again, sockets at which no driver listens, what is never said."""

from __future__ import annotations

import itertools
import os
import socket
import time
from contextlib import suppress

import pytest

from dvdcli.clock import Deadline
from dvdcli.errors import DvdcliError, InUseError, NotFoundError, TryAgainError, UsageError
from dvdcli.providers.csi import csi_pb2 as pb
from dvdcli.providers.csi.client import Client
from dvdcli.providers.csi.driver import Driver
from dvdcli.providers.csi.secrets import Secrets
from tests.anydriver import AnyDriver, fail, say
from tests.conftest import COMMAND
from tests.doubles.acceptor import Acceptor, in_threads
from tests.expect import refused
from tests.gate import flags

FAILURE, NOT_FOUND, TRY_AGAIN = 1, 3, 5
CODES = [
    "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS",
    "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED",
    "INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED",
]  # fmt: skip
CALLS = [
    "GetPluginInfo", "GetPluginCapabilities", "Probe", "CreateVolume", "DeleteVolume", "ControllerPublishVolume",
    "ControllerUnpublishVolume", "ValidateVolumeCapabilities", "ListVolumes", "GetCapacity",
    "ControllerGetCapabilities", "ControllerExpandVolume", "ControllerGetVolume", "NodeStageVolume",
    "NodeUnstageVolume", "NodePublishVolume", "NodeUnpublishVolume", "NodeGetVolumeStats", "NodeExpandVolume",
    "NodeGetCapabilities", "NodeGetInfo",
]  # fmt: skip
# What each code means, whatever the call.
ANY = {
    "CANCELLED": TryAgainError, "UNKNOWN": DvdcliError, "INVALID_ARGUMENT": UsageError,
    "DEADLINE_EXCEEDED": TryAgainError, "NOT_FOUND": NotFoundError, "ALREADY_EXISTS": DvdcliError,
    "PERMISSION_DENIED": DvdcliError, "RESOURCE_EXHAUSTED": DvdcliError, "FAILED_PRECONDITION": DvdcliError,
    "ABORTED": TryAgainError, "OUT_OF_RANGE": UsageError, "UNIMPLEMENTED": DvdcliError, "INTERNAL": DvdcliError,
    "UNAVAILABLE": TryAgainError, "DATA_LOSS": DvdcliError, "UNAUTHENTICATED": DvdcliError,
}  # fmt: skip
# The specification's tables, where the call makes a difference: the class of the error, and what it has to say.
SPECIAL = {
    ("Probe", "FAILED_PRECONDITION"): (TryAgainError, "not healthy"),
    ("CreateVolume", "INVALID_ARGUMENT"): (UsageError, "parameters"),
    ("CreateVolume", "NOT_FOUND"): (NotFoundError, "made of"),
    ("CreateVolume", "ALREADY_EXISTS"): (UsageError, "with other options"),
    ("CreateVolume", "RESOURCE_EXHAUSTED"): (DvdcliError, "topology"),
    ("CreateVolume", "OUT_OF_RANGE"): (UsageError, "size"),
    ("DeleteVolume", "FAILED_PRECONDITION"): (InUseError, "in use"),
    ("ControllerPublishVolume", "NOT_FOUND"): (NotFoundError, "node"),
    ("ControllerPublishVolume", "ALREADY_EXISTS"): (DvdcliError, "other options"),
    ("ControllerPublishVolume", "FAILED_PRECONDITION"): (InUseError, "published elsewhere"),
    ("ControllerPublishVolume", "RESOURCE_EXHAUSTED"): (DvdcliError, "as many volumes as it can"),
    ("ControllerUnpublishVolume", "NOT_FOUND"): (NotFoundError, "attached still"),
    ("ValidateVolumeCapabilities", "NOT_FOUND"): (NotFoundError, "knows no"),
    ("ControllerGetVolume", "NOT_FOUND"): (NotFoundError, "knows no"),
    ("ListVolumes", "ABORTED"): (TryAgainError, "list"),
    ("ControllerExpandVolume", "INVALID_ARGUMENT"): (UsageError, "accessMode"),
    ("ControllerExpandVolume", "NOT_FOUND"): (NotFoundError, "knows no"),
    ("ControllerExpandVolume", "FAILED_PRECONDITION"): (InUseError, "grows only while it is not"),
    ("ControllerExpandVolume", "OUT_OF_RANGE"): (UsageError, "size"),
    ("NodeStageVolume", "NOT_FOUND"): (NotFoundError, "knows no"),
    ("NodeStageVolume", "ALREADY_EXISTS"): (DvdcliError, "in another way"),
    ("NodeStageVolume", "FAILED_PRECONDITION"): (InUseError, "accessMode"),
    ("NodeUnstageVolume", "NOT_FOUND"): (NotFoundError, "knows no"),
    ("NodePublishVolume", "NOT_FOUND"): (NotFoundError, "knows no"),
    ("NodePublishVolume", "ALREADY_EXISTS"): (DvdcliError, "in another way"),
    ("NodePublishVolume", "FAILED_PRECONDITION"): (InUseError, "accessMode"),
    ("NodeUnpublishVolume", "NOT_FOUND"): (NotFoundError, "knows no"),
    ("NodeGetVolumeStats", "NOT_FOUND"): (NotFoundError, "knows no"),
    ("NodeExpandVolume", "INVALID_ARGUMENT"): (UsageError, "accessMode"),
    ("NodeExpandVolume", "NOT_FOUND"): (NotFoundError, "knows no"),
    ("NodeExpandVolume", "FAILED_PRECONDITION"): (InUseError, "not mounted"),
    ("NodeExpandVolume", "OUT_OF_RANGE"): (UsageError, "size"),
}  # fmt: skip


@pytest.fixture
def driver(home):
    driver = AnyDriver(home.root / "csi.sock")
    yield driver
    driver.close()


@pytest.fixture
def connect(home):
    """Make a client of the socket in home, with a deadline in seconds."""
    made = []

    def connect(seconds=30.0, patience=0.0, secrets=""):
        client = Client("any", str(home.root / "csi.sock"), Secrets(secrets), Deadline(seconds))
        client.patience = patience
        made.append(client)
        return client

    yield connect
    for client in made:
        client.close()


def configure(home, *lines):
    home.config.write_text("\n".join(["[drivers.any]", 'provider = "csi"', *lines, ""]))


def as_driver(home, driver, *lines):
    """Let *driver* be the command's driver `any`, a whole one that can only list volumes."""
    configure(home, f'endpoint = "{home.root}/csi.sock"', *lines)
    if driver is None:
        return
    service = pb.PluginCapability(service={"type": "CONTROLLER_SERVICE"})
    can = pb.ControllerServiceCapability(rpc={"type": "LIST_VOLUMES"})
    driver.always |= {
        "GetPluginInfo": say(pb.GetPluginInfoResponse(name="any.example.com", vendor_version="1")),
        "GetPluginCapabilities": say(pb.GetPluginCapabilitiesResponse(capabilities=[service])),
        "ControllerGetCapabilities": say(pb.ControllerGetCapabilitiesResponse(capabilities=[can])),
        "NodeGetInfo": say(pb.NodeGetInfoResponse(node_id="n")),
    }


# Calls, and what they come to


def test_a_call_is_sent_as_it_is_and_its_answer_returned(driver, connect):
    driver.then("NodeGetInfo", say(pb.NodeGetInfoResponse(node_id="n1", max_volumes_per_node=7)))
    client = connect(20)
    assert client.call("NodeGetInfo").node_id == "n1"
    client.call("NodeUnpublishVolume", "volume v", volume_id="v", target_path="/t")
    assert driver.requests("NodeUnpublishVolume") == [pb.NodeUnpublishVolumeRequest(volume_id="v", target_path="/t")]
    assert all(0 < left <= 20 for left in driver.left), "each call has our own deadline"


@pytest.mark.parametrize("call", CALLS)
def test_each_status_of_each_call_is_the_error_that_the_specification_means(driver, connect, call):
    for code in CODES:
        driver.always[call] = fail(code, f"the words of {code}\nin two lines")
        kind, words = SPECIAL.get((call, code), (ANY[code], ""))
        client = connect(0.3 if code in ("ABORTED", "UNAVAILABLE") else 30)
        with pytest.raises(DvdcliError) as raised:
            client.call(call, "volume vol-1")
        error = raised.value
        assert type(error) is kind, f"{code}: {error!r}"
        for part in (words, f"the words of {code}; in two lines", call, code, "any"):
            assert part in str(error), f"{code}: {error}"
        assert "\n" not in str(error)
        assert error.hint
        if call not in ("Probe",) or code != "FAILED_PRECONDITION":
            assert "vol" in str(error), error


def test_the_table_of_this_test_is_of_calls_and_codes_that_there_are():
    assert set(SPECIAL) <= set(itertools.product(CALLS, CODES))
    assert sorted(ANY) == sorted(CODES)


@pytest.mark.parametrize("code", ["UNAVAILABLE", "ABORTED"])
def test_what_passes_is_tried_again_with_growing_pauses(driver, connect, code):
    driver.then("NodeStageVolume", *[fail(code)] * 3)
    start = time.monotonic()
    connect().call("NodeStageVolume", "volume v", volume_id="v")
    assert driver.names() == ["NodeStageVolume"] * 4
    assert time.monotonic() - start >= 0.05 + 0.1 + 0.2
    assert len({data for _, data in driver.calls}) == 1, "it is the same request"


@pytest.mark.parametrize("code", [code for code in CODES if code not in ("UNAVAILABLE", "ABORTED")])
def test_what_does_not_pass_by_itself_is_not_tried_again(driver, connect, code):
    driver.always["NodeStageVolume"] = fail(code)
    with pytest.raises(DvdcliError):
        connect().call("NodeStageVolume", "volume v", volume_id="v")
    assert driver.names() == ["NodeStageVolume"]


def test_an_operation_that_is_under_way_for_too_long_is_try_again(driver, connect):
    driver.always["NodeStageVolume"] = fail("ABORTED", "an operation is pending")
    with pytest.raises(TryAgainError, match="another operation on volume v is under way"):
        connect(0.5).call("NodeStageVolume", "volume v", volume_id="v")
    assert len(driver.calls) > 1


def test_a_driver_that_does_not_answer_is_given_up_at_the_deadline_and_asked_once(driver, connect):
    driver.always["NodeStageVolume"] = driver.hang
    start = time.monotonic()
    with pytest.raises(TryAgainError, match="did not answer NodeStageVolume of volume v"):
        connect(0.4).call("NodeStageVolume", "volume v", volume_id="v")
    assert time.monotonic() - start >= 0.4
    assert driver.names() == ["NodeStageVolume"]


def test_without_time_left_nothing_is_sent(driver, connect):
    with pytest.raises(TryAgainError, match="did not answer"):
        connect(0.0).call("NodeGetInfo")
    assert driver.calls == []


def test_a_status_that_is_expected_is_none(driver, connect):
    driver.always["NodeUnpublishVolume"] = fail("NOT_FOUND")
    assert connect().call("NodeUnpublishVolume", "volume v", frozenset(("NOT_FOUND",)), volume_id="v") is None


@pytest.mark.parametrize("answer", [b"\xff\xff\xff", b"\x0a\x02\xff\xfe"], ids=["no message", "no UTF-8"])
def test_an_answer_that_is_none_is_one_line(driver, connect, answer):
    driver.always["GetPluginInfo"] = say(answer)
    with pytest.raises(DvdcliError, match="GetPluginInfo"):
        connect().call("GetPluginInfo")


def test_an_answer_that_is_too_large_is_refused(driver, connect):
    driver.always["GetPluginInfo"] = say(pb.GetPluginInfoResponse(name="x" * (17 << 20)))
    with pytest.raises(DvdcliError, match=r"GetPluginInfo.*larger than max"):
        connect().call("GetPluginInfo")


def test_a_long_story_is_cut(driver, connect):
    driver.always["GetPluginInfo"] = fail("INTERNAL", "x" * 5000)
    with pytest.raises(DvdcliError) as raised:
        connect().call("GetPluginInfo")
    assert 1000 < len(str(raised.value)) < 1300


# Lists


def page(*ids, token=""):
    return say(pb.ListVolumesResponse(entries=[{"volume": {"volume_id": each}} for each in ids], next_token=token))


@pytest.fixture
def whole(home, driver):
    whole = Driver("any", str(driver.path), str(driver.path), "", Secrets(""), Deadline(30))
    yield whole
    whole.close()


def listed(whole):
    return [entry.volume.volume_id for entry in whole.entries()]


def test_a_list_is_read_page_by_page_and_has_nothing_twice(driver, whole):
    driver.then("ListVolumes", page("a", "b", token="1"), page("b", "c", token="2"), page(token="3"), page("d"))
    assert listed(whole) == ["a", "b", "c", "d"]
    assert [request.starting_token for request in driver.requests("ListVolumes")] == ["", "1", "2", "3"]


def test_a_token_that_is_taken_back_starts_the_list_again(driver, whole):
    driver.then("ListVolumes", page("gone", token="1"), fail("ABORTED"), page("a", token="2"), page("b"))
    assert listed(whole) == ["a", "b"]
    assert [request.starting_token for request in driver.requests("ListVolumes")] == ["", "1", "", "2"]


def test_tokens_that_are_always_taken_back_are_try_again(driver, whole):
    driver.then("ListVolumes", *[page("a", token="1"), fail("ABORTED")] * 3)
    with pytest.raises(TryAgainError, match="tokens"):
        whole.entries()


def test_a_list_without_end_is_an_error(driver, whole):
    driver.then("ListVolumes", page("a", token="1"), page("b", token="2"), page("c", token="1"))
    with pytest.raises(DvdcliError, match="no end"):
        whole.entries()


# Sockets


def test_a_socket_that_is_missing_is_one_line(home):
    as_driver(home, None)
    line = refused(home.run("list", "--volumedriver=any"), TRY_AGAIN)
    assert f"{home.root}/csi.sock: No such file" in line


def test_a_socket_that_nobody_listens_at_is_one_line(home):
    as_driver(home, None)
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(home.root / "csi.sock"))
        assert "Connection refused" in refused(home.run("list", "--volumedriver=any"), TRY_AGAIN)


def test_a_driver_that_is_just_starting_is_waited_for(home):
    as_driver(home, None)
    process = home.start("list", "--volumedriver=any")
    time.sleep(0.4)  # it tries for the first time; where it comes to that later, less is proven, and nothing fails
    driver = AnyDriver(home.root / "csi.sock")
    as_driver(home, driver)
    try:
        done = home.finish(process)
        assert (done.code, done.out, done.err) == (0, "", "")
    finally:
        driver.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs another user to be")
def test_a_socket_that_we_may_not_use_is_one_line(home, driver):
    home.command = COMMAND  # what measures coverage in its stead is root's alone
    as_driver(home, driver)
    os.chmod(driver.path, 0o700)
    os.chmod(home.root, 0o755)
    os.chown(home.config, 65534, 65534)
    line = refused(home.run("list", "--volumedriver=any", user=65534, group=65534, extra_groups=[]), FAILURE)
    assert "Permission denied" in line
    assert "run dvdcli as root" in line


STRANGERS = {
    "silent": lambda connection: None,
    "http1": lambda connection: connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n"),
    "garbage": lambda connection: connection.sendall(b"\x00\xff" * 500),
    "slammed": lambda connection: connection.close(),
}


@pytest.fixture
def stranger(home):
    """Listen at the socket, and do one thing to whoever comes."""
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(home.root / "csi.sock"))
    server.listen(64)
    kept = []

    acceptors = []

    def serve(act):
        def take(connection):
            kept.append(connection)
            with suppress(OSError):
                act(connection)

        acceptors.append(Acceptor(server, in_threads(take)))

    yield serve
    for acceptor in acceptors:
        acceptor.stop()
    for connection in [server, *kept]:
        connection.close()


@pytest.mark.parametrize("kind", STRANGERS)
def test_what_is_no_driver_is_one_line(home, stranger, kind):
    as_driver(home, None)
    stranger(STRANGERS[kind])
    line = refused(home.run("list", "--volumedriver=any", "--timeout=1.5"), TRY_AGAIN)
    assert "driver any" in line


def test_one_byte_a_second_is_given_up_at_the_deadline(home, stranger):
    as_driver(home, None)

    def trickle(connection):
        for byte in b"\x00\x00\x06\x04\x00\x00\x00\x00\x00\x00\x05\x00\x00\x40\x00":
            connection.sendall(bytes([byte]))
            time.sleep(0.5)  # so that no read waits for long, and all together take longer than the call may

    stranger(trickle)
    start = time.monotonic()
    line = refused(home.run("list", "--volumedriver=any", "--timeout=1"), TRY_AGAIN)
    assert "did not answer GetPluginInfo within 1 s" in line or "as gRPC does" in line
    assert time.monotonic() - start < 10


# What is never said


@pytest.mark.parametrize("env", [
    {"GRPC_VERBOSITY": "DEBUG", "GRPC_TRACE": "all"}, {"http_proxy": "http://127.0.0.1:9", "grpc_proxy": "http://127.0.0.1:9"},
    {"PYTHONPATH": "/nonexistent", "GRPC_ENABLE_FORK_SUPPORT": "1"},
], ids=["verbose", "proxy", "fork"])  # fmt: skip
def test_grpc_has_nothing_to_say_and_listens_to_nobody(home, driver, env):
    as_driver(home, driver)
    driver.always["ListVolumes"] = page("a", "b")
    done = home.run("list", "--volumedriver=any", env=env)
    assert (done.code, done.out, done.err) == (0, "a\nb\n", "")


def test_a_failure_is_one_line_with_grpc_told_to_talk(home, driver):
    as_driver(home, driver)
    driver.always["ListVolumes"] = fail("INTERNAL", "broken\nwhole")
    env = {"GRPC_VERBOSITY": "DEBUG", "GRPC_TRACE": "all"}
    assert "broken; whole" in refused(home.run("list", "--volumedriver=any", env=env), FAILURE)


def test_verbose_output_has_the_calls(home, driver):
    as_driver(home, driver)
    done = home.run("-v", "list", "--volumedriver=any")
    assert done.code == 0
    assert [line.split()[2] for line in done.err.splitlines() if "csi.sock" in line] == driver.names()


def test_a_driver_of_another_name_is_refused(home, driver):
    as_driver(home, driver, 'plugin = "other.example.com"')
    line = refused(home.run("list", "--volumedriver=any"), FAILURE)
    assert "'any.example.com', not 'other.example.com'" in line
    assert "ListVolumes" not in driver.names()


def test_a_controller_that_is_on_another_socket_is_asked_for(home, driver):
    as_driver(home, driver)
    driver.always["ControllerGetCapabilities"] = fail("UNIMPLEMENTED", "unknown service csi.v1.Controller")
    line = refused(home.run("list", "--volumedriver=any"), FAILURE)
    assert "has a controller service, which is not at" in line
    assert "controller_endpoint" in line


def test_what_the_driver_is_doing_is_not_undone_behind_its_back(driver, connect):
    """Of an operation that is pending the driver's words are told, not a guess of ours."""
    driver.always["NodeUnpublishVolume"] = fail("ABORTED", "a NodePublishVolume of v is under way")
    with pytest.raises(TryAgainError, match="a NodePublishVolume of v is under way"):
        connect(0.2).call("NodeUnpublishVolume", "volume v", frozenset(("NOT_FOUND",)), volume_id="v")


def test_a_driver_that_is_missing_is_waited_for_at_a_mount_and_then_named(home):
    as_driver(home, None)
    done = home.run("mount", *flags("v", "any"), "--timeout=1")
    assert "cannot be reached" in refused(done, TRY_AGAIN)
    assert home.leftovers() == []
