"""A stand-in for a release's isolator: builds its requests as the release's messages have them, reads the answers."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from tests.conftest import Done, Home

RELEASES = (
    *(f"0.{minor}.{patch}" for minor, last in ((23, 1), (24, 2), (25, 1), (26, 2), (27, 3), (28, 3))
      for patch in range(last + 1)),
    *(f"1.{minor}.{patch}" for minor, last in enumerate((4, 3, 3, 2, 3, 3, 2, 3, 1, 0, 0, 0))
      for patch in range(last + 1)),
)  # fmt: skip
GENERATIONS = ("0.23.1", "0.24.2", "0.25.1", "0.26.2", "0.27.3", "0.28.3", "1.0.0", "1.0.4", "1.1.3", "1.2.3", "1.4.3",
               "1.5.3", "1.6.2", "1.7.3", "1.8.1", "1.9.0", "1.10.0", "1.11.0")  # fmt: skip


def number(release: str) -> tuple[int, ...]:
    return tuple(int(part) for part in release.split("."))


def variables(**given: str | None) -> dict[str, Any]:
    """Return an Environment message of DVDI_VOLUME_* variables, given without their prefix."""
    found = []
    for key, value in given.items():
        found.append({"name": f"DVDI_VOLUME_{key}", **({} if value is None else {"value": value})})
    return {"variables": [{"name": "PATH", "value": "/bin"}, *found]}


class Isolator:
    """The isolator of *release* on the agent *name*, whose sandboxes are below home's `work`."""

    def __init__(self, home: Home, release: str = "1.11.0", name: str = "") -> None:
        self.home = home
        self.release = release
        self.name = name
        self.work = home.root / "work"
        self.extra: dict[str, Any] = {}

    def envelope(self, **more: Any) -> dict[str, Any]:
        return {"protocol": 1, "agent": self.name, "mesos_version": self.release, **self.extra, **more}

    def sandbox(self, container: str) -> Path:
        path = self.work / "slaves" / "S0" / "frameworks" / "F0" / "executors" / "E0" / "runs" / container
        if not path.is_dir():
            path.mkdir(parents=True)
            if os.geteuid() == 0:
                os.chown(path, 1000, 1000)
        return path

    def request(self, container: str | list[str], environment: dict[str, Any], *, rootfs: str = "",
                container_info: dict[str, Any] | None = None, **config: Any) -> dict[str, Any]:  # fmt: skip
        """Return what `prepare` of this release received, as JSON."""
        ids = [container] if isinstance(container, str) else container
        command: dict[str, Any] = {"environment": environment, "shell": True, "value": "sleep 1"}
        executor: dict[str, Any] = {"command": command, "executor_id": {"value": "E0"}}
        message: dict[str, Any] = {"directory": str(self.sandbox(ids[-1])), **config}
        if rootfs:
            message["rootfs"] = rootfs
        at = number(self.release)
        if container_info is not None and at < (1, 1):
            executor["container"] = container_info
        if at < (0, 27):
            return self.envelope(container_id=ids, executor_info=executor, **message)
        key = "executorInfo" if at < (0, 28) else "executor_info"
        if len(ids) > 1:
            parent = {"environment": {"variables": []}, "value": "the parent's"}
            executor = {"command": parent, "executor_id": {"value": "E0"}}
        message[key] = executor
        if (0, 28) <= at < (1, 0):
            message["executorInfo"] = executor
        if at >= (1, 1):
            message["command_info"] = command
            if container_info is not None:
                message["container_info"] = container_info
        return self.envelope(container_id=ids, container_config=message)

    def call(self, verb: str, request: Any, **options: Any) -> Done:
        data = request if isinstance(request, bytes) else json.dumps(request).encode()
        source = self.home.root / f"request-{os.getpid()}-{id(request)}.json"
        source.write_bytes(data)
        with source.open("rb") as stdin:
            return self.home.run(verb, "--isolator", stdin=stdin, **options)

    def prepare(self, container: str | list[str], environment: dict[str, Any], **more: Any) -> Done:
        return self.call("mount", self.request(container, environment, **more))

    def launch(self, container: str | list[str], environment: dict[str, Any], **more: Any) -> Any:
        """Return the launch message, None where there is none."""
        done = self.prepare(container, environment, **more)
        assert (done.code, done.err) == (0, ""), done
        answer = json.loads(done.out)
        assert answer["protocol"] == 1
        assert done.out.isascii()
        return answer.get("launch")

    def cleanup(self, container: str | list[str]) -> list[str]:
        """Clean up, and return what is pending."""
        ids = [container] if isinstance(container, str) else container
        return self._pending(self.call("unmount", self.envelope(container_id=ids)))

    def recover(self, containers: list[list[str]] | None = None, orphans: list[list[str]] | None = None) -> list[str]:
        """Recover, and return what is pending."""
        request = self.envelope(containers=containers or [], orphans=orphans or [])
        return self._pending(self.call("recover", request))

    def _pending(self, done: Done) -> list[str]:
        assert done.code == 0, done
        answer: dict[str, Any] = json.loads(done.out)
        assert answer["protocol"] == 1
        pending: list[str] = answer.get("pending", [])
        return pending
