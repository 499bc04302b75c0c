"""`[agent]` of the configuration: which Mesos agent `recover --agent` asks, and how it is reached."""

from __future__ import annotations

from dvdcli.config import wrong
from dvdcli.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from dvdcli.config import Config

DEFAULT_URL = "http://127.0.0.1:5051"
# Each key with the type of its value and its default.
KEYS: dict[str, tuple[type, Any]] = {
    "url": (str, DEFAULT_URL),
    "name": (str, ""),
    "principal": (str, ""),
    "secret_file": (str, ""),
    "ca_file": (str, ""),
    "insecure": (bool, False),
    "cert_file": (str, ""),
    "key_file": (str, ""),
    "grace": (float, 60.0),
}


class Settings:
    """What `[agent]` says, by the names of its keys: *grace* is in seconds, *name* is the isolator's `agent`."""

    url: str
    name: str
    principal: str
    secret_file: str
    ca_file: str
    insecure: bool
    cert_file: str
    key_file: str
    grace: float

    def __init__(self, **given: Any) -> None:
        for key, (_, default) in KEYS.items():
            setattr(self, key, given.get(key, default))
        self.url = (self.url or DEFAULT_URL).rstrip("/")

    def check(self) -> None:
        """Raise UsageError where the agent cannot be reached like that."""
        scheme, _, rest = self.url.partition("://")
        host = rest.partition("/")[0]
        if scheme not in ("http", "https") or not host or not self.url.isprintable() or " " in self.url:
            raise UsageError(f"{self.url!a} is no agent's URL", f"give one like {DEFAULT_URL}")
        if "@" in host:
            raise UsageError("the agent's URL has a password in it", "set principal and secret_file in [agent]")
        if "?" in rest or "#" in rest:
            raise UsageError(f"{self.url!a} is no agent's URL", "it ends with the port, or with a path's prefix")
        if self.principal and not self.secret_file:
            raise UsageError("[agent] has a principal and no secret_file", "name the file with its secret")
        if self.key_file and not self.cert_file:
            raise UsageError("[agent] has a key_file and no cert_file", "name its certificate")


def settings(config: Config, **instead: Any) -> Settings:
    """Return what `[agent]` says, with those of *instead* that are not None. Raises DvdcliError."""
    given = config.table("agent") or {}
    for key, what, hint in faults(given):
        raise wrong(config.where("agent", key), what, hint)
    return Settings(**{**given, **{key: value for key, value in instead.items() if value is not None}})


def faults(given: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Return what cannot be in `[agent]`: the key, what is wrong with it, a hint."""
    for key, value in given.items():
        if key not in KEYS:
            from dvdcli.nearest import hint

            yield key, f"[agent] has an unknown key {key!r}", hint(key, KEYS)
            continue
        kind = KEYS[key][0]
        is_kind = type(value) is kind or (kind is float and type(value) is int)
        if not is_kind:
            yield key, f"[agent] {key} is no {kind.__name__}", ""
        elif isinstance(value, str) and "\0" in value:
            yield key, f"[agent] {key} has a NUL in it", ""
        if key == "grace" and is_kind and not 0 <= value <= 1e9:
            yield key, f"[agent] grace = {value} is no number of seconds", ""
