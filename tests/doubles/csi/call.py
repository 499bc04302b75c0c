"""One call that a driver has been asked: what it may read and change, and how it is refused."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import grpc
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message

from tests.doubles.csi.books import Args, Books
from tests.doubles.csi.settings import Settings

Code = grpc.StatusCode


class Refusal(Exception):
    """An error as the driver answers it."""

    def __init__(self, code: grpc.StatusCode, message: str) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message


class Sin(Refusal):
    """An error that no right caller causes: it is recorded as a fault."""


class Talk:
    """The line to the test that runs the driver, who can have it do something at each moment of a call."""

    def __init__(self, root: Path, rpc: str, node: str) -> None:
        self.root = root
        self.rpc = rpc
        self.node = node
        self.line = self._connect()

    def _connect(self) -> socket.socket | None:
        if not (self.root / "control.sock").exists():
            return None  # nobody is there, as in a benchmark
        line = socket.socket(socket.AF_UNIX)
        line.connect(str(self.root / "control.sock"))
        return line

    def close(self) -> None:
        if self.line:
            self.line.close()

    def at(self, moment: str) -> dict[str, Any]:
        """Tell where the call is; do as told, and return what was told."""
        if self.line is None:
            return {}
        text = json.dumps({"rpc": self.rpc, "node": self.node, "moment": moment}).encode() + b"\n"
        self.line.sendall(text)
        answer = b""
        while not answer.endswith(b"\n"):
            more = self.line.recv(65536)
            if not more and (self.root / "control.sock").exists():
                raise ConnectionError("the line to the test broke")
            if not more:
                return {}  # the test is over
            answer += more
        told: dict[str, Any] = json.loads(answer)
        if told.get("die"):
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(told.get("sleep", 0))  # as the test has it: so slow is this answer
        return told


class Call:
    """A call of *rpc* on the plugin of *node*; `lock` is open while it works on a volume."""

    def __init__(self, root: Path, node: str, rpc: str, request: Message, context: grpc.ServicerContext) -> None:
        self.root = root
        self.node = node
        self.rpc = rpc
        self.args = as_json(request)
        self.context = context
        self.settings = Settings.read(root)
        self.books = Books(root)
        self.talk = Talk(root, rpc, node)
        self.lock = -1

    @property
    def node_id(self) -> str:
        return node_id(self.node)

    def at(self, step: str) -> None:
        """Say that *step* of the work is done: a test can end the process there."""
        told = self.talk.at(step)
        if "fail" in told:
            raise Refusal(Code[told["fail"][0]], told["fail"][1])

    def fault(self, what: str) -> None:
        append(self.root / "faults.jsonl", f"{self.rpc}: {what}")

    @contextlib.contextmanager
    def alone(self, what: str, going: dict[str, grpc.ServicerContext]) -> Iterator[None]:
        """Be the only one at work on *what*: a second is refused, and is a fault while the first caller listens."""
        path = self.root / "locks" / quote(what, safe="")[:200]
        self.lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC)
        try:
            try:
                fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise self._pending(going.get(what)) from None
            going[what] = self.context
            try:
                yield
            finally:
                del going[what]
        finally:
            os.close(self.lock)
            self.lock = -1

    def _pending(self, other: grpc.ServicerContext | None) -> Refusal:
        give_up = time.monotonic() + self.settings.forgiven
        while other and other.is_active() and time.monotonic() < give_up:
            time.sleep(0.01)
        kind = Sin if other and other.is_active() else Refusal
        return kind(Code.ABORTED, "an operation on this volume is pending")


def node_id(node: str) -> str:
    """Return what NodeGetInfo calls the node *node*."""
    return f"{node}.node.example.com/{node.encode().hex()}"


def as_json(message: Message) -> Args:
    found: Args = MessageToDict(message, preserving_proto_field_name=True)
    return found


def append(path: Path, row: Any) -> None:
    """Add a line to a file that several processes write."""
    with path.open("ab") as file:
        file.write(json.dumps(row).encode() + b"\n")
