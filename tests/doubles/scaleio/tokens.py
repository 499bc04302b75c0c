"""Login, logout and tokens, of both generations."""

from __future__ import annotations

import base64
import binascii
import math
import secrets
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.doubles.scaleio.answers import NO_CONTENT
from tests.doubles.scaleio.errors import Error, Violation
from tests.doubles.web import Request

if TYPE_CHECKING:
    from tests.doubles.scaleio.api import Gateway


@dataclass
class Token:
    scheme: str  # Basic or Bearer
    calls: float  # how many it is still good for
    until: float
    refresh: str = ""
    state: str = "good"  # or ended (by a logout), or refused (and its owner knows)


class Tokens:
    """The tokens of a gateway. `lasting` is for how many calls and seconds the next ones are good."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        self.known: dict[str, Token] = {}
        self.lasting: tuple[float, float] = (math.inf, math.inf)

    def open(self) -> list[str]:
        """Return the tokens that were neither ended nor refused."""
        return [text for text, token in self.known.items() if token.state == "good"]

    def expire_after(self, calls: float, seconds: float) -> None:
        self.lasting = (calls, seconds)
        for token in self.known.values():
            token.calls, token.until = calls, time.monotonic() + seconds

    def issue(self, scheme: str) -> tuple[str, Token]:
        calls, seconds = self.lasting
        text = base64.b64encode(f"{self.gateway.user}:{secrets.token_hex(24)}".encode()).decode()
        if scheme == "Bearer":
            text = ".".join(base64.urlsafe_b64encode(secrets.token_bytes(300)).decode().rstrip("=") for _ in range(3))
        token = self.known[text] = Token(scheme, calls, time.monotonic() + seconds, secrets.token_urlsafe(200))
        return text, token

    def use(self, request: Request) -> Token:
        """Take one call from the request's token."""
        scheme, text = credentials(request)
        text = text.partition(":")[2] if scheme == "Basic" else text
        if text in (self.gateway.password, ""):
            raise Violation("the password, or nothing, instead of a token", 401, "unauthorized")
        token = self.known.get(text)
        if token is None:
            raise self.refusal()
        if token.scheme != scheme:
            raise Violation(f"a {token.scheme} token sent as {scheme}", 401, "unauthorized")
        if token.state != "good":
            raise Violation(f"a token that was {token.state} is used again", 401, "unauthorized")
        token.calls -= 1
        if token.calls < 0 or token.until < time.monotonic():
            token.state = "refused"
            raise self.refusal()
        return token

    def refusal(self) -> Error:
        return Error("unauthorized", "Unauthorized", self.gateway.expired_status)


def credentials(request: Request) -> tuple[str, str]:
    """Return the scheme and what it conveys, which for Basic is user:password."""
    scheme, _, value = request.headers.get("authorization", "").partition(" ")
    if not scheme:
        raise Violation("no Authorization", 401, "unauthorized")
    if scheme == "Bearer" and value:
        return scheme, value
    if scheme != "Basic":
        raise Violation(f"Authorization {scheme}", 401, "unauthorized")
    try:
        text = base64.b64decode(value, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError) as error:
        raise Violation(f"Authorization Basic {value}: {error}", 401, "unauthorized") from error
    if ":" not in text:
        raise Violation("Authorization Basic without a colon", 401, "unauthorized")
    return scheme, text


def login(gateway: Gateway, request: Request, body: Any) -> Any:
    if not gateway.takes("old"):
        raise Error("unauthorized", "Unauthorized", gateway.old_login_status)
    scheme, text = credentials(request)
    if scheme != "Basic":
        raise Violation("GET /api/login with a Bearer token", 401, "unauthorized")
    user, _, password = text.partition(":")
    _check(gateway, user, password)
    return gateway.tokens.issue("Basic")[0]


def login_new(gateway: Gateway, request: Request, body: Any) -> Any:
    if "authorization" in request.headers:
        raise Violation("POST /rest/auth/login with an Authorization")
    _check(gateway, body["username"], body["password"])
    text, token = gateway.tokens.issue("Bearer")
    return {
        "access_token": text,
        "expires_in": 300,
        "refresh_expires_in": 1800,
        "refresh_token": token.refresh,
        "token_type": "Bearer",
        "scope": "openid profile email",
    }


def logout(gateway: Gateway, request: Request, body: Any) -> Any:
    gateway.tokens.use(request).state = "ended"
    return ""


def logout_new(gateway: Gateway, request: Request, body: Any) -> Any:
    token = gateway.tokens.use(request)
    if body["refresh_token"] != token.refresh:
        raise Violation("the refresh token of another login")
    token.state = "ended"
    return NO_CONTENT


def _check(gateway: Gateway, user: str, password: str) -> None:
    if (user, password) != (gateway.user, gateway.password):
        raise Error("unauthorized", "Unauthorized", 401)
