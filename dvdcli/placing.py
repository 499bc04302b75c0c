"""Which way each volume of a container is put into its place: mounted by name, or walked to by `dvdcli bind`."""

from __future__ import annotations

import os

from dvdcli.bind import Bind
from dvdcli.linux import mountflags
from dvdcli.mesos import Plain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from dvdcli.targets import Target
    from dvdcli.wanted import Wanted


def split(
    asked: Sequence[Wanted], places: Sequence[Target | None], paths: Sequence[str]
) -> tuple[list[Plain], list[Bind]]:
    """Return how the volumes mounted at *paths* get to their *places*, outer places before inner ones."""
    plain, binds = [], []
    order = sorted(range(len(asked)), key=lambda index: len(_name(places[index])))
    for index in order:
        place, source, read_only = places[index], paths[index], asked[index].read_only
        if place is None:
            continue
        if place.plain:
            plain.append(Plain(source, place.name, read_only, _flags(source) if read_only else 0))
        else:
            binds.append(Bind(source, place.base, place.through, place.path, place.owner, read_only))
    return plain, binds


def _name(place: Target | None) -> str:
    return place.name if place else ""


def _flags(path: str) -> int:
    descriptor = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return mountflags.kept_by_remount(descriptor)
    finally:
        os.close(descriptor)
