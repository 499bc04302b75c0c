"""The answers of EC2's instance metadata service: a token, then the identity document."""

from __future__ import annotations

import os

from dvdcli.clock import Deadline
from dvdcli.providers.ebs import imds
from tests.fuzz.serving import http, server
from tests.fuzz.watch import NEXT, World, parts, refused, target

_DOCUMENT = b'{"instanceId": "i-0123456789abcdef0", "availabilityZone": "eu-west-1a", "region": "eu-west-1"}'
SEEDS = [NEXT.join([http(b"TOKEN=="), http(_DOCUMENT)]), NEXT.join([http(b"", "403 Forbidden")])]
_VARIABLE = "AWS_EC2_METADATA_SERVICE_ENDPOINT"


@target
def one_input(world: World, data: bytes) -> None:
    peer = server(world.root / "imds.sock")
    peer.answer(parts(data))
    os.environ[_VARIABLE] = f"unix://{world.root}/imds.sock"
    try:
        with refused():
            found = imds.instance(Deadline(2.0))
            for word in (found.id, found.zone, found.region):
                assert word
                assert word.isprintable()
                word.encode()
        for request in peer.requests:
            assert request.count(b"\r\n\r\n") == 1, "a header of ours that the token wrote"
            lines = request.split(b"\r\n")
            assert sum(line.startswith(b"X-aws-ec2-metadata-token") for line in lines) == 1
            assert len(lines) <= 10
    finally:
        del os.environ[_VARIABLE]
