"""Run a soak: python -m tests.soak [--seconds 120] [--seed N].

In a mount namespace of its own: nobody who makes one meanwhile, as other tests do, takes copies of its mounts along,
which dvdcli would have to wait for.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys

from tests.conftest import COMMAND
from tests.soak.elsewhere import ALONE, ENVIRONMENT
from tests.soak.ledger import Violation
from tests.soak.soak import Soak


def main() -> int:
    parser = argparse.ArgumentParser(prog="make soak", description="Everything at once, and everything goes wrong.")
    parser.add_argument("--seconds", type=float, default=120, help="how long the storms go on")
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000), help="of the plan")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if not asked.inside:
        again = [sys.executable, "-m", "tests.soak", *sys.argv[1:], "--inside"]
        os.execvp("unshare", ["unshare", "--mount", "--propagation=slave", *again])
    subprocess.run(["/bin/sh", "-c", ALONE], env={**ENVIRONMENT, "OWN": "/none"}, check=True)
    print(f"seed {asked.seed}", flush=True)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, frame: sys.exit(128 + number))  # by way of taking everything down
    try:
        print(Soak(COMMAND, asked.seed, asked.seconds).run())
    except Violation as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
