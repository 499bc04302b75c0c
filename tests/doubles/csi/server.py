"""A driver's process: the services on a Unix socket, each call checked, recorded and carried out."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
from google.protobuf.json_format import ParseDict
from google.protobuf.message import Message

from dvdcli.providers.csi import csi_pb2 as pb
from tests.doubles.csi import controller, fields, identity, node
from tests.doubles.csi.books import Books
from tests.doubles.csi.call import Call, Code, Refusal, Sin, append
from tests.doubles.csi.settings import Settings

SERVICES: dict[str, dict[str, Callable[[Call, Any], Message]]] = {
    "Identity": identity.RPCS,
    "Controller": controller.RPCS,
    "Node": node.RPCS,
}
AT_ONCE = 32
FENCE = "/dvdcli.testing.Fence/Wait"


class Threads(ThreadPoolExecutor):
    """What calls are carried out by, which can be waited for."""

    def __init__(self) -> None:
        super().__init__(AT_ONCE)
        self.at_work = 0
        self.changed = threading.Condition()

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        with self.changed:
            self.at_work += 1
        future = super().submit(fn, *args, **kwargs)
        future.add_done_callback(lambda future: self._done())
        return future

    def _done(self) -> None:
        with self.changed:
            self.at_work -= 1
            self.changed.notify_all()

    def wait_for_others(self) -> None:
        """Wait until the calling thread is the only one at work."""
        with self.changed:
            self.changed.wait_for(lambda: self.at_work == 1)


class Services(grpc.GenericRpcHandler):  # type: ignore[misc, unused-ignore]
    """The services *served*, of a node or, without a *node*, of a controller alone, carried out by *threads*."""

    def __init__(self, root: Path, name: str, served: list[str], threads: Threads) -> None:
        self.root = root
        self.name = name
        self.served = served
        self.threads = threads
        self.going: dict[str, grpc.ServicerContext] = {}

    def service(self, details: Any) -> grpc.RpcMethodHandler | None:
        if details.method == FENCE:
            return grpc.unary_unary_rpc_method_handler(lambda request, context: self._fence())
        package, _, rpc = details.method.lstrip("/").rpartition("/")
        found = SERVICES.get(package.removeprefix("csi.v1."), {}).get(rpc)
        if found is None or package.removeprefix("csi.v1.") not in self.served:
            append(self.root / "faults.jsonl", f"{details.method} is not served here")
            return None
        return grpc.unary_unary_rpc_method_handler(
            lambda request, context: self.answer(rpc, found, request, context),
            request_deserializer=getattr(pb, f"{rpc}Request").FromString,
            response_serializer=lambda message: message.SerializeToString(),
        )

    def _fence(self) -> bytes:
        self.threads.wait_for_others()
        return b""

    def answer(self, rpc: str, act: Callable[[Call, Any], Message], request: Any, context: Any) -> Message:
        call = Call(self.root, self.name, rpc, request, context)
        try:
            self._record(call)
            return self._carry_out(call, act, request)
        except Refusal as error:
            if isinstance(error, Sin):
                call.fault(error.message)
            context.abort(error.code, error.message)
            raise
        except Exception as error:
            call.fault(f"the double failed: {type(error).__name__}: {error}")
            raise
        finally:
            call.talk.close()

    def _record(self, call: Call) -> None:
        args = dict(call.args)
        if "secrets" in args:
            args["secrets"] = sorted(args["secrets"])
        append(self.root / "calls.jsonl", {"rpc": call.rpc, "node": call.node, "request": args})

    def _carry_out(self, call: Call, act: Callable[[Call, Any], Message], request: Message) -> Message:
        with contextlib.ExitStack() as stack:
            _check_capabilities(call)
            fields.check(call, request)
            what = call.args.get("volume_id") or call.args.get("name")
            if what:
                side = call.node if call.rpc.startswith("Node") else "controller"
                stack.enter_context(call.alone(f"{side} {what}", self.going))
            told = call.talk.at("before")
            _wait(call, told)
            if "fail" in told:
                raise Refusal(Code[told["fail"][0]], told["fail"][1])
            if "answer" in told:
                return _answer(call, told)
            result: Message | Refusal
            try:
                result = act(call, request)
            except Refusal as error:
                result = error
        told = call.talk.at("after")
        _wait(call, told)
        if isinstance(result, Refusal):
            raise result
        if "fail" in told:
            raise Refusal(Code[told["fail"][0]], told["fail"][1])
        return _answer(call, told) if "answer" in told else result


def _check_capabilities(call: Call) -> None:
    """Refuse what the driver has said that it cannot."""
    if call.rpc in controller.RPCS and "CONTROLLER_SERVICE" not in call.settings.plugin:
        raise Sin(Code.UNIMPLEMENTED, "there is no controller service")
    for needs, capabilities in (
        (controller.NEEDS, call.settings.controller),
        (node.NEEDS, call.settings.node),
    ):
        if needs.get(call.rpc, "") not in ("", *capabilities):
            raise Sin(Code.UNIMPLEMENTED, f"there is no {needs[call.rpc]} here")


def _answer(call: Call, told: dict[str, Any]) -> Message:
    found: Message = ParseDict(told["answer"], getattr(pb, f"{call.rpc}Response")())
    return found


def _wait(call: Call, told: dict[str, Any]) -> None:
    """Answer nothing, where so told, for as long as somebody listens."""
    while told.get("hang") and call.context.is_active():
        time.sleep(0.02)
    if told.get("hang"):
        raise Refusal(Code.CANCELLED, "nobody listens any more")


def settle(path: str) -> None:
    """Return when all is carried out that was sent to us by callers whose connections have ended.

    gRPC hands on what it has read in the order in which it has read it: so what comes before a call that we make
    ourselves, and is answered when it is alone, has been carried out.
    """
    with grpc.insecure_channel(f"unix:{path}") as channel:
        channel.unary_unary(FENCE)(b"", timeout=60)


def main() -> int:
    """Serve: ROOT NAME SOCKET SERVICE..., until stdin ends, which is when whoever started it is gone.

    Each line of stdin asks to settle(), and is answered when that is done.
    """
    root, name, path, *served = sys.argv[1:]
    Path(path).unlink(missing_ok=True)
    if Settings.read(Path(root)).forgets and name in Books(Path(root)).nodes():
        Books(Path(root)).forget_node(name)
    threads = Threads()
    server = grpc.server(threads, options=[("grpc.max_receive_message_length", 1 << 22)])
    server.add_generic_rpc_handlers((Services(Path(root), name, served, threads),))
    server.add_insecure_port(f"unix:{path}")
    server.start()
    print("ready", flush=True)
    for _ in sys.stdin:
        settle(path)
        print("settled", flush=True)
    server.stop(None)
    return 0
