"""What somebody who misspelt a name probably meant. Imported when something is wrong: difflib costs a mount's time."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def nearest(word: str, known: Iterable[str]) -> str:
    """Return the name of *known* that is most like *word*, in any case; "" where none is."""
    spellings = {name.lower(): name for name in known}
    found = difflib.get_close_matches(word.lower(), list(spellings), 1)
    return spellings[found[0]] if found else ""


def hint(word: str, known: Iterable[str]) -> str:
    """Return what to say of the unknown *word*: the nearest of *known*, and all of them."""
    names = sorted(known)
    meant = nearest(word, names)
    asked = f"did you mean {meant}? " if meant else ""
    return f"{asked}the known ones: {', '.join(names) or 'none'}"
