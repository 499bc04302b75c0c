"""Where /proc is not mounted nothing is known of boots and of mounts: no hold is void, and nothing is unmounted."""

from __future__ import annotations

import subprocess

import pytest

from tests.expect import refused
from tests.gate import flags

pytestmark = pytest.mark.root
STATE = 6


@pytest.mark.parametrize("words", [
    ["unmount", *flags("v", "local")], ["mount", *flags("v", "local"), "--hold=other"], ["recover"],
], ids=lambda words: words[0])  # fmt: skip
def test_a_call_without_proc_changes_nothing(home, words):
    assert home.mount("v", "local").code == 0
    before = home.record("v", "local"), sorted(path.name for path in (home.slot("v", "local") / "holds").iterdir())
    inside = home.root / "without-proc"
    line = f'mount -t tmpfs none /proc && exec "{home.command}" "$@"'
    inside.write_text(f"#!/bin/sh\nexec unshare -m sh -c '{line}' sh \"$@\"\n")
    inside.chmod(0o755)
    home.command, whole = inside, home.command
    assert "/proc is not mounted" in refused(home.run(*words), STATE)
    home.command = whole
    assert home.record("v", "local") == before[0]
    assert sorted(path.name for path in (home.slot("v", "local") / "holds").iterdir()) == before[1]
    assert home.unmount("v", "local").code == 0
    assert home.leftovers() == []
    assert subprocess.run(["mountpoint", "-q", "/proc"], check=False).returncode == 0
