"""The messages of csi.proto: their names and numbers are the specification's; and what the wheel has of them."""

from __future__ import annotations

import ast
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from dvdcli.providers.csi import csi_pb2 as pb

ROOT = Path(__file__).parents[1]
# As the specification's csi.proto has them, 1.13.
FIELDS = {
    "GetPluginInfoRequest": {},
    "GetPluginInfoResponse": {"name": 1, "vendor_version": 2, "manifest": 3},
    "GetPluginCapabilitiesRequest": {},
    "GetPluginCapabilitiesResponse": {"capabilities": 1},
    "PluginCapability": {"service": 1, "volume_expansion": 2},
    "PluginCapability.Service": {"type": 1},
    "PluginCapability.VolumeExpansion": {"type": 1},
    "ProbeRequest": {},
    "ProbeResponse": {"ready": 1},
    "CreateVolumeRequest": {
        "name": 1, "capacity_range": 2, "volume_capabilities": 3, "parameters": 4, "secrets": 5,
        "accessibility_requirements": 7,
    },
    "CreateVolumeResponse": {"volume": 1},
    "VolumeCapability": {"block": 1, "mount": 2, "access_mode": 3},
    "VolumeCapability.BlockVolume": {},
    "VolumeCapability.MountVolume": {"fs_type": 1, "mount_flags": 2, "volume_mount_group": 3},
    "VolumeCapability.AccessMode": {"mode": 1},
    "CapacityRange": {"required_bytes": 1, "limit_bytes": 2},
    "Volume": {"capacity_bytes": 1, "volume_id": 2, "volume_context": 3, "accessible_topology": 5},
    "TopologyRequirement": {"requisite": 1, "preferred": 2},
    "Topology": {"segments": 1},
    "DeleteVolumeRequest": {"volume_id": 1, "secrets": 2},
    "DeleteVolumeResponse": {},
    "ControllerPublishVolumeRequest": {
        "volume_id": 1, "node_id": 2, "volume_capability": 3, "readonly": 4, "secrets": 5, "volume_context": 6,
    },
    "ControllerPublishVolumeResponse": {"publish_context": 1},
    "ControllerUnpublishVolumeRequest": {"volume_id": 1, "node_id": 2, "secrets": 3},
    "ControllerUnpublishVolumeResponse": {},
    "ValidateVolumeCapabilitiesRequest": {
        "volume_id": 1, "volume_context": 2, "volume_capabilities": 3, "parameters": 4, "secrets": 5,
    },
    "ValidateVolumeCapabilitiesResponse": {"confirmed": 1, "message": 2},
    "ValidateVolumeCapabilitiesResponse.Confirmed": {"volume_context": 1, "volume_capabilities": 2, "parameters": 3},
    "ListVolumesRequest": {"max_entries": 1, "starting_token": 2},
    "ListVolumesResponse": {"entries": 1, "next_token": 2},
    "ListVolumesResponse.Entry": {"volume": 1, "status": 2},
    "ListVolumesResponse.VolumeStatus": {"published_node_ids": 1, "volume_condition": 2},
    "ControllerGetVolumeRequest": {"volume_id": 1},
    "ControllerGetVolumeResponse": {"volume": 1, "status": 2},
    "ControllerGetVolumeResponse.VolumeStatus": {"published_node_ids": 1, "volume_condition": 2},
    "GetCapacityRequest": {"volume_capabilities": 1, "parameters": 2, "accessible_topology": 3},
    "GetCapacityResponse": {"available_capacity": 1, "maximum_volume_size": 2, "minimum_volume_size": 3},
    "ControllerGetCapabilitiesRequest": {},
    "ControllerGetCapabilitiesResponse": {"capabilities": 1},
    "ControllerServiceCapability": {"rpc": 1},
    "ControllerServiceCapability.RPC": {"type": 1},
    "ControllerExpandVolumeRequest": {"volume_id": 1, "capacity_range": 2, "secrets": 3, "volume_capability": 4},
    "ControllerExpandVolumeResponse": {"capacity_bytes": 1, "node_expansion_required": 2},
    "NodeStageVolumeRequest": {
        "volume_id": 1, "publish_context": 2, "staging_target_path": 3, "volume_capability": 4, "secrets": 5,
        "volume_context": 6,
    },
    "NodeStageVolumeResponse": {},
    "NodeUnstageVolumeRequest": {"volume_id": 1, "staging_target_path": 2},
    "NodeUnstageVolumeResponse": {},
    "NodePublishVolumeRequest": {
        "volume_id": 1, "publish_context": 2, "staging_target_path": 3, "target_path": 4, "volume_capability": 5,
        "readonly": 6, "secrets": 7, "volume_context": 8,
    },
    "NodePublishVolumeResponse": {},
    "NodeUnpublishVolumeRequest": {"volume_id": 1, "target_path": 2},
    "NodeUnpublishVolumeResponse": {},
    "NodeGetVolumeStatsRequest": {"volume_id": 1, "volume_path": 2, "staging_target_path": 3},
    "NodeGetVolumeStatsResponse": {"usage": 1, "volume_condition": 2},
    "VolumeUsage": {"available": 1, "total": 2, "used": 3, "unit": 4},
    "VolumeCondition": {"abnormal": 1, "message": 2},
    "NodeGetCapabilitiesRequest": {},
    "NodeGetCapabilitiesResponse": {"capabilities": 1},
    "NodeServiceCapability": {"rpc": 1},
    "NodeServiceCapability.RPC": {"type": 1},
    "NodeGetInfoRequest": {},
    "NodeGetInfoResponse": {"node_id": 1, "max_volumes_per_node": 2, "accessible_topology": 3},
    "NodeExpandVolumeRequest": {
        "volume_id": 1, "volume_path": 2, "capacity_range": 3, "staging_target_path": 4, "volume_capability": 5,
        "secrets": 6,
    },
    "NodeExpandVolumeResponse": {"capacity_bytes": 1},
}  # fmt: skip
VALUES = {
    "PluginCapability.Service.Type": {
        "UNKNOWN": 0, "CONTROLLER_SERVICE": 1, "VOLUME_ACCESSIBILITY_CONSTRAINTS": 2,
    },
    "PluginCapability.VolumeExpansion.Type": {"UNKNOWN": 0, "ONLINE": 1, "OFFLINE": 2},
    "VolumeCapability.AccessMode.Mode": {
        "UNKNOWN": 0, "SINGLE_NODE_WRITER": 1, "SINGLE_NODE_READER_ONLY": 2, "MULTI_NODE_READER_ONLY": 3,
        "MULTI_NODE_SINGLE_WRITER": 4, "MULTI_NODE_MULTI_WRITER": 5, "SINGLE_NODE_SINGLE_WRITER": 6,
        "SINGLE_NODE_MULTI_WRITER": 7,
    },
    "ControllerServiceCapability.RPC.Type": {
        "UNKNOWN": 0, "CREATE_DELETE_VOLUME": 1, "PUBLISH_UNPUBLISH_VOLUME": 2, "LIST_VOLUMES": 3, "GET_CAPACITY": 4,
        "PUBLISH_READONLY": 8, "EXPAND_VOLUME": 9, "LIST_VOLUMES_PUBLISHED_NODES": 10, "VOLUME_CONDITION": 11,
        "GET_VOLUME": 12, "SINGLE_NODE_MULTI_WRITER": 13,
    },
    "VolumeUsage.Unit": {"UNKNOWN": 0, "BYTES": 1, "INODES": 2},
    "NodeServiceCapability.RPC.Type": {
        "UNKNOWN": 0, "STAGE_UNSTAGE_VOLUME": 1, "GET_VOLUME_STATS": 2, "EXPAND_VOLUME": 3, "VOLUME_CONDITION": 4,
        "SINGLE_NODE_MULTI_WRITER": 5, "VOLUME_MOUNT_GROUP": 6,
    },
}  # fmt: skip
CALLS = {
    "Identity": ["GetPluginInfo", "GetPluginCapabilities", "Probe"],
    "Controller": [
        "CreateVolume", "DeleteVolume", "ControllerPublishVolume", "ControllerUnpublishVolume",
        "ValidateVolumeCapabilities", "ListVolumes", "GetCapacity", "ControllerGetCapabilities",
        "ControllerExpandVolume", "ControllerGetVolume",
    ],
    "Node": [
        "NodeStageVolume", "NodeUnstageVolume", "NodePublishVolume", "NodeUnpublishVolume", "NodeGetVolumeStats",
        "NodeExpandVolume", "NodeGetCapabilities", "NodeGetInfo",
    ],
}  # fmt: skip


def messages(inside=None):
    """Return every message and what is within it, by the name without the package; but for the entries of maps."""
    above = pb.DESCRIPTOR.message_types_by_name if inside is None else inside.nested_types_by_name
    found = {}
    for each in above.values():
        if not each.GetOptions().map_entry:
            found |= {each.full_name.removeprefix("csi.v1."): each, **messages(each)}
    return found


def test_every_field_has_the_specifications_number():
    assert pb.DESCRIPTOR.package == "csi.v1"
    ours = {name: {field.name: field.number for field in each.fields} for name, each in messages().items()}
    assert ours == FIELDS


def test_every_value_has_the_specifications_number():
    enums = {enum.full_name.removeprefix("csi.v1."): enum for each in messages().values() for enum in each.enum_types}
    assert {name: {v.name: v.number for v in enum.values} for name, enum in enums.items()} == VALUES


def test_every_call_is_of_its_service_and_takes_its_own_messages():
    services = pb.DESCRIPTOR.services_by_name
    assert {name: [method.name for method in each.methods] for name, each in services.items()} == CALLS
    for each in services.values():
        for method in each.methods:
            assert (method.input_type.name, method.output_type.name) == (
                f"{method.name}Request", f"{method.name}Response",
            )  # fmt: skip


def test_a_message_is_on_the_wire_as_others_send_it():
    """By hand: field 1 with a length, a map entry in field 6, an enum in a message in field 4."""
    wire = b"\x0a\x03vol" + b"\x1a\x04/stg" + b"\x22\x06\x12\x00\x1a\x02\x08\x01" + b"\x32\x06\x0a\x01k\x12\x01v"
    capability = {"mount": {}, "access_mode": {"mode": "SINGLE_NODE_WRITER"}}
    made = pb.NodeStageVolumeRequest(
        volume_id="vol", staging_target_path="/stg", volume_capability=capability, volume_context={"k": "v"}
    )
    assert made.SerializeToString(deterministic=True) == wire
    assert pb.NodeStageVolumeRequest.FromString(wire) == made


def test_what_we_do_not_know_is_passed_over():
    """A newer driver's answer, with a field 99."""
    answer = pb.Volume.FromString(b"\x12\x01v" + b"\x9a\x06\x03new")
    assert answer.volume_id == "v"
    answer = pb.NodeServiceCapability.FromString(b"\x0a\x02\x08\x63")
    assert answer.rpc.type == 99


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel, built here from this tree."""
    target = tmp_path_factory.mktemp("wheel")
    argv = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", target, ROOT]
    subprocess.run(argv, check=True)
    (path,) = target.glob("*.whl")
    with zipfile.ZipFile(path) as archive:
        yield archive


def test_the_wheel_has_the_messages_and_asks_for_grpc_only_in_the_extra(wheel):
    names = set(wheel.namelist())
    for name in ("csi.proto", "csi_pb2.py", "csi_pb2.pyi", "provider.py"):
        assert f"dvdcli/providers/csi/{name}" in names
    made = wheel.read("dvdcli/providers/csi/csi_pb2.py").decode()
    assert made == (ROOT / "dvdcli/providers/csi/csi_pb2.py").read_text(), "make .venv/installed makes it anew"
    (metadata,) = [name for name in names if name.endswith(".dist-info/METADATA")]
    needs = [line for line in wheel.read(metadata).decode().splitlines() if line.startswith("Requires-Dist: ")]
    assert sorted(line for line in needs if "grpc" in line or "protobuf" in line) == [
        "Requires-Dist: grpcio>=1.51; extra == 'csi'", "Requires-Dist: protobuf>=4.21; extra == 'csi'",
    ]  # fmt: skip


def test_the_messages_need_nothing_that_is_newer_than_debians_protobuf():
    """No check of the runtime's version, which protoc writes, and nothing but what protobuf 4.21 has."""
    tree = ast.parse((ROOT / "dvdcli/providers/csi/csi_pb2.py").read_text())
    imports = [node for node in tree.body if isinstance(node, ast.ImportFrom)]
    imported = {node.module: [name.name for name in node.names] for node in imports}
    assert imported == {
        "google.protobuf": ["descriptor_pool", "wrappers_pb2"], "google.protobuf.internal": ["builder"],
    }  # fmt: skip
    calls = {ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    assert calls == {
        "descriptor_pool.Default", "descriptor_pool.Default().AddSerializedFile", "globals",
        "builder.BuildMessageAndEnumDescriptors", "builder.BuildTopDescriptorsAndMessages",
    }  # fmt: skip
