"""What is told of a soak: a table when it went well, everything about the first fault when it did not."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from tests.soak.plan import INJECTED, KINDS

if TYPE_CHECKING:
    from tests.soak.soak import Soak


SAID = {
    "kill": "processes killed with SIGKILL",
    "hang": "the plugin hung",
    "restart": "the plugin was restarted",
    "deaf": "the plugin acted and did not answer",
    "throttle": "EC2 throttled a request",
    "5xx": "EC2 answered 500, before or after it acted",
    "cloud-hang": "EC2 let a request wait",
    "csi-kill": "the CSI driver was killed in a call, and started again",
    "csi-hang": "the CSI driver let a call wait",
    "csi-slow": "the CSI driver took its time",
    "csi-aborted": "the CSI driver said that it was at work",
    "csi-unavailable": "the CSI driver could not work",
    "csi-lost": "the CSI driver acted, and its answer was lost",
    "full": "the state's file system was full",
    "read-only": "the state's file system was read-only",
    "clock": "the clock jumped ahead",
    "clock-back": "the clock jumped back",
    "unmount": "unmounted behind our back",
    "detach": "unmounted and detached behind our back",
    "reboot": "reboots",
    **{kind: f"system calls that failed with {kind}" for kind in INJECTED},
}


def rows(soak: Soak) -> list[tuple[str, str, str]]:
    """Return the table: group, what, how many."""
    hits = soak.saboteur.hits()
    found = soak.ledger.counts
    return [
        ("", "seed", str(soak.seed)),
        ("", "seconds", f"{soak.lasted:.0f}"),
        ("", "storms, each with a recover and a check", str(soak.storms)),
        *_counted("calls", soak.calls.counts.items()),
        ("calls", "all", str(soak.calls.counts.total())),
        *_counted("exit codes", ((str(code), count) for code, count in soak.calls.codes.items())),
        *(("faults", SAID[kind], str(hits[kind])) for kind in KINDS),
        ("promises", "mounts that were held, watched all the time", str(found["promises"])),
        ("promises", "changes of the mount table seen", str(soak.watcher.changes)),
        ("promises", "contents found again", str(found["contents found"])),
        ("promises", "containers that saw their volume at its path", str(found["containers that saw their volume"])),
        ("promises", "file systems made once, and the same all the time", str(len(soak.ledger.made))),
        ("promises", "volumes removed when nobody held them", str(found["volumes removed"])),
        ("left", "mended by the next mount after an unmount behind our back", str(soak.check.mended)),
        ("", "losses", str(soak.losses)),
        ("", "leaks", str(soak.leaks)),
    ]


def _counted(group: str, counts: Iterable[tuple[str, int]]) -> list[tuple[str, str, str]]:
    return [(group, what, str(count)) for what, count in sorted(counts)]


def table(soak: Soak) -> str:
    """Return the table as text."""
    found = rows(soak)
    widest = max(len(what) for _, what, _ in found)
    return "\n".join(f"{group:10}  {what:{widest}}  {count:>7}" for group, what, count in found)


def failure(soak: Soak, error: BaseException) -> str:
    """Return what went wrong, with the last calls of everyone, and keep the state and the whole log."""
    kept = keep(soak, error)
    lines = [
        f"seed {soak.seed}, storm {soak.storms} ({', '.join(soak.kinds)}): {type(error).__name__}: {error}",
        f"kept in {kept}: log, state; again with: make soak SOAK=\"--seed {soak.seed} --seconds {soak.seconds:.0f}\"",
    ]
    if soak.guilty is not None:
        lines += [f"the last calls of worker {soak.guilty}:", *map(str, soak.calls.recent(soak.guilty))]
    return "\n".join(lines)


def keep(soak: Soak, error: BaseException) -> Path:
    """Copy the state and write the log where they stay."""
    kept = Path(tempfile.mkdtemp(prefix=f"soak-{soak.seed}-"))
    text = "\n".join(map(str, soak.calls.log))
    (kept / "log").write_text(f"{text}\n{type(error).__name__}: {error}\n")
    for name in ("mountinfo",):
        shutil.copyfile(f"/proc/self/{name}", kept / name)
    subprocess.run(["cp", "-a", "-x", soak.machine.home.state, kept / "state"], capture_output=True, check=False)
    return kept
