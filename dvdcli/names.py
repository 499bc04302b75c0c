"""What a driver or a volume can be called, and how a name becomes a safe file name."""

from __future__ import annotations

import sys

from dvdcli.errors import UsageError

LONGEST_NAME = 1024

_SAFE = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.:@+=,")
_ALL_SAFE = bytes(_SAFE)
_LONGEST_ENCODED = 120
_KEPT_OF_A_LONG_NAME = 80


def check_name(name: str, what: str) -> str:
    """Return *name* if anything can be called so; *what* it is goes into the UsageError if not."""
    if name.isascii() and name.isprintable() and 0 < len(name) <= LONGEST_NAME:
        return name
    if not name:
        raise UsageError(f"the {what} is empty")
    try:
        size = len(name.encode())
    except UnicodeEncodeError:
        raise UsageError(f"the {what} {name!a} is not UTF-8") from None
    if size > LONGEST_NAME:
        raise UsageError(f"the {what} has {size} bytes", f"at most {LONGEST_NAME} are possible")
    if without_controls(name) != name:
        raise UsageError(f"the {what} {name!a} has a control character in it")
    return name


def without_controls(text: str) -> str:
    """Return *text* with its control characters escaped: no name of ours has any, a plugin may think otherwise."""
    if text.isprintable():
        return text
    return "".join(c.encode("unicode_escape").decode() if c < " " or "\x7f" <= c <= "\x9f" else c for c in text)


def check_driver(name: str) -> str:
    """Return *name* if a driver can be called so. A slash is fine (`vieux/sshfs`), a way out of a directory is not."""
    check_name(name, "driver")
    if any(part in ("", ".", "..") for part in name.split("/")):
        raise UsageError(f"the driver {name!r} is no driver's name", "a name, not a path, is what --volumedriver takes")
    return name


def sha256(data: bytes) -> str:
    """Return the hexadecimal SHA-256 of *data*, without hashlib's import (OpenSSL, 6 ms) where that can be."""
    try:
        if sys.version_info >= (3, 12):
            from _sha2 import sha256 as algorithm
        else:
            from _sha256 import sha256 as algorithm  # type: ignore[import-not-found]
    except ImportError:
        from hashlib import sha256 as algorithm
    digest: str = algorithm(data).hexdigest()
    return digest


def encode(name: str) -> str:
    """Return a file name for *name*: safe, different for different names, at most 145 bytes long."""
    raw = name.encode()
    if len(raw) <= _LONGEST_ENCODED and not raw.translate(None, _ALL_SAFE) and raw[:1] != b".":
        return name
    encoded = "".join(chr(b) if b in _SAFE else f"%{b:02X}" for b in raw)
    if encoded.startswith("."):
        encoded = f"%2E{encoded[1:]}"
    if len(encoded) > _LONGEST_ENCODED:
        return f"{encoded[:_KEPT_OF_A_LONG_NAME]}~{sha256(raw)}"
    return encoded


def decode(file_name: str) -> str | None:
    """Return the name that *file_name* was made from, or None where it cannot tell (a long name, a foreign file)."""
    try:
        if "%" not in file_name:
            return file_name if encode(file_name) == file_name else None
        parts = file_name.split("%")
        raw = parts[0].encode() + b"".join(bytes.fromhex(p[:2]) + p[2:].encode() for p in parts[1:])
        name = raw.decode()
    except ValueError:
        return None
    return name if encode(name) == file_name else None
