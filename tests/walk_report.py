"""Prints what a crash walk has walked, scene by scene: `pytest -p tests.walk_report`, as `make crash-walk` does."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Any

CLASSES = {
    "file": ("openat", "write", "pwrite64", "pread64", "rename", "renameat2", "mkdir", "mkdirat", "unlink", "unlinkat",
             "rmdir", "fsync", "fdatasync", "ftruncate", "fallocate", "chmod", "fchmod", "chown", "fchown", "fchownat",
             "link", "symlink", "mknod", "flock"),
    "socket": ("connect", "socket", "sendto", "sendmsg", "recvfrom", "poll"),
    "process": ("clone", "clone3", "fork", "vfork", "wait4", "waitid", "pidfd_open", "exit_group"),
    "mount": ("mount", "umount2", "fsmount", "fsconfig", "move_mount", "mount_setattr"),
    "device": ("ioctl",),
}  # fmt: skip


def class_of(name: str) -> str:
    """Return the class of a system call; `request`, or `all` for a hit at all of them at once; else `other`."""
    special = {"everywhere": "all", "request": "request"}
    return next((group for group, names in CLASSES.items() if name in names), special.get(name, "other"))


def pytest_terminal_summary(terminalreporter: Any) -> None:
    walked: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for reports in terminalreporter.stats.values():
        for report in reports:
            for key, value in getattr(report, "user_properties", ()):
                if key == "walked" and getattr(report, "when", "") == "call":
                    for what, number in value["counts"].items():
                        mode, name = what.split(" ")
                        walked[f"{value['world']} {value['scene']}"][f"{mode} {class_of(name)}"] += number
    terminalreporter.section("points of the crash walk")
    for scene, counts in sorted(walked.items()):
        text = ", ".join(f"{what} {number}" for what, number in sorted(counts.items()))
        terminalreporter.write_line(f"{scene}: {counts.total()} ({text})")
    terminalreporter.write_line(f"in all: {sum(counts.total() for counts in walked.values())}")
