"""The one door to a ScaleIO gateway: its REST API over HTTPS, with requests, in both ways to log in.

Source: the "VxFlex OS REST API Reference Guide" (2.x and 3.x) and the PowerFlex REST API (4.x). Numbers and booleans
are strings there, and what is not there can be null.
"""

from __future__ import annotations

import os

from dvdcli import bounded, clock, fastjson, output, private
from dvdcli.errors import LONGEST_SAYING, DvdcliError, TryAgainError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

    from dvdcli.clock import Deadline

PASSWORD = "DVDCLI_SCALEIO_PASSWORD"  # noqa: S105 - the variable's name
_ANSWER = 30.0  # seconds that one answer may take
_CONNECT = 5.0
_LEAVING = 3.0  # seconds that a logout may take, whatever the call itself had left
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 5.0  # seconds, doubled in between
_BUSY = frozenset((502, 503, 504))  # a gateway that has just lost its MDM

NOT_FOUND = frozenset((78, 79))
ALREADY_MAPPED = frozenset((81, 4037))
NOT_MAPPED = frozenset((84, 4039))


class GatewayError(DvdcliError):
    """The gateway refused: *api_code* is its own number for why, 0 where it gave none."""

    def __init__(self, what: str, status: int, api_code: int, message: str) -> None:
        number = f", error {api_code}" if api_code else ""
        super().__init__(f"the gateway refused {what}: {message or 'it does not say why'} (status {status}{number})")
        self.api_code = api_code
        self.status = status


class _NotSentError(TryAgainError):
    """The request certainly was not carried out."""


class Gateway:
    """A session with the gateway that *settings* name: endpoint, user, password_file, ca_file, insecure.

    It logs in when something is first asked, and again when the token has expired; `close` logs out. Every call ends by
    the *deadline*. Raises UsageError for settings that cannot be used, DvdcliError.
    """

    def __init__(self, driver: str, settings: Mapping[str, Any], deadline: Deadline) -> None:
        self._driver = driver
        self._settings = settings
        self._deadline = deadline
        self._session: Any = None
        self._authorization = ""
        self._way_out: tuple[str, str, dict[str, str] | None] | None = None  # method, URL and body of the logout

    @property
    def _endpoint(self) -> str:
        endpoint = str(self._settings.get("endpoint", "")).rstrip("/")
        if not endpoint.startswith("https://") or not self._settings.get("user"):
            raise UsageError(
                f"[drivers.{self._driver}] has no endpoint and user", 'endpoint = "https://…", user, password_file'
            )
        return endpoint.removesuffix("/api")

    def settings_faults(self) -> Iterator[tuple[str, DvdcliError]]:
        """Return what a login needs and the settings have not, each with its setting; nothing is sent."""
        try:
            _ = self._endpoint
        except DvdcliError as error:
            yield "endpoint", error
        try:
            self._password()
        except DvdcliError as error:
            yield "password_file", error

    def get(self, path: str) -> Any:
        """Return what GET *path* (such as "types/System/instances") answers."""
        return self._ask("GET", path, None, again=True)

    def post(self, path: str, body: Mapping[str, Any], again: bool = True) -> Any:
        """Return what POST *path* answers. With *again* a lost answer is asked for again: twice is once there."""
        return self._ask("POST", path, body, again)

    def close(self) -> None:
        """Log out, where we are in; nothing fails for that."""
        if self._way_out is not None:
            self._deadline = clock.Deadline(_LEAVING)
            try:
                self._once(*self._way_out)
            except DvdcliError as error:
                output.debug(f"logout: {error}")
        self._authorization, self._way_out = "", None
        if self._session is not None:
            self._session.close()
            self._session = None

    def version(self) -> tuple[int, ...]:
        """Return the gateway's version, such as (3, 6)."""
        return _numbers(self.get("version"))

    def _ask(self, method: str, path: str, body: Mapping[str, Any] | None, again: bool) -> Any:
        fresh = not self._authorization
        if fresh:
            self._log_in()
        url = f"{self._endpoint}/api/{path}"
        reply = self._patiently(method, url, body, again)
        if reply.status_code in (401, 403) and not fresh:
            self._log_in()
            reply = self._patiently(method, url, body, again)
        return _answer(reply, f"{method} {path}")

    def _log_in(self) -> None:
        """Log in by the way of 2.x to 4.x, else by that of 4.x alone. Raises DvdcliError for a wrong password."""
        endpoint = self._endpoint
        user, password = str(self._settings["user"]), self._password()
        reply = self._patiently("GET", f"{endpoint}/api/login", None, True, (user, password))
        if reply.status_code == 200:
            token = _json(reply)
            if not _is_word(token):
                raise DvdcliError(f"{endpoint} answered its login with no token", "see what listens there")
            self._authorization, self._way_out = _basic("", token), ("GET", f"{endpoint}/api/logout", None)
            return
        body = {"username": user, "password": password}
        newer = self._patiently("POST", f"{endpoint}/rest/auth/login", body, True)
        told = _json(newer) if newer.status_code == 200 else None
        told = told if isinstance(told, dict) else {}
        token, refresh = told.get("access_token"), told.get("refresh_token")
        if _is_word(token):
            self._authorization, self._way_out = f"Bearer {token}", None
            if refresh:
                self._way_out = "POST", f"{endpoint}/rest/auth/logout", {"refresh_token": str(refresh)}
            return
        if reply.status_code in (401, 403):
            raise DvdcliError(f"{endpoint} refuses the user {user!r}", "see user and password_file")
        raise DvdcliError(f"{endpoint} answered its login with status {reply.status_code}", "see that gateway")

    def _password(self) -> str:
        path = str(self._settings.get("password_file", ""))
        if not path:
            password = os.environ.get(PASSWORD, "")
            if not password:
                raise UsageError(f"[drivers.{self._driver}] has no password_file", f"name one, or set {PASSWORD}")
            return password
        return private.first_line(path, "password_file")

    def _patiently(
        self, method: str, url: str, body: Mapping[str, Any] | None, again: bool, login: tuple[str, str] | None = None
    ) -> Any:
        """Send a request until it is answered, while the gateway is busy or cannot be reached; *again* as in `post`."""
        pause = _FIRST_PAUSE
        while True:
            failure: TryAgainError
            try:
                reply = self._once(method, url, body, login)
                if reply.status_code not in _BUSY:
                    return reply
                failure = TryAgainError(f"{url} is not available (status {reply.status_code})", "try again later")
            except _NotSentError as error:
                failure = error
            except TryAgainError as error:
                if not again:
                    raise
                failure = error
            if self._deadline.left() <= pause:
                raise failure
            output.debug(f"{failure.message}; once more")
            clock.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)

    def _once(
        self, method: str, url: str, body: Mapping[str, Any] | None, login: tuple[str, str] | None = None
    ) -> Any:
        import requests

        if self._session is None:
            self._session = bounded.session()
            trusted = self._settings.get("ca_file") or True
            self._session.verify = not self._settings.get("insecure", False) and trusted
            if not self._session.verify:
                import urllib3

                urllib3.disable_warnings()  # it is what was asked for, and stderr is the agent's
        headers = {"Accept": "application/json", "Authorization": _basic(*login) if login else self._authorization}
        left = self._deadline.left()
        if left <= 0:
            raise TryAgainError(f"{url} did not answer within {self._deadline.seconds:.0f} s", "try again later")
        output.debug(f"{method} {url}")
        try:
            reply = bounded.exchange(
                self._session, min(_ANSWER, left), method, url, json=body,
                headers={key: value for key, value in headers.items() if value},
                timeout=(min(_CONNECT, left), min(_ANSWER, left)),
            )  # fmt: skip
        except bounded.TooLongError as error:
            most = bounded.LONGEST_ANSWER >> 20
            raise DvdcliError(f"{url} answered with over {most} MiB", "see what listens there") from error
        except requests.exceptions.SSLError as error:
            raise self._tls_failure(error) from error
        except requests.exceptions.ConnectTimeout as error:
            raise _NotSentError(f"{self._endpoint} takes no connection", "see that the gateway runs") from error
        except requests.exceptions.RequestException as error:
            raise TryAgainError(f"{self._endpoint}: {bounded.why(error)}", "see that the gateway runs") from error
        except OSError as error:
            raise DvdcliError(f"{self._endpoint}: {error}", "see ca_file") from error
        if reply is None:
            self._session = None  # that one is still being read from
            raise TryAgainError(f"{url} did not answer in full within {min(_ANSWER, left):.0f} s", "try again later")
        return reply

    def _tls_failure(self, error: BaseException) -> DvdcliError:
        """Return what a failure of TLS means: a connection that ends in it is a gateway that goes, and no impostor."""
        import ssl

        inner = bounded.innermost(error)
        if isinstance(inner, ssl.SSLEOFError | ssl.SSLZeroReturnError):
            return TryAgainError(f"{self._endpoint}: {inner}", "see that the gateway runs")
        if isinstance(inner, ssl.SSLError) and not isinstance(inner, ssl.SSLCertVerificationError):
            return DvdcliError(f"{self._endpoint} speaks no TLS that this host takes: {inner}", "see endpoint")
        return DvdcliError(f"{self._endpoint} cannot be trusted: {inner}", "see ca_file")


def _is_word(value: Any) -> bool:
    """Return whether *value* is text that can be in a header or a URL."""
    return isinstance(value, str) and value.isascii() and value.isprintable() and value != ""


def objects(answer: Any) -> list[dict[str, Any]]:
    """Return the objects in *answer*, none for null. Raises DvdcliError for anything else than a list of objects."""
    found = [] if answer is None else answer
    if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
        raise DvdcliError("the gateway answered with no list of objects", "see what listens there")
    return found


def identifier(answer: Any, key: str = "id") -> str:
    """Return the id under *key* of the object *answer*. Raises DvdcliError where there is none."""
    value = answer.get(key) if isinstance(answer, dict) else None
    if not isinstance(value, str) or not value.isascii() or not value.replace("-", "").replace("_", "").isalnum():
        raise DvdcliError(f"the gateway answered with an object that has no {key}", "see what listens there")
    return value


def _numbers(version: Any) -> tuple[int, ...]:
    numbers = str(version).split(".")[:2]
    return tuple(int(number) for number in numbers if number.isascii() and number.isdigit() and len(number) < 6)


def _basic(user: str, secret: str) -> str:
    import base64

    return f"Basic {base64.b64encode(f'{user}:{secret}'.encode()).decode()}"


def _json(reply: Any) -> Any:
    try:
        return fastjson.loads(reply.body)
    except ValueError as error:
        raise DvdcliError(f"{reply.url} answered what is no JSON", "see what listens there") from error


def _answer(reply: Any, what: str) -> Any:
    """Return the *reply*'s value. Raises GatewayError for an error."""
    if reply.status_code == 200:
        return _json(reply) if reply.body else None
    try:
        told = fastjson.loads(reply.body)
    except ValueError:
        told = None
    told = told if isinstance(told, dict) else {}
    try:
        number = int(told.get("errorCode") or 0)
    except (TypeError, ValueError):
        number = 0
    message = str(told.get("message") or reply.reason or "")[:LONGEST_SAYING]
    raise GatewayError(what, reply.status_code, number, message)
