"""dvdcli.toml as text: on which line a key is, how a value is written, which values are nobody's business."""

from __future__ import annotations

import re
import tomllib
from typing import Any

MASK = "********"
_BARE = re.compile(r"[A-Za-z0-9_-]+")
_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_SECRET = ("password", "passwd", "passphrase", "pass", "pwd", "secret", "token", "key", "credential", "credentials")
_HARMLESS = frozenset(("arn", "file", "id", "ids", "name", "path", "timeout", "ttl"))  # as a name's last word
_IN_URL = re.compile(r"(://[^/?#\s:@]*:)[^/?#\s]*@")


def lines(text: str) -> dict[tuple[str, ...], int]:
    """Return on which line of *text*, which is TOML, each table and each key is set, by the path of its names.

    The parser tells no lines; but of a file that is right each statement alone is TOML too, and nothing shorter is.
    """
    found: dict[tuple[str, ...], int] = {}
    table: tuple[str, ...] = ()
    statement, first = "", 0
    for number, line in enumerate(text.splitlines(keepends=True), 1):
        first = first if statement else number
        statement += line
        try:
            value = tomllib.loads(statement)
        except tomllib.TOMLDecodeError:
            continue
        is_table = statement.lstrip().startswith("[")
        paths = _paths(value)
        if is_table and paths:
            table = paths[-1]
        for path in paths:
            found.setdefault(path if is_table else (*table, *path), first)
        statement = ""
    return found


def _paths(value: Any) -> list[tuple[str, ...]]:
    """Return the paths of all that is in the table *value*, those of a table before what is in it."""
    found: list[tuple[str, ...]] = []
    for key, inner in value.items() if isinstance(value, dict) else ():
        found += [(key,), *((key, *path) for path in _paths(inner))]
    return found


def key(name: str) -> str:
    """Return *name* as a key of TOML."""
    return name if _BARE.fullmatch(name) else _string(name)


def value(what: Any) -> str:
    """Return *what* as a value of TOML."""
    if isinstance(what, bool):
        return str(what).lower()
    if isinstance(what, str):
        return _string(what)
    if isinstance(what, dict):
        return f"{{{', '.join(f'{key(name)} = {value(inner)}' for name, inner in what.items())}}}"
    if isinstance(what, list):
        return f"[{', '.join(map(value, what))}]"
    return str(what)


def _string(text: str) -> str:
    escaped = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t"}
    return f'"{"".join(escaped.get(c) or (c if c.isprintable() else _escape(c)) for c in text)}"'


def _escape(character: str) -> str:
    code = ord(character)
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def masked(name: str, what: Any, secret: bool = False) -> Any:
    """Return *what*, the value of the key *name*, without its secrets, of which not even the length is told.

    Masked is what is declared a *secret* or named like one, in tables too, and a password within a URL.
    """
    if (secret and not name.endswith("_file")) or is_secret_name(name):
        return MASK if what not in ("", [], {}) else what
    if isinstance(what, str):
        return _IN_URL.sub(rf"\1{MASK}@", what)
    if isinstance(what, dict):
        return {inner: masked(inner, each) for inner, each in what.items()}
    if isinstance(what, list):
        return [masked(name, each) for each in what]
    return what


def is_secret_name(name: str) -> bool:
    """Return whether *name* is what people call a secret: `password`, `api_key`, `authToken`; not `kmsKeyId`."""
    words = [word.lower() for word in _WORDS.findall(name)]
    return bool(words) and words[-1] not in _HARMLESS and any(word.endswith(_SECRET) for word in words)
