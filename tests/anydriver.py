"""A gRPC server on a unix socket that answers any call of the specification as a test says: for the client's tests."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc

from dvdcli.providers.csi import csi_pb2 as pb

Answer = Callable[[grpc.ServicerContext], bytes]


def fail(code: str, words: str = "so it is") -> Answer:
    """Answer with a status."""

    def act(context: grpc.ServicerContext) -> bytes:
        context.abort(grpc.StatusCode[code], words)
        raise AssertionError("abort raises")

    return act


def say(message: Any) -> Answer:
    """Answer with a message, or with bytes that may be none."""
    data = message if isinstance(message, bytes) else message.SerializeToString()
    return lambda context: data


class AnyDriver(grpc.GenericRpcHandler):
    """`next` has the answers to come of each call, `always` that of the rest, by default an empty message."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.next: dict[str, deque[Answer]] = {}
        self.always: dict[str, Answer] = {}
        self.calls: list[tuple[str, bytes]] = []
        self.left: list[float] = []  # seconds to each call's deadline
        self.authorities: list[str] = []
        self.stopped = threading.Event()
        self._pool = ThreadPoolExecutor(8)
        self._server = grpc.server(self._pool, (self,), options=[("grpc.max_send_message_length", -1)])
        assert self._server.add_insecure_port(f"unix:{path}")
        self._server.start()

    def then(self, call: str, *answers: Answer) -> None:
        self.next.setdefault(call, deque()).extend(answers)

    def names(self) -> list[str]:
        return [name for name, _ in self.calls]

    def requests(self, call: str) -> list[Any]:
        return [getattr(pb, f"{call}Request").FromString(data) for name, data in self.calls if name == call]

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        service, _, call = details.method.rpartition("/")
        if not service.startswith("/csi.v1."):
            return None

        def handle(request: bytes, context: grpc.ServicerContext) -> bytes:
            self.calls.append((call, request))
            self.left.append(context.time_remaining())
            queue = self.next.get(call)
            act = queue.popleft() if queue else self.always.get(call, lambda context: b"")
            return act(context)

        return grpc.unary_unary_rpc_method_handler(handle)

    def hang(self, context: grpc.ServicerContext) -> bytes:
        """Answer nothing until the caller has gone."""
        give_up = time.monotonic() + 60
        while context.is_active() and not self.stopped.is_set() and time.monotonic() < give_up:
            self.stopped.wait(0.02)
        return b""

    def close(self) -> None:
        self.stopped.set()
        self._server.stop(0).wait(10)
        self._pool.shutdown()
