"""Answers as XML."""

from __future__ import annotations

import uuid
from typing import Any
from xml.sax.saxutils import escape

from tests.doubles.ec2.errors import Error
from tests.doubles.web import Reply

NAMESPACE = "http://ec2.amazonaws.com/doc/2016-11-15/"
HEAD = '<?xml version="1.0" encoding="UTF-8"?>\n'
TYPE = {"Content-Type": "text/xml;charset=UTF-8"}


def right(action: str, result: dict[str, Any]) -> Reply:
    content = {"requestId": str(uuid.uuid4()), **result}
    text = f'{HEAD}<{action}Response xmlns="{NAMESPACE}">{_inside(content)}</{action}Response>'
    return Reply(200, text.encode(), TYPE)


def wrong(error: Error) -> Reply:
    content = {"Errors": {"Error": {"Code": error.code, "Message": error.message}}, "RequestID": str(uuid.uuid4())}
    return Reply(error.status, f"{HEAD}<Response>{_inside(content)}</Response>".encode(), TYPE)


def _inside(value: Any) -> str:
    """Dictionaries become elements, lists become items, None is left out."""
    if isinstance(value, dict):
        return "".join(f"<{name}>{_inside(inner)}</{name}>" for name, inner in value.items() if inner is not None)
    if isinstance(value, list):
        return "".join(f"<item>{_inside(inner)}</item>" for inner in value)
    if isinstance(value, bool):
        return "true" if value else "false"
    return escape(str(value), {"\r": "&#13;"})
