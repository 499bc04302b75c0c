"""The registry: which provider a driver's name means. A dict, no scan; entry points for names it does not know."""

from __future__ import annotations

from dvdcli import clock, output
from dvdcli.errors import NotFoundError, StateError, UsageError
from dvdcli.providers.base import Provider, unusable_settings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from dvdcli.clock import Deadline
    from dvdcli.config import Config

PROVIDERS = {
    "csi": "dvdcli.providers.csi.provider:CsiProvider",
    "docker": "dvdcli.providers.docker:DockerProvider",
    "ebs": "dvdcli.providers.ebs.provider:EbsProvider",
    "local": "dvdcli.providers.local:LocalProvider",
    "scaleio": "dvdcli.providers.scaleio.provider:ScaleIoProvider",
}
GROUP = "dvdcli.providers"

_made: list[Provider] = []


def find(driver: str, config: Config, deadline: Deadline, patience: float) -> tuple[str, Provider]:
    """Return the provider that *driver* means, and the name to pin it by.

    In this order: the configuration, `local`, a Docker plugin of that name, the built-in providers, entry points, the
    socket of a CSI driver of that name. Then a plugin or a driver that is just starting is waited for, *patience*
    seconds long. Raises NotFoundError, UsageError, TryAgainError where the Docker Engine hangs and nobody else is it.
    """
    settings = config.driver(driver)
    if settings is not None:
        own = {key: value for key, value in settings.items() if key != "provider"}
        return _make(settings["provider"], driver, own, deadline, patience, config)
    if driver == "local":
        return _make("local", driver, {}, deadline, patience)

    from dvdcli.providers import plugins

    failure = None
    try:
        plugin = plugins.find(driver, deadline)
    except plugins.EngineError as error:
        plugin, failure = None, error
    if plugin is not None:
        return _make("docker", driver, plugin, deadline, patience)
    if driver not in ("docker", "csi") and (driver in PROVIDERS or _entry_point(driver)):
        return _make(driver, driver, {}, deadline, patience)
    found = _csi(driver)
    if found is None and failure is not None:
        raise failure
    name, own = found or _await(driver, deadline.sooner(patience), config)
    return _make(name, driver, own, deadline, patience)


def pinned(name: str, driver: str, settings: Mapping[str, Any], deadline: Deadline, patience: float) -> Provider:
    """Return the provider that a record pins by *name* and *settings*.

    Raises NotFoundError where it has gone, StateError for a setting that no provider of ours has pinned like that.
    """
    known = provider_class(name, driver).settings
    for key, value in settings.items() if name in PROVIDERS else ():
        if type(value) is not (known[key].kind if key in known else str):
            raise StateError(f"the setting {key!a} on record of the driver {driver} is damaged", "see its record.json")
    return _make(name, driver, settings, deadline, patience)[1]


def _csi(driver: str) -> tuple[str, dict[str, Any]] | None:
    from dvdcli.providers.csi import sockets

    return ("csi", {}) if sockets.find(driver) else None


def _await(driver: str, deadline: Deadline, config: Config) -> tuple[str, dict[str, Any]]:
    from dvdcli.providers import plugins

    pause = 0.05
    if deadline.left():
        output.tell(f"no driver {driver!r} yet; waiting {deadline.left():.0f} s for a plugin of that name to start")
    while deadline.left():
        clock.sleep(min(pause, deadline.left()))
        pause = min(pause * 2, 1.0)
        plugin = plugins.find(driver, deadline)
        found = ("docker", plugin) if plugin is not None else _csi(driver)
        if found is not None:
            return found
    raise _no_driver(driver, config)


def _no_driver(driver: str, config: Config) -> NotFoundError:
    from dvdcli.nearest import nearest

    hint = "start the Docker volume plugin of that name, or describe it in dvdcli.toml as [drivers.NAME]"
    if driver in ("csi", "docker"):
        hint = f'give yours a name in dvdcli.toml: [drivers.NAME] with provider = "{driver}"'
    meant = nearest(driver, {*PROVIDERS, *config.drivers()} - {"csi", "docker", driver})
    return NotFoundError(f"there is no driver {driver!r}", f"did you mean {meant}? else {hint}" if meant else hint)


def _make(
    name: str, driver: str, settings: Mapping[str, Any], deadline: Deadline, patience: float,
    config: Config | None = None,
) -> tuple[str, Provider]:  # fmt: skip
    kind = provider_class(name, driver)
    if config is not None:
        _check_configured(driver, settings, kind, config)
    provider: Provider = kind(driver, settings, deadline, patience)
    _made.append(provider)
    return name, provider


def provider_class(name: str, driver: str) -> type[Provider]:
    """Return the class of the provider *name*, which *driver* asks for. Raises NotFoundError."""
    path = PROVIDERS.get(name) or _entry_point(name)
    if path is None:
        from dvdcli.nearest import nearest

        meant = nearest(name, PROVIDERS)
        hint = f"did you mean {meant}? else install it" if meant else "install it"
        raise NotFoundError(f"there is no provider {name!r} for the driver {driver!r}", hint)
    module_name, _, attribute = path.partition(":")
    found: type[Provider] = getattr(__import__(module_name, fromlist=[attribute]), attribute)
    return found


def _check_configured(driver: str, settings: Mapping[str, Any], kind: type[Provider], config: Config) -> None:
    """Raise DvdcliError for what cannot be in `[drivers.NAME]`, and for a secret that others can read."""
    for key, fault in unusable_settings(driver, settings, kind.settings):
        raise UsageError(f"{config.where('drivers', driver, key)}: {fault.message}", fault.hint)
    for key, value in settings.items():
        if kind.settings[key].secret and value:
            from dvdcli import private

            private.check(str(value) if key.endswith("_file") else config.where("drivers", driver, key))


def close() -> None:
    """End what the providers of this run have begun with their storage systems. Never fails."""
    while _made:
        _made.pop().close()


def _entry_point(name: str) -> str | None:
    from importlib.metadata import entry_points

    for entry_point in entry_points(group=GROUP, name=name):
        return entry_point.value
    return None
