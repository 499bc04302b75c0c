"""The front step: which of the two doors a call takes."""

from __future__ import annotations

import os
import sys

from dvdcli import hook, output


def main() -> None:
    """Run the command line in sys.argv and exit."""
    output.guard()
    os.umask(0o077)
    argv = sys.argv[1:]
    call = hook.parse(argv)
    if call is not None:
        os._exit(hook.run(call))  # nothing is left to tidy up, and an interpreter takes its time for that
    if "--isolator" in argv[1:2]:
        from dvdcli import isolator

        verb = isolator.parse(argv)
        if verb is not None:
            os._exit(isolator.run(verb))
    elif argv[:1] == ["bind"]:
        from dvdcli import bind

        bound = bind.parse(argv)
        if bound is not None:
            os._exit(bind.run(bound))

    from dvdcli import cli

    sys.exit(cli.run(argv))


if __name__ == "__main__":
    main()
