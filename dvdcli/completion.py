"""Completion in bash, zsh and fish: click finds what can come next, this says it as each shell needs it.

The shell's function runs dvdcli without arguments and with `_DVDCLI_COMPLETE=bash_complete` (zsh_, fish_), and hands
over what was typed in COMP_LINE; the answer is a line a completion. It comes in time whatever a storage system does.
"""

from __future__ import annotations

import os
import shlex
import threading
from collections.abc import Iterable

import click
from click.shell_completion import CompletionItem, ShellComplete

from dvdcli import candidates, output
from dvdcli.errors import Exit

PATIENCE = 2.0  # seconds until a shell gets what there is
_CURSOR = "\x01"  # no name has a control character


class _Collector:
    """The completions found so far: another thread can stop in the middle."""

    def __init__(self) -> None:
        self.items: list[CompletionItem[str]] = []


_found = _Collector()


def drivers(ctx: click.Context, incomplete: str) -> list[CompletionItem[str]]:
    """Complete a driver."""
    return _matching(candidates.drivers(), incomplete)


def volumes(ctx: click.Context, incomplete: str) -> list[CompletionItem[str]]:
    """Complete a volume's name, of the driver that was named before or after the command."""
    named = [context.params.get("volumedriver") for context in (ctx, ctx.find_root())]
    return _matching(candidates.volumes(next((name for name in named if name), "")), incomplete)


def holds(ctx: click.Context, incomplete: str) -> list[CompletionItem[str]]:
    """Complete the name of a hold."""
    return _matching(candidates.holds(), incomplete)


def container_ids(ctx: click.Context, incomplete: str) -> list[CompletionItem[str]]:
    """Complete a container's id."""
    return _matching(candidates.container_ids(), incomplete)


def recorded_volumes(ctx: click.Context, incomplete: str) -> list[CompletionItem[str]]:
    """Complete a volume on record, as DRIVER/NAME."""
    return _matching(candidates.recorded_volumes(), incomplete)


def whatever(ctx: click.Context, incomplete: str) -> list[CompletionItem[str]]:
    """Complete what inspect takes: a volume on record, a container, a mountpoint."""
    asked = (candidates.recorded_volumes(), candidates.container_ids(), candidates.mountpoints())
    return _matching((name for names in asked for name in names), incomplete)


def mountpoints(ctx: click.Context, incomplete: str) -> list[CompletionItem[str]]:
    """Complete the path of a mount."""
    return _matching(candidates.mountpoints(), incomplete)


def command_names(ctx: click.Context, incomplete: str) -> list[CompletionItem[str]]:
    """Complete the name of a command, for help."""
    root = ctx.find_root().command
    assert isinstance(root, click.Group)
    return _matching(root.list_commands(ctx), incomplete)


def _matching(names: Iterable[str], incomplete: str) -> list[CompletionItem[str]]:
    seen = set()
    for name in names:
        if name.startswith(incomplete) and name not in seen and name.isprintable():
            seen.add(name)
            _found.items.append(CompletionItem(name))
    return _found.items


class _Shell(ShellComplete):
    """What the three shells share: where the cursor's word begins, and a value behind a flag's `=`."""

    prefix = ""
    late = False

    def get_completion_args(self) -> tuple[list[str], str]:
        """Return the words before the cursor's, without the program's, and the cursor's."""
        words = os.environ.get("COMP_LINE", "").split("\n")
        return words[1:-1], words[-1]

    def complete(self) -> str:
        """Return the answer, a line a completion; where time runs out, what was found until then."""
        args, incomplete = self.get_completion_args()
        if incomplete.startswith("--") and "=" in incomplete:
            self.prefix = f"{incomplete.partition('=')[0]}="
        items: list[CompletionItem[str]] = _found.items

        def ask() -> None:
            nonlocal items
            items = self.get_completions(args, incomplete)

        worker = threading.Thread(target=ask, daemon=True)
        try:
            worker.start()
        except RuntimeError:  # no more threads: without one, nobody could say that it takes too long
            return ""
        worker.join(PATIENCE)
        self.late = worker.is_alive()
        return "".join(f"{self.format_completion(item)}\n" for item in list(items))

    def format_completion(self, item: CompletionItem[str]) -> str:
        """Return *item* as one line: the word and, behind a tab, what it is."""
        meaning = " ".join((item.help or "").split())
        return f"{self.prefix}{item.value}\t{meaning}" if meaning else f"{self.prefix}{item.value}"


class Bash(_Shell):
    """Bash, which inserts what it gets as it is, in place of what it takes for the word: it ends words at = and : too.

    So quoting is done here, as the word was begun.
    """

    name = "bash"
    source_template = """\
%(complete_func)s() {
    mapfile -t COMPREPLY < <(
        COMP_LINE="${COMP_LINE:0:COMP_POINT}" COMP_WORD="$2" %(complete_var)s=bash_complete \\
            "${1/#\\~\\//$HOME/}" 2>/dev/null
    )
}

complete -o nosort -F %(complete_func)s %(prog_name)s
"""
    quote = ""
    dropped = 0

    def get_completion_args(self) -> tuple[list[str], str]:
        """Return the words before the cursor's, and the cursor's; note how it is quoted, and what bash has cut off."""
        line = os.environ.get("COMP_LINE", "")
        words, self.quote = _split(line)
        replaced = os.environ.get("COMP_WORD", "")  # inside quotes without them, elsewhere as it was typed
        if not self.quote:
            replaced = _split(replaced)[0][-1]
        self.dropped = len(words[-1]) - len(replaced) if words[-1].endswith(replaced) else 0
        return words[1:-1], words[-1]

    def format_completion(self, item: CompletionItem[str]) -> str:
        """Return the rest of the word, quoted."""
        rest = f"{self.prefix}{item.value}"[self.dropped :]
        if self.quote == '"':
            return "".join(f"\\{c}" if c in '"\\$`' else c for c in rest)
        if self.quote == "'":
            return rest.replace("'", "'\\''")
        return "".join(c if c.isalnum() or c in "@%+=:,./-_" else f"\\{c}" for c in rest)


def _split(line: str) -> tuple[list[str], str]:
    """Return the words of *line* without their quotes, the unfinished last among them, and the quote it is in."""
    lexer = shlex.shlex(f"{line}{_CURSOR}", posix=True, punctuation_chars="")
    lexer.whitespace_split = True
    lexer.commenters = ""
    words: list[str] = []
    quote = ""
    try:
        words.extend(lexer)
    except ValueError:  # an open quote: what is in it is the last word
        words.append(lexer.token or "")
        state: str = getattr(lexer, "state", "")
        quote = state if state in ("'", '"') else ""
    return [word.replace(_CURSOR, "") for word in words], quote


class Zsh(_Shell):
    """Zsh, which quotes by itself."""

    name = "zsh"
    source_template = """\
#compdef %(prog_name)s

%(complete_func)s() {
    local -a answer values meanings
    local line typed="${(pj:\\n:)${(@Q)words[1,CURRENT-1]}}"$'\\n'"${(Q)PREFIX}"
    answer=("${(@f)$(COMP_LINE="$typed" %(complete_var)s=zsh_complete ${(Q)~words[1]} 2>/dev/null)}")
    for line in $answer; do
        values+=("${line%%%%$'\\t'*}")
        meanings+=("${line/$'\\t'/  -- }")
    done
    (( $#values )) && compadd -l -V dvdcli -d meanings -a values
}

if [[ $zsh_eval_context[-1] == loadautofunc ]]; then
    %(complete_func)s "$@"
else
    compdef %(complete_func)s %(prog_name)s
fi
"""


class Fish(_Shell):
    """Fish, which quotes by itself; it ends what it hands over with a newline."""

    name = "fish"
    source_template = """\
function %(complete_func)s
    set -l words (commandline -opc)
    set -l current (commandline -ct | string unescape)
    test -n "$current"; or set current (commandline -ct | string trim --left --chars "'\\"")
    set -l program (string replace -r '^~/' "$HOME/" -- $words[1])
    set -lx COMP_LINE (string join \\n -- $words "$current" | string collect -N)
    set -lx %(complete_var)s fish_complete
    $program 2>/dev/null
end

complete --command %(prog_name)s --no-files --keep-order --arguments "(%(complete_func)s)"
"""

    def get_completion_args(self) -> tuple[list[str], str]:
        """Return the words before the cursor's, and the cursor's."""
        words = os.environ.get("COMP_LINE", "").removesuffix("\n").split("\n")
        return words[1:-1], words[-1]


SHELLS: dict[str, type[_Shell]] = {"bash": Bash, "fish": Fish, "zsh": Zsh}


def source(shell: str, command: click.Command) -> str:
    """Return the script that teaches *shell* to complete the command line of *command*."""
    return SHELLS[shell](command, {}, "dvdcli", "_DVDCLI_COMPLETE").source()


def run(command: click.Command, instruction: str) -> int:
    """Carry out *instruction*, `SHELL_complete` or `SHELL_source`, and return the exit code."""
    shell, _, verb = instruction.partition("_")
    if shell not in SHELLS or verb not in ("complete", "source"):
        return Exit.USAGE
    output.mute = True
    made = SHELLS[shell](command, {}, "dvdcli", "_DVDCLI_COMPLETE")
    text = (made.source() if verb == "source" else made.complete()).removesuffix("\n")
    if text:
        output.to_stdout(text)
    if made.late:
        os._exit(Exit.DONE)  # the question that is still open ends with us
    return Exit.DONE
