"""What tests of EBS share: machines, each a home for dvdcli and a host of the EC2 double."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from tests.conftest import Done, Home
from tests.doubles.ec2 import Ec2, Host
from tests.expect import refused as told
from tests.gate import flags

FAILURE, USAGE, NOT_FOUND, IN_USE, TRY_AGAIN = 1, 2, 3, 4, 5


def refused(done: Done, code: int, *words: str) -> None:
    """Assert that the call failed with *code*, and one line that has all of *words* in it."""
    line = told(done, code)
    assert [word for word in words if word not in line] == [], line


class Machine(Home):
    """A home whose dvdcli runs on *host*: `run` and the rest see the host's devices and metadata."""

    def __init__(self, root: Path, command: Path, host: Host) -> None:
        super().__init__(root, command)
        self.host = host
        self.env.update(host.env())

    def ebs(self, verb: str, name: str = "v", *more: str, **options: Any) -> Done:
        return self.run(verb, *flags(name, "ebs"), *more, **options)

    def opts(self, **options: str | int) -> list[str]:
        return [f"--volumeopts={key}={value}" for key, value in options.items()]

    def configure(self, text: str) -> None:
        self.config.write_text(f'[drivers.ebs]\nprovider = "ebs"\n{text}\n')

    @property
    def place(self) -> Path:
        return self.state / "mounts" / "ebs" / "v"


class Cloud:
    """The EC2 double, and the machines in it. Closing it asserts that nobody sinned."""

    def __init__(self, command: Path) -> None:
        self.root = Path(tempfile.mkdtemp(prefix="dvd"))
        self.command = command
        # Shared, as systemd has it: no other test's mount namespace keeps a copy of what is unmounted here.
        for options in (["--bind", self.root, self.root], ["--make-shared", self.root]):
            subprocess.run(["mount", *options], check=True)
        self.ec2 = Ec2(self.root / "ec2")
        self.ec2.gib = 64 << 20
        self.machines: list[Machine] = []

    def machine(self, letter: str = "a", **options: Any) -> Machine:
        root = self.root / letter
        root.mkdir()
        machine = Machine(root, self.command, self.ec2.host(f"i-0{letter * 16}", **options))
        self.machines.append(machine)
        return machine

    def close(self) -> None:
        for machine in self.machines:
            machine.release()
        self.ec2.close()
        for machine in self.machines:
            machine.close()
        subprocess.run(["umount", "-l", self.root], check=True)
        shutil.rmtree(self.root)
        assert self.ec2.faults == []
