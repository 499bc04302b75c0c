"""The machines' door reads a call as the people's door would, or leaves it alone."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dvdcli import cli, hook, lifecycle, output
from dvdcli.errors import DvdcliError, Exit
from dvdcli.volume import parse_options

FLAGS = ("--volumedriver", "--volumename", "--volumeopts", "--explicitcreate", "--explicitCreate")
OTHER_FLAGS = ("-v", "-q", "-vq", "--verbose", "--hold", "--timeout", "--help", "-h", "--json", "--", "-", "--volume")
VERBS = ("mount", "unmount")

values = st.sampled_from(
    ("", "v", "mount", "unmount", "true", "false", "True", "1", "a=b", "=", "a=", "=b", "a=b,c=d e", "\udcff",
     "a\udcff=b", "../../x", "/abs", "a/b", "x" * 1025, "\U0001f40b", "a\nb", "-", "'", "%2F", *FLAGS, *OTHER_FLAGS)
) | st.text(max_size=4)  # fmt: skip
flags = st.sampled_from((*FLAGS, *FLAGS, *OTHER_FLAGS))
wanted = st.sampled_from(("--volumedriver", "--volumename")).flatmap(
    lambda flag: st.one_of(values.map(lambda v: [f"{flag}={v}"]), values.map(lambda v: [flag, v]))
)
pieces = st.one_of(
    wanted,
    values.map(lambda v: [f"--volumeopts={v}"]),
    values.map(lambda v: ["--volumeopts", v]),
    st.tuples(st.sampled_from(FLAGS[3:]), st.sampled_from(("", "=true", "=false", "=", "=1", "=TRUE"))).map(
        lambda pair: ["".join(pair)]
    ),
    st.tuples(flags, values).map(lambda pair: [f"{pair[0]}={pair[1]}"]),
    st.tuples(flags, values).map(list),
    flags.map(lambda flag: [flag]),
    values.map(lambda value: [value]),
)


@st.composite
def command_lines(draw: st.DrawFn) -> list[str]:
    """Lines close to real calls: a verb, both flags that it needs (mostly), and anything in between."""
    parts = draw(st.lists(pieces, max_size=4))
    named = [[f"{flag}={draw(st.sampled_from(('v', 'local', 'a/b', '')) | values)}"] for flag in FLAGS[:2]]
    parts += named[: draw(st.sampled_from((2, 2, 2, 1, 0)))]
    words = [word for part in draw(st.permutations(parts)) for word in part]
    return [*draw(st.sampled_from((["mount"], ["unmount"], ["mount"], [], ["--volumename", "mount"], ["-v"]))), *words]


class Doors:
    """Both doors with what lies behind them taken away: what a call came to, is written down instead."""

    def __init__(self) -> None:
        self.raw: list[str] = []
        self.seen: list[Any] = []

    def mount(self, volume: Any, options: Any, explicit: Any, hold: Any, deadline: Any, announce: Any) -> None:
        self.seen.append(("mount", volume.driver, volume.name, options, explicit, hold, deadline.seconds))

    def unmount(self, volume: Any, hold: Any, deadline: Any) -> list[str]:
        self.seen.append(("unmount", volume.driver, volume.name, hold, deadline.seconds))
        return []

    def parse_options(self, items: Any) -> dict[str, str]:
        self.raw = list(items)
        return parse_options(self.raw)

    def report(self, what: str, error: BaseException) -> int:
        self.seen.append((type(error).__name__, str(error)))
        assert isinstance(error, DvdcliError), (what, error)
        return error.code

    def go(self, run: Callable[[Any], int], call: Any) -> tuple[Any, ...]:
        """Return what *run* made of *call*: its exit code, the call or the error behind the door, the raw options."""
        self.raw, self.seen = [], []
        code = run(call)
        return code, self.seen, self.raw


@pytest.fixture(scope="module")
def doors(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Doors]:
    doors = Doors()
    state = str(tmp_path_factory.mktemp("doors") / "state")
    with (
        mock.patch.multiple(lifecycle, mount=doors.mount, unmount=doors.unmount),
        mock.patch.object(hook, "parse_options", doors.parse_options),
        mock.patch("dvdcli.flags.parse_options", doors.parse_options),
        mock.patch.multiple(output, report=doors.report, verbose=False, quiet=False),
        mock.patch.dict("os.environ", DVDCLI_STATE_DIR=state, DVDCLI_PLUGIN_DIRS=state, DVDCLI_CONFIG=f"{state}/none"),
    ):
        yield doors


@settings(max_examples=600)
@given(command_lines())
@example(["mount", "--volumedriver=d", "--volumename=v", "--explicitcreate", "false"])
@example(["mount", "--volumedriver", "--volumename", "--volumename", "--volumedriver"])
@example(["mount", "--volumedriver=d", "--volumename", "--help"])
@example(["mount", "--volumedriver=d", "--volumename=v", "--help"])
@example(["mount", "--volumedriver=d", "--volumename=v", "--volumeopts", "--", "--volumeopts=a=b"])
@example(["unmount", "--volumedriver=d", "--volumename=v", "--volumeopts=x"])
@example(["mount", "--volumedriver=d", "--volumename=a\udcff"])
@example(["unmount", "--volumedriver=../../x", "--volumename="])
@example(["mount", "--volumedriver=d", "--volumename=v", "--explicitcreate=TRUE"])
@example(["mount", "--volumedriver=d", "--volumename=v", "--volumename="])
def test_the_hook_declines_a_call_or_reads_it_as_click_does(doors: Doors, argv: list[str]) -> None:
    call = hook.parse(argv)
    if call is None:
        return
    by_click, by_hook = doors.go(cli.run, argv), doors.go(hook.run, call)
    assert by_hook == by_click
    if by_click[0] == Exit.DONE:
        assert by_click[1][0][:3] == (call.verb, call.driver, call.name)
        assert by_click[2] == call.options
        assert call.verb == "unmount" or by_click[1][0][4] is call.explicit


@settings(max_examples=200)
@given(command_lines(), st.sampled_from(VERBS))
def test_whatever_the_hook_declines_click_carries_out_or_refuses_in_good_order(
    doors: Doors, argv: list[str], verb: str
) -> None:
    code, seen, _ = doors.go(cli.run, [verb, *argv])  # doors.report fails on any error that is a bug
    helped = {"--help", "-h"} & set(argv)
    assert code in (Exit.DONE, Exit.USAGE)
    assert (code == Exit.DONE) == (seen != [] and seen[0][0] in VERBS) or helped


@pytest.mark.parametrize(
    ("line", "options", "explicit"),
    [
        ("mount --volumedriver=rexray --volumename=v", [], None),
        ("mount --volumedriver=rexray --volumename=v --volumeopts=size=5 --volumeopts=iops=100",
         ["size=5", "iops=100"], None),
        ("mount --volumedriver=rexray --volumename=v '--volumeopts=o=addr=10.0.0.1,rw nolock' --volumeopts=empty=",
         ["o=addr=10.0.0.1,rw nolock", "empty="], None),
        ("mount --volumedriver=rexray --volumename=v --volumeopts=a=b --explicitCreate=true", ["a=b"], True),
        ("mount --volumedriver=rexray --volumename=v --explicitCreate=false", [], False),
        ("mount --volumedriver=rexray --volumename=v --explicitcreate=true", [], True),
        ("mount --volumedriver=rexray --volumename=v --explicitcreate", [], True),
        ("mount --volumename v --explicitcreate --volumedriver rexray --volumeopts a=b", ["a=b"], True),
        ("mount --volumedriver=x --volumename=y --volumedriver=rexray --volumename=v", [], None),
        ("unmount --volumedriver=rexray --volumename=v", [], None),
        ("unmount --volumedriver=rexray --volumename=v --explicitCreate=true", [], True),
    ],
)  # fmt: skip
def test_the_calls_of_the_agents_take_the_hook_s_door(line: str, options: list[str], explicit: bool | None) -> None:
    argv = shlex.split(line)
    call = hook.parse(argv)
    assert call is not None
    assert (call.verb, call.driver, call.name) == (argv[0], "rexray", "v")
    assert (call.options, call.explicit) == (options, explicit)


@pytest.mark.parametrize(
    "line",
    [
        "", "mount", "list", "version", "recover --volumedriver=d --volumename=v", "mount --volumedriver=d",
        "mount --volumename=v", "mount --volumedriver=d --volumename", "mount --volumedriver=d --volumename=v --help",
        "mount --volumedriver=d --volumename=v -v", "mount --volumedriver=d --volumename=v --hold=x",
        "mount --volumedriver=d --volumename=v --explicitcreate=yes", "mount --volumedriver=d --volumename=v extra",
        "mount -- --volumedriver=d --volumename=v", "--volumedriver=d mount --volumename=v",
        "mount --volumedriver=d --volumename=v --explicitcreate true", "mount --isolator", "Mount --volumedriver=d",
    ],
)  # fmt: skip
def test_what_is_no_call_of_an_agent_is_left_to_click(line: str) -> None:
    assert hook.parse(shlex.split(line)) is None


def test_the_hook_asks_for_what_the_flags_say(doors: Doors) -> None:
    call = hook.parse(["mount", "--volumedriver=d", "--volumename=v", "--volumeopts=a=b=c", "--volumeopts=a=d"])
    assert doors.go(hook.run, call) == (
        0, [("mount", "d", "v", {"a": "d"}, None, "name:host", lifecycle.MOUNT_TIMEOUT)], ["a=b=c", "a=d"],
    )  # fmt: skip
    call = hook.parse(["unmount", "--volumedriver=d", "--volumename=v"])
    assert doors.go(hook.run, call) == (0, [("unmount", "d", "v", "name:host", lifecycle.UNMOUNT_TIMEOUT)], [])
