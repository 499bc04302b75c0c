"""dvdcli version."""

from __future__ import annotations

import os
import platform
import sys
from typing import Any

import dvdcli
from dvdcli import clock, output
from dvdcli.commands.base import command
from dvdcli.errors import Exit
from dvdcli.flags import TALK


@command("version", *TALK)
def command_(**flags: Any) -> int:
    """Print the version."""
    formed = clock.http_date(os.stat(dvdcli.__file__).st_mtime)
    system = f"{platform.system()}-{platform.machine()}"
    facts = {
        "Binary": os.path.realpath(sys.argv[0]), "SemVer": dvdcli.__version__, "OsArch": system,
        "Branch": "unknown", "Commit": "unknown", "Formed": formed,
    }  # fmt: skip
    output.to_stdout("\n".join(f"{key}: {value}" for key, value in facts.items()))
    return Exit.DONE
