"""Mutations of inputs that are right: of JSON by its values, of lines, of words, of bytes. All of it from one Random."""

from __future__ import annotations

import json
import random
import re
from typing import Any

from tests.fuzz.watch import NEXT

DEEP = 5000
_TOKEN = re.compile(rb"[^\s=<>,:;\"'{}()\[\]]+")
# JSON values, as text: what no writer of JSON in its right mind writes.
VALUES = (
    "null", "true", "false", "0", "1", "-1", "-0", "0.0", "1.0", "1e999", "-1e999", "1e-999", "NaN", "Infinity",
    "-Infinity", "9" * 400, "9" * 5000, "2147483648", "18446744073709551616", "0.1e1", '""', '" "', '"\\u0000"',
    '"\\ud800"', '"\\udcff"', '"a\\ud800b"', '"\\n"', '"/a\\u0000b"', '"/a\\ud800b"', '"\\u2028"', '"/"', '"/.."', '".."',
    '"../../x"', '"²"', '"٣"', '"0x10"', '"1_000"', '" 1"', '"+1"', '"-1"', '"unix:///a\\u0000b"', '"unix:///\\ud800"',
    '"tcp://h:' + "9" * 5000 + '"', '"' + "x" * 5000 + '"', "[]", "{}", "[[]]", "[null]", "[{}]", '[""]', '{"":""}',
    '{"a":{"a":{"a":1}}}', "[" * 300 + "]" * 300, "[" * 980 + "]" * 980, "[" * DEEP + "]" * DEEP,
    '{"a":' * 980 + "1" + "}" * 980, '{"a":' * DEEP + "1" + "}" * DEEP, "\ufeff1",
)  # fmt: skip
# Words that mean something somewhere.
WORDS = (
    b"\0", b"\r", b"\n", b"\r\n", b"\t", b" ", b"\x0b", b"\x0c", b"\x1c", b"\x85", b"\xc2\x85", b"\xe2\x80\xa8", b"\xff",
    b"\xed\xa0\x80", b"\xef\xbb\xbf", b"\xc2\xb2", b"\xd9\xa3", b"-1", b"+1", b"0", b"1", b"1e999", b"nan", b"inf", b"9" * 20,
    b"9" * 5000, b"0x10", b"1_0", b"[" * DEEP, b"{" * DEEP, b"a." * 2000 + b"a", b"=", b"==", b",", b"\"", b"'", b"\\",
    b"\\040", b"\\134", b"/", b"//", b"..", b"/../", b"%", b"%2F", b"~", b"*", b"-", b"--", b"-v", b"--help", b"--json",
    b"true", b"false", b"TRUE", b"{", b"}", b"[", b"]", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 100 Continue\r\n\r\n",
    b"Content-Length: -1\r\n", b"Content-Length: 99999999999\r\n", b"Transfer-Encoding: chunked\r\n", b"ffffffffffffffff\r\n",
    b"Content-Encoding: gzip\r\n", b"Location: http://[\r\n", b"unix://", b"tcp://", b"https://", b"127.0.0.1:1", b"\x00" * 300,
    b"x" * 5000, NEXT,
)  # fmt: skip


def mutated(data: bytes, rng: random.Random, most: int = 3) -> bytes:
    """Return *data* after one to *most* mutations."""
    for _ in range(rng.randint(1, most)):
        data = rng.choice((_json, _json, _json, _lines, _tokens, _tokens, _words, _bytes))(data, rng)
    return data


def _json(data: bytes, rng: random.Random) -> bytes:
    """Change one value of one of the JSON documents in *data*; where there is none, a word."""
    pieces = data.split(NEXT)
    order = list(range(len(pieces)))
    rng.shuffle(order)
    for index in order:
        head, separator, body = pieces[index].rpartition(b"\r\n\r\n")
        try:
            value = json.loads(body)
        except (ValueError, RecursionError):
            continue
        if not isinstance(value, (dict, list)):
            continue
        body = _changed(value, rng)
        if separator:
            head = _measured(head, body)
        pieces[index] = head + separator + body
        return NEXT.join(pieces)
    return _words(data, rng)


def _measured(head: bytes, body: bytes) -> bytes:
    """Return the HTTP *head* with the right length of *body*, where it had one."""
    lines = [
        b"Content-Length: %d" % len(body) if line.lower().startswith(b"content-length:") else line
        for line in head.split(b"\r\n")
    ]
    return b"\r\n".join(lines)


def _places(value: Any, found: list[tuple[Any, Any]]) -> list[tuple[Any, Any]]:
    left = [value]
    while left:
        each = left.pop()
        if isinstance(each, (dict, list)):
            for key, inner in each.items() if isinstance(each, dict) else enumerate(each):
                found.append((each, key))
                left.append(inner)
    return found


def _changed(value: Any, rng: random.Random) -> bytes:
    places = _places(value, [])
    raw, mark = rng.choice(VALUES), "\x01changed\x01"
    if not places:
        return raw.encode("utf-8", "surrogatepass")
    holder, key = rng.choice(places)
    kind = rng.randrange(6)
    if kind == 0 and isinstance(holder, dict):
        del holder[key]
    elif kind == 1 and isinstance(holder, dict):
        holder[rng.choice(("", "a", "Err", "schema", "\0", key.upper(), key.lower()))] = mark
    elif kind == 2:
        other, its = rng.choice(places)
        if isinstance(holder[key], (dict, list)):
            holder[key] = mark
        else:
            holder[key] = other[its] if not isinstance(other[its], (dict, list)) else mark
    elif kind == 3 and isinstance(holder, list):
        holder.append(holder[key] if rng.randrange(2) else mark)
    else:
        holder[key] = mark
    try:
        text = json.dumps(value)
    except (ValueError, RecursionError):
        return raw.encode("utf-8", "surrogatepass")
    text = text.replace(json.dumps(mark), raw)
    if kind == 5 and isinstance(holder, dict) and text.startswith("{") and len(text) > 2:
        text = text[:-1] + f", {json.dumps(str(key))}: {raw}}}"  # a key twice
    return text.encode("utf-8", "surrogatepass")


def _lines(data: bytes, rng: random.Random) -> bytes:
    lines = data.split(b"\n")
    index, other = rng.randrange(len(lines)), rng.randrange(len(lines))
    kind = rng.randrange(5)
    if kind == 0:
        del lines[index]
    elif kind == 1:
        lines.insert(other, lines[index])
    elif kind == 2:
        lines[index], lines[other] = lines[other], lines[index]
    elif kind == 3:
        lines[index] += rng.choice(WORDS)
    else:
        lines = lines * rng.choice((2, 5, 50)) if len(data) < 1000 else lines[: index + 1]
    return b"\n".join(lines)


def _words(data: bytes, rng: random.Random) -> bytes:
    """Put a word into *data*, or in the place of some of it."""
    at = rng.randint(0, len(data))
    end = min(len(data), at + rng.choice((0, 0, 1, 2, 4, 8, 40)))
    return data[:at] + rng.choice(WORDS) + data[end:]


def _tokens(data: bytes, rng: random.Random) -> bytes:
    """Put a word, or another token, in the place of one of the tokens of *data*."""
    found = list(_TOKEN.finditer(data))
    if not found:
        return _words(data, rng)
    one, other = rng.choice(found), rng.choice(found)
    new = other[0] if rng.randrange(4) == 0 else rng.choice(WORDS)
    return data[: one.start()] + new + data[one.end() :]


def _bytes(data: bytes, rng: random.Random) -> bytes:
    if not data:
        return bytes([rng.randrange(256)])
    at = rng.randrange(len(data))
    kind = rng.randrange(4)
    if kind == 0:
        return data[:at]
    if kind == 1:
        return data[:at] + bytes([rng.randrange(256)]) + data[at + 1 :]
    if kind == 2:
        return data[:at] + data[at + rng.randint(1, 16) :]
    size = rng.randint(1, 64)
    return data[:at] + data[at : at + size] + data[at:]
