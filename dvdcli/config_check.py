"""What is wrong in the configuration: all of it, not only what a call would stumble over first."""

from __future__ import annotations

import os

from dvdcli import agent_settings, config, config_schema, private, providers
from dvdcli.config import Config
from dvdcli.config_show import Lines
from dvdcli.errors import DvdcliError
from dvdcli.nearest import hint, nearest
from dvdcli.providers.base import unusable_settings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from dvdcli.config_schema import Key
    from dvdcli.providers.base import Provider

    Fault = tuple[str, DvdcliError]


def problems() -> tuple[list[DvdcliError], list[str]]:
    """Return everything that is wrong in the configuration and in the DVDCLI_* variables, and what is only odd.

    Nothing is asked of any storage system: that is `dvdcli check`.
    """
    errors, files = _read_all()
    found = Config(files)
    lines = Lines()
    tables = [("agent",), *(("drivers", name) for name in found.drivers())]
    for keys in tables:
        for key, fault in _table_faults(found, keys):
            errors.append(_placed(found, lines, (*keys, key) if key else keys, fault))
    return [*_wrong_variables(), *errors], list(_odd_variables(is_read=not errors))


def _read_all() -> tuple[list[DvdcliError], list[tuple[str, dict[str, Any]]]]:
    """Return what is wrong in files taken as such, and what those say that can be read."""
    errors, files, lines = [], [], Lines()
    path = config.config_file()
    try:
        paths = [path, *config.drop_ins(path)]
    except DvdcliError as error:
        errors.append(error)
        paths = [path]
    for each in paths:
        try:
            data = config.read_file(each)
        except DvdcliError as error:
            errors.append(error)
            continue
        wrong = {key: config.wrong(lines.where(each, key), what, hint) for key, what, hint in config.faults(data)}
        errors += wrong.values()
        files.append((each, {key: value for key, value in data.items() if key not in wrong}))
    return errors, files


def _placed(found: Config, lines: Lines, keys: tuple[str, ...], fault: DvdcliError) -> DvdcliError:
    """Return *fault* with the file and the line in front of it."""
    return config.wrong(lines.where(found.where(*keys), *keys), fault.message, fault.hint)


def _table_faults(found: Config, keys: tuple[str, ...]) -> Iterator[Fault]:
    """Return what is wrong in the table at *keys*, each with its key, "" for the table as a whole."""
    table = {}
    try:
        table = found.table(*keys) or {}
    except DvdcliError:
        yield "", DvdcliError(f"[{'.'.join(keys)}] is no table")
        return
    if keys == ("agent",):
        yield from _agent_faults(table, found)
        return
    driver = keys[1]
    name = table.pop("provider", None)
    if not isinstance(name, str):
        yield "", DvdcliError(f"[drivers.{driver}] names no provider", 'give it a line like provider = "local"')
        return
    kind: type[Provider] | None = None
    try:
        kind = providers.provider_class(name, driver)
    except DvdcliError as error:
        yield "provider", DvdcliError(error.message, hint(name, providers.PROVIDERS))
    except Exception as error:  # a third party's module
        yield "provider", DvdcliError(f"the provider {name!r} cannot be imported: {error!r}", "see its package")
    if kind is not None:
        yield from _driver_faults(driver, table, kind, found)


def _agent_faults(table: dict[str, Any], found: Config) -> Iterator[Fault]:
    faults = list(agent_settings.faults(table))
    for key, what, why in faults:
        yield key, DvdcliError(what, why)
    if not faults:
        try:
            agent_settings.Settings(**table).check()
        except DvdcliError as error:
            yield "", error
    yield from _file_faults(table, config_schema.AGENT, found, ("agent",))


def _driver_faults(driver: str, table: dict[str, Any], kind: type[Provider], found: Config) -> Iterator[Fault]:
    seen = set()
    usual: tuple[Callable[[], Iterator[Fault]], ...] = (
        lambda: unusable_settings(driver, table, kind.settings),
        lambda: _file_faults(table, config_schema.driver_keys(kind, driver), found, ("drivers", driver)),
        lambda: kind.settings_faults(driver, {key: value for key, value in table.items() if key not in seen}),
    )
    for each in usual:
        for key, fault in each():
            if key not in seen:
                seen.add(key)
                yield key, fault


def _file_faults(
    table: dict[str, Any], keys: tuple[Key, ...], found: Config, section: tuple[str, ...]
) -> Iterator[Fault]:
    """Return each file that is named and cannot be read, and each secret that others can read."""
    for key in keys:
        value = table.get(key.name)
        if not value or not isinstance(value, str) or "\0" in value:
            continue
        is_file = key.name.endswith("_file")
        try:
            if is_file:
                os.close(os.open(value, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK))
            if key.secret:
                private.check(value if is_file else found.where(*section, key.name))
        except OSError as error:
            yield key.name, DvdcliError(f"{key.name}: {value}: {error.strerror}", "see that path")
        except DvdcliError as error:
            yield key.name, DvdcliError(f"{key.name}: {error.message}", error.hint)


def _wrong_variables() -> Iterator[DvdcliError]:
    for each in (config.state_directory, config.sysfs_directory, config.device_directory):
        try:
            each()
        except DvdcliError as error:
            yield DvdcliError(error.message, error.hint)


def _odd_variables(is_read: bool) -> Iterator[str]:
    known = [variable.name for variable in config_schema.VARIABLES]
    for name in sorted(os.environ):
        if name.startswith("DVDCLI_") and name not in known:
            meant = nearest(name, known)
            yield f"the variable {name} means nothing to dvdcli{f': did you mean {meant}?' if meant else ''}"
    path = config.config_file()
    if "DVDCLI_CONFIG" in os.environ and path and is_read and not os.path.lexists(path):
        yield f"DVDCLI_CONFIG names {path}, which is not there"
