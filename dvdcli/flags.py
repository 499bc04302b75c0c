"""The flags of the people's door: the Go dvdcli's, which stand before or after the command, and our own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from dvdcli import checkpoints, lifecycle, output
from dvdcli.agent_settings import DEFAULT_URL
from dvdcli.errors import UsageError
from dvdcli.volume import Volume, parse_options

F = TypeVar("F", bound=Callable[..., Any])


class _Seconds(click.FloatRange):
    name = "number of seconds"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        seconds = super().convert(value, param, ctx)
        if seconds != seconds:
            self.fail(f"{value} is no number", param, ctx)
        return seconds


def completed_by(what: str) -> Callable[..., Any]:
    """Return the `shell_complete` that answers with what completion.py's function *what* finds."""

    def answer(ctx: click.Context, param: click.Parameter, incomplete: str) -> Any:
        from dvdcli import completion

        return getattr(completion, what)(ctx, incomplete)

    return answer


FLAGS = (
    click.option(
        "--volumedriver", metavar="DRIVER", help="The driver of the volume.", shell_complete=completed_by("drivers")
    ),
    click.option(
        "--volumename", metavar="NAME", help="The name of the volume.", shell_complete=completed_by("volumes")
    ),
    click.option("--volumeopts", metavar="KEY=VALUE", multiple=True, help="An option of the volume; can be repeated."),
    click.option(
        "--explicitcreate", "--explicitCreate", "explicitcreate", type=bool, metavar="[=true|false]", default=None,
        help="A volume that does not exist is an error; otherwise mount creates it.",
    ),
)  # fmt: skip
TALK = (
    click.option("-v", "--verbose", is_flag=True, help="Say on stderr what is being done, and why something failed."),
    click.option("-q", "--quiet", is_flag=True, help="Say nothing on stderr but what failed."),
)
JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON object, for programs.")
HOLD = click.option(
    "--hold", default=lifecycle.DEFAULT_HOLD, show_default=True, metavar="NAME", shell_complete=completed_by("holds"),
    help="Who needs the volume: it is unmounted when the last hold goes.",
)  # fmt: skip

ISOLATOR = click.option(
    "--isolator", is_flag=True, expose_value=False, callback=lambda ctx, param, value: _refuse_company(value),
    help="Answer the request of a Mesos isolator: JSON on stdin, JSON on stdout. It stands alone.",
)  # fmt: skip
AGENT = (
    click.option(
        "--agent", is_flag=False, flag_value="", metavar="[URL]",
        help="Ask the Mesos agent of this host which containers live, and release what no living one holds. "
        f"URL: by default the configuration's, else {DEFAULT_URL}.",
    ),
    click.option(
        "--agent-name", metavar="NAME",
        help="With --agent or --adopt: the isolator's parameter `agent`, by default the configuration's.",
    ),
    click.option(
        "--grace", type=_Seconds(0, 1e9), metavar="SECONDS",
        help="With --agent: holds younger than this stay, by default the configuration's 60.",
    ),
)  # fmt: skip
ADOPT = (
    click.option("--adopt", is_flag=True, help="Take over the mounts that another isolator's checkpoints list."),
    click.option(
        "--dvdi-checkpoint", default=checkpoints.DVDI, show_default=True, metavar="FILE",
        help="With --adopt: the checkpoint of mesos-module-dvdi.",
    ),
    click.option(
        "--docker-volume-checkpoints", default=checkpoints.DOCKER_VOLUME, show_default=True, metavar="DIR",
        help="With --adopt: the checkpoints of docker/volume.",
    ),
)  # fmt: skip


def _refuse_company(given: bool) -> None:
    if given:
        raise UsageError("--isolator stands alone, right after the command", "the request is on stdin")


def timeout_option(seconds: float) -> Any:
    """Return the option `--timeout` with a default of *seconds*."""
    return click.option(
        "--timeout", type=_Seconds(0, 86400, min_open=True), default=seconds, show_default=True,
        metavar="SECONDS", help="When to give up.",
    )  # fmt: skip


def with_options(*options: Any) -> Callable[[F], F]:
    """Return a decorator that gives a command all of *options*, in this order."""
    def decorate(function: F) -> F:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


def spell_out(args: list[str], command: click.Command) -> list[str]:
    """Return *args* with a bare `--explicitcreate` as `=true`: only after a `=` does this flag have a value."""
    flags = {name: param for param in command.params for name in param.opts}
    spelt, words = [], iter(args)
    for word in words:
        if word == "--" or not word.startswith("-"):
            spelt.append(word)
            if word == "--" or isinstance(command, click.Group):
                break
            continue
        param = flags.get(word)
        if param is not None and param.name == "explicitcreate":
            word = f"{word}=true"
        spelt.append(word)
        if param is not None and param.name != "explicitcreate" and not getattr(param, "is_flag", False):
            spelt.extend(value for value in (next(words, None),) if value is not None)
    return [*spelt, *words]


class Asked:
    """What the flags say, those before the command and those after it taken together."""

    def __init__(self, flags: dict[str, Any]) -> None:
        before: dict[str, Any] = click.get_current_context().find_root().obj or {}
        self.driver: str | None = _last(before, flags, "volumedriver")
        self.name: str | None = _last(before, flags, "volumename")
        self.explicit: bool | None = _last(before, flags, "explicitcreate")
        self.raw_options: list[str] = [*before.get("volumeopts", ()), *flags.get("volumeopts", ())]
        output.verbose = bool(before.get("verbose") or flags.get("verbose"))
        output.quiet = bool(before.get("quiet") or flags.get("quiet"))

    @property
    def volume(self) -> Volume:
        """The volume. Raises UsageError where the flags name none, or one that cannot be."""
        if self.driver is None or self.name is None:
            missing = "--volumedriver" if self.driver is None else "--volumename"
            raise UsageError(f"{missing} is missing", "name the volume: --volumedriver=DRIVER --volumename=NAME")
        return Volume(self.driver, self.name)

    @property
    def options(self) -> dict[str, str]:
        """The volume's options. Raises UsageError."""
        return parse_options(self.raw_options)


def _last(before: dict[str, Any], after: dict[str, Any], key: str) -> Any:
    value = after.get(key)
    return before.get(key) if value is None else value
