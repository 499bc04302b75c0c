"""The way to a Mesos agent's HTTP endpoints: with requests, one whole answer by a deadline or none."""

from __future__ import annotations

from dvdcli import bounded, output, private
from dvdcli.errors import TryAgainError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from dvdcli.agent_settings import Settings
    from dvdcli.clock import Deadline

_ANSWER = 30.0  # seconds that one answer may take
_CONNECT = 5.0


class AgentError(TryAgainError):
    """The agent cannot be asked: it does not answer, or not in a way that can be relied on."""


class Connection:
    """A connection to the agent that *settings* name. Every question ends by the *deadline*.

    Credentials, certificates and the CA are those of the settings, and no others; no redirection is followed.
    """

    def __init__(self, settings: Settings, deadline: Deadline) -> None:
        settings.check()
        self._settings = settings
        self._deadline = deadline
        self._session: Any = None
        self.url = settings.url

    def close(self) -> None:
        """Close it; the next question opens it again."""
        if self._session is not None:
            self._session.close()
            self._session = None

    def ask(self, path: str, body: dict[str, Any] | None = None) -> tuple[int, bytes]:
        """Return the status and the body of the answer to GET *path*, or to POST with a *body*. Raises AgentError."""
        import requests

        url = f"{self.url}/{path}"
        left = min(_ANSWER, self._deadline.left())
        if left <= 0:
            raise AgentError(f"{url} was not asked: {self._deadline.seconds:.0f} s are over", "try again later")
        if self._session is None:
            self._session = self._new_session()
        output.debug(f"{'GET' if body is None else 'POST'} {url}")
        try:
            answer = bounded.exchange(
                self._session, left, "GET" if body is None else "POST", url, json=body,
                timeout=(min(_CONNECT, left), left),
            )  # fmt: skip
        except bounded.TooLongError as error:
            most = bounded.LONGEST_ANSWER >> 20
            raise AgentError(f"{url} answered with over {most} MiB", "see what listens there") from error
        except requests.exceptions.SSLError as error:
            raise AgentError(f"{self.url} cannot be trusted: {bounded.why(error)}", "see ca_file in [agent]") from error
        except requests.exceptions.ConnectionError as error:
            hint = "see that the agent runs, and that --agent or url in [agent] is its URL"
            raise AgentError(f"{url} cannot be asked: {bounded.why(error)}", hint) from error
        except requests.exceptions.RequestException as error:
            raise AgentError(f"{url}: {bounded.why(error)}", "see what listens there") from error
        except (OSError, ValueError) as error:  # a CA or certificate that is not there, a host that is no name
            raise UsageError(f"{self.url}: {error}", "see [agent] in the configuration file") from error
        if answer is None:
            raise AgentError(f"{url} did not answer in full within {left:.0f} s", "try again later")
        return answer.status_code, answer.body

    def _new_session(self) -> Any:
        settings, session = self._settings, bounded.session()
        session.verify = not settings.insecure and (settings.ca_file or True)
        if settings.insecure and self.url.startswith("https:"):
            import urllib3

            urllib3.disable_warnings()
        if settings.key_file:
            private.check(settings.key_file)
        if settings.cert_file:
            session.cert = (settings.cert_file, settings.key_file) if settings.key_file else settings.cert_file
        if settings.principal:
            secret = private.first_line(settings.secret_file, "secret_file in [agent]")
            session.auth = (settings.principal.encode(), secret.encode())
        session.headers["Accept"] = "application/json"
        return session


def check_is_of_this_host(url: str, pid: str) -> None:
    """Raise UsageError where neither *url* nor the agent's own *pid* (`slave(1)@ADDRESS:PORT`) leads to this host.

    Another host's agent does not know this host's containers: all would count as dead.
    """
    import socket
    from urllib.parse import urlsplit

    host = urlsplit(url).hostname or ""
    own = pid.rpartition("@")[2].rpartition(":")[0].strip("[]")
    for name in (host, own):
        if not name:
            continue
        try:
            addresses = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            continue
        if addresses and all(_is_ours(family, address) for family, _, _, _, address in addresses):
            return
    raise UsageError(f"{url} is the agent of another host ({pid})", "give the URL of the agent on this one")


def _is_ours(family: int, address: Any) -> bool:
    import ipaddress
    import socket

    if ipaddress.ip_address(address[0].partition("%")[0]).is_loopback:
        return True
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.bind((address[0], 0, *address[2:]))
    except OSError:
        return False
    return True
