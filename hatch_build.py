"""Makes csi_pb2.py, the messages of the Container Storage Interface, out of csi.proto when dvdcli is built.

protoc would write that module too. But what it writes refuses a protobuf older than itself, and Debian 12 and 13 have
4.21; so protoc is asked for the messages' descriptor, and the module has that with the four calls that have made it
into classes since protobuf 3.20. Beside it csi_pb2.pyi, for type checkers, as protoc writes it.
"""

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PROTO = "dvdcli/providers/csi/csi.proto"
MODULE = '''"""The messages of csi.proto, from which hatch_build.py has made this: do not edit."""
# ruff: noqa
from google.protobuf import descriptor_pool, wrappers_pb2  # the pool must know the wrappers first
from google.protobuf.internal import builder

DESCRIPTOR = descriptor_pool.Default().AddSerializedFile(
{descriptor}
)
builder.BuildMessageAndEnumDescriptors(DESCRIPTOR, globals())
builder.BuildTopDescriptorsAndMessages(DESCRIPTOR, __name__, globals())
'''


class CustomBuildHook(BuildHookInterface):
    """hatchling's hook: writes the two files into the tree, where git ignores them and the wheel takes them."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Writes what is not there yet, or is of another csi.proto."""
        root = Path(self.root)
        for name, text in generated(root).items():
            path = root / PROTO.replace(".proto", name)
            if not path.exists() or path.read_text() != text:
                path.write_text(text)


def generated(root: Path) -> dict[str, str]:
    """What is written, by the end of its name."""
    with tempfile.TemporaryDirectory() as work:
        protoc = [sys.executable, "-m", "grpc_tools.protoc", f"--proto_path={root}"]
        subprocess.run([*protoc, f"--descriptor_set_out={work}/set", f"--pyi_out={work}", PROTO], check=True)
        descriptor = only_file(Path(work, "set").read_bytes())
        stub = Path(work, PROTO.replace(".proto", "_pb2.pyi")).read_text()
    lines = [f"    {descriptor[at : at + 72]!r}" for at in range(0, len(descriptor), 72)]
    return {"_pb2.py": MODULE.format(descriptor="\n".join(lines)), "_pb2.pyi": stub}


def only_file(descriptor_set: bytes) -> bytes:
    """The one FileDescriptorProto that a serialized FileDescriptorSet holds."""
    from google.protobuf.descriptor_pb2 import FileDescriptorSet

    (file,) = FileDescriptorSet.FromString(descriptor_set).file
    return bytes(file.SerializeToString(deterministic=True))
