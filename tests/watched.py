"""Watch everything that calls of dvdcli tell anybody, for tests that look for secrets in it."""

from __future__ import annotations

import os
import re
import socket
import stat
import subprocess
import tempfile
from collections.abc import Collection, Iterator
from pathlib import Path

from tests.conftest import Done, Home

NODES = ("null", "zero", "full", "random", "urandom", "tty")
EXECVE = re.compile(r'execve\("(?P<program>[^"]*)", \[(?P<argv>.*?)\], \[(?P<env>.*?)\]\) = 0')


class Watched:
    """A machine whose calls are watched, in a mount namespace of its own, where /dev/log is ours.

    It keeps, of each call, what it said, all that its processes were started with, and the state after it; of the state
    all but the files with the name *own*, which rightly have secrets.
    """

    def __init__(self, machine: Home, own: str) -> None:
        self.machine = machine
        self.own = own
        self.log = machine.root / "strace"
        dev = machine.root / "slash-dev"
        dev.mkdir()
        for name in NODES:
            there = os.stat(f"/dev/{name}")
            os.mknod(dev / name, 0o666 | stat.S_IFCHR, there.st_rdev)
        self.syslog = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self.syslog.bind(str(dev / "log"))
        # A slave, without copies of what other tests have mounted: they would find it in use.
        temporary = tempfile.gettempdir()
        own = "/".join(machine.root.parts[: len(Path(temporary).parts) + 1]).replace("//", "/")
        theirs = f"cut -d' ' -f5 /proc/self/mountinfo | grep '^{temporary}/' | grep -v '^{own}'"
        drop = f"{theirs} | while read -r there; do umount -l \"$there\" 2>/dev/null; done"
        keep = f"{drop}; mount --bind '{dev}' /dev && echo && exec cat"
        self.keeper = subprocess.Popen(
            ["unshare", "--mount", "--propagation=slave", "/bin/sh", "-c", keep],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        assert self.keeper.stdout is not None
        assert self.keeper.stdout.readline() == b"\n"
        self.outputs: list[str] = []
        self.logged: list[str] = []
        self.started: list[re.Match[str]] = []
        self.states: list[str] = []

    def run(self, *words: str, env: dict[str, str] | None = None, said: str = "") -> Done:
        """Run dvdcli with *words*, and *said* on its standard input."""
        namespace = f"--mount=/proc/{self.keeper.pid}/ns/mnt"
        strace = ["strace", "-f", "-qq", "-v", "-s", "100000", "-e", "trace=execve", "-o", str(self.log)]
        with tempfile.TemporaryFile() as stdin:
            stdin.write(said.encode())
            stdin.seek(0)
            process = subprocess.Popen(
                ["nsenter", namespace, *strace, self.machine.command, *words], env={**self.machine.env, **(env or {})},
                stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            )  # fmt: skip
            done = self.machine.finish(process)
        self.outputs += [done.out, done.err]
        self.logged += self._datagrams()
        self.started += EXECVE.finditer(self.log.read_text())
        self.states.append(self._state())
        return done

    def children(self) -> list[re.Match[str]]:
        """Return the programs that dvdcli itself ran: all but its launcher and its interpreter."""
        own = (str(self.machine.command), "/bin/sh", "/usr/bin/sh")
        return [
            each for each in self.started
            if each["program"] not in own and not re.search(r"/python[0-9.]*$", each["program"])
        ]  # fmt: skip

    def _datagrams(self) -> Iterator[str]:
        while True:
            try:
                yield self.syslog.recv(65536).decode("utf-8", "replace")
            except BlockingIOError:
                return

    def _state(self) -> str:
        """Return the names and contents of all files in the state, and those of everything else that we could leave."""
        found = []
        for path in self.machine.root.rglob("*"):
            if path.is_file() and path != self.log and path.name != self.own:
                found.append(f"{path}\n{path.read_bytes().decode('latin-1')}")
        return "\n".join(found)

    def check(self, secrets: Collection[str]) -> None:
        """Assert that none of *secrets* is anywhere, and that where it was looked for is where things are."""
        environments = [each["env"] for each in self.children()]
        places = {
            "argv": [each["argv"] for each in self.started], "output": self.outputs, "syslog": self.logged,
            "state": self.states, "environment": environments,
        }  # fmt: skip
        for place, texts in places.items():
            assert texts, place
            for text in texts:
                assert [secret for secret in secrets if secret in text] == [], place
        for text in environments:
            assert set(re.findall(r'"(\w+)=', text)) == {"PATH", "LC_ALL"}

    def close(self) -> None:
        self.keeper.communicate()
        self.syslog.close()
