"""What tests of CSI drivers share: machines, each a home for dvdcli and a node of the driver double."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from tests.conftest import Done, Home
from tests.doubles.csi import Driver, Plugin
from tests.expect import refused as told
from tests.gate import flags

FAILURE, USAGE, NOT_FOUND, IN_USE, TRY_AGAIN = 1, 2, 3, 4, 5
# A driver that has nothing to attach or stage, and volumes that grow while they are not published.
PLAIN: dict[str, Any] = {
    "controller": ("CREATE_DELETE_VOLUME", "EXPAND_VOLUME"), "node": (), "contexts": False, "expansion": "OFFLINE",
}  # fmt: skip


def refused(done: Done, code: int, *words: str) -> None:
    """Assert that the call failed with *code*, and one line that has all of *words* in it."""
    line = told(done, code)
    assert [word for word in words if word not in line] == [], line


def done(result: Done, out: str = "") -> None:
    """Assert that the call did what it should, saying *out* and nothing else."""
    assert (result.code, result.out, result.err) == (0, out, ""), result


class Machine(Home):
    """A home whose dvdcli has the plugin *host* as its driver `csi`."""

    def __init__(self, root: Path, command: Path, host: Plugin) -> None:
        super().__init__(root, command)
        self.host = host
        self.settings: dict[str, Any] = {"provider": "csi", "endpoint": host.endpoint}
        if host.driver.apart:
            self.settings["controller_endpoint"] = host.driver.plugins["controller"].endpoint
        self.configure()

    def csi(self, verb: str, name: str = "v", *more: str, **options: Any) -> Done:
        return self.run(verb, *flags(name, "csi"), *more, **options)

    def opts(self, **options: str | int) -> list[str]:
        return [f"--volumeopts={key}={value}" for key, value in options.items()]

    def configure(self, **changes: Any) -> None:
        """Change settings of the driver `csi`; None takes one away."""
        self.settings = {key: value for key, value in {**self.settings, **changes}.items() if value is not None}
        lines = [f"{key} = {_toml(value)}" for key, value in self.settings.items()]
        self.config.write_text("\n".join(["[drivers.csi]", *lines, ""]))

    def secrets(self, **tables: dict[str, str]) -> None:
        """Write the file of secrets, with a table for each call."""
        path = self.root / "secrets.toml"
        path.touch(0o600)
        lines = [line for call, table in tables.items()
                 for line in (f"[{call}]", *(f"{json.dumps(key)} = {json.dumps(text)}" for key, text in table.items()))]
        path.write_text("\n".join(lines) + "\n")  # fmt: skip
        self.configure(secrets_file=str(path))

    @property
    def place(self) -> Path:
        return self.state / "mounts" / "csi" / "v"


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {_toml(inner)}" for key, inner in value.items()) + "}"
    return json.dumps(value)


class Cluster:
    """The driver double, and the machines that have it. Closing it asserts that nobody sinned, but as `expected`."""

    def __init__(self, command: Path, **options: Any) -> None:
        self.root = Path(tempfile.mkdtemp(prefix="dvd"))
        self.command = command
        # Shared, as systemd has it: no other test's mount namespace keeps a copy of what is unmounted here.
        for mount in (["--bind", self.root, self.root], ["--make-shared", self.root]):
            subprocess.run(["mount", *mount], check=True)
        self.driver = Driver(self.root / "csi", **options)
        self.expected: list[str] = []
        self.machines: list[Machine] = []

    def machine(self, letter: str = "a", **place: str) -> Machine:
        root = self.root / letter
        root.mkdir()
        machine = Machine(root, self.command, self.driver.node(letter, **place))
        self.machines.append(machine)
        return machine

    def close(self) -> None:
        self.driver.close()
        for machine in self.machines:
            machine.release()
        for machine in self.machines:
            machine.close()
        faults = self.driver.faults
        subprocess.run(["umount", "-l", self.root], check=True)
        shutil.rmtree(self.root)
        assert faults == self.expected, faults
