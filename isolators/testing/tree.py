"""Writes a double of one Mesos release's headers: `tree.py RELEASE DIRECTORY`, then MESOS_ROOT is the directory.

Declarations of our own, from the signatures and field numbers that the releases' headers and .proto files have. What
is the same in all releases lies in include/ beside this file.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
Number = tuple[int, ...]


def mesos_proto(at: Number) -> str:
    value = "optional" if at >= (1, 2) else "required"
    command = "optional" if at >= (1, 1) else "required"
    return f"""syntax = "proto2";
package mesos;
message Parameter {{ required string key = 1; required string value = 2; }}
message Parameters {{ repeated Parameter parameter = 1; }}
message ExecutorID {{ required string value = 1; }}
message ContainerID {{
  required string value = 1;
  {"optional ContainerID parent = 2;" if at >= (1, 1) else ""}
}}
message Environment {{
  message Variable {{
    required string name = 1;
    {value} string value = 2;
    {VARIABLE_TYPE if at >= (1, 3) else ""}
  }}
  repeated Variable variables = 1;
}}
message CommandInfo {{
  message URI {{ required string value = 1; }}
  repeated URI uris = 1;
  optional Environment environment = 2;
  optional string value = 3;
  optional string user = 5;
  optional bool shell = 6 [default = true];
  repeated string arguments = 7;
}}
message Volume {{
  enum Mode {{ RW = 1; RO = 2; }}
  required string container_path = 1;
  optional string host_path = 2;
  required Mode mode = 3;
  {VOLUME_SOURCE if at >= (1, 0) else ""}
}}
message ContainerInfo {{
  enum Type {{ DOCKER = 1; MESOS = 2; }}
  {MESOS_INFO if at >= (0, 24) else ""}
  required Type type = 1;
  repeated Volume volumes = 2;
}}
message Value {{ message Scalar {{ required double value = 1; }} }}
message Resource {{ required string name = 1; optional Value.Scalar scalar = 3; }}
message ExecutorInfo {{
  required ExecutorID executor_id = 1;
  optional bytes data = 4;
  repeated Resource resources = 5;
  {command} CommandInfo command = 7;
  optional ContainerInfo container = 11;
}}
message TaskInfo {{ required string name = 1; optional bytes data = 6; }}
message ResourceStatistics {{ required double timestamp = 1; }}
message ContainerStatus {{ optional string note = 1; }}
"""


VARIABLE_TYPE = """enum Type { UNKNOWN = 0; VALUE = 1; SECRET = 2; }
    message Secret { optional string text = 1; }
    optional Type type = 3 [default = VALUE];
    optional Secret secret = 4;"""
MESOS_INFO = """message MesosInfo { message Image { optional string name = 2; } optional Image image = 1; }
  optional MesosInfo mesos = 5;"""
VOLUME_SOURCE = """message Source {
    enum Type { UNKNOWN = 0; DOCKER_VOLUME = 1; SANDBOX_PATH = 2; }
    message DockerVolume {
      optional string driver = 1; required string name = 2; optional Parameters driver_options = 3;
    }
    required Type type = 1;
    optional DockerVolume docker_volume = 2;
  }
  optional Source source = 5;"""


def launch_fields(at: Number) -> str:
    commands = "pre_exec_commands" if at >= (1, 0) else "commands"
    fields = [f"repeated CommandInfo {commands} = 1;", "optional Environment environment = 2;"]
    fields += ["optional string rootfs = 3;"]
    if at >= (1, 2):
        fields += ["repeated int32 clone_namespaces = 4;", "repeated int32 enter_namespaces = 9;"]
    elif at >= (0, 25):
        fields += ["optional uint32 namespaces = 4 [default = 0];"]
    if at >= (0, 28):
        fields += ["optional CommandInfo command = 5;", "optional string working_directory = 6;"]
    if at >= (1, 5):
        fields += ["repeated ContainerMountInfo mounts = 17;"]
    return "\n  ".join(fields)


def config_fields(at: Number) -> str:
    if at < (0, 28):
        fields = ["required ExecutorInfo executorInfo = 1;", "optional TaskInfo taskInfo = 2;"]
    else:
        kind = "optional" if at >= (1, 1) else "required"
        fields = [f"{kind} ExecutorInfo executor_info = 8;", "optional TaskInfo task_info = 9;"]
        if at < (1, 0):
            fields += ["required ExecutorInfo executorInfo = 1;", "optional TaskInfo taskInfo = 2;"]
    fields += ["required string directory = 3;", "optional string user = 4;", "optional string rootfs = 5;"]
    if at >= (1, 1):
        fields += ["required CommandInfo command_info = 11;", "optional ContainerInfo container_info = 12;",
                   "repeated Resource resources = 13;"]  # fmt: skip
    if at >= (1, 2):
        fields += ["optional ContainerClass container_class = 14;"]
    if at >= (1, 10):
        fields += ["map<string, Value.Scalar> limits = 16;"]
    return "\n  ".join(fields)


def slave_proto(at: Number) -> str:
    info = "ContainerLaunchInfo" if at >= (0, 27) else "ContainerPrepareInfo"
    executor = "optional" if at >= (1, 1) else "required"
    config = f"message ContainerConfig {{\n  {config_fields(at)}\n}}" if at >= (0, 27) else ""
    return f"""syntax = "proto2";
package mesos.slave;
import "mesos/mesos.proto";
enum ContainerClass {{ DEFAULT = 1; DEBUG = 2; }}
message ContainerMountInfo {{
  optional string source = 2; required string target = 1; optional string type = 3; optional uint32 flags = 4;
}}
message ContainerState {{
  {executor} ExecutorInfo executor_info = 1;
  required ContainerID container_id = 2;
  required uint64 pid = 3;
  required string directory = 4;
}}
message ContainerLimitation {{ optional string message = 2; }}
message {info} {{
  {launch_fields(at)}
}}
{config}
"""


def methods(at: Number) -> list[str]:
    """Return the virtual methods of the class that a module subclasses, those that it has to define first."""
    listed = "std::vector" if at >= (1, 7) else "std::list"
    state = "ContainerState" if at >= (0, 24) else "ExecutorRunState"
    limit = "ContainerLimitation" if at >= (0, 24) else "Limitation"
    if at >= (0, 27):
        prepare = "process::Future<Option<ContainerLaunchInfo>> prepare(const ContainerID&, const ContainerConfig&)"
    else:
        result = "ContainerPrepareInfo" if at >= (0, 24) else "CommandInfo"
        rootfs = "" if at >= (0, 24) else "const Option<std::string>& rootfs, "
        prepare = (f"process::Future<Option<{result}>> prepare(const ContainerID&, const ExecutorInfo&, "
                   f"const std::string& directory, {rootfs}const Option<std::string>& user)")  # fmt: skip
    limits = ", const google::protobuf::Map<std::string, Value::Scalar>& limits = {}" if at >= (1, 10) else ""
    body = "{ std::abort(); }" if at >= (1, 0) else "= 0;"
    mandatory = [
        f"process::Future<Nothing> recover(const {listed}<{state}>&, const hashset<ContainerID>& orphans)",
        prepare,
        "process::Future<Nothing> isolate(const ContainerID&, pid_t)",
        f"process::Future<{limit}> watch(const ContainerID&)",
        f"process::Future<Nothing> update(const ContainerID&, const Resources&{limits})",
        "process::Future<ResourceStatistics> usage(const ContainerID&)",
        "process::Future<Nothing> cleanup(const ContainerID&)",
    ]
    more = []
    if at < (0, 25):
        more.append("virtual process::Future<Option<int>> namespaces() { return Option<int>::none(); }")
    if at >= (0, 28):
        more.append("virtual process::Future<ContainerStatus> status(const ContainerID&) { return ContainerStatus(); }")
    if at >= (1, 1):
        more.append("virtual bool supportsNesting() { return false; }")
    if at >= (1, 5):
        more.append("virtual bool supportsStandalone() { return false; }")
    return [*(f"virtual {method} {body}" for method in mandatory), *more]


def isolator_hpp(at: Number) -> str:
    proto = "containerizer" if at >= (1, 1) else "isolator"
    include = f"#include <mesos/slave/{proto}.pb.h>" if at >= (0, 24) else ""
    declared = "\n  ".join(methods(at))
    if at >= (0, 24):
        classes = f"class Isolator\n{{\npublic:\n  virtual ~Isolator() {{}}\n  {declared}\n}};"
    else:
        classes = f"""struct ExecutorRunState {{ ContainerID id; pid_t pid; std::string directory; }};
struct Limitation {{ std::string message; }};
class IsolatorProcess : public process::Process<IsolatorProcess>
{{
public:
  virtual ~IsolatorProcess() {{}}
  {declared}
}};
class Isolator
{{
public:
  explicit Isolator(const process::Owned<IsolatorProcess>& _process) : process(_process) {{}}
  const process::Owned<IsolatorProcess> process;
}};"""
    return f"""#pragma once
#include <sys/types.h>
#include <cstdlib>
#include <list>
#include <string>
#include <vector>
#include <mesos/mesos.hpp>
#include <mesos/resources.hpp>
#include <mesos/type_utils.hpp>
{include}
#include <process/future.hpp>
#include <process/owned.hpp>
#include <process/process.hpp>
#include <stout/hashset.hpp>
#include <stout/nothing.hpp>
#include <stout/option.hpp>
namespace mesos {{
namespace slave {{
{classes}
}} // namespace slave {{
}} // namespace mesos {{
"""


def dialect_hpp(at: Number) -> str:
    flags = {
        "JSON_IS_A_CLASS": at < (0, 26), "NULL_IS_AN_ERROR": at < (0, 27), "SWALLOWS_NESTED_ERRORS": at < (0, 27),
        "MANGLES_TEXT": at < (0, 24), "TAKES_WHAT_FOLLOWS": at < (0, 25), "IS_A_PROCESS": at < (0, 24),
        "HAS_CONFIG": at >= (0, 27), "HAS_NAMESPACES": at < (0, 25), "HAS_NESTING": at >= (1, 1),
        "HAS_STANDALONE": at >= (1, 5), "HAS_STATUS": at >= (0, 28), "RAW_BYTES": at < (0, 24),
    }  # fmt: skip
    launch = "slave::ContainerLaunchInfo" if at >= (0, 27) else "slave::ContainerPrepareInfo"
    if at < (0, 24):
        launch = "CommandInfo"
    lines = [f"#define DOUBLE_{name} {int(value)}" for name, value in flags.items()]
    lines.append(f"#define DOUBLE_LAUNCH mesos::{launch}")
    lines.append(f"#define DOUBLE_STATES {'std::vector' if at >= (1, 7) else 'std::list'}")
    return "#pragma once\n" + "\n".join(lines) + "\n"


def write(release: str, root: Path) -> None:
    """Write the double of *release* to *root*, with what protoc makes of its messages."""
    at = tuple(int(part) for part in release.split("-")[0].split("."))
    include = root / "include"
    shutil.copytree(HERE / "include", include, dirs_exist_ok=True)
    protos = {"mesos/mesos.proto": mesos_proto(at)}
    if at >= (0, 24):
        protos[f"mesos/slave/{'containerizer' if at >= (1, 1) else 'isolator'}.proto"] = slave_proto(at)
    texts = {
        **protos,
        "mesos/slave/isolator.hpp": isolator_hpp(at),
        "mesos/version.hpp": f'#pragma once\n#define MESOS_VERSION "{release}"\n',
        "double/dialect.hpp": dialect_hpp(at),
    }
    for name, text in texts.items():
        path = include / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    subprocess.run(["protoc", f"-I{include}", f"--cpp_out={include}", *protos], check=True)


if __name__ == "__main__":
    write(sys.argv[1], Path(sys.argv[2]))
