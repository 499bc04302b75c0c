"""The isolators' door, protocol version 1: one JSON request on stdin, one JSON answer on stdout."""

from __future__ import annotations

import os

from dvdcli import fastjson, output
from dvdcli.errors import Exit, UsageError
from dvdcli.mesos import PROTOCOL, Prepare, Request

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

LONGEST_REQUEST = 16 << 20  # bytes


def parse(argv: list[str]) -> str | None:
    """Return the verb of a call by an isolator, None for any other call."""
    if len(argv) == 2 and argv[1] == "--isolator" and argv[0] in ("mount", "unmount", "recover"):
        return argv[0]
    return None


def run(verb: str) -> int:
    """Answer the request on stdin and return the exit code."""
    what = f"{verb} --isolator"
    try:
        output.need_stdout()
        fields = _read()
        request = (Prepare if verb == "mount" else Request)(fields)
        if verb != "recover":
            what = f"{verb} for container {'.'.join(request.id)}"
        if isinstance(request, Prepare):
            _mount(request)
            return Exit.DONE
        from dvdcli import group

        pending = group.recover(request) if verb == "recover" else group.unmount(request)
        _answer({"pending": pending})
    except BaseException as error:  # the one place where this door's errors become an exit code
        return output.report(what, error)
    return Exit.DONE


def _mount(request: Prepare) -> None:
    from dvdcli.wanted import wanted

    asked = wanted(request)
    if not asked:  # most containers: no more than this is imported for them
        _answer({})
        return
    from dvdcli import group

    group.mount(request, asked, lambda message: _answer({"launch": message}))


def _read() -> Any:
    chunks, size = [], 0
    while chunk := os.read(0, 1 << 20):
        size += len(chunk)
        if size > LONGEST_REQUEST:
            raise UsageError(f"the request has over {LONGEST_REQUEST} bytes")
        chunks.append(chunk)
    try:
        # What is no UTF-8 does no harm in a variable that is not ours, and is refused in one that is.
        return fastjson.loads_text(b"".join(chunks).decode("utf-8", "surrogateescape"))
    except ValueError as error:
        raise UsageError(f"the request is no JSON: {error}", "an isolator writes it on stdin") from None


def _answer(fields: dict[str, Any]) -> None:
    output.to_stdout(fastjson.dumps({"protocol": PROTOCOL, **{key: value for key, value in fields.items() if value}}))
