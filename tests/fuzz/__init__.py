"""What comes from outside, made wrong by machine.

Whoever changes a parser of something that others write (a request, a reply, a file, a table of the kernel's) adds to the
target here that feeds it, or a new one, and runs it:

    make fuzz FUZZ="--target isolator --seconds 300"

A target is a module with SEEDS, inputs that are right, and `one_input(data)`, made by watch.target: it hands the bytes to
dvdcli's own code, as that gets them, lets pass what dvdcli says in its own errors, and fails for anything else: another
exception, an error that is no line, an answer of the wrong shape, no end, a write or a connection out of its world.

atheris (optional: `make fuzz` installs the dependency group) goes after new lines of code from the seeds and from what
was found before. What fails is made small and written below .fuzz/, with the command that runs it again. Mend it, then
keep the input as tests/fuzz/corpus/<target>/<what-it-was>: tests/test_fuzz.py runs all of these, and mutations of all
seeds by hypothesis, the same ones every time.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

TARGETS = (
    "agent", "agent_http", "argv", "bind", "blocks", "checkpoint", "completing", "configuration", "ec2", "engine", "fastjson", "imds",
    "isolator", "mountinfo", "options", "plugin", "plugin_files", "proc_unix", "scaleio", "state",
)  # fmt: skip
CORPUS = Path(__file__).parent / "corpus"


def load(name: str) -> ModuleType:
    """Return the module of the target *name*."""
    return importlib.import_module(f"tests.fuzz.{name}")


def corpus(name: str) -> list[Path]:
    """Return the inputs of the target *name* that once found something."""
    directory = CORPUS / name
    return sorted(path for path in directory.iterdir() if path.is_file()) if directory.is_dir() else []
