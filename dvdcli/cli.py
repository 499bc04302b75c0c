"""The people's door: click. Every flag of the Go dvdcli, before or after the command, the last one wins."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterator
from itertools import chain
from typing import Any

import click

from dvdcli import __version__, bind, clock, inventory, lifecycle, output, recovery, render
from dvdcli.clock import Deadline
from dvdcli.errors import DvdcliError, Exit, UsageError, from_os_error
from dvdcli.flags import ADOPT, FLAGS, HOLD, ISOLATOR, JSON, TALK, Asked, spell_out, timeout_option, with_options
from dvdcli.mesos import check_agent
from dvdcli.volume import check_driver, check_name, without_controls


def _print_help(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        output.to_stdout(ctx.get_help())
        ctx.exit()


def _print_version(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        output.to_stdout(f"dvdcli {__version__}")
        ctx.exit()


class _HelpMixin(click.Command):
    """Prints help through our own door, so that a stdout that cannot be written is a failure here too."""

    def get_help_option(self, ctx: click.Context) -> click.Option | None:
        option = super().get_help_option(ctx)
        if option is not None:
            option.callback = _print_help
        return option


class _Command(_HelpMixin):
    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(ctx, spell_out(args, self))

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (DvdcliError, OSError) as error:
            if ctx.params.get("as_json"):
                failure = from_os_error(error) if isinstance(error, OSError) else error
                render.envelope(self.name or "", {}, [failure])
            raise


class _InterruptedError(Exception):
    """^C, past click, which would print an empty line first."""


class _Group(_HelpMixin, click.Group):
    command_class = _Command

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
    epilog="Exit codes: 0 done, 1 failed, 2 wrong call, 3 no such volume or driver, 4 in use, 5 try again later, "
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


@dvdcli.command()
@with_options(*FLAGS, HOLD, ISOLATOR, timeout_option(lifecycle.MOUNT_TIMEOUT), *TALK)
def mount(hold: str, timeout: float, **flags: Any) -> int:
    """Mount a volume and print its path.

    A volume that does not exist is created, unless --explicitcreate or the configuration says otherwise. Mounting
    what is mounted is fine.
    """
    asked = Asked(flags)
    volume, options = asked.volume, asked.options
    who = lifecycle.hold_name(check_name(hold, "hold's name"))
    output.need_stdout()
    lifecycle.mount(volume, options, asked.explicit, who, Deadline(timeout), output.to_stdout)
    return Exit.DONE


@dvdcli.command()
@with_options(*FLAGS, HOLD, ISOLATOR, timeout_option(lifecycle.UNMOUNT_TIMEOUT), *TALK)
def unmount(hold: str, timeout: float, **flags: Any) -> int:
    """Let go of a volume, and unmount it if nobody else holds it.

    Unmounting what is not mounted is fine.
    """
    asked = Asked(flags)
    volume, _ = asked.volume, asked.options
    who = lifecycle.hold_name(check_name(hold, "hold's name"))
    others = lifecycle.unmount(volume, who, Deadline(timeout))
    if others:
        output.tell(f"{volume} stays mounted: {', '.join(others)} still need it")
    return Exit.DONE


@dvdcli.command("list")
@with_options(*FLAGS, JSON, timeout_option(inventory.READ_TIMEOUT), *TALK)
def list_(as_json: bool, timeout: float, **flags: Any) -> int:
    """List the mounts on record; with --volumedriver, the volumes of that driver."""
    asked = Asked(flags)
    if asked.driver is not None:
        deadline = Deadline(timeout)
        infos = inventory.volumes(check_driver(asked.driver), deadline)
        if as_json:
            rows = [{"name": info.name, "mountpoint": info.mountpoint} for info in infos]
            scope = inventory.scope(asked.driver, deadline)
            return render.envelope("list", {"driver": asked.driver, "scope": scope, "volumes": rows}, [])
        for info in infos:
            output.to_stdout(without_controls(info.name))
        return Exit.DONE
    found, errors = inventory.mounts()
    if as_json:
        return render.envelope("list", {"mounts": found}, errors)
    render.mounts(found)
    return _report_all("list", errors)


@dvdcli.command()
@with_options(
    click.option("--dry-run", is_flag=True, help="Show what would be done, and do nothing."),
    *ADOPT, ISOLATOR, JSON, timeout_option(recovery.TIMEOUT), *TALK,
)  # fmt: skip
def recover(dry_run: bool, as_json: bool, timeout: float, **flags: Any) -> int:
    """Finish what is pending: interrupted calls, unmounts that failed, mounts of an earlier boot.

    Silent when there is nothing to do, and safe to run at any time.
    """
    Asked(flags)
    deadline = Deadline(timeout)
    outcomes = []
    for outcome in chain(_adopted(flags, deadline, dry_run), recovery.recover(deadline, dry_run)):
        outcomes.append(outcome)
        if not as_json:
            _tell_outcome(outcome, dry_run)
    failed = [outcome for outcome in outcomes if outcome.code]
    if as_json:
        errors = [_as_error(outcome) for outcome in failed]
        return render.envelope("recover", {"dry_run": dry_run, "outcomes": [o.to_json() for o in outcomes]}, errors)
    return failed[0].code if failed else Exit.DONE


def _adopted(flags: dict[str, Any], deadline: Deadline, dry_run: bool) -> Iterator[recovery.Outcome]:
    if not flags["adopt"]:
        return
    from dvdcli import adoption

    listed, warnings = adoption.listed_in(flags["dvdi_checkpoint"], flags["docker_volume_checkpoints"])
    for warning in warnings:
        output.warn(warning)
    yield from adoption.adopt(listed, check_agent(flags["agent"]), deadline, dry_run)


def _as_error(outcome: recovery.Outcome) -> DvdcliError:
    error = DvdcliError(f"{outcome.volume}: {outcome.detail}")
    error.code = outcome.code
    return error


def _tell_outcome(outcome: recovery.Outcome, dry_run: bool) -> None:
    detail = f" ({outcome.detail})" if outcome.detail else ""
    if outcome.code:
        output.to_stderr(f"recover {outcome.volume}: {outcome.action}: {outcome.detail}")
    elif outcome.action in (recovery.BUSY, recovery.WAITING, recovery.SKIPPED):
        output.tell(f"recover {outcome.volume}: skipped{detail}")
    elif not output.quiet:
        output.to_stdout(f"{outcome.volume}: {'would be ' if dry_run else ''}{outcome.action}{detail}")


@dvdcli.command()
@with_options(*FLAGS, timeout_option(lifecycle.MOUNT_TIMEOUT), *TALK)
def create(timeout: float, **flags: Any) -> int:
    """Create a volume."""
    asked = Asked(flags)
    inventory.create(asked.volume, asked.options, Deadline(timeout))
    return Exit.DONE


@dvdcli.command()
@with_options(*FLAGS, timeout_option(lifecycle.MOUNT_TIMEOUT), *TALK)
def remove(timeout: float, **flags: Any) -> int:
    """Destroy a volume and all data in it. One that is mounted is refused."""
    inventory.remove(Asked(flags).volume, Deadline(timeout))
    return Exit.DONE


@dvdcli.command()
@with_options(*FLAGS, timeout_option(lifecycle.MOUNT_TIMEOUT), *TALK)
def resize(timeout: float, **flags: Any) -> int:
    """Make a volume larger, to --volumeopts size=SIZE, and its file system where it is mounted here.

    Where it is not, the file system grows at the next mount.
    """
    asked = Asked(flags)
    inventory.resize(asked.volume, asked.options, Deadline(timeout))
    return Exit.DONE


@dvdcli.command()
@with_options(*FLAGS, timeout_option(inventory.READ_TIMEOUT), *TALK)
def get(timeout: float, **flags: Any) -> int:
    """Print the name of a volume that exists."""
    output.to_stdout(inventory.get(Asked(flags).volume, Deadline(timeout)).name)
    return Exit.DONE


@dvdcli.command()
@with_options(*FLAGS, timeout_option(inventory.READ_TIMEOUT), *TALK)
def path(timeout: float, **flags: Any) -> int:
    """Print where a volume is mounted on this host, or nothing."""
    found = inventory.path(Asked(flags).volume, Deadline(timeout))
    if found:
        output.to_stdout(found)
    return Exit.DONE


@dvdcli.command("bind")
@with_options(
    click.option("--outside", default="", metavar="NAMESPACE", help="A mount namespace in which to refuse."),
    click.option("--make-slave", is_flag=True, help="Keep what is mounted here from appearing elsewhere."),
    click.argument("binds", nargs=-1, required=True, metavar="BIND..."), *TALK,
)  # fmt: skip
def bind_(outside: str, make_slave: bool, binds: tuple[str, ...], **flags: Any) -> int:
    """Put mounted volumes into their places in a container; the isolators' launch messages run this.

    BIND is a JSON object with source, base, through, path, owner and read_only. No symbolic link on the way to the
    place is followed out of base.
    """
    Asked(flags)
    bind.bind(list(binds), outside, make_slave)
    return Exit.DONE


@dvdcli.command()
@with_options(*TALK)
def version(**flags: Any) -> int:
    """Print the version."""
    formed = clock.http_date(os.stat(__file__).st_mtime)
    system = f"{platform.system()}-{platform.machine()}"
    facts = {
        "Binary": os.path.realpath(sys.argv[0]), "SemVer": __version__, "OsArch": system,
        "Branch": "unknown", "Commit": "unknown", "Formed": formed,
    }  # fmt: skip
    output.to_stdout("\n".join(f"{key}: {value}" for key, value in facts.items()))
    return Exit.DONE


@dvdcli.command("help")
@click.argument("command", required=False)
@click.pass_context
def help_(ctx: click.Context, command: str | None) -> int:
    """Show help on a command."""
    root = ctx.find_root()
    if command is None:
        output.to_stdout(root.get_help())
        return Exit.DONE
    found = dvdcli.get_command(ctx, command)
    if found is None:
        raise UsageError(f"there is no command {command!r}", f"the commands: {', '.join(dvdcli.list_commands(ctx))}")
    with click.Context(found, info_name=command, parent=root) as inner:
        output.to_stdout(found.get_help(inner))
    return Exit.DONE


def _report_all(what: str, errors: list[DvdcliError]) -> int:
    codes = [output.report(what, error) for error in errors]
    return codes[0] if codes else Exit.DONE


def run(argv: list[str]) -> int:
    """Carry out the command line *argv* (without the program's name) and return the exit code."""
    what = next((word for word in argv if word in dvdcli.commands), "")
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
