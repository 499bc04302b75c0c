"""The one door to HTTP on the hook's way: a request over a unix socket, TCP or TLS, within a deadline.

HTTP/1.1 as RFC 9112 has it, one connection a request: what plugins get wrong with idle connections cannot hurt.
Written on `_socket`: http.client costs three interpreter starts, socket one.
"""

from __future__ import annotations

import _socket

from dvdcli.errors import DvdcliError, TryAgainError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from dvdcli.clock import Deadline

_LONGEST_HEAD = 64 * 1024
_LONGEST_BODY = 16 * 1024 * 1024


class NotSentError(TryAgainError):
    """The request did not reach the other side whole: it can be sent again without being carried out twice."""


class Tls:
    """How to speak TLS: paths of PEM files, "" for none. *insecure* means that the other side is not verified."""

    __slots__ = ("ca_file", "cert_file", "insecure", "key_file")

    def __init__(self, ca_file: str = "", cert_file: str = "", key_file: str = "", insecure: bool = False) -> None:
        self.ca_file = ca_file
        self.cert_file = cert_file
        self.key_file = key_file
        self.insecure = insecure


class Address:
    """Where a server listens: `unix:///path`, `tcp://host:port`, `http://host:port` or `https://host:port`.

    A tcp address with *tls* files is spoken to in TLS. Raises UsageError for any other *url*.
    """

    __slots__ = ("host", "path", "port", "tls", "url")

    def __init__(self, url: str, tls: Tls | None = None) -> None:
        self.url = url
        self.path = self.host = ""
        self.port = 0
        scheme, separator, rest = url.partition("://")
        separator = separator if url.isprintable() else ""  # no NUL, no half of a character: no path and no host has
        if separator and scheme == "unix" and rest.startswith("/"):
            self.path, self.tls = rest, None
            return
        host, colon, port = rest.rstrip("/").rpartition(":")
        if not colon and scheme in ("http", "https"):
            host, port = rest.rstrip("/"), "443" if scheme == "https" else "80"
        is_port = port.isascii() and port.isdigit() and len(port) < 6 and 0 < int(port) < 65536
        usable = host and is_port and "/" not in host
        if not separator or scheme not in ("tcp", "http", "https") or not usable:
            raise UsageError(f"{url[:200]!a} is no address of a plugin", "use unix:///path, tcp://host:port or https://host:port")
        self.host, self.port = host.strip("[]"), int(port)
        self.tls = tls or Tls() if scheme == "https" else tls


class Reply:
    """What came back: the *status* and the *body*."""

    __slots__ = ("body", "status")

    def __init__(self, status: int, body: bytes) -> None:
        self.status = status
        self.body = body


def request(
    address: Address, method: str, path: str, body: bytes, deadline: Deadline, accept: str = "application/json",
    headers: tuple[str, ...] = (),
) -> Reply:  # fmt: skip
    """Send one request, with *headers* ("Name: value") besides the usual ones, and return the reply.

    Raises NotSentError where it certainly was not carried out, TryAgainError where the reply was lost or late, and
    DvdcliError for what is no HTTP.
    """
    connection = _connect(address, deadline)
    try:
        head = (
            f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nUser-Agent: dvdcli\r\nAccept: {accept}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\nConnection: close\r\n"
        )
        head += "".join(f"{header}\r\n" for header in headers) + "\r\n"
        _send(connection, head.encode() + body, address, deadline)
        return _Reader(connection, address, deadline).reply()
    finally:
        connection.close()


def _connect(address: Address, deadline: Deadline) -> Any:
    if address.path:
        connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
        return _open(connection, address.path, address, deadline)
    if address.tls is not None:
        return _open_tls(address, address.tls, deadline)
    return _open_any(_socket.socket, address, deadline)


def _open_any(kind_of_socket: Any, address: Address, deadline: Deadline) -> Any:
    """Connect to the first of the host's addresses that takes the connection."""
    try:
        # As bytes: a str would be encoded by the idna codec, which costs imports and raises errors of its own.
        targets = _socket.getaddrinfo(address.host.encode(), address.port, 0, _socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise NotSentError(f"{address.url}: {error}") from error
    failure = NotSentError(f"{address.url} has no address")
    for family, kind, protocol, _, target in targets:
        try:
            return _open(kind_of_socket(family, kind, protocol), target, address, deadline)
        except NotSentError as error:
            failure = error
    raise failure


def _open(connection: Any, target: Any, address: Address, deadline: Deadline) -> Any:
    try:
        connection.settimeout(_patience(address, deadline))
        connection.connect(target)
    except TimeoutError as error:
        connection.close()
        raise NotSentError(f"{address.url} did not take the connection in time") from error
    except PermissionError as error:
        connection.close()
        raise DvdcliError(f"{address.url}: {error.strerror}", "run dvdcli as root") from error
    except OSError as error:
        connection.close()
        raise NotSentError(f"{address.url}: {error.strerror or error}") from error
    except BaseException:
        connection.close()
        raise
    return connection


def _open_tls(address: Address, tls: Tls, deadline: Deadline) -> Any:
    import socket
    import ssl

    try:
        context = ssl.create_default_context(cafile=tls.ca_file or None)
        if tls.insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if tls.cert_file:
            # With a password, if an empty one: without, OpenSSL asks whoever sits at the terminal for one, and waits.
            context.load_cert_chain(tls.cert_file, tls.key_file or None, password="")  # nosec B106
    except (OSError, ValueError) as error:  # ValueError: a NUL in a path
        named = ", ".join(path for path in (tls.ca_file, tls.cert_file, tls.key_file) if path)
        why = getattr(error, "strerror", None) or error
        fault = f"{address.url}: a TLS file cannot be used: {named}: {why}"
        raise DvdcliError(fault, "see its path and mode") from error
    plain = _open_any(socket.socket, address, deadline)
    try:
        return context.wrap_socket(plain, server_hostname=address.host)
    except ssl.SSLCertVerificationError as error:
        plain.close()
        raise DvdcliError(
            f"{address.url} cannot be trusted: {error.verify_message}", "name the CA that signed its certificate"
        ) from error
    except (OSError, ValueError) as error:  # ValueError: a host that no certificate can name
        plain.close()
        raise NotSentError(f"{address.url}: no TLS connection: {error}") from error


def _patience(address: Address, deadline: Deadline) -> float:
    left = deadline.left()
    if left <= 0:
        raise TryAgainError(f"{address.url} did not answer within {deadline.seconds:.0f} s", "try again later")
    return left


def _send(connection: Any, data: bytes, address: Address, deadline: Deadline) -> None:
    view = memoryview(data)
    while view:
        try:
            connection.settimeout(_patience(address, deadline))
            view = view[connection.send(view) :]
        except TimeoutError as error:
            raise NotSentError(f"{address.url} does not read requests") from error
        except OSError as error:
            raise NotSentError(f"{address.url}: {error.strerror or error}") from error


class _Reader:
    """Reads one reply, however it is cut into pieces."""

    def __init__(self, connection: Any, address: Address, deadline: Deadline) -> None:
        self._connection = connection
        self._address = address
        self._deadline = deadline
        self._buffer = bytearray()

    def reply(self) -> Reply:
        status, headers = self._head()
        while 100 <= status < 200:
            status, headers = self._head()
        if "chunked" in headers.get("transfer-encoding", "").lower():
            body = self._chunks()
        elif "content-length" in headers:
            body = self._exactly(self._number(headers["content-length"], 10))
        else:
            body = self._rest()
        return Reply(status, body)

    def _head(self) -> tuple[int, dict[str, str]]:
        line = self._line()
        version, _, rest = line.partition(" ")
        status = rest[:3]
        if not version.startswith("HTTP/") or not (status.isascii() and status.isdigit() and len(status) == 3):
            raise self._junk()
        headers: dict[str, str] = {}
        size = 0
        while line := self._line():
            size += len(line)
            if size > _LONGEST_HEAD:
                raise self._junk()
            key, _, value = line.partition(":")
            headers[key.strip().lower()] = value.strip()
        return int(status), headers

    def _line(self) -> str:
        while (end := self._buffer.find(b"\n")) < 0:
            if len(self._buffer) > _LONGEST_HEAD:
                raise self._junk()
            self._more()
        line = bytes(self._buffer[:end]).decode("latin-1").rstrip("\r")
        del self._buffer[: end + 1]
        return line

    def _exactly(self, size: int) -> bytes:
        if size > _LONGEST_BODY:
            raise self._junk()
        while len(self._buffer) < size:
            self._more()
        data = bytes(self._buffer[:size])
        del self._buffer[:size]
        return data

    def _chunks(self) -> bytes:
        body = bytearray()
        while size := self._number(self._line().partition(";")[0], 16):
            body += self._exactly(size)
            if self._line() or len(body) > _LONGEST_BODY:
                raise self._junk()
        while self._line():
            pass
        return bytes(body)

    def _rest(self) -> bytes:
        while self._receive():
            if len(self._buffer) > _LONGEST_BODY:
                raise self._junk()
        return bytes(self._buffer)

    def _number(self, text: str, base: int) -> int:
        digits = text.strip().lower()
        if not digits or digits.strip("0123456789abcdef"):
            raise self._junk()
        try:
            return int(digits, base)
        except ValueError:
            raise self._junk() from None

    def _more(self) -> None:
        if not self._receive():
            raise TryAgainError(f"{self._address.url} closed the connection in the middle of its reply")

    def _receive(self) -> bool:
        try:
            self._connection.settimeout(_patience(self._address, self._deadline))
            data = self._connection.recv(65536)
        except TimeoutError:
            _patience(self._address, self._deadline)
            raise TryAgainError(f"{self._address.url} did not answer in time") from None
        except OSError as error:
            raise TryAgainError(f"{self._address.url} dropped the connection: {error.strerror or error}") from error
        self._buffer += data
        return bool(data)

    def _junk(self) -> DvdcliError:
        return DvdcliError(f"{self._address.url} answered something that is no HTTP reply", "see what listens there")
