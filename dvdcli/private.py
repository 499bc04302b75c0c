"""Files with secrets, which are used only where nobody else can read them."""

from __future__ import annotations

import os

from dvdcli.errors import DvdcliError


def check(path: str) -> None:
    """Raise DvdcliError where others can read the file at *path*. Whoever opens it says that it is not there."""
    try:
        _check(path, os.stat(path))
    except OSError:
        return


def check_opened(path: str, descriptor: int) -> None:
    """Raise DvdcliError where others can read the file that *descriptor* is of, opened at *path*. Raises OSError."""
    _check(path, os.fstat(descriptor))


def first_line(path: str, setting: str) -> str:
    """Return the first line of the file at *path*, which *setting* names, without its end. Raises DvdcliError."""
    try:
        with open(path, encoding="utf-8") as file:
            _check(path, os.fstat(file.fileno()))
            return file.readline().rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise DvdcliError(f"{path}: {why}", f"see {setting}") from error


def _check(path: str, status: os.stat_result) -> None:
    if status.st_mode & 0o077 or status.st_uid not in (0, os.geteuid()):
        raise DvdcliError(f"{path}: others can read it", f"chown root {path} and chmod 600 it")
