"""The request of `--isolator`, from its bytes to the launch message."""

from __future__ import annotations

import json
import os

from dvdcli import containers, fastjson, group, mesos, placing, targets
from dvdcli.errors import UsageError
from dvdcli.mesos import Prepare, Request
from dvdcli.wanted import wanted
from tests.fuzz.watch import World, check_text, refused, target

SANDBOX = "@SANDBOX@"  # stands for the world's sandbox, so that what was found stays usable


def _variables(**given: str) -> dict[str, object]:
    return {"variables": [{"name": f"DVDI_VOLUME_{key}", "value": value} for key, value in given.items()]}


_VOLUME = {
    "container_path": "docker/x", "mode": "RO",
    "source": {"type": "DOCKER_VOLUME", "docker_volume": {
        "driver": "plug", "name": "w", "driver_options": {"parameter": [{"key": "size", "value": "1"}]}}},
}  # fmt: skip
_MOUNT = _variables(NAME="v", DRIVER="local", OPTS="size=1,mode=700", CONTAINERPATH="data", EXPLICITCREATE="true", MODE="ro")


def _config(version: str, **more: object) -> bytes:
    config = {"directory": SANDBOX, "command_info": {"environment": _MOUNT}, "container_info": {"volumes": [_VOLUME]}}
    return json.dumps({
        "protocol": 1, "agent": "a", "mesos_version": version, "container_id": ["c1"], "docker_volumes": True,
        "sandbox_directory": "/mnt/mesos/sandbox", "timeout": 60, "container_config": {**config, **more},
    }).encode()  # fmt: skip


def _arguments(version: str, **more: object) -> bytes:
    executor = {"command": {"environment": _MOUNT}, "container": {"volumes": [_VOLUME], "mesos": {}}}
    return json.dumps({
        "protocol": 1, "agent": "", "mesos_version": version, "container_id": ["c1"], "executor_info": executor,
        "directory": SANDBOX, "rootfs": None, "user": "nobody", **more,
    }).encode()  # fmt: skip


SEEDS = [
    _arguments("0.23.0"), _arguments("0.26.0", rootfs=f"{SANDBOX}/root"), _config("0.28.2", rootfs=SANDBOX),
    _config("1.0.1"), _config("1.11.0"), _config("1.12.0-rc1", container_class="DEBUG"),
    _config("1.5.0", executor_info={"command": {"environment": _variables(NAME1="x", CONTAINERPATH1="/tmp/x/y")}}),
    b'{"protocol": 1, "agent": "a", "mesos_version": "1.4.0", "container_id": ["root", "leaf"]}',
    b'{"protocol": 1, "mesos_version": "1.4.0", "containers": [["a"], ["a", "b"]], "orphans": [["c"]]}',
]  # fmt: skip


@target
def one_input(world: World, data: bytes) -> None:
    text = data.replace(SANDBOX.encode(), os.fsencode(world.sandbox)).decode("utf-8", "surrogateescape")
    with refused():
        try:
            fields = fastjson.loads_text(text)
        except ValueError as error:
            raise UsageError(f"the request is no JSON: {error}") from None
        for verb in (_mount, _unmount, _recover):
            with refused():
                verb(fields)


def _mount(fields: object) -> None:
    request = Prepare(fields)
    containers.directory_name(containers.hold_of(request.agent, request.id))
    asked = wanted(request)
    if not asked:
        return
    assert request.timeout is None or 0 < request.timeout <= 86400
    places = targets.plan(request, asked)
    plain, binds = placing.split(asked, places, ["/mnt/volume"] * len(asked))
    for each in binds:
        check_text(each.to_argument())
    message = mesos.launch(request.dialect, plain, binds, "/usr/bin/dvdcli")
    said = fastjson.dumps({"protocol": 1, "launch": message})
    assert said.isascii()
    assert fastjson.loads(said.encode())["launch"] == message
    for place in places:
        if place is not None:
            own = f"{request.directory}/{request.rootfs}/"  # what the agent itself says
            assert ".." not in place.name.split("/") or "/../" in own
            check_text(place.name)


def _unmount(fields: object) -> None:
    for line in group.unmount(Request(fields)):
        check_text(line)


def _recover(fields: object) -> None:
    for line in group.recover(Request(fields)):
        check_text(line)
