"""The instance metadata service, version 2 only."""

from __future__ import annotations

import json
import secrets
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from tests.doubles.web import HANG, Reply, Request, Web

if TYPE_CHECKING:
    from tests.doubles.ec2.host import Host

TOKEN = "/latest/api/token"
ROLES = "/latest/meta-data/iam/security-credentials/"
LONGEST = 21600


class Metadata:
    """Serve one host. What is asked for without a token is a fault, unless no token was to be had."""

    def __init__(self, host: Host, faults: list[str]) -> None:
        self.host = host
        self.faults = faults
        self.calls: list[tuple[str, str]] = []
        self.tokens: dict[str, float] = {}
        self.hop_limited = False  # the answer to PUT is lost, as it is for a container behind one more hop
        self.disabled = False
        self.role = ""
        self._off = False
        self.web = Web(self._answer, faults)
        self.url = self.web.url

    @property
    def off(self) -> bool:
        return self._off

    @off.setter
    def off(self, value: bool) -> None:
        if value and not self._off:
            self.web.stop(reserve=True)
        elif self._off and not value:
            self.web.start()
        self._off = value

    def close(self) -> None:
        self._off = True
        self.web.stop()

    def _answer(self, request: Request) -> Reply:
        self.calls.append((request.method, request.path))
        if self.disabled:
            return Reply(403)
        if request.method == "PUT":
            return self._token(request)
        if request.method != "GET":
            self.faults.append(f"metadata: {request.method} {request.path}")
            return Reply(405)
        token = request.headers.get("x-aws-ec2-metadata-token", "")
        if token not in self.tokens:
            if not self.hop_limited:
                self.faults.append(f"metadata: GET {request.path} without a valid token")
            return Reply(401)
        if self.tokens[token] < time.monotonic():
            return Reply(401)
        text = self._text(request.path)
        return Reply(404) if text is None else Reply(200, text.encode(), {"Content-Type": "text/plain"})

    def _token(self, request: Request) -> Reply:
        if request.path != TOKEN:
            self.faults.append(f"metadata: PUT {request.path}")
            return Reply(404)
        if "x-forwarded-for" in request.headers:
            return Reply(403)
        if self.hop_limited:
            return HANG
        ttl = request.headers.get("x-aws-ec2-metadata-token-ttl-seconds", "")
        if not (ttl.isascii() and ttl.isdigit() and 1 <= int(ttl) <= LONGEST):
            self.faults.append(f"metadata: a token for {ttl!r} seconds")
            return Reply(400)
        token = secrets.token_urlsafe(40)
        self.tokens[token] = time.monotonic() + int(ttl)
        headers = {"Content-Type": "text/plain", "X-Aws-Ec2-Metadata-Token-Ttl-Seconds": ttl}
        return Reply(200, token.encode(), headers)

    def _text(self, path: str) -> str | None:
        host, region = self.host, self.host.ec2.region
        if path in (ROLES, ROLES.rstrip("/")):
            return self.role or None
        if self.role and path == ROLES + self.role:
            return json.dumps(self._credentials())
        return {
            "/latest/dynamic/instance-identity/document": json.dumps(self._document(), indent=2),
            "/latest/meta-data/instance-id": host.id,
            "/latest/meta-data/instance-type": host.type,
            "/latest/meta-data/placement/availability-zone": host.zone,
            "/latest/meta-data/placement/region": region,
        }.get(path)

    def _document(self) -> dict[str, object]:
        return {
            "accountId": "123456789012",
            "architecture": "x86_64",
            "availabilityZone": self.host.zone,
            "billingProducts": None,
            "imageId": "ami-0123456789abcdef0",
            "instanceId": self.host.id,
            "instanceType": self.host.type,
            "pendingTime": self.host.since,
            "privateIp": "10.0.0.10",
            "region": self.host.ec2.region,
            "version": "2017-09-30",
        }

    def _credentials(self) -> dict[str, str]:
        key, secret, token = self.host.ec2.role_key
        now = datetime.now(UTC)
        return {
            "Code": "Success",
            "LastUpdated": now.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "Type": "AWS-HMAC",
            "AccessKeyId": key,
            "SecretAccessKey": secret,
            "Token": token,
            "Expiration": (now + timedelta(hours=6)).strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
