"""The front step: which of the two doors a call takes."""

from __future__ import annotations

import os
import sys

from dvdcli import hook, output


def main() -> None:
    """Run the command line in sys.argv and exit."""
    output.guard()
    os.umask(0o077)
    call = hook.parse(sys.argv[1:])
    if call is not None:
        os._exit(hook.run(call))  # nothing is left to tidy up, and an interpreter takes its time for that

    from dvdcli import cli

    sys.exit(cli.run(sys.argv[1:]))


if __name__ == "__main__":
    main()
