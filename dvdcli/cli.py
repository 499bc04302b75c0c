"""The people's door: click. Every flag of the Go dvdcli, before or after the command, the last one wins."""

from __future__ import annotations

import importlib
import os
from typing import Any

import click

from dvdcli import __version__, output
from dvdcli.commands.base import HelpMixin
from dvdcli.errors import Exit, UsageError
from dvdcli.flags import FLAGS, TALK, spell_out, with_options
from dvdcli.nearest import nearest

COMMANDS = (
    "mount", "unmount", "list", "inspect", "recover", "forget", "create", "remove", "resize", "get", "path", "config",
    "check", "bind", "version", "help",
)  # fmt: skip
COMPLETE = "_DVDCLI_COMPLETE"  # what a shell that completes a command line asks for


def _print_version(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        output.to_stdout(f"dvdcli {__version__}")
        ctx.exit()


class _InterruptedError(Exception):
    """^C, past click, which would print an empty line first."""


class _Group(HelpMixin, click.Group):
    """The commands are imported when they are called for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        found: click.Command = importlib.import_module(f"dvdcli.commands.{cmd_name}").command_
        return found

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        if args[0] not in COMMANDS and not args[0].startswith("-") and not ctx.resilient_parsing:
            meant = nearest(args[0], COMMANDS)
            raise click.UsageError(f"there is no command {args[0]!r}{f': did you mean {meant}?' if meant else ''}")
        return super().resolve_command(ctx, args)

    def _main_shell_completion(self, *args: Any, **more: Any) -> None:
        """Complete nothing here: run() does, and no variable makes anything of another call."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as error:
            raise _InterruptedError from error

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(ctx, spell_out(args, self))


@click.group(
    cls=_Group,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    invoke_without_command=True,
    epilog="\b\nFor example:\n  dvdcli mount --volumedriver=local --volumename=db1\n"
    "  dvdcli mount --help\n\n"
    "Exit codes: 0 done, 1 failed, 2 wrong call, 3 no such volume or driver, 4 in use, 5 try again later, "
    "6 trouble with state or lock.",
)
@with_options(*FLAGS, *TALK)
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_print_version, help="Show the version."
)
@click.pass_context
def dvdcli(ctx: click.Context, /, **flags: Any) -> int:
    """Mount external volumes for containers, and keep account of who needs them."""
    ctx.obj = flags
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help(), err=True)
        return Exit.USAGE
    return Exit.DONE


def run(argv: list[str]) -> int:
    """Carry out the command line *argv* (without the program's name) and return the exit code."""
    if not argv and COMPLETE in os.environ:
        from dvdcli import completion

        return completion.run(dvdcli, os.environ[COMPLETE])
    what = next((word for word in argv if word in COMMANDS), "")
    try:
        code = dvdcli.main(args=argv, prog_name="dvdcli", standalone_mode=False)
    except (click.Abort, _InterruptedError):
        return output.report(_subject(what, argv) or "dvdcli", KeyboardInterrupt())
    except click.ClickException as error:
        where = f"dvdcli help {what}" if what else "dvdcli help"
        return output.report(what or "usage", UsageError(error.format_message().rstrip("."), f"see {where}"))
    except Exception as error:  # the one place where this door's errors become an exit code
        return output.report(_subject(what, argv), error)
    return code if isinstance(code, int) else Exit.DONE


def _subject(what: str, argv: list[str]) -> str:
    """Return what the failed call was about: the command, and the volume where the flags name one."""
    named = {}
    for flag in ("--volumedriver", "--volumename"):
        for word, following in zip(argv, [*argv[1:], ""], strict=True):
            if word == flag or word.startswith(f"{flag}="):
                named[flag] = following if word == flag else word.partition("=")[2]
    return " ".join(part for part in (what, "/".join(named.values())) if part)
