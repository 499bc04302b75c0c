"""Progress: on a terminal, for what takes long; silence for what is quick, and for everybody else."""

from __future__ import annotations

import re

from dvdcli.clock import Deadline
from dvdcli.progress import Step
from tests.conftest import Home
from tests.doubles.plugin import Reply
from tests.expect import on_terminal

SHOWN = re.compile(r"\r(the driver plug (?:un)?mounts v) \((\d+) s, until \d\d:\d\d:\d\d\)\x1b\[K")


def slowly(home: Home, method: str) -> None:
    plugin = home.plugins[0]
    plugin.always[method] = Reply(pieces=1, gap=0.05)


def test_what_takes_long_is_shown_on_a_terminal_and_gone_afterwards(home: Home) -> None:
    home.plugin()
    for method, verb in (("Mount", "mount"), ("Unmount", "unmount")):
        slowly(home, method)
        shown = on_terminal(home, verb, "--volumedriver=plug", "--volumename=v")
        found = SHOWN.findall(shown)
        assert {text for text, _ in found} == {f"the driver plug {verb}s v"}
        assert len({seconds for _, seconds in found}) > 1, "it counts"
        rest = SHOWN.sub("", shown)
        assert rest == (f"\r\x1b[K{home.record()['path']}\n" if verb == "mount" else "\r\x1b[K")


def test_nothing_is_shown_of_what_is_quick_or_asked_to_be_quiet_or_in_a_pipe(home: Home) -> None:
    home.plugin()
    shown = on_terminal(home, "mount", "--volumedriver=plug", "--volumename=v")
    assert shown == f"{home.record()['path']}\n"
    slowly(home, "Unmount")
    assert on_terminal(home, "unmount", "-q", "--volumedriver=plug", "--volumename=v") == ""
    slowly(home, "Mount")
    done = home.mount()
    assert (done.code, done.err) == (0, "")


def test_a_line_is_as_wide_as_the_terminal() -> None:
    step = Step("attaching the volume vol-0123456789abcdef0 to an instance with a long name", Deadline(100))
    for width in (40, 60, 80):
        line = step.line(12.6, width)
        assert len(line) < width
        assert re.search(r"\N{HORIZONTAL ELLIPSIS} \(13 s, until \d\d:\d\d:\d\d\)$", line)
    assert "a long name (0 s, until " in step.line(0, 200)
