"""The mount state: record, hold, container file and claim, one part each, as somebody or a bad disk may have left them."""

from __future__ import annotations

import json
import os
from typing import Any
from unittest import mock

from dvdcli import containers, fastjson, inspection, listing, recovery, tables
from dvdcli.claims import Claim
from dvdcli.clock import Deadline
from dvdcli.containers import Container
from dvdcli.errors import NewerError, TryAgainError, UsageError
from dvdcli.linux import holders, mountinfo
from dvdcli.providers.ebs.ec2 import Ec2
from dvdcli.providers.scaleio.gateway import Gateway
from dvdcli.state import State, boot_id
from dvdcli.volume import Volume
from tests.fuzz.watch import NEXT, World, check_text, parts, refused, target, unwatched

ROOT, BOOT = "@ROOT@", "@BOOT@"  # stand for the world's directory and this boot
_SETTINGS = {"path": f"{ROOT}/volumes"}
_HANDLE = {
    "id": "vol-0123456789abcdef0", "instance": "i-1", "region": "eu-west-1", "kind": "nvme", "asked": "/dev/xvdba",
    "device": {"path": "/dev/nvme1n1", "number": "259:1", "sequence": "12"}, "path": f"{ROOT}/state/mounts/ebs/v",
    "namespace": "", "attachment": "i-1 /dev/xvdba 2024", "format": {"uuid": "u", "type": "ext4"},
}  # fmt: skip


def _record(**changes: Any) -> bytes:
    return json.dumps({
        "schema": 1, "driver": "local", "name": "v", "provider": "local", "settings": _SETTINGS, "options": {"mode": "700"},
        "status": "mounted", "path": f"{ROOT}/volumes/v/data", "handle": {}, "claim": "", "adding": "", "fresh": False,
        "boot": BOOT, "mount_namespace": "", "since": {"wall": 1700000000, "uptime": 12.5}, "failure": "", **changes,
    }).encode()  # fmt: skip


_HOLD = json.dumps({
    "schema": 1, "who": "name:host", "boot": BOOT, "provider": "local", "settings": _SETTINGS, "options": {},
    "path": f"{ROOT}/volumes/v/data", "since": {"wall": 1700000000, "uptime": 12.5},
}).encode()  # fmt: skip
_GIVEN = json.dumps({
    "schema": 1, "who": "container:c1", "agent": "", "boot": BOOT, "since": {"wall": 1, "uptime": 1.5},
    "volumes": [["local", "v"]],
}).encode()  # fmt: skip
_CLAIM = b'{"schema": 1, "driver": "local", "name": "v"}'
_EBS = {"provider": "ebs", "settings": {"region": "eu-west-1"}, "handle": _HANDLE, "options": {"size": "1"}}
SEEDS = [
    NEXT.join([_record(), _HOLD, _GIVEN, _CLAIM]), NEXT.join([_record(boot="older"), _HOLD]),
    NEXT.join([_record(status="mounting", adding="name:host"), _HOLD]), NEXT.join([_record(schema=2), _HOLD, _GIVEN]),
    NEXT.join([_record(status="unmounting"), b""]), NEXT.join([b"{", _HOLD, b"{", b"{"]),
    NEXT.join([_record(**_EBS), _HOLD, _GIVEN, _CLAIM]), NEXT.join([_record(**_EBS, status="unmounting"), b""]),
    NEXT.join([_record(
        provider="docker", settings={"address": f"unix://{ROOT}/run/gone.sock"}, handle={"id": "x", "name": "v"},
    ), _HOLD]),
    NEXT.join([_record(provider="scaleio", settings={"endpoint": "https://127.0.0.1:1", "user": "a"},
                       handle={"id": "0123456789abcdef", "sdc": "A-1", "mapping": "m"}, claim="0123456789abcdef"), _HOLD]),
]  # fmt: skip
_FILES = (
    "volumes/local/v/record.json", "volumes/local/v/holds/name:host.json", "containers/%3Ac1/container.json",
    "claims/ebs/vol-0123456789abcdef0/claim.json",
)  # fmt: skip


def _nobody(*_: object, **more: object) -> None:
    raise TryAgainError("nobody answers in this world", "wait for a better one")


@target
def one_input(world: World, data: bytes) -> None:
    with (
        mock.patch.object(Ec2, "call", _nobody), mock.patch.object(Gateway, "_once", _nobody),
        # These ask every process of the host.
        mock.patch.multiple(holders, below=lambda path: [], all_of=lambda number, path="": []),
        mock.patch.object(mountinfo, "users", return_value=[]),
    ):  # fmt: skip
        _judge(world, data)


def _judge(world: World, data: bytes) -> None:
    with unwatched():
        _write(world, data)
    directory = world.state / "volumes" / "local" / "v"
    slot = State().slot(Volume("local", "v"))
    slot.look_only = True
    newer = False
    before = (directory / "record.json").read_bytes()
    with refused():
        try:
            slot.load()
        except NewerError:
            newer = True
    _look()
    with refused():
        try:
            Claim("ebs", "vol-0123456789abcdef0").take(Volume("local", "other"), Deadline(0.0))
        except UsageError as error:
            raise AssertionError("the caller is told that the call is wrong, where a claim is") from error
    for _, container in containers.of_agent(""):
        with refused():
            container.owner()
            container.load()
    with refused():
        for outcome in recovery.recover(Deadline(0.2)):
            assert outcome.action in recovery.ACTIONS
            assert outcome.detail.isprintable()
            fastjson.dumps(outcome.to_json())
    if newer:
        assert (directory / "record.json").read_bytes() == before, "what a newer dvdcli wrote was changed"
    elif slot.damaged:
        kept = [path.read_bytes() for path in directory.glob("record.json*")]
        assert before in kept, "a damaged record was lost"
    _look()


def _write(world: World, data: bytes) -> None:
    data = data.replace(ROOT.encode(), os.fsencode(world.root)).replace(BOOT.encode(), boot_id().encode())
    given = parts(data)[: len(_FILES)]
    for name, content in zip(_FILES, given, strict=False):
        path = world.state / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if content or name == _FILES[0]:
            path.write_bytes(content)
    world.state.chmod(0o700)
    (world.root / "volumes" / "v" / "data").mkdir(parents=True, exist_ok=True)


def _look() -> None:
    with refused():
        rows, errors = listing.mounts(listing.Filter())
        for error in errors:
            with refused():
                raise error
        check_text(tables.plain(*tables.cells(rows, wide=True)))
        fastjson.dumps(rows)
    for slot in State().slots():
        slot.look_only = True
        with refused():
            view = inspection.inspect(slot)
            check_text(tables.view(view))
            fastjson.dumps(view)
    for container in (Container("%3Ac1"),):
        with refused():
            container.look()
