"""Runs dvdcli as bin/dvdcli would, with coverage: `python3 -I -S covered.py SITE ROOT ARGS…`."""

import os
import sys

site, root = sys.argv[1:3]
sys.path.append(site)
import coverage  # noqa: E402

measure = coverage.Coverage(data_file=f"{root}/.coverage", data_suffix=True, config_file=f"{root}/pyproject.toml")
measure.start()
leave = os._exit


def save_and_leave(code: int) -> None:
    measure.stop()
    measure.save()
    leave(code)


os._exit = save_and_leave
sys.argv = [f"{os.path.dirname(sys.executable)}/dvdcli", *sys.argv[3:]]
from dvdcli.__main__ import main  # noqa: E402

try:
    main()
finally:
    measure.stop()
    measure.save()
