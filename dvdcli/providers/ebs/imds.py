"""What an EC2 instance is told about itself: IMDSv2. Source: "Use the Instance Metadata Service", AWS's EC2 guide."""

from __future__ import annotations

import os

from dvdcli import fastjson
from dvdcli.errors import DvdcliError, TryAgainError
from dvdcli.http import Address, Reply, request

TYPE_CHECKING = False
if TYPE_CHECKING:
    from dvdcli.clock import Deadline

_DEFAULT = "http://169.254.169.254"
_ANSWER = 3.0  # seconds: it is a link-local service
_TOKEN_SECONDS = 60


class Instance:
    """This instance: its *id*, *zone* and *region*, such as i-0123456789abcdef0, eu-west-1a, eu-west-1."""

    __slots__ = ("id", "region", "zone")

    def __init__(self, instance_id: str, zone: str, region: str) -> None:
        self.id = instance_id
        self.zone = zone
        self.region = region


def instance(deadline: Deadline) -> Instance:
    """Return this instance, from its identity document. botocore's own variable for the endpoint is honoured.

    Raises DvdcliError where there is no metadata service or no usable answer.
    """
    soon = deadline.sooner(_ANSWER)
    try:
        endpoint = Address(os.environ.get("AWS_EC2_METADATA_SERVICE_ENDPOINT") or _DEFAULT)
        ttl = f"X-aws-ec2-metadata-token-ttl-seconds: {_TOKEN_SECONDS}"
        token = _ok(request(endpoint, "PUT", "/latest/api/token", b"", soon, "*/*", (ttl,)))
        bearer = f"X-aws-ec2-metadata-token: {_word(token.decode('ascii'))}"
        document = "/latest/dynamic/instance-identity/document"
        facts = fastjson.loads(_ok(request(endpoint, "GET", document, b"", soon, "*/*", (bearer,))))
        found = Instance(*(_word(facts[key]) for key in ("instanceId", "availabilityZone", "region")))
    except TryAgainError as error:
        if not deadline.left():
            raise TryAgainError(f"the instance metadata service: {error.message}", "try again later") from error
        why = "this is no EC2 instance, or its hop limit keeps the answer away"
        raise DvdcliError(f"the instance metadata service does not answer ({error.message}): {why}", _hint()) from error
    except (DvdcliError, ValueError, KeyError, TypeError) as error:
        raise DvdcliError(f"the instance metadata service has no answer that is one: {error}", _hint()) from error
    return found


def _word(value: str) -> str:
    """Return *value* if it can be in a header, and in a request to EC2. Raises ValueError."""
    if not (isinstance(value, str) and value.isascii() and value.isprintable() and value):
        raise ValueError("it does not say which instance this is")
    return value


def _ok(reply: Reply) -> bytes:
    if reply.status != 200:
        raise DvdcliError(f"status {reply.status}")
    return reply.body


def _hint() -> str:
    return "on an EC2 instance raise its hop limit, or set region, zone and instance in [drivers.NAME]"
