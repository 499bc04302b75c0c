"""Writes man/ and completions/ into a directory: what the commands say of themselves, and what man/src adds."""

from __future__ import annotations

import inspect
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path

import click

sys.path.insert(0, str(Path(__file__).parent))
import mdoc

from dvdcli import cli, completion, config_schema, errors, mesos, providers, recovery
from dvdcli import metrics as told
from dvdcli.errors import DvdcliError, Exit
from dvdcli.providers.base import Option, SizeOption

ROOT = Path(__file__).parents[1]
SOURCES = ROOT / "man" / "src"
SCRIPTS = {"bash": "dvdcli.bash", "fish": "dvdcli.fish", "zsh": "_dvdcli"}
UNTIL_RELEASED = "November 28, 2026"
MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
    "December",
)  # fmt: skip
KEPT = 0xFFFFFFFF  # an owner that is left as it is
KINDS = {str: "text", int: "number", float: "seconds", bool: "true|false", dict: "table", list: "list"}
# Of the exit codes that no class of errors explains.
CODES = {
    Exit.DONE: "Done.", Exit.FAILURE: "Failed, for a reason that is none of these.", Exit.INTERRUPTED: "Interrupted.",
}  # fmt: skip


def date() -> str:
    """Return the date of the last release in CHANGELOG.md, so that a page changes with its text alone."""
    found = re.search(r"^## \[[\d.]+\] - (\d+)-(\d+)-(\d+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    return f"{MONTHS[int(found[2]) - 1]} {int(found[3])}, {found[1]}" if found else UNTIL_RELEASED


# The commands


def _top() -> click.Context:
    return click.Context(cli.dvdcli, info_name="dvdcli", **cli.dvdcli.context_settings)


def _option_term(names: str) -> str:
    """Return what help calls an option (`-v, --verbose`, `--hold NAME`) as arguments of a macro."""
    spellings, _, value = names.partition(" ") if ", " not in names else names.rpartition(", ")
    if ", " in names:
        last, _, value = value.partition(" ")
        flags = [*spellings.split(", "), last]
    else:
        flags = [spellings]
    term = " , ".join(f"Fl {flag[1:]}" for flag in flags)
    return f"{term} Ar {mdoc.word(value)}" if value else term


def _records(command: click.Command, ctx: click.Context) -> list[tuple[str, str]]:
    found = (param.get_help_record(ctx) for param in command.get_params(ctx) if isinstance(param, click.Option))
    return [record for record in found if record]


def _options(command: click.Command, ctx: click.Context) -> list[str]:
    records = _records(command, ctx)
    return mdoc.tagged([(_option_term(names), mdoc.paragraph(text)) for names, text in records])


def _arguments(command: click.Command, ctx: click.Context) -> list[str]:
    arguments = [p for p in command.get_params(ctx) if isinstance(p, click.Argument)]
    return [f".Ar {mdoc.word(argument.make_metavar(ctx))}" for argument in arguments]


def _synopsis(path: list[str], command: click.Command, ctx: click.Context) -> list[str]:
    words = [".Nm dvdcli", *(f".Cm {word}" for word in path)]
    words += [f".Op {_option_term(names)}" for names, _ in _records(command, ctx)]
    return words + _arguments(command, ctx)


def _summary(command: click.Command) -> str:
    first = inspect.cleandoc(command.help or "").partition("\n\n")[0]
    text = " ".join(first.split()).partition(". ")[0].rstrip(".")
    return text[0].lower() + text[1:]


def _pages_seen(lines: list[str]) -> set[tuple[str, int]]:
    return {(m[1], int(m[2])) for line in lines if (m := re.match(r"\.Xr (\S+) (\d)", line))}


def command_page(name: str, command: click.Command, parent: click.Context) -> str:
    """Return the page of the command *name*."""
    ctx = click.Context(command, info_name=name, parent=parent, **command.context_settings)
    source = SOURCES / f"{name}.mdoc"
    sections = mdoc.read(source.read_text() if source.exists() else "", BLOCKS)
    description = mdoc.paragraphs(inspect.cleandoc(command.help or ""))
    more = sections.pop("DESCRIPTION")
    made: mdoc.Sections = {
        "NAME": [f".Nm dvdcli-{name}", f".Nd {mdoc.escape(_summary(command))}"],
        "SYNOPSIS": _synopsis([name], command, ctx),
        "DESCRIPTION": [*description, *([".Pp"] if more and not more[0].startswith(".Ss") else []), *more],
        "OPTIONS": _options(command, ctx),
    }
    if isinstance(command, click.Group):
        for word in command.list_commands(ctx):
            below = command.get_command(ctx, word)
            assert below is not None
            inner = click.Context(below, info_name=word, parent=ctx, **below.context_settings)
            made["SYNOPSIS"] += _synopsis([name, word], below, inner)
            made["OPTIONS"] += [f".Ss dvdcli {name} {word}", *mdoc.paragraphs(inspect.cleandoc(below.help or ""))]
            made["OPTIONS"] += _options(below, inner)
    made["EXIT STATUS"] = [*sections.pop("EXIT STATUS", []), "The exit codes are those of", ".Xr dvdcli 8 ."]
    made.update(sections)
    pages = {("dvdcli", 8), ("dvdcli.toml", 5)} | _pages_seen([line for part in made.values() for line in part])
    if any(names.startswith("--isolator") for names, _ in _records(command, ctx)):
        pages.add(("dvdcli-isolator", 7))
    made["SEE ALSO"] = mdoc.see_also(pages - {(f"dvdcli-{name}", 8)})
    return mdoc.page(f"dvdcli-{name}", 8, date(), made)


def main_page(root: click.Group, ctx: click.Context) -> str:
    """Return dvdcli(8)."""
    sections = mdoc.read((SOURCES / "dvdcli.mdoc").read_text(), BLOCKS)
    pages = {(f"dvdcli-{name}", 8) for name in root.list_commands(ctx)} | {("dvdcli.toml", 5)}
    pages |= {("dvdcli-csi", 7), ("dvdcli-isolator", 7)}
    more = sections.pop("DESCRIPTION")
    made: mdoc.Sections = {
        "NAME": [".Nm dvdcli", f".Nd {mdoc.escape(_summary(root))}"],
        "SYNOPSIS": [*_synopsis([], root, ctx), ".Ar command", ".Op Ar argument ..."],
        "DESCRIPTION": [*mdoc.paragraphs(inspect.cleandoc(root.help or "")), *more],
        "OPTIONS": _options(root, ctx),
        "EXIT STATUS": exit_codes(),
    }
    made.update(sections)
    made["SEE ALSO"] = mdoc.see_also(pages)
    return mdoc.page("dvdcli", 8, date(), made)


def written_page(source: str, name: str, section: int) -> str:
    """Return the page that the file *source* of man/src has whole, but for its blocks."""
    sections = mdoc.read((SOURCES / source).read_text(), BLOCKS)
    pages = _pages_seen([line for part in sections.values() for line in part])
    sections["SEE ALSO"] = mdoc.see_also(pages - {(name, section)})
    return mdoc.page(name, section, date(), sections)


# The blocks that man/src names


def commands() -> list[str]:
    """Return the list of commands."""
    ctx = _top()
    rows = []
    for name in cli.dvdcli.list_commands(ctx):
        command = cli.dvdcli.get_command(ctx, name)
        assert command is not None
        rows.append((f"Xr dvdcli-{name} 8", mdoc.paragraph(command.get_short_help_str(400))))
    return mdoc.tagged(rows)


def exit_codes() -> list[str]:
    """Return the list of exit codes: each class of errors says what its own means."""
    meanings = dict(CODES)
    for kind in vars(errors).values():
        if inspect.isclass(kind) and issubclass(kind, DvdcliError) and kind.code not in meanings:
            meanings[kind.code] = inspect.getdoc(kind) or ""
    return mdoc.tagged([(str(code), mdoc.paragraph(meanings[code])) for code in sorted(meanings)])


def _default(option: Option) -> str:
    """Return the default of *option* as people write it, "" where none is to be told."""
    if isinstance(option, SizeOption):
        return f"{option.default >> 30}G" if option.default else ""
    if isinstance(option.default, bool):
        return str(option.default).lower()
    return str(option.default) if option.default and option.default != KEPT else ""


def _declared(options: dict[str, Option]) -> list[str]:
    rows = []
    for key in sorted(options, key=str.lower):
        option = options[key]
        kind = "size" if isinstance(option, SizeOption) else KINDS[option.kind]
        default = f" [default: {_default(option)}]" if _default(option) else ""
        text = f"{option.help[0].upper()}{option.help[1:].rstrip('.')}.{default}"
        name = f"Cm {mdoc.word(key)}" + ("\\& Ns Ar NAME" if key.endswith(".") else "")  # any name
        rows.append((f"{name} Ns = Ns Ar {kind}", mdoc.paragraph(text)))
    return mdoc.tagged(rows) if rows else ["None."]


def volume_options() -> list[str]:
    """Return every built-in driver's volume options."""
    lines = []
    for name in sorted(providers.PROVIDERS):
        options = providers.provider_class(name, name).options
        if options is not None:
            lines += [f".Ss Volume options of {name}", *_declared(dict(options))]
    return lines


def releases() -> list[str]:
    """Return what changes with which release of Mesos, from the table that dvdcli itself reads."""
    rows = []
    for first, new in mesos._TABLE:
        changes = ", ".join(f"{key} {value!r}" for key, value in new.items())
        rows.append((".".join(map(str, first)), mdoc.paragraph(changes)))
    return mdoc.tagged(rows)


def keys() -> list[str]:
    """Return every key of the configuration, a part for each table."""
    lines = [".Ss Top-level keys", *_keys(config_schema.TOP), ".Ss The [agent] table", *_keys(config_schema.AGENT)]
    for name in sorted(providers.PROVIDERS):
        of_provider = config_schema.driver_keys(providers.provider_class(name, name), "NAME")
        lines += [f".Ss A [drivers.NAME] table of the provider {name}", *_keys(of_provider)]
    return lines


def _keys(found: Sequence[config_schema.Key]) -> list[str]:
    rows = []
    for key in found:
        default = str(key.default).lower() if isinstance(key.default, bool) else str(key.default or "")
        told = f"{key.meaning} [default: {default}]" if default else key.meaning
        more = " It has to be there." if key.needed else ""
        rows.append((f"Cm {mdoc.word(key.name)} No = Ar {mdoc.word(KINDS[key.kind])}", mdoc.paragraph(told + more)))
    return mdoc.tagged(rows)


def variables() -> list[str]:
    """Return every variable of the environment."""
    rows = []
    for each in config_schema.VARIABLES:
        told = f"{each.meaning} [default: {each.default}]" if each.default else each.meaning
        rows.append((f"Ev {each.name}", mdoc.paragraph(told)))
    return mdoc.tagged(rows)


def actions() -> list[str]:
    """Return what recover can have done with a volume."""
    words = [f".Cm {mdoc.word(action)} ," for action in recovery.ACTIONS]
    return [*words[:-2], words[-2].removesuffix(" ,"), "or", words[-1].replace(" ,", " .")]


def metrics() -> list[str]:
    """Return every metric, by what is written for a state that is not there."""
    text = "".join([*told._of_state(), *told._of_run([], 0, 0, 0, 0)])
    found = re.findall(r"^# HELP (\S+) (.*)$", text, re.MULTILINE)
    return mdoc.tagged([(f"Cm {name}", mdoc.paragraph(meaning)) for name, meaning in found])


BLOCKS = {
    "actions": actions, "metrics": metrics,
    "commands": commands, "exit-codes": exit_codes, "volume-options": volume_options, "keys": keys,
    "releases": releases, "variables": variables,
}  # fmt: skip


def made() -> dict[str, str]:
    """Return every generated file by its path in the repository."""
    root = cli.dvdcli
    ctx = _top()
    files = {"man/man8/dvdcli.8": main_page(root, ctx)}
    for name in root.list_commands(ctx):
        command = root.get_command(ctx, name)
        assert command is not None
        files[f"man/man8/dvdcli-{name}.8"] = command_page(name, command, ctx)
    files["man/man5/dvdcli.toml.5"] = written_page("dvdcli.toml.mdoc", "dvdcli.toml", 5)
    files["man/man7/dvdcli-csi.7"] = written_page("dvdcli-csi.mdoc", "dvdcli-csi", 7)
    files["man/man7/dvdcli-isolator.7"] = written_page("dvdcli-isolator.mdoc", "dvdcli-isolator", 7)
    for shell, name in SCRIPTS.items():
        files[f"completions/{name}"] = completion.source(shell, root)
    return files


def main() -> None:
    """Write the files below the directory that the command line names, the repository by itself."""
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT
    os.environ["DVDCLI_STATE_DIR"] = "/nonexistent"  # no page depends on what is mounted here
    files = made()
    for path, text in files.items():
        (target / path).parent.mkdir(parents=True, exist_ok=True)
        (target / path).write_text(text)
    for stale in [*target.glob("man/man?/*"), *target.glob("completions/*")]:
        if str(stale.relative_to(target)) not in files:
            stale.unlink()


if __name__ == "__main__":
    main()
