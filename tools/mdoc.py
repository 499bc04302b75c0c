"""mdoc(7), the language of manual pages: text made safe for it, sections put in order, man/src's shorthand read."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable

# The order that mandoc asks for.
ORDER = (
    "NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "ENVIRONMENT", "FILES", "EXIT STATUS", "EXAMPLES", "DIAGNOSTICS",
    "SEE ALSO", "STANDARDS", "HISTORY", "CAVEATS",
)  # fmt: skip
Sections = dict[str, list[str]]


def escape(text: str) -> str:
    """Return *text* so that it stands for itself; flags keep their hyphens."""
    escaped = re.sub(r"(?<![\w-])--?(?=[A-Za-z])", lambda m: m.group().replace("-", "\\-"), text.replace("\\", "\\e"))
    return f"\\&{escaped}" if escaped[:1] in (".", "'") else escaped


def word(text: str) -> str:
    """Return *text* as one argument of a macro, which is no macro itself."""
    return '"' + text.replace("\\", "\\e").replace('"', '""') + '"' if " " in text else f"\\&{text}"


def paragraph(text: str) -> list[str]:
    """Return *text* as lines: a sentence begins on a new one."""
    lines = []
    for sentence in re.split(r"(?<=[A-Za-z0-9)\]][.:?]) +(?=[A-Z\[])", " ".join(text.split())):
        for line in textwrap.wrap(sentence, 76, break_on_hyphens=False, break_long_words=False):
            lines.append(escape(line))
    return lines


def paragraphs(text: str) -> list[str]:
    """Return *text*, whose paragraphs have empty lines in between."""
    lines: list[str] = []
    for part in re.split(r"\n\s*\n", text.strip()):
        lines += [*([".Pp"] if lines else []), *paragraph(part)]
    return lines


def literal(lines: list[str]) -> list[str]:
    """Return *lines* as they stand, as an example."""
    return [".Bd -literal -offset indent", *(escape(line) for line in lines), ".Ed"]


def tagged(items: list[tuple[str, list[str]]]) -> list[str]:
    """Return a list of terms, each a macro line's arguments, and what they mean."""
    lines = [".Bl -tag -width Ds"]
    for term, meaning in items:
        lines += [f".It {term}", *meaning]
    return [*lines, ".El"]


def read(source: str, blocks: dict[str, Callable[[], list[str]]]) -> Sections:
    """Return the sections of a file of man/src: mdoc, with two words more; what is before the first is DESCRIPTION's.

    `@NAME` on a line stands for the generated block NAME; lines between `@example` and `@end` are an example.
    """
    sections: Sections = {"DESCRIPTION": []}
    title = "DESCRIPTION"
    lines = iter(source.splitlines())
    for line in lines:
        if line.startswith(".Sh "):
            title = line.removeprefix(".Sh ")
            sections.setdefault(title, [])
        elif line == "@example":
            sections[title] += literal(list(iter(lambda: next(lines), "@end")))
        elif line.startswith("@"):
            sections[title] += blocks[line[1:]]()
        elif line.startswith(".Bd "):  # as it stands, empty lines too
            sections[title] += [line, *iter(lambda: next(lines), ".Ed"), ".Ed"]
        elif line:
            sections[title].append(line)
    return sections


def page(name: str, section: int, date: str, sections: Sections) -> str:
    """Return the whole page *name*(*section*), its sections in their order, unknown ones after DESCRIPTION's."""
    def place(title: str) -> tuple[int, int]:
        known = ORDER.index(title) if title in ORDER else ORDER.index("OPTIONS")
        return known, list(sections).index(title)

    lines = [
        '.\\" Made by `make docs` from the commands themselves and from man/src: change those.',
        f".Dd {date}", f".Dt {name.upper()} {section}", ".Os",
    ]  # fmt: skip
    for title in sorted(sections, key=place):
        if sections[title]:
            lines += [f".Sh {title}", *sections[title]]
    return "\n".join(lines) + "\n"


def see_also(pages: set[tuple[str, int]]) -> list[str]:
    """Return references to *pages*, in their order."""
    ordered = sorted(pages, key=lambda each: (each[1], each[0].lower()))
    return [f".Xr {name} {section}{' ,' if (name, section) != ordered[-1] else ''}" for name, section in ordered]
