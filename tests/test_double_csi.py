"""The CSI driver double itself, asked without dvdcli: whatever a wrong caller does, it refuses, and says so."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
import threading
from pathlib import Path

import grpc
import pytest

from dvdcli.providers.csi import csi_pb2 as pb
from tests.doubles.csi import CONTROLLER, NODE, Answer, Die, Driver, Drop, Fail, Hang, Slow, disks
from tests.waiting import wait_until

pytestmark = pytest.mark.root
Code = grpc.StatusCode
MOUNT = {"mount": {}, "access_mode": {"mode": "SINGLE_NODE_WRITER"}}
MIB = 1 << 20


class Client:
    """Calls of a plugin with the words of the specification."""

    def __init__(self, plugin):
        self.channel = grpc.insecure_channel(plugin.endpoint, options=[("grpc.use_local_subchannel_pool", 1)])

    def __call__(self, rpc, timeout=20.0, **fields):
        services = {"Node": "Node", "GetPlugin": "Identity", "Probe": "Identity"}
        service = next((name for start, name in services.items() if rpc.startswith(start)), "Controller")
        ask = self.channel.unary_unary(
            f"/csi.v1.{service}/{rpc}", lambda message: message.SerializeToString(),
            getattr(pb, f"{rpc}Response").FromString,
        )  # fmt: skip
        return ask(getattr(pb, f"{rpc}Request")(**fields), timeout=timeout, wait_for_ready=True)


class Bench:
    """A driver with one node, the client of each, and the way to the volume `v` that a right caller goes."""

    def __init__(self, **options):
        self.root = Path(tempfile.mkdtemp(prefix="dvd"))
        self.driver = Driver(self.root / "csi", **options)
        self.plugin = self.driver.node("a")
        self.node = Client(self.plugin)
        self.controller = Client(self.driver.plugins["controller"]) if self.driver.apart else self.node
        self.staging, self.target = self.root / "staging", self.root / "targets/v"
        self.staging.mkdir()
        self.target.parent.mkdir()
        self.volume = None

    def create(self, name="v", **fields):
        made = self.controller("CreateVolume", **{"name": name, "volume_capabilities": [MOUNT], **fields}).volume
        self.volume = {"volume_id": made.volume_id, "volume_context": dict(made.volume_context)}
        return made

    def attach(self, **fields):
        told = self.controller("ControllerPublishVolume", **{
            "volume_id": self.id, "volume_context": self.volume.get("volume_context", {}),
            "node_id": self.plugin.id, "volume_capability": MOUNT, **fields
        })  # fmt: skip
        self.volume["publish_context"] = dict(told.publish_context)

    def stage(self, **fields):
        return self.node("NodeStageVolume", **{
            **self.volume, "staging_target_path": str(self.staging), "volume_capability": MOUNT, **fields
        })  # fmt: skip

    def publish(self, **fields):
        where = {"staging_target_path": str(self.staging)} if self.driver.settings.stages() else {}
        return self.node("NodePublishVolume", **{
            **self.volume, **where, "target_path": str(self.target), "volume_capability": MOUNT, **fields
        })  # fmt: skip

    @property
    def id(self):
        return self.volume["volume_id"]

    def unpublish(self, **fields):
        return self.node("NodeUnpublishVolume", **{"volume_id": self.id, "target_path": str(self.target), **fields})

    def unstage(self, **fields):
        told = {"volume_id": self.id, "staging_target_path": str(self.staging)}
        return self.node("NodeUnstageVolume", **{**told, **fields})

    def detach(self, **fields):
        told = {"volume_id": self.id, "node_id": self.plugin.id}
        return self.controller("ControllerUnpublishVolume", **{**told, **fields})

    def delete(self):
        return self.controller("DeleteVolume", volume_id=self.id)

    def all_the_way(self):
        self.create()
        self.attach()
        self.stage()
        self.publish()

    def all_the_way_back(self):
        self.unpublish()
        self.unstage()
        self.detach()
        self.delete()

    @contextlib.contextmanager
    def refused(self, code, *words, sin=True):
        """Expect a call to be refused with *code*, and that to be a fault of its caller's or not."""
        with pytest.raises(grpc.RpcError) as raised:
            yield
        assert raised.value.code() == code, raised.value
        assert [word for word in words if word not in raised.value.details()] == [], raised.value.details()
        faults = self.driver.forgive()
        assert bool(faults) == sin, faults

    def close(self):
        faults = self.driver.faults
        self.driver.close()
        left = [path for path, _ in disks.mounts() if path.startswith(f"{self.root}/")]
        assert (left, self.driver.stray_devices()) == ([], [])
        shutil.rmtree(self.root)
        assert faults == []


@pytest.fixture
def bench(request):
    bench = Bench(**getattr(request, "param", {}))
    yield bench
    bench.close()


def like(**options):
    """Run a test with another driver than the one that can do all."""
    return pytest.mark.parametrize("bench", [options], indirect=True, ids=[""])


def plain(*, without, of):
    return tuple(name for name in of if name not in without)


# The right way


@like(apart=True)
def test_a_volume_from_its_creation_to_its_end(bench):
    bench.all_the_way()
    (bench.target / "file").write_text("kept")
    assert (bench.staging / "file").read_text() == "kept"
    bench.unpublish()
    assert not bench.target.exists()
    bench.unstage()
    assert not os.path.ismount(bench.staging)
    bench.detach()
    bench.attach()
    bench.stage()
    bench.publish()
    assert (bench.target / "file").read_text() == "kept"
    bench.all_the_way_back()
    assert bench.driver.volumes == {}
    assert bench.driver.names()[:4] == ["CreateVolume", "ControllerPublishVolume", "NodeStageVolume",
                                        "NodePublishVolume"]  # fmt: skip


def test_what_is_done_twice_is_done_once(bench):
    first = bench.create()
    assert bench.create() == first
    bench.attach()
    context = bench.volume["publish_context"]
    bench.attach()
    assert bench.volume["publish_context"] == context
    for call in (bench.stage, bench.publish, bench.publish, bench.unpublish, bench.unpublish, bench.unstage,
                 bench.unstage, bench.detach, bench.detach, bench.delete, bench.delete):  # fmt: skip
        call()
    bench.detach()


@like(controller=("CREATE_DELETE_VOLUME",), node=(), contexts=False)
def test_a_driver_that_only_publishes(bench):
    bench.create()
    bench.publish()
    (bench.target / "file").write_text("kept")
    bench.unpublish()
    bench.publish()
    assert (bench.target / "file").read_text() == "kept"
    bench.unpublish()
    bench.delete()
    with bench.refused(Code.UNIMPLEMENTED):
        bench.attach()
    with bench.refused(Code.UNIMPLEMENTED):
        bench.stage()


def test_a_block_device(bench):
    block = {"block": {}, "access_mode": {"mode": "SINGLE_NODE_WRITER"}}
    bench.create(volume_capabilities=[block])
    bench.attach(volume_capability=block)
    bench.stage(volume_capability=block)
    bench.publish(volume_capability=block)
    assert bench.target.is_block_device()
    bench.driver.restart()
    bench.target.write_bytes(b"x" * 512)
    bench.unpublish()
    bench.unstage()
    bench.detach()
    assert bench.driver.image("v").read_bytes()[:512] == b"x" * 512


def test_read_only(bench):
    bench.all_the_way()
    bench.unpublish()
    bench.publish(readonly=True)
    with pytest.raises(OSError, match="Read-only"):
        (bench.target / "file").write_text("")


def test_growing(bench):
    bench.create(capacity_range={"required_bytes": 16 * MIB})
    told = bench.controller("ControllerExpandVolume", volume_id=bench.id, capacity_range={"required_bytes": 32 * MIB})
    assert (told.capacity_bytes, told.node_expansion_required) == (32 * MIB, True)
    bench.attach()
    bench.stage()
    bench.publish()
    told = bench.node("NodeExpandVolume", volume_id=bench.id, volume_path=str(bench.target),
                      capacity_range={"required_bytes": 32 * MIB})  # fmt: skip
    usage = bench.node("NodeGetVolumeStats", volume_id=bench.id, volume_path=str(bench.target)).usage[0]
    assert usage.total > 20 * MIB
    bench.driver.change(expansion="OFFLINE")
    with bench.refused(Code.FAILED_PRECONDITION, "grows only while"):
        bench.controller("ControllerExpandVolume", volume_id=bench.id, capacity_range={"required_bytes": 64 * MIB})


# Its books and its processes


@pytest.mark.parametrize("moment", ["before", "after"])
def test_killed_and_started_again_at_every_call(bench, moment):
    ways = [("CreateVolume", bench.create), ("ControllerPublishVolume", bench.attach),
            ("NodeStageVolume", bench.stage), ("NodePublishVolume", bench.publish),
            ("NodeUnpublishVolume", bench.unpublish), ("NodeUnstageVolume", bench.unstage),
            ("ControllerUnpublishVolume", bench.detach), ("DeleteVolume", bench.delete)]  # fmt: skip
    for rpc, call in ways:
        bench.driver.next(rpc, Die(moment))
        with bench.refused(Code.UNAVAILABLE, sin=False):
            call()
        bench.plugin.restart()
        call()
    assert bench.driver.volumes == {}


@pytest.mark.parametrize("step", ["attached", "formatted", "mounted", "staged"])
def test_killed_in_the_middle_of_staging(bench, step):
    bench.create()
    bench.attach()
    bench.driver.next("NodeStageVolume", Die(step))
    with bench.refused(Code.UNAVAILABLE, sin=False):
        bench.stage()
    bench.plugin.restart()
    bench.stage()
    bench.publish()
    assert os.path.ismount(bench.target)
    bench.all_the_way_back()


def test_killed_in_mkfs_which_goes_on(bench, monkeypatch):
    """Who asks meanwhile is told to wait; then there is one file system, and not the half of one."""
    bench.create()
    bench.attach()
    slow = bench.root / "bin"
    slow.mkdir()
    (slow / "mkfs.ext4").write_text('#!/bin/sh\nfor device; do :; done\nexec 5<"$device"\n'
                                    f"touch {bench.root}/going\nread line <{bench.root}/go\n"
                                    'PATH=/usr/sbin:/sbin:/usr/bin:/bin exec mkfs.ext4 "$@"\n')  # fmt: skip
    (slow / "mkfs.ext4").chmod(0o755)
    os.mkfifo(bench.root / "go")
    monkeypatch.setenv("PATH", f"{slow}:{os.environ['PATH']}")
    bench.plugin.restart()
    thread = threading.Thread(target=lambda: staged(bench))
    thread.start()
    wait_until((bench.root / "going").exists)
    bench.plugin.stop()
    thread.join()
    bench.plugin.start()
    with bench.refused(Code.ABORTED, sin=False):
        bench.stage()
    (bench.root / "go").write_text("go\n")
    wait_until(lambda: staged(bench))
    bench.publish()


def staged(bench):
    with contextlib.suppress(grpc.RpcError):
        bench.stage()
        return True
    return False


def test_supervised_it_is_back_by_itself(bench):
    bench.driver.supervised = True
    bench.plugin.restart()
    bench.driver.next("CreateVolume", Die())
    with bench.refused(Code.UNAVAILABLE, sin=False):
        bench.create()
    wait_until(lambda: bench.plugin.starts == 3)  # by itself
    bench.create()
    assert len(bench.driver.volumes) == 1


def test_after_a_boot_nothing_is_staged_and_the_volume_is_still_published(bench):
    bench.all_the_way()
    (bench.target / "file").write_text("kept")
    subprocess.run(["sync", "-f", bench.target], check=True)
    bench.plugin.boot()
    assert not os.path.ismount(bench.staging)
    with bench.refused(Code.FAILED_PRECONDITION, "not staged"):
        bench.publish()
    bench.stage()
    bench.publish()
    assert (bench.target / "file").read_text() == "kept"
    bench.plugin.boot()
    bench.unpublish()
    assert not bench.target.exists()
    bench.unstage()
    bench.detach()


def test_what_it_is_told_to_do(bench):
    bench.driver.next("Probe", Fail("INTERNAL", "no"), Drop(), Drop(act=True), Slow(0.05), Hang(), None)
    with bench.refused(Code.INTERNAL, "no", sin=False):
        bench.node("Probe")
    for _ in range(2):
        with bench.refused(Code.UNAVAILABLE, sin=False):
            bench.node("Probe")
    bench.node("Probe")
    with bench.refused(Code.DEADLINE_EXCEEDED, sin=False):
        bench.node("Probe", timeout=0.1)
    assert bench.node("Probe").ready.value
    bench.driver.next("CreateVolume", Answer(volume={"volume_id": "lie"}), Answer(act=True))
    assert bench.create().volume_id == "lie"
    assert bench.driver.volumes == {}
    assert bench.create().volume_id == ""
    assert len(bench.driver.volumes) == 1
    bench.driver.change(ready="no")
    assert not bench.node("Probe").ready.value
    bench.driver.change(ready="silent")
    assert not bench.node("Probe").HasField("ready")
    bench.driver.change(ready="a library is missing")
    with bench.refused(Code.FAILED_PRECONDITION, "library", sin=False):
        bench.node("Probe")


# Wrong order


def test_wrong_order(bench):
    bench.create()
    with bench.refused(Code.FAILED_PRECONDITION, "not been published"):
        bench.stage()
    bench.attach()
    with bench.refused(Code.FAILED_PRECONDITION, "not staged"):
        bench.publish()
    with bench.refused(Code.FAILED_PRECONDITION, "in use"):
        bench.delete()
    bench.stage()
    with bench.refused(Code.FAILED_PRECONDITION, "in use"):
        bench.detach()
    bench.publish()
    with bench.refused(Code.FAILED_PRECONDITION, "still published"):
        bench.unstage()
    with bench.refused(Code.FAILED_PRECONDITION, "staging_target_path"):
        bench.publish(staging_target_path="")
    with bench.refused(Code.FAILED_PRECONDITION, "is staged at"):
        (bench.root / "other").mkdir()
        bench.stage(staging_target_path=str(bench.root / "other"))


@like(patience=0.1)
def test_a_volume_that_somebody_uses_in_a_mount_namespace_of_his_own_is_in_use(bench):
    bench.create()
    bench.attach()
    bench.stage()
    with subprocess.Popen(["unshare", "-m", "--propagation=private", "sh", "-c", "echo; read line"],
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:  # fmt: skip
        process.stdout.readline()
        bench.unstage()
        with bench.refused(Code.FAILED_PRECONDITION, "in use"):
            bench.detach()
        process.communicate()
    bench.driver.change(patience=20)
    bench.detach()


@like(forgiven=0.1)
def test_two_calls_at_once_on_one_volume(bench):
    bench.create()
    bench.attach()
    held, go = threading.Event(), threading.Event()
    bench.driver.before = lambda rpc, moment: (held.set(), go.wait(20)) if moment == "attached" else None
    thread = threading.Thread(target=bench.stage)
    thread.start()
    held.wait(20)
    with bench.refused(Code.ABORTED, "pending"):
        bench.stage()
    go.set()
    thread.join()
    held.clear()
    go.clear()
    bench.unstage()
    bench.driver.change(forgiven=20)
    with bench.refused(Code.DEADLINE_EXCEEDED, sin=False):
        bench.stage(timeout=0.5)
    held.wait(20)
    with bench.refused(Code.ABORTED, "pending", sin=False):  # its caller has given up, and cannot have known
        bench.stage()
    go.set()
    bench.driver.wait_idle()
    bench.stage()


# Other arguments


def test_the_same_call_with_other_arguments(bench):
    bench.create(capacity_range={"required_bytes": 16 * MIB}, parameters={"type": "fast"})
    for other in ({"parameters": {"type": "slow"}}, {"capacity_range": {"required_bytes": 32 * MIB}},
                  {"capacity_range": {"limit_bytes": 8 * MIB}},
                  {"volume_capabilities": [{**MOUNT, "mount": {"fs_type": "xfs"}}]}):  # fmt: skip
        with bench.refused(Code.ALREADY_EXISTS, sin=False):
            bench.create(**{"parameters": {"type": "fast"}, **other})
    bench.create(capacity_range={"limit_bytes": 64 * MIB}, parameters={"type": "fast"})
    bench.attach()
    with bench.refused(Code.ALREADY_EXISTS, sin=False):
        bench.attach(readonly=True)
    bench.stage()
    with bench.refused(Code.ALREADY_EXISTS, sin=False):
        bench.stage(volume_capability={**MOUNT, "mount": {"mount_flags": ["noatime"]}})
    bench.publish()
    with bench.refused(Code.ALREADY_EXISTS, sin=False):
        bench.publish(readonly=True)
    with bench.refused(Code.FAILED_PRECONDITION, "only there", sin=False):
        bench.publish(target_path=str(bench.target.with_name("other")))


def test_what_was_handed_out_comes_back_as_it_was(bench):
    bench.create()
    with bench.refused(Code.INVALID_ARGUMENT, "volume_context"):
        bench.attach(volume_context={})
    bench.attach()
    with bench.refused(Code.INVALID_ARGUMENT, "publish_context"):
        bench.stage(publish_context={"device": "another"})
    bench.stage()
    with bench.refused(Code.INVALID_ARGUMENT, "volume_context"):
        bench.publish(volume_context={**bench.volume["volume_context"], "more": "x"})
    bench.unstage()
    bench.detach()
    before = bench.volume["publish_context"]
    bench.attach()
    assert bench.volume["publish_context"] != before


# Fields


@pytest.mark.parametrize(("rpc", "fields", "word"), [
    ("CreateVolume", {"volume_capabilities": [MOUNT]}, "name is missing"),
    ("CreateVolume", {"name": "v"}, "volume_capabilities is missing"),
    ("CreateVolume", {"name": "v\x07", "volume_capabilities": [MOUNT]}, "control character"),
    ("CreateVolume", {"name": "é" * 65, "volume_capabilities": [MOUNT]}, "130 bytes"),
    ("CreateVolume", {"name": "v", "volume_capabilities": [{"mount": {}}]}, "access_mode"),
    ("CreateVolume", {"name": "v", "volume_capabilities": [{"access_mode": {"mode": 1}}]}, "access_type"),
    ("CreateVolume", {"name": "v", "volume_capabilities": [MOUNT], "parameters": {"type": "x" * 4096}}, "4100 bytes"),
    ("CreateVolume", {"name": "v", "volume_capabilities": [MOUNT], "capacity_range": {}}, "from 0 to 0"),
    ("CreateVolume", {"name": "v", "volume_capabilities": [MOUNT],
                      "capacity_range": {"required_bytes": 2, "limit_bytes": 1}}, "from 2 to 1"),
    ("CreateVolume", {"name": "v", "volume_capabilities": [MOUNT], "capacity_range": {"limit_bytes": -1}}, "to -1"),
    ("CreateVolume", {"name": "v", "volume_capabilities": [MOUNT], "accessibility_requirements": {}},
     "VOLUME_ACCESSIBILITY_CONSTRAINTS"),
    ("CreateVolume", {"name": "v", "volume_capabilities": [MOUNT], "secrets": {"a b": "x"}}, "character"),
    ("CreateVolume", {"name": "v", "volume_capabilities": [
        {**MOUNT, "mount": {"mount_flags": ["x" * 100] * 41}}]}, "4100 bytes"),
    ("DeleteVolume", {}, "volume_id is missing"),
    ("ControllerPublishVolume", {"volume_id": "v", "volume_capability": MOUNT}, "node_id is missing"),
    ("ControllerPublishVolume", {"volume_id": "v", "volume_capability": MOUNT, "node_id": "n" * 257}, "257 bytes"),
    ("ListVolumes", {"max_entries": -1}, "max_entries"),
    ("NodeStageVolume", {"volume_id": "v", "volume_capability": MOUNT}, "staging_target_path is missing"),
    ("NodeStageVolume", {"volume_id": "v", "volume_capability": MOUNT, "staging_target_path": "x"}, "path is x"),
    ("NodePublishVolume", {"volume_id": "v", "volume_capability": MOUNT, "target_path": "/a/../b"}, "path is /a/../b"),
    ("NodePublishVolume", {"volume_id": "v", "target_path": "/a"}, "volume_capability is missing"),
    ("NodeUnpublishVolume", {"volume_id": "v"}, "target_path is missing"),
    ("NodeUnstageVolume", {"volume_id": "v"}, "staging_target_path is missing"),
])  # fmt: skip
def test_a_request_that_nobody_has_to_understand(shared_bench, rpc, fields, word):
    with shared_bench.refused(Code.INVALID_ARGUMENT, word):
        shared_bench.node(rpc, **fields)


@pytest.fixture(scope="module")
def shared_bench():
    bench = Bench()
    yield bench
    bench.close()


def test_a_call_without_a_deadline_is_a_fault(bench):
    bench.node("Probe", timeout=None)
    assert bench.driver.forgive() == ["Probe: a call without a deadline"]


def test_a_call_that_is_not_served_is_a_fault(bench):
    ask = bench.node.channel.unary_unary("/csi.v1.Node/NodeFormatVolume")
    with bench.refused(Code.UNIMPLEMENTED):
        ask(b"", timeout=20)


@like(apart=True)
def test_the_controller_is_not_asked_on_a_nodes_socket(bench):
    with bench.refused(Code.UNIMPLEMENTED):
        bench.node("CreateVolume", name="v", volume_capabilities=[MOUNT])


@like(plugin=())
def test_where_there_is_no_controller_nobody_asks_it(bench):
    with bench.refused(Code.UNIMPLEMENTED):
        bench.node("ControllerGetCapabilities")


@pytest.mark.parametrize(("bench", "call"), [
    ({"controller": plain(without=["CREATE_DELETE_VOLUME"], of=CONTROLLER)}, "create"),
    ({"controller": plain(without=["LIST_VOLUMES"], of=CONTROLLER)}, "list"),
    ({"node": plain(without=["GET_VOLUME_STATS"], of=NODE)}, "stats"),
], indirect=["bench"], ids=["create", "list", "stats"])  # fmt: skip
def test_what_it_says_that_it_cannot_is_not_asked(bench, call):
    calls = {"create": bench.create, "list": lambda: bench.node("ListVolumes"),
             "stats": lambda: bench.node("NodeGetVolumeStats", volume_id="v", volume_path="/v")}  # fmt: skip
    with bench.refused(Code.UNIMPLEMENTED):
        calls[call]()


def test_what_is_missing_is_not_found(bench):
    missing = {"volume_id": "vol-0"}
    for call in (lambda: bench.attach(), lambda: bench.stage(), lambda: bench.publish(), lambda: bench.unpublish(),
                 lambda: bench.unstage(), lambda: bench.controller("ControllerGetVolume", **missing)):  # fmt: skip
        bench.volume = dict(missing)
        with bench.refused(Code.NOT_FOUND, "vol-0", sin=False):
            call()
    bench.create()
    with bench.refused(Code.NOT_FOUND, "node b", sin=False):
        bench.attach(node_id="b")


# Places


def test_places(bench):
    bench.create()
    bench.attach()
    with bench.refused(Code.INVALID_ARGUMENT, "no directory"):
        bench.stage(staging_target_path=str(bench.root / "missing"))
    (bench.staging / "file").touch()
    with bench.refused(Code.INVALID_ARGUMENT, "not empty"):
        bench.stage()
    (bench.staging / "file").unlink()
    bench.stage()
    with bench.refused(Code.INVALID_ARGUMENT, "parent"):
        bench.publish(target_path=str(bench.root / "missing/v"))
    with bench.refused(Code.INVALID_ARGUMENT, "within each other"):
        bench.publish(target_path=str(bench.staging / "v"))
    bench.target.mkdir()
    bench.publish()
    assert "driver's part" in bench.driver.forgive()[0]


@like(longest_path=30)
def test_a_path_that_is_too_long_for_it(bench):
    bench.create()
    with bench.refused(Code.INVALID_ARGUMENT, "30 bytes", sin=False):
        bench.stage(staging_target_path="/" + "x" * 30)


# Two nodes


@like(apart=True)
def test_a_volume_in_use_elsewhere(bench):
    other = bench.driver.node("b")
    bench.all_the_way()
    with bench.refused(Code.FAILED_PRECONDITION, bench.plugin.id, sin=False):
        bench.attach(node_id=other.id)
    with bench.refused(Code.FAILED_PRECONDITION, "in use"):
        bench.detach()
    bench.driver.permit("v")
    bench.detach()
    (bench.target / "file").write_text("to no effect")
    bench.attach(node_id=other.id)
    assert list(bench.driver.named("v").published) == [other.id]
    bench.plugin.die()
    bench.detach(node_id=other.id)
    bench.delete()


def test_from_whichever_nodes_is_a_fault(bench):
    bench.create()
    bench.attach()
    bench.detach(node_id="")
    assert "whichever" in bench.driver.forgive()[0]
    assert bench.driver.named("v").published == {}


@like(modes=("MULTI_NODE_SINGLE_WRITER", "MULTI_NODE_READER_ONLY"), most_volumes=1)
def test_several_nodes_where_there_may_be(bench):
    shared = {"mount": {}, "access_mode": {"mode": "MULTI_NODE_SINGLE_WRITER"}}
    other = bench.driver.node("b")
    bench.create(volume_capabilities=[shared])
    bench.attach(volume_capability=shared)
    with bench.refused(Code.FAILED_PRECONDITION, bench.plugin.id, sin=False):
        bench.attach(volume_capability=shared, node_id=other.id)
    bench.attach(volume_capability=shared, node_id=other.id, readonly=True)
    with bench.refused(Code.INVALID_ARGUMENT, "SINGLE_NODE_WRITER", sin=False):
        bench.create("w")
    bench.create("w", volume_capabilities=[shared])
    with bench.refused(Code.RESOURCE_EXHAUSTED, "1 volumes", sin=False):
        bench.attach(volume_capability=shared)


@like(controller=("CREATE_DELETE_VOLUME",), node=())
def test_without_a_controller_to_ask_the_nodes_know(bench):
    other = Client(bench.driver.node("b"))
    bench.create()
    bench.publish()
    with bench.refused(Code.FAILED_PRECONDITION, bench.plugin.id, sin=False):
        other("NodePublishVolume", **bench.volume, target_path=str(bench.target.with_name("b")),
              volume_capability=MOUNT)  # fmt: skip


# Topology


EAST, WEST = {"example.com/zone": "east"}, {"example.com/zone": "west"}
CONSTRAINED = {"plugin": ("CONTROLLER_SERVICE", "VOLUME_ACCESSIBILITY_CONSTRAINTS"), "zones": (WEST, EAST)}


@like(places={"a": EAST}, **CONSTRAINED)
def test_topology(bench):
    assert dict(bench.node("NodeGetInfo").accessible_topology.segments) == EAST
    bench.create()
    assert bench.driver.named("v").topology == [WEST]
    with bench.refused(Code.INVALID_ARGUMENT, "is in", sin=False):
        bench.attach()
    here = {"requisite": [{"segments": EAST}]}
    with bench.refused(Code.ALREADY_EXISTS, sin=False):
        bench.create(accessibility_requirements=here)
    made = bench.create("w", accessibility_requirements=here)
    assert [dict(one.segments) for one in made.accessible_topology] == [EAST]
    bench.attach()
    with bench.refused(Code.RESOURCE_EXHAUSTED, sin=False):
        bench.create("x", accessibility_requirements={"requisite": [{"segments": {"example.com/zone": "north"}}]})
    for wrong in ({}, {"requisite": [{"segments": {}}]}, {"requisite": [{"segments": {"a b": "c"}}]},
                  {"requisite": [{"segments": EAST}], "preferred": [{"segments": WEST}]}):  # fmt: skip
        with bench.refused(Code.INVALID_ARGUMENT):
            bench.create("x", accessibility_requirements=wrong)


# Pages, sizes, secrets


@like(page=2, most=100)
def test_pages(bench):
    names = [f"v{number}" for number in range(5)]
    ids = [bench.create(name).volume_id for name in names]
    first = bench.node("ListVolumes")
    second = bench.node("ListVolumes", starting_token=first.next_token)
    third = bench.node("ListVolumes", starting_token=second.next_token, max_entries=100)
    assert third.next_token == ""
    assert [entry.volume.volume_id for page in (first, second, third) for entry in page.entries] == ids
    assert len(bench.node("ListVolumes", max_entries=1).entries) == 1
    with bench.refused(Code.ABORTED, "not valid", sin=False):
        bench.node("ListVolumes", starting_token="7")
    with bench.refused(Code.INVALID_ARGUMENT, "more than 100", sin=False):
        bench.node("ListVolumes", max_entries=101)
    bench.delete()
    with bench.refused(Code.ABORTED, "not valid", sin=False):
        bench.node("ListVolumes", starting_token=first.next_token)


@like(largest=64 * MIB, pool=100 * MIB)
def test_sizes(bench):
    assert bench.create(capacity_range={"required_bytes": 16 * MIB + 1}).capacity_bytes == 17 * MIB
    assert bench.create("least", capacity_range={"limit_bytes": MIB}).capacity_bytes == MIB
    for out in ({"required_bytes": 64 * MIB + 1}, {"required_bytes": 16 * MIB + 1, "limit_bytes": 16 * MIB + 2}):
        with bench.refused(Code.OUT_OF_RANGE, sin=False):
            bench.create("out", capacity_range=out)
    bench.create("w", capacity_range={"required_bytes": 64 * MIB})
    with bench.refused(Code.RESOURCE_EXHAUSTED, "full", sin=False):
        bench.create("x", capacity_range={"required_bytes": 64 * MIB})
    assert bench.node("GetCapacity").available_capacity == 18 * MIB
    with bench.refused(Code.INVALID_ARGUMENT, "colour", sin=False):
        bench.create("y", parameters={"colour": "red"})


@like(secrets={"CreateVolume": {"provisioner": "key of Ali"}, "NodeStageVolume": {"stager": "key of Bo"}})
def test_secrets(bench):
    with bench.refused(Code.UNAUTHENTICATED, "provisioner", sin=False):
        bench.create()
    with bench.refused(Code.UNAUTHENTICATED, sin=False):
        bench.create(secrets={"provisioner": "key of Bo"})
    with bench.refused(Code.INVALID_ARGUMENT, "unheard-of", sin=False):
        bench.create(secrets={"unheard-of": "x"})
    everything = {"provisioner": "key of Ali", "stager": "key of Bo"}
    bench.create(secrets=everything)
    bench.attach()
    bench.stage(secrets=everything)
    assert bench.driver.calls[-1]["request"]["secrets"] == ["provisioner", "stager"]
    for path in bench.driver.root.glob("*.*"):
        if path.is_file() and path.name != "settings.json":
            assert "key of" not in path.read_text(), path
    with bench.refused(Code.INVALID_ARGUMENT, "a secret stands"):
        bench.create(parameters={"type": "key of Ali"}, secrets=everything)


def test_capabilities_that_nobody_knows_yet(bench):
    bench.driver.change(controller=(*CONTROLLER, 99), node=(*NODE, 98))
    told = bench.node("NodeGetCapabilities").capabilities
    assert told[-1].rpc.type == 98
    assert bench.node("GetPluginInfo").name == "double.csi.example.com"
    assert len(bench.node("GetPluginCapabilities").capabilities) == 2
    assert bench.node("ControllerGetCapabilities").capabilities[-1].rpc.type == 99


def test_validation(bench):
    bench.create()
    told = bench.node("ValidateVolumeCapabilities", **bench.volume, volume_capabilities=[MOUNT])
    assert list(told.confirmed.volume_capabilities) == [pb.VolumeCapability(**MOUNT)]
    multi = {"mount": {}, "access_mode": {"mode": "MULTI_NODE_MULTI_WRITER"}}
    told = bench.node("ValidateVolumeCapabilities", **bench.volume, volume_capabilities=[multi])
    assert (told.HasField("confirmed"), told.message) == (False, "no volume here has MULTI_NODE_MULTI_WRITER")


# Drivers that are worse than they should be


@like(echoes=("ControllerGetVolume", "ValidateVolumeCapabilities"))
def test_a_driver_that_knows_every_volume(bench):
    told = bench.node("ControllerGetVolume", volume_id="none")
    assert (told.volume.volume_id, told.status.volume_condition.abnormal) == ("none", True)
    assert bench.node("ValidateVolumeCapabilities", volume_id="none", volume_capabilities=[MOUNT]).HasField("confirmed")
    bench.create()
    assert not bench.node("ControllerGetVolume", volume_id=bench.id).status.volume_condition.abnormal


@like(forgets=True)
def test_a_driver_that_forgets(bench):
    bench.all_the_way()
    bench.plugin.restart()
    bench.unpublish()
    bench.unstage()
    assert (os.path.ismount(bench.target), os.path.ismount(bench.staging)) == (True, True)
    for place in (bench.target, bench.staging):
        subprocess.run(["umount", place], check=True)


@like(reckless=True)
def test_a_driver_that_removes_what_it_finds(bench):
    bench.all_the_way()
    subprocess.run(["mount", "--bind", bench.staging, bench.target], check=True)
    (bench.target / "file").touch()
    with bench.refused(Code.INTERNAL, "busy", sin=False):
        bench.unpublish()
    assert not (bench.staging / "file").exists()
    subprocess.run(["umount", bench.target], check=True)
