"""What is configured: every value that counts, and where it comes from."""

from __future__ import annotations

import os

from dvdcli import config, config_schema, config_text
from dvdcli.config import Config
from dvdcli.providers import provider_class

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from dvdcli.config_schema import Key

VARIABLES = "variables"  # the section of the environment's
DEFAULT = "default"
VARIABLE = "environment"
FILE = "file"


class Setting:
    """One value: *section* and *name* say what of, *value* is masked where it is a secret.

    *origin* is one of the words above; of a file *path* and *line* too, 0 where it is not known.
    """

    __slots__ = ("line", "name", "origin", "path", "section", "value")

    def __init__(self, section: str, name: str, value: Any, origin: str, path: str = "", line: int = 0) -> None:
        self.section = section
        self.name = name
        self.value = value
        self.origin = origin
        self.path = path
        self.line = line

    def source(self) -> str:
        """Return for people where the value comes from."""
        if self.origin != FILE:
            return self.origin
        return f"{self.path}:{self.line}" if self.line else self.path

    def to_json(self) -> dict[str, Any]:
        """Return the setting for programs."""
        plain = self.value if isinstance(self.value, (str, bool, int, float)) else config_text.value(self.value)
        where = {"path": self.path, "line": self.line} if self.origin == FILE else {}
        return {"section": self.section, "name": self.name, "value": plain, "origin": self.origin, **where}


class Lines:
    """On which lines of the configuration's files its keys are."""

    def __init__(self) -> None:
        self._known: dict[str, dict[tuple[str, ...], int]] = {}

    def line(self, path: str, *keys: str) -> int:
        """Return the line of *keys* in the file at *path*, else of the table that they are in; 0 for none."""
        if path not in self._known:
            try:
                with open(path, encoding="utf-8", newline="") as file:
                    self._known[path] = config_text.lines(file.read())
            except (OSError, ValueError, RecursionError):
                self._known[path] = {}
        found = (self._known[path].get(keys[:length]) for length in range(len(keys), 0, -1))
        return next((line for line in found if line), 0)

    def where(self, path: str, *keys: str) -> str:
        """Return for people where in the file at *path* the *keys* are."""
        line = self.line(path, *keys)
        return f"{path}:{line}" if line else path


def settings() -> Iterator[Setting]:
    """Return every value that counts: the variables, explicit_create, `[agent]`, each driver's. Raises DvdcliError.

    What is wrong in one table is shown as it is written: `config_check` says what is wrong.
    """
    found, lines = Config(), Lines()
    yield from _variables()
    top = {name: value for name, value in (found.table() or {}).items() if name == "explicit_create"}
    yield from _table("", (), top, config_schema.TOP, found, lines)
    yield from _table("agent", ("agent",), found.table("agent") or {}, config_schema.AGENT, found, lines)
    for driver in found.drivers():
        given = found.table("drivers", driver) or {}
        keys = _keys(driver, given)
        yield from _table(f"drivers.{config_text.key(driver)}", ("drivers", driver), given, keys, found, lines)


def _keys(driver: str, given: dict[str, Any]) -> tuple[Key, ...]:
    try:
        return config_schema.driver_keys(provider_class(str(given.get("provider")), driver), driver)
    except Exception:  # it names no provider, or a third party's that cannot be imported: `config_check` says so
        return ()


def _table(
    section: str, path: tuple[str, ...], given: dict[str, Any], keys: tuple[Key, ...], found: Config, lines: Lines
) -> Iterator[Setting]:
    secret = {key.name: key.secret for key in keys}
    for name, value in {**{key.name: key.default for key in keys}, **given}.items():
        shown = config_text.masked(name, value, secret.get(name, False))
        if name in given:
            file = found.where(*path, name)
            yield Setting(section, name, shown, FILE, file, lines.line(file, *path, name))
        else:
            yield Setting(section, name, shown, DEFAULT)


def _variables() -> Iterator[Setting]:
    now = {
        "DVDCLI_CONFIG": config.config_file(), "DVDCLI_STATE_DIR": config.state_directory(),
        "DVDCLI_PLUGIN_DIRS": ":".join(config.plugin_directories()), "DVDCLI_ENGINE_SOCKET": config.engine_socket(),
        "DVDCLI_CSI_DIRS": ":".join(config.csi_directories()),
        "DVDCLI_SYSFS": config.sysfs_directory(), "DVDCLI_DEV": config.device_directory(),
    }  # fmt: skip
    for variable in config_schema.VARIABLES:
        given = os.environ.get(variable.name)
        value = now.get(variable.name, variable.default if given is None else given)
        shown = config_text.masked(variable.name, value, variable.secret)
        yield Setting(VARIABLES, variable.name, shown, VARIABLE if given is not None else DEFAULT)
