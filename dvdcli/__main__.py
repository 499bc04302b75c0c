"""The front step: which of the two doors a call takes."""

from __future__ import annotations

import os
import sys

from dvdcli import output


def _machines_door(argv: list[str]) -> int | None:
    """Carry out a call that agents and their watchers make, and return its exit code; None for any other call."""
    if argv[:1] == ["bind"]:
        from dvdcli import bind

        bound = bind.parse(argv)
        return None if bound is None else bind.run(bound)
    if "--isolator" in argv:
        from dvdcli import isolator

        verb = isolator.parse(argv)
        return None if verb is None else isolator.run(verb)
    if argv == ["list", "--json"]:
        from dvdcli import listing

        return listing.answer()
    from dvdcli import hook

    call = hook.parse(argv)
    return None if call is None else hook.run(call)


def main() -> None:
    """Run the command line in sys.argv and exit."""
    output.guard()
    os.umask(0o077)
    argv = sys.argv[1:]
    code = _machines_door(argv)
    if code is not None:
        _close()
        os._exit(code)  # nothing is left to tidy up, and an interpreter takes its time for that

    from dvdcli import cli

    code = cli.run(argv)
    _close()
    if "grpc" in sys.modules:
        sys.stdout.flush()
        os._exit(code)  # its threads have been seen to keep an interpreter that ends, or a channel that closes, waiting
    sys.exit(code)


def _close() -> None:
    """End the sessions with storage systems, where the call had to do with any."""
    if "dvdcli.providers" in sys.modules:
        from dvdcli import providers

        providers.close()


if __name__ == "__main__":
    main()
