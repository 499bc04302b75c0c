"""Answers as JSON."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tests.doubles.scaleio.errors import Error
from tests.doubles.web import Reply

if TYPE_CHECKING:
    from tests.doubles.scaleio.api import Gateway

NO_CONTENT = object()  # the result of what answers 204
PAGE = b"<html><head><title>503 Service Temporarily Unavailable</title></head><body>nginx</body></html>\n"


def right(gateway: Gateway, name: str, result: Any) -> Reply:
    """None is an action's empty answer; a string stands alone, quoted."""
    if result is NO_CONTENT:
        return Reply(204)
    if gateway.strings and name != "login":
        result = _texts(result)
    body = b"" if result is None else json.dumps(result).encode()
    return Reply(200, body, _type(gateway))


def wrong(gateway: Gateway, error: Error) -> Reply:
    code = gateway.codes[error.code] if isinstance(error.code, str) else error.code
    content = {
        "message": error.message,
        "httpStatusCode": error.status,
        "errorCode": code,
        "details": gateway.details,
    }
    return Reply(error.status, json.dumps(content).encode(), _type(gateway))


def unavailable(gateway: Gateway) -> Reply:
    """Answer as the gateway does that has no MDM: before 4.x in JSON, later the proxy before it does, in HTML."""
    if gateway.major >= 4:
        return Reply(503, PAGE, {"Content-Type": "text/html"})
    return wrong(gateway, Error(0, "The gateway is disconnected from the MDM", 503))


def _type(gateway: Gateway) -> dict[str, str]:
    return {"Content-Type": f"application/json;version={min(gateway.major, 3)}.0;charset=UTF-8"}


def _texts(value: Any) -> Any:
    """Return the same with numbers and booleans as strings."""
    if isinstance(value, dict):
        return {name: _texts(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_texts(inner) for inner in value]
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, int) else value
