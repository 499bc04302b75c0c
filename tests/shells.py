"""Real shells on a terminal of their own: a line is typed, Tab is pressed, and what the shell would run is read."""

from __future__ import annotations

import json
import os
import pty
import shutil
import sys
from pathlib import Path

import pytest

from tests.conftest import COMMAND, Home
from tests.waiting import wait_until

COMPLETIONS = Path(__file__).parents[1] / "completions"
# In front of the real command on PATH: it answers questions of completion, and of other calls it notes the words.
WITNESS = """#!{python}
import json, os, sys
if "_DVDCLI_COMPLETE" in os.environ:
    os.execv({command!r}, sys.argv)
with open({seen!r} + ".new", "w") as file:
    json.dump(sys.argv[1:], file)
os.rename({seen!r} + ".new", {seen!r})
"""
BASH = "bind 'set enable-bracketed-paste off'; source {folder}/dvdcli.bash\n"
ZSH = "autoload -Uz compinit; fpath=({folder} $fpath); compinit -D -u; unsetopt beep\n"
FISH = "source {folder}/dvdcli.fish\n"
SHELLS = {
    "bash": (["bash", "--norc", "--noprofile", "-i"], BASH),
    "zsh": (["zsh", "-f", "-i"], ZSH),
    "fish": (["fish", "--no-config", "-i"], FISH),
}


class Shell:
    """The shell *name*, in the surroundings of *home*."""

    def __init__(self, name: str, home: Home) -> None:
        self.argv, self.setup = SHELLS[name]
        if shutil.which(name) is None:
            pytest.skip(f"{name} is not installed")
        self.seen = home.root / "seen"
        folder = home.root / "front"
        folder.mkdir(exist_ok=True)
        witness = folder / "dvdcli"
        witness.write_text(WITNESS.format(python=sys.executable, command=str(COMMAND), seen=str(self.seen)))
        witness.chmod(0o755)
        self.env = {**home.env, "PATH": f"{folder}:{home.env['PATH']}", "TERM": "xterm", "LC_ALL": "C.UTF-8"}
        self.cwd = home.root

    def complete(self, line: str) -> list[str]:
        """Type *line*, Tab and Enter; return the words that dvdcli was then called with."""
        self.seen.unlink(missing_ok=True)
        pid, terminal = pty.fork()
        if pid == 0:
            os.chdir(self.cwd)
            os.execvpe(self.argv[0], self.argv, self.env)
        shown = b""
        os.set_blocking(terminal, False)

        def read() -> bytes:
            nonlocal shown
            try:
                shown += os.read(terminal, 65536)
            except (BlockingIOError, OSError):
                pass
            return shown

        try:
            os.write(terminal, self.setup.format(folder=COMPLETIONS).encode() + b"echo rea''dy\n")
            wait_until(lambda: b"ready\r" in read())
            os.write(terminal, f"{line}\t\n".encode())
            wait_until(lambda: read() and self.seen.exists())
        except BaseException:
            print(shown.decode(errors="replace"))
            raise
        finally:
            os.kill(pid, 9)
            os.close(terminal)
            os.waitpid(pid, 0)
        words: list[str] = json.loads(self.seen.read_text())
        return words
