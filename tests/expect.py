"""What several tests look for in the same way."""

from __future__ import annotations

import errno
import fcntl
import os
import pty
import signal
import struct
import termios

from tests.conftest import Done, Home


def one_line(done: Done) -> str:
    """Return stderr, which is one line of ours, and no bug."""
    assert done.err.startswith("dvdcli: "), done
    assert done.err.endswith("\n"), done
    assert done.err.count("\n") == 1, done
    assert "bug" not in done.err
    return done.err


def refused(done: Done, code: int) -> str:
    """Return the one line on stderr of a call that failed with *code* and said nothing on stdout."""
    assert (done.code, done.out) == (code, ""), done
    return one_line(done)


def can_be_interrupted() -> None:
    """Let ^C reach the child, whatever the test run itself ignores (a `preexec_fn`)."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def on_terminal(
    home: Home, *args: str, columns: int = 80, env: dict[str, str] | None = None, typed: str = "", code: int = 0
) -> str:
    """Return what the command shows on a terminal of its own, as stdout and stderr; *typed* is what it reads there."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    stdin = {"stdin": theirs} if typed else {}
    process = home.start(*args, env={"TERM": "xterm-256color", **(env or {})}, stdout=theirs, stderr=theirs, **stdin)
    os.close(theirs)
    os.write(ours, typed.encode())
    shown = b""
    while data := _read(ours):
        shown += data
    os.close(ours)
    assert process.wait(60) == code, shown
    return shown.decode().replace("\r\n", "\n")


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError as error:
        if error.errno == errno.EIO:  # how a terminal says end of file
            return b""
        raise
