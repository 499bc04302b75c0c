"""`dvdcli recover --metrics FILE`: what node_exporter's textfile collector reads, in Prometheus's text format 0.0.4."""

from __future__ import annotations

import errno
import os
import stat
from collections import Counter

from dvdcli import clock, listing, pending, recovery
from dvdcli.clock import Deadline
from dvdcli.errors import DvdcliError
from dvdcli.linux import files
from dvdcli.locks import try_lock
from dvdcli.state import State

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from dvdcli.recovery import Outcome

    Sample = tuple[dict[str, str], float]

_WAIT = 10.0  # seconds that another run may take to write the same file
_LAST_SUCCESS = "dvdcli_recover_last_success_timestamp_seconds"


def write(path: str, outcomes: Sequence[Outcome], code: int, now: float, duration: float) -> None:
    """Write the metrics to *path*: whoever reads it finds the old ones or the new.

    *outcomes* and the exit *code* are this run's, *now* its end in seconds since 1970, *duration* is in seconds.
    Raises DvdcliError.
    """
    success = now if code == 0 else _last_success(path)
    text = "".join([*_of_state(), *_of_run(outcomes, code, now, success, duration)])
    try:
        _replace(path, text.encode())
    except OSError as error:
        raise DvdcliError(f"{path}: {error.strerror}", "see --metrics: its directory has to be there") from error


def _replace(path: str, data: bytes) -> None:
    """Make *data* the content of *path*, by way of a file of one name, locked: what a killed run leaves is used again.

    Raises OSError; also for a file of that name which others have put there, and can be anywhere.
    """
    temporary = f"{os.path.dirname(path) or '.'}/.{os.path.basename(path)}.new"
    deadline = Deadline(_WAIT)
    while (lock := try_lock(temporary)) is None:
        if not deadline.left():
            raise OSError(errno.EBUSY, f"another recover has been writing it for {_WAIT:.0f} s")
        clock.sleep(0.02)
    try:
        status = os.fstat(lock.descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid() or status.st_nlink != 1:
            raise OSError(errno.EEXIST, f"{temporary} is not ours: remove it")
        try:
            os.ftruncate(lock.descriptor, 0)
            os.fchmod(lock.descriptor, 0o644)
            while data:
                data = data[os.write(lock.descriptor, data) :]
            os.rename(temporary, path)
        except OSError:
            files.unlink(temporary)
            raise
    finally:
        lock.release()


def _of_state() -> Iterable[str]:
    try:
        rows, errors = listing.mounts(listing.Filter())
        waiting: list[Sample] = [({}, float(sum(1 for _ in pending.slots(State()))))]
        unreadable: list[Sample] = [({}, float(len(errors)))]
    except (DvdcliError, OSError):
        rows, waiting, unreadable = [], [], []  # that is the run's own failure
    mounts = Counter((row["driver"], row["status"]) for row in rows)
    by_status = [({"driver": driver, "status": status}, float(n)) for (driver, status), n in sorted(mounts.items())]
    yield _metric("dvdcli_mounts", "The mounts on record.", by_status)
    yield _metric("dvdcli_pending_volumes", "The volumes that wait for dvdcli recover.", waiting)
    yield _metric("dvdcli_unreadable_records", "The records that cannot be read.", unreadable)


def _of_run(outcomes: Sequence[Outcome], code: int, now: float, success: float, duration: float) -> Iterable[str]:
    actions = Counter(outcome.action for outcome in outcomes)
    counted = [({"action": action}, float(actions[action])) for action in recovery.ACTIONS]
    yield _metric("dvdcli_recover_outcomes", "What the last run of dvdcli recover did, and to how many.", counted)
    yield _metric("dvdcli_recover_exit_code", "The exit code of the last run, 0 for success.", [({}, float(code))])
    yield _metric("dvdcli_recover_duration_seconds", "How long the last run took.", [({}, duration)])
    yield _metric("dvdcli_recover_last_run_timestamp_seconds", "When the last run ended, since 1970.", [({}, now)])
    yield _metric(_LAST_SUCCESS, "When the last run that succeeded ended, since 1970; 0 for never.", [({}, success)])


def _last_success(path: str) -> float:
    """Return what the file that is there says of the last success, 0 where it says nothing."""
    try:
        text = (files.read(path) or b"").decode("utf-8", "replace")
    except OSError:
        return 0.0
    for line in text.splitlines():
        name, _, value = line.partition(" ")
        if name == _LAST_SUCCESS:
            try:
                return float(value)
            except ValueError:
                break
    return 0.0


def _metric(name: str, meaning: str, samples: Iterable[Sample]) -> str:
    lines = [f"# HELP {name} {meaning}", f"# TYPE {name} gauge"]
    for labels, value in samples:
        inside = ",".join(f'{key}="{_escaped(text)}"' for key, text in labels.items())
        lines.append(f"{name}{{{inside}}} {value!r}" if inside else f"{name} {value!r}")
    return "\n".join([*lines, ""])


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
