"""The calls that a CSI driver has to be asked for a mount or an unmount, and nothing else: ENDPOINT DIRECTORY VERB."""

import sys
from pathlib import Path

import grpc

from dvdcli.providers.csi import csi_pb2 as pb

CAPABILITY = {"mount": {}, "access_mode": {"mode": "SINGLE_NODE_WRITER"}}


def main() -> None:
    """Ask them."""
    endpoint, directory, verb = sys.argv[1:]
    channel = grpc.insecure_channel(endpoint, [("grpc.default_authority", "localhost")])

    def ask(service: str, call: str, **fields: object) -> object:
        method = channel.unary_unary(
            f"/csi.v1.{service}/{call}", lambda message: message.SerializeToString(),
            getattr(pb, f"{call}Response").FromString,
        )  # fmt: skip
        return method(getattr(pb, f"{call}Request")(**fields), timeout=10)

    root = Path(directory, "least")
    staging, target, known = root / "staging", root / "target", root / "id"
    ask("Identity", "GetPluginCapabilities")
    ask("Controller", "ControllerGetCapabilities")
    ask("Node", "NodeGetCapabilities")
    node = ask("Node", "NodeGetInfo").node_id
    if not known.exists():
        staging.mkdir(parents=True)
        made = ask("Controller", "CreateVolume", name="measured", volume_capabilities=[CAPABILITY]).volume
        context = sorted(made.volume_context.items())
        known.write_text("\n".join([made.volume_id, *(f"{key}\n{value}" for key, value in context)]))
    volume, *pairs = known.read_text().split("\n")
    if verb == "mount":
        use = {"volume_id": volume, "volume_context": dict(zip(pairs[::2], pairs[1::2], strict=True)),
               "volume_capability": CAPABILITY}  # fmt: skip
        use["publish_context"] = ask("Controller", "ControllerPublishVolume", node_id=node, **use).publish_context
        ask("Node", "NodeStageVolume", staging_target_path=str(staging), **use)
        ask("Node", "NodePublishVolume", staging_target_path=str(staging), target_path=str(target), **use)
    else:
        ask("Node", "NodeUnpublishVolume", volume_id=volume, target_path=str(target))
        ask("Node", "NodeUnstageVolume", volume_id=volume, staging_target_path=str(staging))
        ask("Controller", "ControllerUnpublishVolume", volume_id=volume, node_id=node)


main()
