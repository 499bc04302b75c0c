"""The API's server, and everything a test can set."""

from __future__ import annotations

import atexit
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.doubles.clock import Clock
from tests.doubles.ec2 import answers, query, volumes
from tests.doubles.ec2.attach import attach_volume, detach_volume
from tests.doubles.ec2.create import create_volume
from tests.doubles.ec2.errors import Drop, Error, Violation
from tests.doubles.ec2.host import Host
from tests.doubles.ec2.model import Volume, new_id
from tests.doubles.loops import Loop, copy
from tests.doubles.web import DROP, Reply, Request, Web

ACTIONS: dict[str, Callable[[Ec2, dict[str, Any]], dict[str, Any]]] = {
    "DescribeVolumes": volumes.describe_volumes,
    "DescribeInstances": volumes.describe_instances,
    "CreateVolume": create_volume,
    "DeleteVolume": volumes.delete_volume,
    "AttachVolume": attach_volume,
    "DetachVolume": detach_volume,
    "CreateTags": volumes.create_tags,
    "ModifyVolume": volumes.modify_volume,
    "DescribeVolumesModifications": volumes.describe_modifications,
}


class Ec2:
    """One region of EC2, and the hosts in it; `calls` is what was asked, in order."""

    def __init__(self, root: Path) -> None:
        self.root = Path(root).resolve()
        self.root.mkdir(parents=True, exist_ok=True)
        self.region = "eu-west-1"
        self.zones = ["eu-west-1a", "eu-west-1b", "eu-west-1c"]
        self.key = ("test-key", "test-secret")
        self.role_key = ("role-key", "role-secret", "role-token")
        self.volumes: dict[str, Volume] = {}
        self.hosts: dict[str, Host] = {}
        self.snapshots: dict[str, tuple[int, Path]] = {}
        self.gib = 1 << 30  # bytes in a "GiB": less of them make tests quick that format and grow volumes
        self.creating = self.invisible = self.attaching = self.detaching = self.deleting = 0.0
        self.modifying = self.optimizing = 0.0
        self.page = 1000
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.faults: list[str] = []
        self.unknown_calls: list[str] = []
        self.replies: dict[str, deque[Error | Drop | None]] = {}
        self.always: dict[str, Error | Drop] = {}
        self.before: Callable[[str, str], None] = lambda action, when: None
        self.tokens: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {}
        self.pages: dict[str, tuple[dict[str, Any], str]] = {}
        self.orphans: list[Loop] = []
        self.lock = threading.RLock()
        self.clock = Clock(self.lock, self.faults)
        self.web = Web(self._answer, self.faults)
        self.url = self.web.url
        self.closed = False
        atexit.register(self.close)

    # For tests

    def host(self, instance: str, zone: str = "eu-west-1a", kind: str = "nitro") -> Host:
        host = Host(self, instance, zone, kind)
        self.hosts[instance] = host
        return host

    def volume(self, name: str | None = None, size: int = 1, zone: str = "eu-west-1a", type: str = "gp3",
               image: Path | None = None, multi_attach: bool = False, id: str | None = None,
               tags: dict[str, str] | None = None, size_bytes: int | None = None) -> Volume:  # fmt: skip
        """Make a volume that is there already, of a copy of *image* or blank."""
        volume_id = id or new_id("vol")
        all_tags = {**({"Name": name} if name is not None else {}), **(tags or {})}
        path = self.root / f"{volume_id}.img"
        iops, throughput = (3000, 125) if type == "gp3" else (None, None)
        volume = Volume(volume_id, zone, size, path, type, iops, throughput, multi_attach=multi_attach, tags=all_tags)
        if image:
            copy(image, path)
        else:
            path.touch()
        with self.lock:
            self.resize(volume, size_bytes)
            self.volumes[volume_id] = volume
        return volume

    def next(self, action: str, *replies: Error | Drop | None) -> None:
        """Answer the next calls of *action* so; None is the right answer."""
        self.replies.setdefault(action, deque()).extend(replies)

    def names(self) -> list[str]:
        return [name for name, _ in self.calls]

    def counts(self) -> Counter[str]:
        return Counter(self.names())

    def stop(self, host: Host) -> None:
        host.state = "stopped"

    def terminate(self, host: Host) -> None:
        host.state = "terminated"

    def wait_idle(self) -> None:
        """Wait until every request is carried out, whether or not its caller still lives."""
        self.web.wait_idle()

    def close(self) -> None:
        """Stop serving and let go of every loop device; one that is still mounted goes when it is unmounted."""
        if self.closed:
            return
        self.closed = True
        atexit.unregister(self.close)
        self.web.stop()
        self.clock.stop()
        with self.lock:
            for host in self.hosts.values():
                host.close()
                self.faults.extend(host.check_decoys())
            for loop in self.orphans:
                loop.clear()

    def resize(self, volume: Volume, size_bytes: int | None = None) -> None:
        """Give the image the volume's size, and the devices the image's."""
        size = size_bytes or volume.size * self.gib
        with volume.image.open("r+b") as file:
            if file.seek(0, 2) > size:
                raise ValueError(f"the image is larger than the volume: {volume.image}")
            file.truncate(size)
        for attachment in volume.attachments:
            if attachment.there and attachment.there.image == volume.image:
                attachment.there.resize()

    # HTTP

    def _answer(self, request: Request) -> Reply:
        action = "?"
        try:
            flat = query.form(request)
            action = flat.get("Action", "?")
            parameters = self._receive(action, flat, request)
            self.before(action, "before")
            result = self._perform(action, parameters)
            self.before(action, "after")
            if isinstance(result, Drop | Error):
                time.sleep(result.delay)  # as the test has it: so slow is this answer
            if isinstance(result, Drop):
                return DROP
            if isinstance(result, Error):
                return answers.wrong(result)
            return answers.right(action, result)
        except Error as error:
            if isinstance(error, Violation):
                self.faults.append(f"{action}: {error.code}: {error.message}")
            return answers.wrong(error)

    def _receive(self, action: str, flat: dict[str, str], request: Request) -> dict[str, Any]:
        """Check and record a request; return its parameters."""
        parameters: dict[str, Any] = {name: flat[name] for name in flat if name not in ("Action", "Version")}
        try:
            key = query.signer(request, self.region)
            if action not in ACTIONS:
                self.unknown_calls.append(action)
                raise Violation("InvalidAction", f"The action {action} is not valid for this web service.")
            parameters = query.decode(action, flat)
        finally:
            self.calls.append((action, parameters))
        token = request.headers.get("x-amz-security-token")
        if (key, token) not in ((self.key[0], None), (self.role_key[0], self.role_key[2])):
            raise Error("AuthFailure", "AWS was not able to validate the provided access credentials", 401)
        return parameters

    def _perform(self, action: str, parameters: dict[str, Any]) -> dict[str, Any] | Error | Drop:
        with self.lock:
            queue = self.replies.get(action)
            instead = queue.popleft() if queue else self.always.get(action)
            if instead and not instead.act:
                return instead
            self.clock.settle()
            try:
                result = ACTIONS[action](self, parameters)
            except Error as error:
                return error
            self.clock.settle()
            return instead or result
