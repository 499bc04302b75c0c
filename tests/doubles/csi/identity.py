"""The Identity service."""

from __future__ import annotations

from google.protobuf.wrappers_pb2 import BoolValue

from dvdcli.providers.csi import csi_pb2 as pb
from tests.doubles.csi.call import Call, Code, Refusal


def info(call: Call, request: pb.GetPluginInfoRequest) -> pb.GetPluginInfoResponse:
    return pb.GetPluginInfoResponse(
        name=call.settings.name, vendor_version=call.settings.version, manifest={"commit": "0123abc"}
    )


def capabilities(call: Call, request: pb.GetPluginCapabilitiesRequest) -> pb.GetPluginCapabilitiesResponse:
    service, growth = pb.PluginCapability.Service, pb.PluginCapability.VolumeExpansion
    found = [pb.PluginCapability(service=service(type=service.Type.Value(name))) for name in call.settings.plugin]
    if call.settings.expansion:
        kind = growth(type=growth.Type.Value(call.settings.expansion))
        found.append(pb.PluginCapability(volume_expansion=kind))
    return pb.GetPluginCapabilitiesResponse(capabilities=found)


def probe(call: Call, request: pb.ProbeRequest) -> pb.ProbeResponse:
    ready = call.settings.ready
    if ready == "silent":
        return pb.ProbeResponse()
    if ready not in ("yes", "no"):
        raise Refusal(Code.FAILED_PRECONDITION, ready)
    return pb.ProbeResponse(ready=BoolValue(value=ready == "yes"))


RPCS = {"GetPluginInfo": info, "GetPluginCapabilities": capabilities, "Probe": probe}
