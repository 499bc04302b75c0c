"""What the operator can set, by name: the keys of dvdcli.toml, the DVDCLI_* variables. For people; hooks need none."""

from __future__ import annotations

from dvdcli import agent_settings, config, providers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from dvdcli.providers.base import Provider

KINDS = {
    str: "a string", bool: "true or false", int: "a whole number", float: "a number",
    dict: "a table of strings", list: "a list of strings",
}  # fmt: skip


class Key:
    """One key of a table: *section* is "" for the top, `agent`, or `drivers.NAME`; *kind* the type of its value.

    *meaning* is one sentence. A *secret* is shown to nobody, or is in a file that no one else can read: see Option.
    *needed* says that a table without it is wrong.
    """

    __slots__ = ("default", "kind", "meaning", "name", "needed", "secret", "section")

    def __init__(
        self, section: str, name: str, kind: type, default: Any, meaning: str, secret: bool = False,
        needed: bool = False,
    ) -> None:  # fmt: skip
        self.section = section
        self.name = name
        self.kind = kind
        self.default = default
        self.meaning = meaning
        self.secret = secret
        self.needed = needed

    def takes(self, value: object) -> bool:
        """Return whether *value* is of this key's kind; a whole number is a number too."""
        return type(value) is self.kind or (self.kind is float and type(value) is int)


class Variable:
    """One variable of the environment: its *name*, what it *meaning* is, and its *default* as people read it."""

    __slots__ = ("default", "meaning", "name", "secret")

    def __init__(self, name: str, meaning: str, default: str, secret: bool = False) -> None:
        self.name = name
        self.meaning = meaning
        self.default = default
        self.secret = secret


TOP = (
    Key("", "explicit_create", bool, False, "A volume that does not exist is an error, where the call does not say."),
)
_AGENT = {
    "url": "The URL of the Mesos agent on this host.",
    "name": "The isolator's parameter `agent`, which tells apart two agents on one host.",
    "principal": "The principal that the agent's HTTP endpoints know us by.",
    "secret_file": "A file with the principal's secret, which root alone can read.",
    "ca_file": "The CA that signed the agent's certificate.",
    "insecure": "Do not verify the agent's certificate.",
    "cert_file": "Our certificate.",
    "key_file": "Our certificate's key, in a file that root alone can read.",
    "grace": "Holds that are younger, in seconds, stay whatever the agent says.",
}
AGENT = tuple(
    Key("agent", name, kind, default, _AGENT[name], name in ("secret_file", "key_file"))
    for name, (kind, default) in agent_settings.KEYS.items()
)
VARIABLES = (
    Variable("DVDCLI_CONFIG", "The configuration file; its drop-ins are beside it, in FILE.d.", config.CONFIG_FILE),
    Variable(
        "DVDCLI_STATE_DIR", "The directory of the mount state; mounts/ below it has the mounts.",
        f"{config.ROOT_STATE}, and {config.ROOT_MOUNTS} for the mounts; for others than root below $XDG_STATE_HOME",
    ),
    Variable(
        "DVDCLI_PLUGIN_DIRS", "Where Docker plugins announce themselves, with colons in between: sockets, then specs.",
        config.PLUGIN_DIRECTORIES,
    ),
    Variable(
        "DVDCLI_CSI_DIRS", "Where the sockets of CSI drivers are, with colons in between: NAME/csi.sock or NAME.sock.",
        config.CSI_DIRECTORIES,
    ),
    Variable("DVDCLI_ENGINE_SOCKET", "The Docker Engine's socket, for managed plugins.", config.ENGINE_SOCKET),
    Variable("DVDCLI_SYSFS", "Where sysfs is mounted.", config.SYSFS),
    Variable("DVDCLI_DEV", "Where the nodes of devices are.", config.DEV),
    Variable(
        "DVDCLI_SCALEIO_PASSWORD", "The gateway's password, for a driver without a password_file.", "", secret=True
    ),
)  # fmt: skip


def driver_keys(provider: type[Provider], driver: str) -> tuple[Key, ...]:
    """Return the keys of `[drivers.NAME]` with that *provider*."""
    section, known = f"drivers.{driver}", provider.settings
    own = [
        Key(section, name, each.kind, each.default, _sentence(each.help), each.secret) for name, each in known.items()
    ]
    first = Key(section, "provider", str, "", f"The provider: {', '.join(providers.PROVIDERS)}, or an entry point's.")
    first.needed = True
    return (first, *own)


def all_keys() -> tuple[Key, ...]:
    """Return all keys that dvdcli itself knows; those of a driver's table once for each built-in provider."""
    built_in = [(name, providers.provider_class(name, name)) for name in sorted(providers.PROVIDERS)]
    tables = [key for name, provider in built_in for key in driver_keys(provider, name)]
    return (*TOP, *AGENT, *tables)


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:].rstrip('.')}." if text else ""
