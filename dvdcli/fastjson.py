"""JSON without the json package's import (6 ms, most of it `re`): the same C scanner and encoder, used directly.

The C parts are CPython's own and private; where they are missing or differ, the json package does the work.
"""

from __future__ import annotations

TYPE_CHECKING = False

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


_DEEPEST = 200  # protobuf has 100: what is nested deeper is nobody's, and whoever walks through it runs out of stack


def _finite(digits: str) -> float:
    """Return the number that *digits* are. Raises ValueError for one that cannot be written again: 1e999 is read so."""
    number = float(digits)
    if number - number != 0:
        raise ValueError("a number is too large")
    return number


class _ScannerContext:
    """The attributes that the C scanner reads; the names are json.decoder.JSONDecoder's."""

    strict = False
    object_hook = None
    object_pairs_hook = None
    parse_float = staticmethod(_finite)
    parse_int = int
    memo: dict[str, str] = {}  # noqa: RUF012

    @staticmethod
    def parse_constant(name: str) -> float:
        raise ValueError(f"{name} is no JSON")


def _c_codec() -> tuple[Callable[[str, int], tuple[Any, int]], Callable[[Any], str]]:
    import _json

    scan = _json.make_scanner(_ScannerContext)  # type: ignore[arg-type]
    encoder = _json.make_encoder(
        None,
        None,  # type: ignore[arg-type]
        _json.encode_basestring_ascii,
        None,
        ": ",
        ", ",
        True,
        False,
        False,
    )
    if scan('{"a":[1]}', 0) != ({"a": [1]}, 9) or "".join(encoder({"a": [1]}, 0)) != '{"a": [1]}':
        raise ImportError("_json behaves in an unknown way")
    return scan, lambda value: "".join(encoder(value, 0))


def _package_codec() -> tuple[Callable[[str, int], tuple[Any, int]], Callable[[Any], str]]:
    import json

    decoder = json.JSONDecoder(strict=False, parse_constant=_ScannerContext.parse_constant, parse_float=_finite)
    return decoder.raw_decode, json.JSONEncoder(sort_keys=True, allow_nan=False).encode


try:
    _scan, _encode = _c_codec()
except (ImportError, AttributeError, TypeError):
    _scan, _encode = _package_codec()


_SPACE = " \t\r\n"


def dumps(value: Any) -> str:
    """Return *value* as ASCII JSON with sorted keys. Raises ValueError or TypeError for what JSON cannot say."""
    return _encode(value)


def _is_deep(text: str, value: Any) -> bool:
    """Return whether *value*, which *text* says, is nested deeper than _DEEPEST."""
    return text.count("[") + text.count("{") > _DEEPEST and is_deeper(value, _DEEPEST)


def is_deeper(value: Any, most: int) -> bool:
    """Return whether dicts and lists stand in *value* more than *most* levels deep."""
    level: list[Any] = [[value]]
    for _ in range(most + 1):
        level = [
            inner for each in level for inner in (each.values() if type(each) is dict else each)
            if type(inner) in (dict, list)
        ]  # fmt: skip
        if not level:
            return False
    return True


def _first(text: str) -> tuple[Any, int]:
    start = len(text) - len(text.lstrip(_SPACE))
    try:
        value, end = _scan(text, start)
        if _is_deep(text, value):
            raise RecursionError
        return value, end
    except (StopIteration, SystemError):
        # SystemError: the C scanner would raise json's own error, but only finds it where json is imported.
        raise ValueError("not JSON") from None
    except RecursionError:
        raise ValueError("nested too deeply") from None


def loads_first(text: str) -> Any:
    """Return the first JSON value in *text* and ignore what follows it. Raises ValueError."""
    return _first(text)[0]


def loads(data: bytes) -> Any:
    """Return the one JSON value that *data* (UTF-8) holds. Raises ValueError for anything else."""
    text = data.decode()
    try:
        value, end = _scan(text, 0)
        if end == len(text) and not _is_deep(text, value):
            return value  # what we write ourselves
    except Exception:  # nosec B110 # noqa: S110 - told in the right words below
        pass
    return loads_text(text)


def loads_text(text: str) -> Any:
    """Return the one JSON value that *text* holds. Raises ValueError for anything else."""
    value, end = _first(text)
    if text[end:].strip(_SPACE):
        raise ValueError("something follows the JSON value")
    return value
