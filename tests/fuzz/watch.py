"""What holds for every target: its own world to write in, nothing written elsewhere, an end, and dvdcli's own errors.

An audit hook sees every file that Python code opens, makes, renames or removes. What would leave the world is stopped:
a write is a finding, a connection is refused, and no program is started.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from functools import wraps
from pathlib import Path
from typing import Any

from dvdcli import output
from dvdcli.errors import DvdcliError, Exit, from_os_error

SECONDS = 10.0  # of this process's own time, for one input
NEXT = b"\n\xff==\n"  # between the parts of an input that has several
LONGEST_ERROR = 20_000
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_PATHS = {
    "os.mkdir": (0,), "os.rename": (0, 1), "os.remove": (0,), "os.rmdir": (0,), "os.link": (1,), "os.symlink": (1,),
    "os.truncate": (0,), "os.chmod": (0,), "os.chown": (0,), "os.utime": (0,), "os.setxattr": (0,),
}  # fmt: skip
_PROGRAMS = ("os.posix_spawn", "os.exec", "os.system", "subprocess.Popen", "os.spawn")
_CODES = {value for key, value in vars(Exit).items() if key.isupper()}


class OutsideError(BaseException):
    """Something outside the world would have been written."""


class SlowError(BaseException):
    """One input took more than SECONDS of this process's own time."""


class World:
    """The directories that a target may write in; they are empty for each input."""

    def __init__(self) -> None:
        # In memory, it is emptied so often; not in /tmp, where tasks may have volumes, and none is where our state is.
        place = next(path for path in ("/dev/shm", "/var/tmp") if os.access(path, os.W_OK))
        self.root = Path(os.path.realpath(tempfile.mkdtemp(prefix="fuzz", dir=place)))
        self.owner = os.getpid()
        self.state = self.root / "state"
        self.sockets = self.root / "run"
        self.specs = self.root / "etc"
        self.config = self.root / "dvdcli.toml"
        self.engine = self.root / "docker.sock"
        self.sandbox = self.root / "slaves" / "sandbox"
        self.environment = {
            "HOME": str(self.root), "DVDCLI_STATE_DIR": str(self.state), "DVDCLI_CONFIG": str(self.config),
            "DVDCLI_PLUGIN_DIRS": f"{self.sockets}:{self.specs}", "DVDCLI_ENGINE_SOCKET": str(self.engine),
            "DVDCLI_SYSFS": str(self.root / "sys"), "DVDCLI_DEV": str(self.root / "dev"),
            "AWS_ACCESS_KEY_ID": "any", "AWS_SECRET_ACCESS_KEY": "any", "AWS_CONFIG_FILE": str(self.root / "none"),
        }  # fmt: skip

    def clear(self) -> None:
        """Empty it, but for the sockets of servers that go on."""
        for path in (self.state, self.specs, self.root / "slaves", self.config.with_name("dvdcli.toml.d")):
            if path.exists():
                shutil.rmtree(path)
        self.config.unlink(missing_ok=True)
        for path in (self.sockets, self.specs, self.sandbox):
            path.mkdir(parents=True, exist_ok=True)
        for path in (self.sockets, self.specs):
            path.chmod(0o755)

    def remove(self) -> None:
        if os.getpid() == self.owner:
            shutil.rmtree(self.root, ignore_errors=True)


_world: World | None = None
_watched: World | None = None


def world() -> World:
    """Return the world of this process."""
    global _world
    if _world is None:
        import atexit

        _world = World()
        atexit.register(_world.remove)
        sys.addaudithook(_audit)
    return _world


def _is_inside(path: Any) -> bool:
    if isinstance(path, int) or path is None:
        return True  # a descriptor: what it is of was opened before
    where = os.path.abspath(os.fsdecode(path))
    assert _watched is not None
    return where == os.devnull or where == str(_watched.root) or where.startswith(f"{_watched.root}/")


def _audit(event: str, args: tuple[Any, ...]) -> None:
    if _watched is None:
        return
    if event == "open":
        path, _, flags = args
        if flags & _WRITING and not _is_inside(path):
            raise OutsideError(f"open {path!r}")
    elif event in _PATHS:
        for index in _PATHS[event]:
            if not _is_inside(args[index]):
                raise OutsideError(f"{event} {args!r}")
    elif event == "socket.connect":
        address = args[1]
        inside = isinstance(address, (str, bytes)) and _is_inside(address)
        if not inside and not (isinstance(address, tuple) and address[:2] in servers):
            raise ConnectionRefusedError(111, "outside the world")
    elif event == "socket.getaddrinfo":
        if args[0] not in ("localhost", "127.0.0.1", b"localhost", b"127.0.0.1"):
            raise socket.gaierror(-2, "outside the world")
    elif event in _PROGRAMS:
        raise FileNotFoundError(2, "no program in this world", str(args[0]))


servers: set[tuple[str, int]] = set()


def _too_slow(*_: object) -> None:
    raise SlowError(f"more than {SECONDS:.0f} s")


def target(function: Callable[[World, bytes], None]) -> Callable[[bytes], None]:
    """Return `one_input` for a target: *function* in a fresh world, watched, with an end."""

    @wraps(function)
    def one_input(data: bytes) -> None:
        global _watched
        here = world()
        here.clear()
        before, mute, fsync = {key: os.environ.get(key) for key in here.environment}, output.mute, os.fsync
        os.fsync = lambda descriptor: None  # no power cut comes in this world
        os.environ.update(here.environment)
        output.mute = True
        timed = threading.current_thread() is threading.main_thread()
        if timed:
            handler = signal.signal(signal.SIGVTALRM, _too_slow)
            signal.setitimer(signal.ITIMER_VIRTUAL, SECONDS)
        _watched = here
        try:
            function(here, data)
        finally:
            _watched = None
            if timed:
                signal.setitimer(signal.ITIMER_VIRTUAL, 0)
                signal.signal(signal.SIGVTALRM, handler)
            output.mute, os.fsync = mute, fsync
            for key, value in before.items():
                if value is None:
                    os.environ.pop(key, None)
                else:
                    os.environ[key] = value

    return one_input


@contextlib.contextmanager
def unwatched() -> Iterator[None]:
    """What the harness itself does meanwhile."""
    global _watched
    kept, _watched = _watched, None
    try:
        yield
    finally:
        _watched = kept


@contextlib.contextmanager
def refused() -> Iterator[None]:
    """Let pass what dvdcli says in its own words: one line, that can be seen, with an exit code of its own."""
    try:
        yield
    except (DvdcliError, OSError) as error:
        check_error(error)


def check_error(error: DvdcliError | OSError) -> None:
    """Fail unless *error* is one line that people can read, with an exit code that callers know."""
    known = from_os_error(error) if isinstance(error, OSError) else error
    assert known.code in _CODES
    assert known.code != Exit.DONE
    text = str(known)
    assert text.isprintable(), ascii(text[:300])
    assert 0 < len(text) < LONGEST_ERROR, len(text)


def check_text(text: str) -> None:
    """Fail unless *text* can be printed and be a path: no NUL, no lone surrogate but a file name's own bytes."""
    assert isinstance(text, str), type(text)
    assert "\0" not in os.fsencode(text).decode("latin-1")


def parts(data: bytes) -> list[bytes]:
    """Return the parts of an input that has several."""
    return data.split(NEXT)
