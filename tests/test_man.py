"""The manual pages are what the commands say, are right for mandoc, and their examples run."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from dvdcli import cli
from tests import examples
from tests.conftest import Home

ROOT = Path(__file__).parents[1]
PAGES = sorted((ROOT / "man").glob("man?/*"))
COMMANDS = cli.dvdcli.list_commands(None)  # type: ignore[arg-type]
SUBCOMMANDS = [
    (name, below)
    for name in COMMANDS
    for below in getattr(cli.dvdcli.get_command(None, name), "commands", ())  # type: ignore[arg-type]
]
needs_mandoc = pytest.mark.skipif(shutil.which("mandoc") is None, reason="mandoc is not installed")


def rendered(path: Path) -> str:
    done = subprocess.run(["mandoc", "-T", "ascii", path], capture_output=True, check=True)
    return re.sub(".\x08", "", done.stdout.decode())


def section(text: str, title: str) -> str:
    """Return the section *title* of a rendered page, without its white space."""
    found = re.search(rf"^{title}\n((?:(?: .*)?\n)*)", text, re.MULTILINE)
    assert found is not None, title
    return squash(found[1])


def squash(text: str) -> str:
    return "".join(text.split())


def test_make_docs_would_change_nothing(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-I", ROOT / "tools" / "docs.py", tmp_path], check=True)
    made = {str(path.relative_to(tmp_path)): path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    committed = [*PAGES, *(ROOT / "completions").iterdir()]
    assert made == {str(path.relative_to(ROOT)): path.read_bytes() for path in committed}


def test_every_command_has_a_page_and_every_source_is_used() -> None:
    names = {path.name for path in PAGES}
    written = {"dvdcli.8", "dvdcli.toml.5", "dvdcli-csi.7", "dvdcli-isolator.7"}
    assert names == {*written, *(f"dvdcli-{name}.8" for name in COMMANDS)}
    sources = {path.stem for path in (ROOT / "man" / "src").iterdir()}
    assert sources <= {"dvdcli", "dvdcli.toml", "dvdcli-csi", "dvdcli-isolator", *COMMANDS}


@needs_mandoc
@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_mandoc_has_nothing_to_say(path: Path) -> None:
    done = subprocess.run(["mandoc", "-T", "lint", path], capture_output=True, check=False)
    said = done.stdout.decode().splitlines()
    assert [line for line in said if "referenced manual not found" not in line] == []
    for name, number in re.findall(r"^\.(?:It )?Xr (\S+) (\d)", path.read_text(), re.MULTILINE):
        assert (ROOT / "man" / f"man{number}" / f"{name}.{number}").exists()


@needs_mandoc
@pytest.mark.parametrize("name", COMMANDS)
def test_help_and_page_say_the_same(home: Home, name: str) -> None:
    help_text = home.run(name, "--help").out
    about, _, options = help_text.partition("\nOptions:\n")
    options = options.partition("\nCommands:\n")[0].partition("\n  For example:\n")[0]
    page = rendered(ROOT / "man" / "man8" / f"dvdcli-{name}.8")
    assert squash(about.partition("\n\n")[2]) in section(page, "DESCRIPTION")
    assert section(page, "OPTIONS").startswith(squash(options))


@needs_mandoc
@pytest.mark.parametrize("path", SUBCOMMANDS, ids=" ".join)
def test_a_subcommands_help_is_in_the_page_of_its_command(home: Home, path: tuple[str, str]) -> None:
    about, _, options = home.run(*path, "--help").out.partition("\nOptions:\n")
    page = section(rendered(ROOT / "man" / "man8" / f"dvdcli-{path[0]}.8"), "OPTIONS")
    assert squash(f"dvdcli {' '.join(path)} {about.partition(chr(10) * 2)[2]} {options}") in page


@needs_mandoc
def test_the_main_page_and_help_say_the_same(home: Home) -> None:
    page = rendered(ROOT / "man" / "man8" / "dvdcli.8")
    options, _, rest = home.run("--help").out.partition("\nOptions:\n")[2].partition("\nCommands:\n")
    assert section(page, "OPTIONS") == squash(options)
    listed = page.partition("The commands:")[2].partition("Drivers")[0]
    assert re.findall(r"^  (\w+)  ", rest, re.MULTILINE) == re.findall(r"^     dvdcli-(\w+)\(8\)", listed, re.MULTILINE)
    codes = set(re.findall(r"\b(\d) ", rest.partition("Exit codes:")[2]))
    assert codes <= set(re.findall(r"^     (\d+)  ", page, re.MULTILINE))


def keys_of(value: object) -> set[str]:
    """Return the keys of a JSON object and of those in its lists, but not of what is nested deeper."""
    found: set[str] = set()
    for key, each in value.items() if isinstance(value, dict) else ():
        found |= {key}
        if isinstance(each, list):
            found |= {inner for row in each if isinstance(row, dict) for inner in row}
    return found


@pytest.mark.parametrize(
    "argv",
    [
        "list", "list --volumedriver=local", "list --all", "inspect local/v", "recover --dry-run", "check local",
        "config show", "config check",
    ],
)  # fmt: skip
def test_what_is_printed_as_json_is_documented(home: Home, argv: str) -> None:
    """A contract: programs read this. In the page's section JSON every key is named, and of a list's rows no other."""
    home.mount("v", "local")
    home.edit_record("v", "local", boot="older" if argv.startswith("recover") else home.record("v", "local")["boot"])
    words = argv.split()
    data = json.loads(home.run(*words, "--json").out)["data"]
    text = (ROOT / "man" / "src" / f"{words[0]}.mdoc").read_text().partition(".Ss JSON\n")[2].partition(".Sh")[0]
    named = {word for line in re.findall(r"\bCm (.*)", text) for word in re.findall(r"\w+", line)}
    assert data.keys() == {"mounts"} or data
    assert keys_of(data) - named == set()
    rows = {"list": "mounts", "inspect local/v": "volumes"}.get(argv)
    if rows:
        listed = re.findall(r"^\.It Cm (.*)", text, re.MULTILINE)
        assert {word for line in listed for word in re.findall(r"\w+", line)} == set(data[rows][0])


@pytest.mark.root
@pytest.mark.parametrize("path", [p for p in PAGES if examples.of_page(p)], ids=lambda path: path.name)
def test_the_examples_run(home: Home, path: Path) -> None:
    examples.run(home, examples.of_page(path))


def test_every_variable_that_is_read_is_documented() -> None:
    read = set()
    for path in (ROOT / "dvdcli").rglob("*.py"):
        read |= set(re.findall(r'"(DVDCLI_[A-Z_]+)"', path.read_text()))
    for page in ("man8/dvdcli.8", "man5/dvdcli.toml.5"):
        assert read == set(re.findall(r"^\.It Ev (\S+)", (ROOT / "man" / page).read_text(), re.MULTILINE))
