"""What a call of dvdcli costs, whole processes side by side: `make bench`, or `make bench BENCH="--peer PATH"`.

Every round runs each case once, in an order drawn anew, so that what else the machine does meets all of them alike;
the table has medians. "x bare" is the ratio to `python3 -I -S -c pass` with the very
interpreter that the installed command runs on. Growth is the median of the rounds' own differences.
Needs nothing but the standard library; exits 1 where a required limit is missed.
"""

import argparse
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parent))  # -I leaves it out
import surroundings

COMMAND = surroundings.PYTHON.parent / "dvdcli"
DRIVER = f"dvdcli-bench-{os.getpid()}"  # also a file in /run/docker/plugins, for --peer

BARE, MOUNT, CONFIGURED = "bare interpreter", "mount", "mount, configured"  # rows that something is judged by
LIST, RECOVER, RECOVER_CONFIGURED = "list --json of 10,000 records", "recover beside them", "recover, configured"
LIMITS = {MOUNT: 3.5, CONFIGURED: 5.0, LIST: 30.0, RECOVER: 8.0, RECOVER_CONFIGURED: 12.0}  # times the bare interpreter
GROWTH_LIMIT = 10.0  # per cent
OTHERS = (1_000, 10_000)  # records beside the one that is mounted
WARM_UP = 3  # rounds that do not count

Sample = dict[str, float]  # milliseconds by the row they belong to

CONFIGURATION = """\
# What a site with a few storage systems has.
explicit_create = false

[drivers.fast]
provider = "docker"
plugin = "rexray"

[drivers.slow]
provider = "docker"
address = "tcp://storage.example.com:8080"

[drivers.safe]
provider = "docker"
address = "https://storage.example.com:8443"
ca_file = "/etc/dvdcli/ca.pem"
cert_file = "/etc/dvdcli/cert.pem"
key_file = "/etc/dvdcli/key.pem"

[drivers.scratch]
provider = "local"
"""


def timed(argv: list[str], env: dict[str, str], unread: bool = False) -> tuple[float, bytes]:
    """Run *argv* with stdin /dev/null and a pipe as stdout; return its wall time in ms and what it printed.

    With *unread* stdout is /dev/null: a pipe is read only when the process has ended, and has room for 64 KiB.
    """
    reader, writer = os.pipe()
    if unread:
        os.close(writer)
        writer = os.open(os.devnull, os.O_WRONLY)
    actions = [(os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0), (os.POSIX_SPAWN_DUP2, writer, 1)]
    start = time.perf_counter()
    pid = os.posix_spawn(argv[0], argv, env, file_actions=actions)
    _, status = os.waitpid(pid, 0)
    milliseconds = (time.perf_counter() - start) * 1000
    os.close(writer)
    with open(reader, "rb") as pipe:
        printed = pipe.read()
    if os.waitstatus_to_exitcode(status) != 0:
        sys.exit(f"bench: exit status {os.waitstatus_to_exitcode(status)} from {' '.join(argv)}")
    return milliseconds, printed


class Caller:
    """Calls the dvdcli at *command* with a state directory of its own, as an agent would."""

    def __init__(self, command: Path, sockets: Path, state: Path, config: Path) -> None:
        self.command = command
        self.state = state
        self.env = {
            "PATH": os.environ.get("PATH", "/usr/bin:/bin"),
            "HOME": str(state.parent),
            "DVDCLI_STATE_DIR": str(state),
            "DVDCLI_PLUGIN_DIRS": str(sockets),
            "DVDCLI_CONFIG": str(config),
            "DVDCLI_ENGINE_SOCKET": str(sockets / "no-engine"),
        }

    def call(self, verb: str, volume: str) -> float:
        """Mount or unmount *volume*; return the milliseconds."""
        argv = [str(self.command), verb, f"--volumedriver={DRIVER}", f"--volumename={volume}"]
        milliseconds, printed = timed(argv, self.env)
        if verb == "mount" and not printed.startswith(b"/"):
            sys.exit(f"bench: {' '.join(argv)} printed {printed!r} and no path")
        return milliseconds

    def look(self, *words: str) -> float:
        """List or recover with *words*; return the milliseconds."""
        return timed([str(self.command), *words], self.env, unread=True)[0]

    def pair(self, what: str = "") -> Sample:
        """Mount what is not mounted, and unmount it. *what* completes the rows' names."""
        return {f"mount{what}": self.call("mount", "measured"), f"unmount{what}": self.call("unmount", "measured")}

    def fill(self, count: int) -> None:
        """Put *count* records into the state: copies of a real one, other names in them."""
        name = "record-00000"
        self.call("mount", name)
        original = self.state / "volumes" / DRIVER / name
        files = {p.relative_to(original): p.read_text() for p in original.rglob("*") if p.is_file()}
        folders = [p.relative_to(original) for p in original.rglob("*") if p.is_dir()]
        for number in range(1, count):
            other = f"record-{number:05}"
            target = original.with_name(other)
            for folder in (Path(), *folders):
                (target / folder).mkdir(mode=0o700)
            for path, text in files.items():
                (target / path).write_text(text.replace(name, other))
                (target / path).chmod(0o600)
        listed = subprocess.run([self.command, "list", "--json"], env=self.env, capture_output=True, check=True)
        if len(json.loads(listed.stdout)["data"]["mounts"]) != count:
            sys.exit(f"bench: dvdcli list does not show the {count} records that were made")


def measure(cases: list[Callable[[], Sample]], runs: int) -> dict[str, list[float]]:
    """Run every case *runs* times, round by round; return the samples of each row, in the order of the rounds."""
    found: dict[str, list[float]] = {}
    chance = random.Random(0)
    for turn in range(-WARM_UP, runs):
        for case in cases if turn == -WARM_UP else chance.sample(cases, len(cases)):
            for label, milliseconds in case().items():
                row = found.setdefault(label, [])
                if turn >= 0:
                    row.append(milliseconds)
    return found


def judged(value: float, limit: float, unit: str) -> tuple[str, str]:
    """Return the last two columns."""
    return f"{limit:g} {unit}", "ok" if value <= limit else "OVER"


def rows_of(samples: dict[str, list[float]]) -> list[tuple[str, ...]]:
    """Return the table's rows."""
    bare = statistics.median(samples[BARE])
    rows: list[tuple[str, ...]] = []
    for label, values in samples.items():
        median = statistics.median(values)
        last = judged(median / bare, LIMITS[label], "x") if label in LIMITS else ("", "")
        rows.append((label, f"{median:.1f}", f"{median / bare:.2f}", *last))
    records = [MOUNT, *(f"mount{beside(count)}" for count in OTHERS)]
    for few, many in ((0, 1), (0, 2), (1, 2)):
        before, after = samples[records[few]], samples[records[many]]
        difference = statistics.median(b - a for a, b in zip(before, after, strict=True))
        growth = difference / statistics.median(before) * 100
        label = f"growth from {(0, *OTHERS)[few]:,} to {OTHERS[many - 1]:,} other records"
        rows.append((label, f"{difference:+.2f}", f"{growth:+.1f} %", *judged(growth, GROWTH_LIMIT, "%")))
    return rows


def beside(count: int) -> str:
    """Return the end of the name of a row with *count* other records."""
    return f" beside {count:,} other records"


def table(rows: list[tuple[str, ...]]) -> str:
    """Return *rows* as a table to read, which is also Markdown."""
    rows = [("whole process", "median ms", "x bare", "required", ""), *rows]
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    lines = ["| " + " | ".join((r[0].ljust(widths[0]), *map(str.rjust, r[1:], widths[1:]))) + " |" for r in rows]
    rule = f"|{'-' * (widths[0] + 2)}|" + "".join(f"{'-' * (width + 1)}:|" for width in widths[1:])
    return "\n".join([lines[0], rule, *lines[1:]])


def main() -> int:
    """Measure, print, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=61, help="rounds (default: %(default)s)")
    parser.add_argument("--peer", type=Path, help="another dvdcli, called with the same arguments")
    parser.add_argument("--dir", help="where the state is, on a disk (default: /var/tmp, else the checkout)")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("bench: terminated"))  # so that nothing is left behind
    with (
        surroundings.disk_directory(options.dir) as root,
        surroundings.plugin(DRIVER, for_peer=options.peer is not None) as sockets,
    ):
        config, none = root / "dvdcli.toml", root / "none.toml"
        config.write_text(CONFIGURATION)
        config.chmod(0o600)
        plain, repeated = (Caller(COMMAND, sockets, root / name / "state", none) for name in ("plain", "repeated"))
        configured = Caller(
            surroundings.environment_with_entry_point(root / "venv"), sockets, root / "configured", config
        )
        cases: list[Callable[[], Sample]] = [
            lambda: {BARE: timed([str(surroundings.PYTHON), "-I", "-S", "-c", "pass"], plain.env)[0]},
            plain.pair,
            lambda: configured.pair(", configured"),
            lambda: {"mount of what is mounted": repeated.call("mount", "held")},
        ]
        if options.peer:
            peer = Caller(options.peer.absolute(), sockets, root / "peer" / "state", none)
            cases.append(lambda: peer.pair(", peer"))
        for count in OTHERS:
            crowded = Caller(COMMAND, sockets, root / str(count), none)
            crowded.fill(count)
            cases.append(lambda crowded=crowded, count=count: crowded.pair(beside(count)))  # type: ignore[misc]
        crowded_and_configured = Caller(configured.command, sockets, crowded.state, config)
        crowded.look("recover")  # the first of a boot reads every record
        cases += [
            lambda: {LIST: crowded.look("list", "--json")},
            lambda: {RECOVER: crowded.look("recover")},
            lambda: {RECOVER_CONFIGURED: crowded_and_configured.look("recover")},
        ]
        os.sync()  # what was just made is not written while we measure
        print(f"Python {sys.version.split()[0]}, {os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f} at the start")
        print(f"medians of {options.runs} rounds; where others keep the machine busy they mean little")
        print(f"state: on {surroundings.file_system(root)}, in {root.parent}")
        print(f"configured: {len(CONFIGURATION.splitlines())} lines of dvdcli.toml, a foreign entry point installed")
        print("growth: the median of the rounds' own differences\n", flush=True)
        rows = rows_of(measure(cases, options.runs))
    print(table(rows))
    return int(any(row[-1] == "OVER" for row in rows))


if __name__ == "__main__":
    sys.exit(main())
