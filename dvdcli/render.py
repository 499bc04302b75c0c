"""What programs see: JSON envelopes."""

from __future__ import annotations

from dvdcli import fastjson, output
from dvdcli.errors import Exit

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from dvdcli.errors import DvdcliError

ENVELOPE = 1


def envelope(command: str, data: dict[str, Any], errors: list[DvdcliError], **more: str) -> int:
    """Print the outcome of *command* as one versioned JSON object; return its exit code, the first error's.

    *more* is data too, and JSON already.
    """
    code = errors[0].code if errors else Exit.DONE
    told = {**{key: fastjson.dumps(value) for key, value in data.items()}, **more}
    value = {
        "version": ENVELOPE, "command": command, "status": "error" if errors else "ok", "exit_code": code,
        "errors": [{"code": error.code, "message": str(error)} for error in errors],
    }  # fmt: skip
    texts = {**{key: fastjson.dumps(each) for key, each in value.items()}, "data": _object(told)}
    output.to_stdout(_object(texts))
    return code


def _object(texts: dict[str, str]) -> str:
    return "{" + ", ".join(f'"{key}": {texts[key]}' for key in sorted(texts)) + "}"
