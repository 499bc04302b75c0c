"""A walk over the lines of a provider: a call runs in a forked process, which ends before one of them as if by SIGKILL.

None of Python's clearing up happens there: no except, no finally. What the call had noted is in a file.
"""

from __future__ import annotations

import json
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import FrameType
from typing import Any

from dvdcli.testing.calls import Calls, Note

_DONE, _FAILED, _KILLED = 0, 1, 99  # exit codes
Line = tuple[str, int]  # a source file, and a line in it
Act = Callable[[str, Note], object]


class Walk:
    """Calls killed before the lines of a provider's source, in processes of their own; *root* is for their notes."""

    def __init__(self, calls: Calls, root: Path) -> None:
        self.calls = calls
        self.note, self.lines, self.said = root / "note", root / "lines", root / "said"
        self.sources = calls.subject.sources()

    def each(self, label: str, before: Callable[[str], Mapping[str, Any]], act: Act, ways: int) -> Iterator[
        tuple[str, dict[str, Any], int]
    ]:
        """Yield each volume on which *act* was killed, the handle that is durable then, and which way to go on.

        *label* begins the volumes' names; *before* makes one ready and returns the handle on record; there are *ways*
        to go on, from 0. The last kill is when *act* has just returned, and nobody has heard of it.
        """
        first = f"{label}-whole"
        handle = dict(before(first))
        self._run(first, handle, act, None)
        lines: list[Line | None] = [(str(file), int(line)) for file, line in json.loads(self.lines.read_text())]
        assert lines, f"the call comes by none of the lines in {sorted(self.sources)}"
        yield first, self._durable(handle), 0
        points = [(line, way) for way in range(ways) for line in [*lines, None]]
        most = self.calls.subject.most_kills
        chosen = [points[index * len(points) // most] for index in range(most)] if len(points) > most else points
        for number, (line, way) in enumerate(chosen):
            name = f"{label}{number}"
            handle = dict(before(name))
            self._run(name, handle, act, line)
            yield name, self._durable(handle), way

    def _durable(self, handle: dict[str, Any]) -> dict[str, Any]:
        try:
            durable: dict[str, Any] = json.loads(self.note.read_text())
        except FileNotFoundError:
            return handle
        return durable

    def _run(self, name: str, handle: dict[str, Any], act: Act, end: Line | None) -> None:
        """Run *act* in a process that ends before the line *end*, if it comes there."""
        for path in (self.note, self.said):
            path.unlink(missing_ok=True)
        pid = os.fork()
        if pid == 0:
            code = _FAILED
            try:
                note = FileNote(handle, self.note)
                self.lines.write_text(json.dumps(self._traced(end, lambda: act(name, note))))
                code = _DONE
            except BaseException:
                self.said.write_text(traceback.format_exc())
            finally:
                os._exit(code)
        status = _wait(pid, self.calls.subject.budget + self.calls.subject.slack)
        said = self.said.read_text() if self.said.exists() else f"status {status}"
        assert os.waitstatus_to_exitcode(status) in (_DONE, _KILLED), f"a call in a process of its own failed: {said}"
        self.calls.subject.settle()

    def _traced(self, end: Line | None, run: Callable[[], object]) -> list[Line]:
        lines: dict[Line, None] = {}

        def trace(frame: FrameType, event: str, _: object) -> Any:
            file = frame.f_code.co_filename
            if file not in self.sources:
                return None
            if event == "line":
                line = (file, frame.f_lineno)
                if line == end:
                    os._exit(_KILLED)
                lines.setdefault(line)
            return trace

        sys.settrace(trace)
        try:
            run()
        finally:
            sys.settrace(None)
        return list(lines)


class FileNote(Note):
    """A note that outlives its process, in the file *path*."""

    def __init__(self, durable: Mapping[str, Any], path: Path) -> None:
        super().__init__(durable)
        self.path = path

    def __call__(self, handle: Mapping[str, Any]) -> None:
        """Make *handle* durable in the file."""
        super().__call__(handle)
        new = self.path.with_suffix(".new")
        new.write_text(json.dumps(self.durable))
        new.rename(self.path)


def _wait(pid: int, seconds: float) -> int:
    end = time.monotonic() + seconds
    while True:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return status
        if time.monotonic() > end:
            os.kill(pid, 9)
            os.waitpid(pid, 0)
            raise AssertionError(f"a call in a process of its own has not ended after {seconds} s")
        time.sleep(0.001)
