"""What every command of the people's door is: help through our own door, a JSON envelope for its failures."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import click

from dvdcli import output, render
from dvdcli.errors import DvdcliError, Exit, UsageError, from_os_error
from dvdcli.flags import spell_out, with_options
from dvdcli.nearest import nearest


def _print_help(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        output.to_stdout(ctx.get_help())
        ctx.exit()


class HelpMixin(click.Command):
    """Prints help through our own door, so that a stdout that cannot be written is a failure here too."""

    def get_help_option(self, ctx: click.Context) -> click.Option | None:
        """Return the option --help."""
        option = super().get_help_option(ctx)
        if option is not None:
            option.callback = _print_help
        return option


class Command(HelpMixin):
    """A command; with --json its failure is told as JSON too."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse *args*; a bare --explicitcreate means true."""
        try:
            return super().parse_args(ctx, spell_out(args, self))
        except click.NoSuchOption as error:
            flag = error.option_name
            raise click.UsageError(f"there is no option {flag}{self._instead_of(flag)}") from error
        except click.UsageError as error:
            of_words = type(error) is click.UsageError  # that are beside the flags; others have classes of their own
            if not of_words or not self._takes("--volumename") or self.name == "list":
                raise
            said = error.message.rstrip(".")
            raise click.UsageError(f"{said}: a volume is named by --volumedriver and --volumename") from error

    def _takes(self, flag: str) -> bool:
        return any(flag in param.opts for param in self.params)

    def _instead_of(self, flag: str) -> str:
        """Return what to say of the unknown *flag*: the one that was meant, or how a volume's option is given."""
        known = {name.lstrip("-"): name for param in self.params for name in param.opts if name.startswith("--")}
        meant = known.get(nearest(flag.lstrip("-"), known))
        if meant:
            return f": did you mean {meant}?"
        return ": a volume's own options are given as --volumeopts KEY=VALUE" if self._takes("--volumeopts") else ""

    def invoke(self, ctx: click.Context) -> Any:
        """Carry the command out."""
        try:
            return super().invoke(ctx)
        except (DvdcliError, OSError) as error:
            if ctx.params.get("as_json"):
                failure = from_os_error(error) if isinstance(error, OSError) else error
                render.envelope(self.name or "", {}, [failure])
            raise


def command(name: str, *options: Any, example: str = "") -> Callable[[Callable[..., int]], Command]:
    """Return a decorator that makes a function the command *name* with *options*; help ends with the *example*."""
    epilog = f"\b\nFor example:\n  dvdcli {name} {example}" if example else None

    def decorate(function: Callable[..., int]) -> Command:
        return click.command(name, cls=Command, epilog=epilog)(with_options(*options)(function))

    return decorate


YES = click.option("-y", "--yes", is_flag=True, help="Do not ask.")


def confirm(question: str, yes: bool, needed: bool = True) -> None:
    """Return if *yes*, or whoever sits at the terminal says so.

    Raises DvdcliError where the answer is no; UsageError where nobody can be asked and *needed* says that it must be.
    """
    if yes:
        return
    if os.isatty(0) and os.isatty(2):
        if not click.confirm(question, err=True):
            raise DvdcliError("nothing was changed")
    elif needed:
        raise UsageError("there is no terminal to ask on", "say --yes")


def report_all(what: str, errors: list[DvdcliError]) -> int:
    """Print *errors*, a line each; return the exit code, the first error's."""
    codes = [output.report(what, error) for error in errors]
    return codes[0] if codes else Exit.DONE
