"""Every driver asked at once whether it can work here: a dead one costs its deadline and one line."""

from __future__ import annotations

from dvdcli import parallel, providers, survey
from dvdcli.clock import Deadline
from dvdcli.config import Config
from dvdcli.errors import DvdcliError
from dvdcli.findings import FAILED, Finding, failed, from_error, warning

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

TIMEOUT = 10.0  # seconds for each driver


def known() -> list[str]:
    """Return the drivers to look at: configured, `local`, Docker plugins, those on record."""
    return sorted({"local", *_configured(), *_recorded(), *survey.plugin_names()})


def findings(names: Sequence[str], seconds: float = TIMEOUT) -> list[Finding]:
    """Return what is found of the drivers *names*, each of which has *seconds* to answer; in that order."""
    found: list[list[Finding]] = [[] for _ in names]

    def ask(index: int) -> None:
        provider = providers.find(names[index], Config(), Deadline(seconds), 0.0)[1]
        found[index].extend(provider.check_ready())

    for index, failure in enumerate(parallel.each(ask, range(len(names)))):
        if isinstance(failure, (DvdcliError, OSError)):
            found[index].append(from_error(failure))
        elif failure is not None:
            found[index].append(failed(f"this is a bug in its provider: {failure!r}", "report it, to who wrote it"))
    return [finding.of(f"driver {name}") for name, each in zip(names, found, strict=True) for finding in each]


def asked_for_by_nobody(found: list[Finding]) -> list[Finding]:
    """Return *found*, where a plugin that is only there, and that nothing here asks for, cannot be a failure."""
    wanted = {f"driver {name}" for name in ("local", *_configured(), *_recorded())}
    return [
        warning(each.text, each.hint).of(each.subject) if each.status == FAILED and each.subject not in wanted else each
        for each in found
    ]


def _configured() -> list[str]:
    try:
        return Config().drivers()
    except DvdcliError:
        return []  # the look at the configuration says why


def _recorded() -> list[str]:
    try:
        return survey.recorded()
    except (DvdcliError, OSError):
        return []  # the look at the state says why
