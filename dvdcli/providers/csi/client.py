"""The one door to a CSI driver: its calls over gRPC, through a unix socket. Source: the specification's "Protocol".

A call has the deadline of the command that it is made for. Where the driver says that another operation is under way,
or that it cannot work just now, the same call is made again, ever later; where nobody listens, for as long as a driver
may just be starting. Secrets are put into requests here and nowhere else.
"""

from __future__ import annotations

import _socket
import errno
import os
import sys

from dvdcli import clock, output
from dvdcli.errors import DvdcliError, TryAgainError, one_line
from dvdcli.providers.csi import threads
from dvdcli.providers.csi.errors import AGAIN, from_status

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any

    from dvdcli.clock import Deadline
    from dvdcli.providers.csi.secrets import Secrets

_SHORTEST, _LONGEST = 0.05, 2.0  # seconds between two attempts
_GREETING = 0.5  # seconds that the other end is given to show that it speaks gRPC
_SETTINGS, _FRAME = 4, 9  # HTTP/2: a frame's type, and the bytes in front of it
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, _SETTINGS, 0, 0, 0, 0, 0))
_LAST = 0.01  # seconds before our deadline in which it is ours that has passed, not one of the driver's
_NEEDED = ("google.protobuf", "grpc")
_LARGEST = 16 << 20  # bytes of an answer
_OPTIONS = (
    ("grpc.default_authority", "localhost"),  # by itself it is the socket's path, which servers in Go refuse
    ("grpc.enable_http_proxy", 0),
    ("grpc.use_local_subchannel_pool", 1),  # a connection that failed is not remembered
    ("grpc.max_receive_message_length", _LARGEST),
)


def grpc_modules() -> tuple[ModuleType, ModuleType]:
    """Return grpc and the messages of csi.proto. Raises DvdcliError where they are not installed."""
    os.environ["GRPC_VERBOSITY"] = "NONE"  # its log would be in the way of the answer on stdout's neighbour
    os.environ.pop("GRPC_TRACE", None)
    try:
        for module in _NEEDED:
            __import__(module)
    except ImportError:
        _add_site_packages()
    try:
        import grpc

        from dvdcli.providers.csi import csi_pb2
    except ImportError as error:
        missing = error.name or str(error)
        hint = "pip install 'dvdcli[csi]', or apt install python3-grpcio python3-protobuf"
        raise DvdcliError(f"CSI drivers need the Python module {missing}, which is not installed", hint) from error
    return grpc, csi_pb2


def _add_site_packages() -> None:
    """Let what the distribution has of grpc be found: we run without Python's site module."""
    import site

    sys.path += [path for path in site.getsitepackages() if path not in sys.path and os.path.isdir(path)]


class Client:
    """The calls to the socket at *path* of the *driver*.

    `patience` is how many seconds long nobody has to listen there.
    """

    def __init__(self, driver: str, path: str, secrets: Secrets, deadline: Deadline) -> None:
        self.path = path
        self.patience = 0.0
        self._driver = driver
        self._secrets = secrets
        self._deadline = deadline
        self._channel: Any = None

    def close(self) -> None:
        """Let go of the connection, in a process that goes on. One that ends does not wait for gRPC's threads."""
        channel, self._channel = self._channel, None
        if channel is not None:
            channel.close()

    def call(self, name: str, what: str = "", absent: frozenset[str] = frozenset(), /, **fields: Any) -> Any:
        """Return the answer to the call *name* with *fields*; None where the status is one of *absent*.

        *what* it is about, for people. Raises DvdcliError, as errors.py has it.
        """
        grpc, messages = grpc_modules()
        request, path, parse = self._prepared(messages, name, fields)
        output.debug(f"{self.path} {name} {what}")
        pause, patience = _SHORTEST, self._deadline.sooner(self.patience)
        while True:
            self._connect(grpc, patience)
            if not self._deadline.left():
                raise self._late(name, what)
            try:
                send = self._channel.unary_unary(path, type(request).SerializeToString, parse)
                return send(request, timeout=self._deadline.left())
            except grpc.RpcError as error:
                code, left = error.code().name, self._deadline.left()
                if code in absent:
                    return None
                # A status that grpc itself made looks like one that was sent.
                answered = self._speaks() if code == "UNAVAILABLE" else left > _LAST
                failure = self._failure(name, what, code, error.details() or "", answered)
            if code not in AGAIN or (name == "ListVolumes" and code == "ABORTED"):
                raise failure
            if not answered:
                self._channel = None
            if (self._deadline if answered else patience).left() <= pause:
                raise failure
            clock.sleep(pause)
            pause = min(pause * 2, _LONGEST)

    def _prepared(self, messages: ModuleType, name: str, fields: dict[str, Any]) -> tuple[Any, str, Any]:
        for service in messages.DESCRIPTOR.services_by_name.values():
            if name in service.methods_by_name:
                method = service.methods_by_name[name]
                request = getattr(messages, method.input_type.name)(**fields)
                if "secrets" in method.input_type.fields_by_name:
                    request.secrets.update(self._secrets.of(name))
                return request, f"/{service.full_name}/{name}", getattr(messages, method.output_type.name).FromString
        raise AssertionError(f"csi.proto has no call {name}")

    def _connect(self, grpc: ModuleType, patience: Deadline) -> None:
        if self._channel is not None:
            return
        pause = _SHORTEST
        while True:
            failure = self._unreachable()
            if failure is None:
                break
            if not isinstance(failure, TryAgainError) or min(patience.left(), self._deadline.left()) <= pause:
                raise failure
            clock.sleep(pause)
            pause = min(pause * 2, 1.0)
        threads.check()
        self._channel = grpc.insecure_channel(f"unix:{self.path}", _OPTIONS)

    def _unreachable(self) -> DvdcliError | None:
        """Return why nobody can be reached at the socket; None where somebody listens: grpc itself tells too little."""
        connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
        try:
            connection.settimeout(max(0.001, min(5.0, self._deadline.left())))
            connection.connect(self.path)
        except OSError as error:
            what = f"the driver {self._driver} cannot be reached at {self.path}: {error.strerror or error}"
            if error.errno in (errno.EACCES, errno.EPERM):
                return DvdcliError(what, "run dvdcli as root, or see the socket's modes")
            return TryAgainError(what, "see that the driver runs, and that its socket is there")
        finally:
            connection.close()
        return None

    def _speaks(self) -> bool:
        """Return whether the other end speaks HTTP/2 at this moment: it answers our preface with its settings.

        Source: RFC 9113, 3.4 and 4.1.
        """
        connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
        told = b""
        try:
            connection.settimeout(max(0.001, min(_GREETING, self._deadline.left())))
            connection.connect(self.path)
            connection.sendall(_PREFACE)
            while len(told) < _FRAME:
                more = connection.recv(_FRAME - len(told))
                if not more:
                    return False
                told += more
        except OSError:
            return False
        finally:
            connection.close()
        return told[3] == _SETTINGS

    def _failure(self, name: str, what: str, code: str, words: str, answered: bool) -> DvdcliError:
        said = one_line(self._secrets.masked(words))
        if code == "UNAVAILABLE" and not answered:
            return TryAgainError(
                f"the driver {self._driver}: what listens at {self.path} does not answer {name} as gRPC does: {said}",
                "see that it is a CSI driver's socket, and the driver's log",
            )
        if code == "DEADLINE_EXCEEDED" and not answered:
            return self._late(name, what)
        return from_status(self._driver, name, what or "its service", code, said)

    def _late(self, name: str, what: str) -> DvdcliError:
        waited = f"{self._deadline.seconds:.0f} s" if self._deadline.seconds >= 1 else "that time"
        about = f" of {what}" if what else ""
        return TryAgainError(
            f"the driver {self._driver} did not answer {name}{about} within {waited}",
            "try again: it can still be at work; its log says more",
        )
