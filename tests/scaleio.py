"""What tests of ScaleIO share: machines, each a home for dvdcli and a host of the gateway double."""

from __future__ import annotations

import functools
import json
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import trustme

from tests.conftest import Done, Home
from tests.doubles.scaleio import Gateway, Host
from tests.expect import refused as told
from tests.gate import flags

FAILURE, USAGE, NOT_FOUND, IN_USE, TRY_AGAIN = 1, 2, 3, 4, 5
GENERATIONS = ["2.0", "3.6", "4.5"]
# A gateway before 4.x has no such path; only who is refused by the old way tries it.
NO_NEW_LOGIN = "?: there is no POST /rest/auth/login in 3.6"


@functools.cache
def authority() -> trustme.CA:
    return trustme.CA()


@functools.cache
def certificate() -> trustme.LeafCert:
    return authority().issue_cert("localhost", "127.0.0.1")


def refused(done: Done, code: int, *words: str) -> None:
    """Assert that the call failed with *code*, and one line that has all of *words* in it."""
    line = told(done, code)
    assert [word for word in words if word not in line] == [], line


class Machine(Home):
    """A home whose dvdcli runs on *host*: `run` and the rest see the host's devices and its drv_cfg."""

    def __init__(self, root: Path, command: Path, host: Host, ca_file: Path) -> None:
        super().__init__(root, command)
        self.host = host
        self.env.update(host.env())
        self.password_file = root / "password"
        self.password_file.touch(0o600)
        self.password_file.write_text(f"{host.gateway.password}\n")
        gateway = host.gateway
        self.settings: dict[str, Any] = {
            "provider": "scaleio",
            "endpoint": gateway.url,
            "user": gateway.user,
            "password_file": str(self.password_file),
            "ca_file": str(ca_file),
            "drv_cfg": str(host.drv_cfg),
            "storage_pool": gateway.pool.name,
            "protection_domain": gateway.domain.name,
        }
        self.configure()

    def scaleio(self, verb: str, name: str = "v", *more: str, **options: Any) -> Done:
        return self.run(verb, *flags(name, "scaleio"), *more, **options)

    def opts(self, **options: str | int) -> list[str]:
        return [f"--volumeopts={key}={value}" for key, value in options.items()]

    def configure(self, **changes: Any) -> None:
        """Change settings of the driver `scaleio`; None takes one away."""
        self.settings = {key: value for key, value in {**self.settings, **changes}.items() if value is not None}
        lines = [f"{key} = {json.dumps(value)}" for key, value in self.settings.items()]
        self.config.write_text("\n".join(["[drivers.scaleio]", *lines, ""]))

    @property
    def place(self) -> Path:
        return self.state / "mounts" / "scaleio" / "v"


class Grid:
    """The gateway double, and the machines on it. Closing it asserts that nobody sinned, but as `expected`."""

    def __init__(self, command: Path, generation: str = "3.6", **options: Any) -> None:
        self.root = Path(tempfile.mkdtemp(prefix="dvd"))
        self.command = command
        # Shared, as systemd has it: no other test's mount namespace keeps a copy of what is unmounted here.
        for mount in (["--bind", self.root, self.root], ["--make-shared", self.root]):
            subprocess.run(["mount", *mount], check=True)
        self.ca_file = self.root / "ca.pem"
        authority().cert_pem.write_to_path(self.ca_file)
        self.gateway = Gateway(self.root / "scaleio", certificate(), generation, **options)
        self.gateway.gib = 8 << 20
        self.expected: list[str] = []
        self.machines: list[Machine] = []

    def machine(self, letter: str = "a", **options: Any) -> Machine:
        root = self.root / letter
        root.mkdir()
        host = self.gateway.host(**{"name": letter, **options})
        machine = Machine(root, self.command, host, self.ca_file)
        self.machines.append(machine)
        return machine

    def close(self) -> None:
        for machine in self.machines:
            machine.release()
        self.gateway.close()
        for machine in self.machines:
            machine.close()
        subprocess.run(["umount", "-l", self.root], check=True)
        shutil.rmtree(self.root)
        assert self.gateway.faults == self.expected, self.gateway.faults
