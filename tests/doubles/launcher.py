"""A stand-in for `mesos-containerizer launch`: carries out a launch message in a real mount namespace.

What it knows is from the releases' launch.cpp: who makes the tree a slave, in which order mounts and commands come,
with which environment commands run, when a target has to exist.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tests.isolators import number

CLONE_NEWNS = 0x20000
KNOWN = {
    "0.23": {"shell", "value", "arguments", "environment", "user"},
    "0.24": {"commands", "environment", "rootfs"},
    "0.25": {"commands", "environment", "rootfs", "namespaces"},
    "1.0": {"pre_exec_commands", "environment", "rootfs", "namespaces"},
    "1.2": {"pre_exec_commands", "environment", "clone_namespaces", "enter_namespaces"},
    "1.5": {"pre_exec_commands", "environment", "clone_namespaces", "enter_namespaces", "mounts"},
}
# Runs in the new namespace: stdin is the plan, argv the task.
RUNNER = """
import ctypes, json, os, subprocess, sys
libc = ctypes.CDLL(None, use_errno=True)
def mount(source, target, flags):
    if libc.mount(source.encode() if source else None, target.encode(), None, flags, None):
        sys.exit(f"mount {target}: {os.strerror(ctypes.get_errno())}")
plan = json.load(sys.stdin)
if plan["slave"]:
    mount("none", "/", 0x80000 | 0x4000)
for each in plan["mounts"]:
    if not os.path.exists(each["target"]):
        if not plan["makes_targets"] or "source" not in each:
            sys.exit(f"{each['target']} does not exist")
        os.makedirs(each["target"])
    mount(each.get("source"), each["target"], each["flags"])
for command in plan["commands"]:
    argv = ["/bin/sh", "-c", command["value"]] if command["shell"] else command["arguments"]
    executable = argv[0] if command["shell"] else command["value"]
    done = subprocess.run(argv, executable=executable, env=plan["environment"], stdin=subprocess.DEVNULL)
    if done.returncode:
        sys.exit(f"Failed to execute pre-exec command: {done.returncode}")
if plan["rootfs"]:
    os.chroot(plan["rootfs"])
os.chdir(plan["directory"])
os.execvp(sys.argv[1], sys.argv[1:])
"""


def check(release: str, message: dict[str, Any]) -> None:
    """Raise AssertionError for what the release's message does not have, or would take for something else."""
    keys: set[str] = set()
    for first, known in KNOWN.items():
        if number(f"{first}.0") <= number(release):
            keys = known
    assert set(message) <= keys, f"{release} knows {keys}, not {set(message)}"
    for command in commands_of(release, message):
        assert set(command) <= {"shell", "value", "arguments"}
        assert isinstance(command["value"], str)
        if number(release) < (1, 0, 1):
            assert command["shell"] is True, "must be a shell command until 1.0.0"
    for each in message.get("mounts", []):
        assert set(each) <= {"source", "target", "flags", "type"}
        assert each["target"].startswith("/")
        assert each.get("source", "/").startswith("/")
        assert "clone_namespaces" in message, "mounts without a namespace are refused"


def commands_of(release: str, message: dict[str, Any]) -> list[dict[str, Any]]:
    if number(release) < (0, 24):
        return [message]
    commands: list[dict[str, Any]] = message.get("commands", message.get("pre_exec_commands", []))
    return commands


def asks_for_a_namespace(release: str, message: dict[str, Any], agent_wide: int = 0) -> bool:
    if number(release) < (0, 25):
        return bool(agent_wide & CLONE_NEWNS)
    if "clone_namespaces" in message:
        return CLONE_NEWNS in message["clone_namespaces"]
    return bool(message.get("namespaces", 0) & CLONE_NEWNS)


def launch(
    release: str, message: dict[str, Any] | None, task: list[str], directory: Path, *, rootfs: Path | None = None,
    inside: str = "", before: Callable[[], object] = lambda: None, environment: dict[str, str] | None = None,
    agent_wide: int = CLONE_NEWNS, propagation: str = "unchanged", by: Sequence[str] = (),
) -> subprocess.CompletedProcess[str]:  # fmt: skip
    """Launch *task* (argv) with *message*, None for none; its working directory is *directory*, or *inside* a rootfs.

    *before* runs where the fetcher would: after prepare, before anything of the message. *environment* is what the
    commands get until 1.0; *agent_wide* what the isolator's namespaces() said, until 0.24. *by* is a command that runs
    another: where the namespace is to be made.
    """
    message = message or {}
    plan: dict[str, Any] = {"slave": False, "mounts": [], "commands": [], "rootfs": str(rootfs or "")}
    if message:
        check(release, message)
        assert asks_for_a_namespace(release, message, agent_wide), "this would mount on the host"
        plan["mounts"] = message.get("mounts", [])
        plan["commands"] = commands_of(release, message)
    plan["slave"] = number(release) >= (1, 5)
    plan["makes_targets"] = number(release) >= (1, 7)
    plan["directory"] = inside or str(directory)
    agents = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
    plan["environment"] = {**(environment or {}), "DOUBLE": "1"} if number(release) < (1, 1) else agents
    before()
    line = [*by, "unshare", "--mount", f"--propagation={propagation}", "python3", "-I", "-c", RUNNER, *task]
    return subprocess.run(line, input=json.dumps(plan), capture_output=True, text=True, check=False)
