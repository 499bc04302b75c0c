"""The one door to other programs: found where root's programs are, bounded by a deadline, never at our stdout."""

from __future__ import annotations

import os

from dvdcli import clock, output
from dvdcli.errors import AtWorkError, DvdcliError, TryAgainError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from dvdcli.clock import Deadline

_DIRECTORIES = ("/usr/sbin", "/usr/bin", "/sbin", "/bin")  # never the caller's PATH: root runs what is found
_ENVIRONMENT = {"PATH": ":".join(_DIRECTORIES), "LC_ALL": "C"}
_DYING = 1.0  # seconds that a killed child is given; one that hangs in the kernel does not die
_PACKAGES = {
    "mkfs.ext4": "e2fsprogs", "e2fsck": "e2fsprogs", "resize2fs": "e2fsprogs",
    "mkfs.xfs": "xfsprogs", "xfs_growfs": "xfsprogs", "xfs_repair": "xfsprogs",
    "mkfs.btrfs": "btrfs-progs", "btrfs": "btrfs-progs",
    "blkid": "util-linux", "mount": "mount", "umount": "mount", "losetup": "mount",
}  # fmt: skip


class Finished:
    """A program that ran to its end: its exit *code* (negative: the signal that ended it) and its *output*, one text.

    *said* is the last line of the output, for an error message: of what is before a page of usage.
    """

    __slots__ = ("code", "output")

    def __init__(self, code: int, text: str) -> None:
        self.code = code
        self.output = text

    @property
    def said(self) -> str:
        """The last line that the program printed, or how it ended."""
        lines = [line.strip() for line in self.output.partition("\nUsage: ")[0].splitlines() if line.strip()]
        how = f"signal {-self.code}" if self.code < 0 else f"exit status {self.code}"
        return lines[-1] if lines else how


def find(program: str) -> str:
    """Return the path of *program*, a name or a path. Raises DvdcliError where it is not installed."""
    for path in [program] if "/" in program else [f"{directory}/{program}" for directory in _DIRECTORIES]:
        if os.access(path, os.X_OK):
            return path
    package = _PACKAGES.get(program, program)
    raise DvdcliError(f"there is no {program} on this host", f"install it (Debian's package {package})")


def run(argv: Sequence[str], deadline: Deadline, guard: int = -1, kill: bool = True) -> Finished:
    """Run *argv* with stdin at its end and both outputs in memory: if we die, it writes on without a broken pipe.

    *guard* is a descriptor that the child inherits: the volume's lock, which stays taken while the child works.
    At the *deadline* the child is killed, unless *kill* is false: then it goes on, and TryAgainError says by which pid.
    Raises DvdcliError where the program is not there.
    """
    import signal  # which imports enum: a call that runs nothing does without

    path = find(argv[0])
    output.debug(f"run {' '.join(argv)}")
    null = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    said = os.memfd_create("dvdcli", os.MFD_CLOEXEC)
    try:
        actions = [(os.POSIX_SPAWN_DUP2, null, 0), (os.POSIX_SPAWN_DUP2, said, 1), (os.POSIX_SPAWN_DUP2, said, 2)]
        if guard >= 0:
            actions.append((os.POSIX_SPAWN_DUP2, guard, 3 if guard != 3 else 4))
        pid = os.posix_spawn(path, list(argv), _ENVIRONMENT, file_actions=actions, setsigdef=[signal.SIGPIPE])
        status = _wait(pid, deadline)
        if status is None:
            _give_up(argv, pid, deadline, kill)
        size = os.fstat(said).st_size
        text = os.pread(said, min(size, 1 << 20), 0).decode("utf-8", "replace")
    finally:
        os.close(null)
        os.close(said)
    return Finished(os.waitstatus_to_exitcode(status or 0), text)


def _wait(pid: int, deadline: Deadline) -> int | None:
    """Return the wait status of *pid*, None where it still runs at the *deadline*."""
    try:
        descriptor = os.pidfd_open(pid)
    except (AttributeError, OSError):
        return _poll(pid, deadline)  # a kernel before 5.3
    try:
        import select

        waiting = select.poll()
        waiting.register(descriptor, select.POLLIN)
        ended = waiting.poll(deadline.left() * 1000)
    finally:
        os.close(descriptor)
    return os.waitpid(pid, 0)[1] if ended else None


def _poll(pid: int, deadline: Deadline) -> int | None:
    pause = 0.001
    while True:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return status
        if not deadline.left():
            return None
        clock.sleep(min(pause, deadline.left()))
        pause = min(pause * 2, 0.02)


def _give_up(argv: Sequence[str], pid: int, deadline: Deadline, kill: bool) -> None:
    what = f"{' '.join(argv)} has not ended after {deadline.seconds:.0f} s"
    if kill:
        import signal

        os.kill(pid, signal.SIGKILL)
        if _wait(pid, clock.Deadline(_DYING)) is not None:
            raise TryAgainError(f"{what} and was killed", "try again later")
    raise AtWorkError(f"{what}; pid {pid} goes on", "try again later")
