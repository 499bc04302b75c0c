"""The one door to Amazon EC2's API: boto3, imported when something is asked, and what its errors mean."""

from __future__ import annotations

import _thread
import os

from dvdcli import clock, output
from dvdcli.errors import LONGEST_SAYING, DvdcliError, TryAgainError
from dvdcli.providers.ebs import imds

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

    from dvdcli.clock import Deadline
    from dvdcli.providers.ebs.imds import Instance

GROWTH = 1.8  # of the pauses between two looks
_LONGEST_PAUSE = 10.0  # seconds
_ATTEMPTS = 3
_ANSWERS = (20.0, 2.0, 0.5)  # seconds that one answer may take: the first by which all attempts end in time
_THROTTLED = frozenset((
    "RequestLimitExceeded", "Throttling", "ThrottlingException", "RequestThrottled", "RequestThrottledException",
    "InternalError", "InternalFailure", "Unavailable", "ServiceUnavailable",
))  # fmt: skip
_DENIED = frozenset(("UnauthorizedOperation", "AuthFailure", "AccessDenied", "InvalidClientTokenId"))

_clients: dict[tuple[str, str, str, float], Any] = {}  # a container's volumes, each in a thread of its own, share one
_sessions: dict[tuple[str, str], Any] = {}
_making = _thread.allocate_lock()


class Ec2Error(DvdcliError):
    """EC2 refused: *api_code* is its own word for why."""

    def __init__(self, action: str, api_code: str, message: str) -> None:
        hint = "give it the policy in contrib/iam-policy.json" if api_code in _DENIED else ""
        super().__init__(f"EC2 refused {action}: {message} ({api_code})", hint)
        self.api_code = api_code
        self.said = message


class Pauses:
    """The pauses between looks at a state that takes time: 1, 1.8, 3.2 … seconds, and never past the *deadline*."""

    def __init__(self, deadline: Deadline, first: float = 1.0) -> None:
        self._deadline = deadline
        self._next = first
        self._first = True

    def wait_after_a_look(self, what: str) -> None:
        """As wait; but the first time return at once: what is quick is seen at once."""
        if self._first:
            self._first = False
        else:
            self.wait(what)

    def wait(self, what: str) -> None:
        """Sleep; raise TryAgainError, which says *what* was waited for, where the deadline has come."""
        if not self._deadline.left():
            raise TryAgainError(f"{what} within {self._deadline.seconds:.0f} s", "try again later")
        clock.sleep(min(self._next, self._deadline.left()))
        self._next = min(self._next * GROWTH, _LONGEST_PAUSE)


class Ec2:
    """EC2, as *settings* (region, zone, instance, profile, endpoint) and botocore's own chain say it is reached.

    Every call ends by the *deadline*. Raises DvdcliError.
    """

    def __init__(self, settings: Mapping[str, Any], deadline: Deadline) -> None:
        self._settings = settings
        self._deadline = deadline
        self._instance: Instance | None = None
        self._region = str(settings.get("region", ""))

    def here(self) -> Instance:
        """Return the instance that we are on: the settings' word and AWS's own, else the metadata service's."""
        if self._instance is None:
            known = [self._settings.get("instance", ""), self._settings.get("zone", ""), self._configured_region()]
            if all(known):
                self._instance = imds.Instance(*known)
            else:
                told = imds.instance(self._deadline)
                self._instance = imds.Instance(known[0] or told.id, known[1] or told.zone, known[2] or told.region)
        return self._instance

    def use(self, region: str) -> None:
        """Take *region*, that of a volume on record, whatever this call's own environment says."""
        self._region = region

    def call(self, action: str, **parameters: Any) -> dict[str, Any]:
        """Call *action* (a client's method) and return its answer; one that was throttled is tried again."""
        pauses = Pauses(self._deadline)
        while True:
            try:
                return self._once(action, parameters)
            except Ec2Error as error:
                if error.api_code not in _THROTTLED:
                    raise
                if not self._deadline.left():
                    raise TryAgainError(f"EC2 is busy: {error.said}", "try again later") from error
                output.debug(f"{action}: {error.said}")
                pauses.wait("EC2 was too busy to answer")

    def pages(self, action: str, key: str, **parameters: Any) -> Iterator[dict[str, Any]]:
        """Return the items under *key* of all pages that *action* answers."""
        token = ""
        while True:
            answer = self.call(action, **parameters, **({"NextToken": token} if token else {}))
            yield from answer.get(key, ())
            token = answer.get("NextToken", "")
            if not token:
                return

    def _once(self, action: str, parameters: dict[str, Any]) -> dict[str, Any]:
        client = self._client()
        import botocore.exceptions as failures
        from botocore.parsers import ResponseParserError

        output.debug(f"EC2 {action} {parameters}")
        try:
            answer: dict[str, Any] = getattr(client, action)(**parameters)
        except failures.ClientError as error:
            said = error.response.get("Error", {})
            code, message = (str(said.get(key, ""))[:LONGEST_SAYING] for key in ("Code", "Message"))
            raise Ec2Error(action, code, message) from error
        except (failures.ConnectionError, failures.HTTPClientError) as error:
            raise TryAgainError(f"EC2 cannot be reached: {error}", "see the network, and the endpoint") from error
        except (failures.NoCredentialsError, failures.PartialCredentialsError) as error:
            raise _no_credentials(error) from error
        except (failures.BotoCoreError, ResponseParserError) as error:
            why = str(error)[:LONGEST_SAYING]
            raise DvdcliError(f"{action}: {why}", "see the driver's settings and AWS's own") from error
        except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
            # What botocore makes of an answer that is not in EC2's form: a size that is no number, say.
            why = str(error)[:LONGEST_SAYING]
            raise DvdcliError(f"{action}: the answer cannot be read: {why}", "see the endpoint") from error
        return answer

    def _configured_region(self) -> str:
        """Return the region of the settings, else that of AWS's own configuration, else ""."""
        return self._region or str(self._session().region_name or "")

    def _session(self) -> Any:
        """Return boto3's session, which reads AWS's configuration. AWS_REGION goes before it, as in other SDKs."""
        import boto3
        import botocore.exceptions as failures

        profile, region = self._settings.get("profile", ""), self._region or os.environ.get("AWS_REGION", "")
        try:
            if (profile, region) not in _sessions:
                session = boto3.session.Session(profile_name=profile or None, region_name=region or None)
                _sessions[profile, region] = session
        except failures.ProfileNotFound as error:
            raise DvdcliError(str(error), "see ~/.aws/config of the user that the agent runs as") from error
        except failures.BotoCoreError as error:
            raise _unusable(error) from error
        return _sessions[profile, region]

    def _client(self) -> Any:
        profile, endpoint = self._settings.get("profile", ""), self._settings.get("endpoint", "")
        region = self._configured_region() or self.here().region
        left = self._deadline.left()
        answer = next((seconds for seconds in _ANSWERS if (_ATTEMPTS + 1) * seconds < left), _ANSWERS[-1])
        key = (profile, region, endpoint, answer)
        with _making:
            if key not in _clients:
                _clients[key] = self._made(region, endpoint, answer)
            return _clients[key]

    def _made(self, region: str, endpoint: str, answer: float) -> Any:
        import botocore.exceptions as failures
        from botocore.config import Config

        config = Config(
            connect_timeout=min(5.0, answer), read_timeout=answer, tcp_keepalive=True,
            retries={"mode": "adaptive", "total_max_attempts": _ATTEMPTS}, user_agent_extra="dvdcli",
        )  # fmt: skip
        try:
            return self._session().client("ec2", region_name=region, endpoint_url=endpoint or None, config=config)
        except failures.PartialCredentialsError as error:
            raise _no_credentials(error) from error
        except (failures.BotoCoreError, ValueError) as error:
            raise _unusable(error) from error


def _no_credentials(error: Exception) -> DvdcliError:
    hint = "give the instance a role, and see that its metadata service can be reached"
    return DvdcliError(f"there are no AWS credentials: {error}", hint)


def _unusable(error: Exception) -> DvdcliError:
    return DvdcliError(f"AWS cannot be used: {error}", "see the driver's settings and AWS's own")
