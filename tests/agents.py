"""Builds the isolator against the double of a release's headers, and drives it in the agent's double."""

from __future__ import annotations

import json
import os
import queue
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import filelock
import pytest

from tests.conftest import Home
from tests.isolators import Isolator

SOURCE = Path(__file__).parents[1] / "isolators"
NAME = "org_dvdcli_mesos_VolumeIsolator"
ALIAS = "com_emccode_mesos_DockerVolumeDriverIsolator"
MISSING = [tool for tool in ("g++", "cmake", "protoc") if shutil.which(tool) is None]
NEEDS_COMPILER = pytest.mark.skipif(
    bool(MISSING), reason=f"there is no {', '.join(MISSING)} to build the isolators with"
)


def quietly(*line: str | Path) -> None:
    done = subprocess.run(line, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(map(str, line))}\n{done.stdout[-5000:]}"


def built(shared: Path, release: str) -> Path:
    """Return a directory with the agent's double and the module of *release*, built once for all workers."""
    root = shared / f"mesos-{release}"
    with filelock.FileLock(f"{root}.lock"):
        if not (root / "done").exists():
            shutil.rmtree(root, ignore_errors=True)
            root.mkdir()
            quietly(sys.executable, SOURCE / "testing" / "tree.py", release, root / "mesos")
            for name, source, more in (("agent", SOURCE / "testing", []), ("module", SOURCE, ["-DWERROR=ON"])):
                at = f"-DMESOS_ROOT={root / 'mesos'}"
                quietly("cmake", "-S", source, "-B", root / name, at, "-DCMAKE_BUILD_TYPE=Debug", *more)
                quietly("cmake", "--build", root / name)
            (root / "done").touch()
    return root


class Call:
    def __init__(self, number: int) -> None:
        self.number = number
        self.blocked: queue.Queue[float] = queue.Queue()
        self.ended: queue.Queue[dict[str, Any]] = queue.Queue()

    def held(self) -> float:
        """Return how long, in ms, the call held the agent's thread."""
        return self.blocked.get(timeout=60)

    def result(self, timeout: float = 150) -> dict[str, Any]:
        """Return what the call came to: the isolator itself gives dvdcli 120 s, and says so."""
        return self.ended.get(timeout=timeout)

    def value(self) -> Any:
        result = self.result()
        assert result["state"] == "ready", result
        return result["value"]

    def reason(self) -> str:
        result = self.result()
        assert result["state"] == "failed", result
        reason: str = result["reason"]
        return reason


class Agent:
    """The agent's double in a process of its own, with the module of *release* loaded."""

    def __init__(self, shared: Path, home: Home, release: str, *, dvdcli: Path | None = None, names: str = NAME,
                 parameters: dict[str, str] | list[tuple[str, str]] | None = None) -> None:  # fmt: skip
        self.release = release
        self.isolator = Isolator(home, release)
        root = built(shared, release)
        pairs = list(parameters.items()) if isinstance(parameters, dict) else list(parameters or [])
        if not any(key == "dvdcli" for key, _ in pairs):
            pairs.append(("dvdcli", str(dvdcli or home.command)))
        given = json.dumps([{"key": key, "value": value} for key, value in pairs])
        library = root / "module" / f"libdvdcli_isolator-{release}.so"
        self.log_path = home.root / f"agent-{os.urandom(4).hex()}.log"
        self.process = subprocess.Popen(
            [root / "agent" / "agent", library, names, given], env=home.env, text=True, stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=self.log_path.open("w"),
        )  # fmt: skip
        self.calls: dict[int, Call] = {}
        threading.Thread(target=self._read, daemon=True).start()

    def __enter__(self) -> Agent:
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    def stop(self) -> None:
        assert self.process.stdin is not None
        if self.process.poll() is None:
            self.process.stdin.close()
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def log(self) -> str:
        return self.log_path.read_text()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            message = json.loads(line)
            call = self.calls[message["call"]]
            if "blocked" in message:
                call.blocked.put(message["blocked"])
            else:
                call.ended.put(message)

    def do(self, what: str, **more: Any) -> Call:
        call = Call(len(self.calls) + 1)
        self.calls[call.number] = call
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"call": call.number, "do": what, **more}) + "\n")
        self.process.stdin.flush()
        return call

    def prepare(self, container: str | list[str], environment: dict[str, Any], **more: Any) -> Call:
        request = self.isolator.request(container, environment, **more)
        if "container_config" in request:
            config = request["container_config"]
        else:
            config = {key: request[key] for key in ("executor_info", "directory", "rootfs", "user") if key in request}
        return self.do("prepare", id=message_of(container), config=config)

    def cleanup(self, container: str | list[str]) -> Call:
        return self.do("cleanup", id=message_of(container))

    def recover(self, containers: list[str] | None = None, orphans: list[str] | None = None) -> Call:
        lists = {"containers": containers or [], "orphans": orphans or []}
        return self.do("recover", **{key: [message_of(each) for each in ids] for key, ids in lists.items()})


def message_of(container: str | list[str]) -> dict[str, Any]:
    """Return the ContainerID message of an id, given from the root to the leaf."""
    ids = [container] if isinstance(container, str) else container
    message: dict[str, Any] = {}
    for part in ids:
        message = {"value": part, **({"parent": message} if message else {})}
    return message


def refused_agent(agent: Agent) -> str:
    """Return the log of an agent that did not start."""
    if agent.process.wait(60) == 0:
        pytest.fail("the agent started")
    return agent.log()
