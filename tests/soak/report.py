"""What is told of a soak: a table when it went well, everything about the first fault when it did not."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.soak.soak import Soak


def rows(soak: Soak) -> list[tuple[str, str, str]]:
    """Return the table: group, what, how many."""
    faults = {f"writes fail with {kind}": count for kind, count in soak.calls.faults.items()}
    return [
        ("", "seed", str(soak.seed)),
        ("", "seconds", f"{soak.lasted:.0f}"),
        ("", "storms, each with a recover and a check", str(soak.storms)),
        *_counted("calls", soak.calls.counts.items()),
        ("calls", "all", str(soak.calls.counts.total())),
        *_counted("exit codes", ((str(code), count) for code, count in soak.calls.codes.items())),
        ("faults", "processes killed", str(soak.saboteur.kills)),
        *_counted("faults", [*soak.saboteur.counts.items(), *faults.items()]),
        ("promises", "mounts that were held, watched all the time", str(soak.ledger.counts["promises"])),
        ("promises", "changes of the mount table seen", str(soak.watcher.changes)),
        ("promises", "contents found again", str(soak.ledger.counts["contents found"])),
        ("promises", "file systems made once, and the same all the time", str(len(soak.ledger.made))),
        ("left", "mended by the next mount after an unmount behind our back", str(soak.check.mended)),
        ("left", "empty places of killed calls, gone with the next call", str(soak.check.tidied)),
        ("left", "void claims, where the state could not be written", str(soak.check.void_claims)),
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
        f"kept in {kept}: log, state; again with: make soak SOAK=\"--seed {soak.seed}\"",
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
