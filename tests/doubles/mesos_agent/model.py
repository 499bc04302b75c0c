"""What a release of the agent shows, and the bodies in which it shows what lives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

RELEASES = ("0.23.0", "0.28.3", "1.0.4", "1.4.3", "1.11.0")
STATES = ("registering", "running", "terminating", "terminated")


def number(release: str) -> tuple[int, ...]:
    return tuple(int(part) for part in release.split("."))


@dataclass
class Container:
    """*path* is root to leaf; *state* an executor's; a standalone container has no executor."""

    path: tuple[str, ...]
    state: str = "running"
    standalone: bool = False
    hidden: bool = False  # from the principal that asks

    @property
    def is_executor(self) -> bool:
        return len(self.path) == 1 and not self.standalone


class Model:
    def __init__(self, release: str) -> None:
        self.release = release
        self.number = number(release)
        self.id = "5a2b-S0"
        self.start_time = 1500000000.25
        self.recovering = False
        self.containers: list[Container] = []
        self.completed: list[str] = []
        self.flags = {"work_dir": "/var/lib/mesos", "isolation": "org_dvdcli_mesos_VolumeIsolator"}
        self.shows_flags = True
        self.pid = "slave(1)@127.0.0.1:5051"

    def executors(self) -> list[Container]:
        return [container for container in self.containers if container.is_executor]

    def state(self) -> dict[str, Any]:
        # 0.23 answers while it recovers: without an id, and without a framework.
        running = [] if self.recovering else [c for c in self.executors() if not c.hidden]
        body: dict[str, Any] = {
            "version": self.release,
            "build_date": "2026-01-01 00:00:00",
            "start_time": self.start_time,
            "id": "" if self.recovering else self.id,
            "pid": self.pid,
            "hostname": "node",
            "resources": {"cpus": 4, "mem": 1024},
            "attributes": {},
            "frameworks": [self._framework(running, self.completed)] if running or self.completed else [],
            "completed_frameworks": [self._framework([], ["long-gone"])],
        }
        if self.shows_flags:
            body["flags"] = dict(self.flags)
        return body

    def _framework(self, running: list[Container], completed: list[str]) -> dict[str, Any]:
        return {
            "id": "5a2b-0000", "name": "marathon", "user": "root", "hostname": "node",
            "executors": [self._executor(container.path[0]) for container in running],
            "completed_executors": [self._executor(name) for name in completed],
        }  # fmt: skip

    def _executor(self, container: str) -> dict[str, Any]:
        tasks = [{"id": f"task-{container}", "name": "task", "executor_id": "", "state": "TASK_RUNNING"}]
        return {
            "id": f"executor-{container}", "name": "", "source": "", "container": container,
            "directory": f"/var/lib/mesos/slaves/5a2b-S0/{container}", "resources": {}, "tasks": tasks,
            "queued_tasks": [], "completed_tasks": [],
        }  # fmt: skip

    def metrics(self) -> dict[str, float]:
        counted = {f"slave/executors_{state}": 0.0 for state in STATES}
        for container in [] if self.recovering else self.executors():
            counted[f"slave/executors_{container.state}"] += 1
        counted["slave/executors_terminated"] = 17.0  # a counter, not a gauge
        return {**counted, "slave/registered": 1.0, "slave/uptime_secs": 100.5, "slave/frameworks_active": 1.0}

    def listed(self) -> list[dict[str, Any]]:
        """Return what /containers has."""
        found = []
        for container in [] if self.recovering else self.executors():
            if container.state != "terminated" and not container.hidden:
                name = container.path[0]
                found.append({
                    "container_id": name, "executor_id": f"executor-{name}", "executor_name": "", "source": "",
                    "framework_id": "5a2b-0000", "statistics": {"timestamp": 1.5}, "status": self._status((name,)),
                })  # fmt: skip
        return found

    def _status(self, path: tuple[str, ...]) -> dict[str, Any]:
        status: dict[str, Any] = {"network_infos": [{"ip_addresses": [{"ip_address": "192.0.2.7"}]}]}
        if self.number >= (1, 2):
            status["container_id"] = self._id(path)
        return status

    def _id(self, path: tuple[str, ...]) -> dict[str, Any]:
        return {"value": path[-1], **({"parent": self._id(path[:-1])} if path[1:] else {})}

    def get_containers(self, nested: bool, standalone: bool) -> dict[str, Any]:
        entries = []
        for each in self.listed():
            entry = {"container_id": {"value": each["container_id"]}, "container_status": each["status"]}
            for key in ("executor_id", "framework_id"):
                entry[key] = {"value": each[key]}
            entries.append({**entry, "executor_name": "", "resource_statistics": {"timestamp": 1.5}})
        if self.number >= (1, 5):
            for container in self.containers:
                shown = standalone if container.standalone and len(container.path) == 1 else nested
                if not container.is_executor and shown and not container.hidden:
                    # The id itself has no parent there: the status has.
                    status = self._status(container.path)
                    entries.append({"container_id": {"value": container.path[-1]}, "container_status": status})
        answer: dict[str, Any] = {"type": "GET_CONTAINERS"}
        return {**answer, "get_containers": {"containers": entries}} if entries else answer
