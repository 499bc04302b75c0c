"""The bodies of EC2's answers, through botocore's own parser. The first part says what is asked."""

from __future__ import annotations

from typing import Any

from dvdcli import fastjson
from dvdcli.clock import Deadline
from dvdcli.providers.ebs.provider import EbsProvider
from tests.fuzz.asking import hurried, questions
from tests.fuzz.watch import NEXT, World, refused, target, unwatched

_HEAD = b'<?xml version="1.0" encoding="UTF-8"?>\n<%s xmlns="http://ec2.amazonaws.com/doc/2016-11-15/"><requestId>r</requestId>'


def _xml(action: bytes, body: bytes) -> bytes:
    return _HEAD % action + body + b"</" + action + b">"


_VOLUME = (
    b"<volumeId>vol-0123456789abcdef0</volumeId><size>16</size><status>%s</status><availabilityZone>eu-west-1a"
    b"</availabilityZone><createTime>2024-01-01T00:00:00.000Z</createTime><multiAttachEnabled>false</multiAttachEnabled>"
    b"<tagSet><item><key>Name</key><value>v</value></item></tagSet><attachmentSet>%s</attachmentSet>"
)
_ATTACHED = (
    b"<item><volumeId>vol-0123456789abcdef0</volumeId><instanceId>i-1</instanceId><device>/dev/xvdba</device>"
    b"<status>attached</status><attachTime>2024-01-01T00:00:00.000Z</attachTime></item>"
)
_FREE = _xml(b"DescribeVolumesResponse", b"<volumeSet><item>" + _VOLUME % (b"available", b"") + b"</item></volumeSet>")
_USED = _xml(b"DescribeVolumesResponse", b"<volumeSet><item>" + _VOLUME % (b"in-use", _ATTACHED) + b"</item></volumeSet>")
_NONE = _xml(b"DescribeVolumesResponse", b"<volumeSet/><nextToken></nextToken>")
_ERROR = (
    b"400<?xml version=\"1.0\"?><Response><Errors><Error><Code>InvalidVolume.NotFound</Code><Message>The volume does not"
    b" exist</Message></Error></Errors><RequestID>r</RequestID></Response>"
)
_MAPPINGS = _xml(
    b"DescribeInstancesResponse",
    b"<reservationSet><item><instancesSet><item><instanceId>i-1</instanceId><instanceState><code>16</code><name>running"
    b"</name></instanceState><blockDeviceMapping><item><deviceName>/dev/sda1</deviceName></item></blockDeviceMapping>"
    b"</item></instancesSet></item></reservationSet>",
)
_RETURN = _xml(b"DeleteVolumeResponse", b"<return>true</return>")
_MODIFIED = _xml(
    b"DescribeVolumesModificationsResponse",
    b"<volumeModificationSet><item><modificationState>optimizing</modificationState></item></volumeModificationSet>",
)
SEEDS = [
    NEXT.join(each)
    for each in (
        [b"get", _FREE], [b"get", _NONE], [b"get", _ERROR], [b"list", _FREE, _NONE], [b"here", _USED],
        [b"create", _NONE, _xml(b"CreateVolumeResponse", _VOLUME % (b"creating", b"")), _FREE],
        [b"attach", _FREE, _MAPPINGS, _RETURN, _USED], [b"remove", _FREE, _RETURN], [b"detach", _RETURN, _FREE],
        [b"resize", _FREE, _RETURN, _MODIFIED], [b"detach", _USED, _ERROR, _NONE],
    )
]  # fmt: skip
_client: Any = None
_answers: list[bytes] = []


class _Body:
    """What botocore reads a body from."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def stream(self, **_: Any) -> Any:
        yield self._data


def _answer(request: Any, **_: Any) -> Any:
    from botocore.awsrequest import AWSResponse

    body = _answers.pop(0) if _answers else _NONE
    status = 200
    if body[:3].isdigit():
        status, body = int(body[:3]), body[3:]
    return AWSResponse(request.url, status, {}, _Body(body))


def _made() -> Any:
    import boto3
    from botocore.config import Config

    config = Config(retries={"total_max_attempts": 1}, parameter_validation=True)
    client = boto3.session.Session().client("ec2", region_name="eu-west-1", config=config)
    client.meta.events.register("before-send", _answer)
    return client


@target
def one_input(world: World, data: bytes) -> None:
    global _client
    if _client is None:
        with unwatched():
            _client = _made()
    what, *answers = data.split(NEXT)
    _answers[:] = answers
    settings = {"instance": "i-1", "zone": "eu-west-1a", "region": "eu-west-1"}
    provider = EbsProvider("ebs", settings, Deadline(0.05), 0.0)
    provider._ec2._client = lambda: _client
    with hurried(), refused():
        fastjson.dumps(_ask(provider, what))


def _ask(provider: EbsProvider, what: bytes) -> object:
    handle = {"id": "vol-0123456789abcdef0", "instance": "i-1", "region": "eu-west-1", "asked": "/dev/xvdba"}

    def attach() -> None:
        volume = provider.find("v")
        if volume is not None:
            provider.attach(volume, {}, {"id": volume.id}, lambda told: None)

    def get() -> object:
        found = provider.find("v")
        if found is None:
            return provider.attachment(handle)
        return [found.id, found.size, found.name, found.state, found.zone]

    usual = questions(provider, "1", "17")
    own = {b"detach": lambda: provider.detach(handle, lambda told: None), b"attach": attach}
    return {**usual, **own}.get(what, get)()
