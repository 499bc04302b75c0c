"""A finding: what an input made a target do, by which two of the same cause are told; and the least of it that does so."""

from __future__ import annotations

import traceback
from collections.abc import Callable


def finding(one_input: Callable[[bytes], None], data: bytes) -> str:
    """Return what *data* makes of the target: the exception, and where in the code; "" where all is well."""
    try:
        one_input(data)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # whatever it is, it is what we look for
        frames = traceback.extract_tb(error.__traceback__)
        ours = [frame for frame in frames if "/dvdcli/" in frame.filename or "/tests/fuzz/" in frame.filename]
        frame = ours[-1] if ours else frames[-1]
        ends = frame.filename.rpartition("/dvdcli/")[2].rpartition("/tests/")[2]
        inner = next((each for each in reversed(frames) if "/dvdcli/" in each.filename), frame)
        via = f" by {inner.filename.rpartition('/dvdcli/')[2]}:{inner.lineno}" if inner is not frame else ""
        return f"{type(error).__name__} in {ends}:{frame.lineno}{via}"
    return ""


def smallest(one_input: Callable[[bytes], None], data: bytes, tries: int = 400) -> bytes:
    """Return a part of *data* that makes the same finding: pieces are left out, of half its size down to a byte."""
    wanted = finding(one_input, data)
    size = max(1, len(data) // 2)
    while size and tries > 0:
        at = 0
        while at < len(data) and tries > 0:
            shorter = data[:at] + data[at + size :]
            tries -= 1
            if finding(one_input, shorter) == wanted:
                data = shorter
            else:
                at += size
        size //= 2
    return data
