"""What a container's volumes cost: one `mount --isolator` against as many single mounts, in sequence and in parallel.

`make bench` runs it. Every round runs each way once, in an order drawn anew; the table has medians of whole processes,
and each way's ratio to the single mounts in sequence. Exits 1 where the required limit is missed.
"""

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parent))  # -I leaves it out
import surroundings

COMMAND = str(surroundings.PYTHON.parent / "dvdcli")
DRIVER = f"dvdcli-bench-{os.getpid()}"
RELEASE = "1.11.0"
CASES = ((1, 0), (9, 0), (1, 50), (9, 50))  # volumes, ms that the plugin takes to mount
LIMITED, LIMIT = (9, 50), 0.2  # times the single mounts in sequence


class Container:
    """A container with *count* volumes, mounted in one of three ways."""

    def __init__(self, count: int, sockets: Path, state: Path) -> None:
        self.names = [f"volume-{number}" for number in range(count)]
        self.env = {
            "PATH": os.environ.get("PATH", "/usr/bin:/bin"), "HOME": str(state.parent),
            "DVDCLI_STATE_DIR": str(state), "DVDCLI_PLUGIN_DIRS": str(sockets),
            "DVDCLI_CONFIG": str(state.parent / "none.toml"), "DVDCLI_ENGINE_SOCKET": str(sockets / "no-engine"),
        }  # fmt: skip
        variables = []
        for number, name in enumerate(self.names, 1):
            variables += [
                {"name": f"DVDI_VOLUME_NAME{number}", "value": name},
                {"name": f"DVDI_VOLUME_DRIVER{number}", "value": DRIVER},
            ]
        command = {"environment": {"variables": variables}}
        self.request = {
            "protocol": 1, "agent": "", "mesos_version": RELEASE, "container_id": ["c1"],
            "container_config": {"directory": "/sandbox", "command_info": command},
        }  # fmt: skip

    def start(self, verb: str, name: str) -> subprocess.Popen[bytes]:
        argv = [COMMAND, verb, f"--volumedriver={DRIVER}", f"--volumename={name}"]
        return subprocess.Popen(argv, env=self.env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)

    def ask(self, verb: str) -> None:
        """Run `dvdcli VERB --isolator` as an isolator does."""
        argv = [COMMAND, verb, "--isolator"]
        data = json.dumps(self.request).encode()
        subprocess.run(argv, env=self.env, input=data, stdout=subprocess.DEVNULL, check=True)

    def together(self) -> float:
        start = time.perf_counter()
        self.ask("mount")
        taken = time.perf_counter() - start
        self.ask("unmount")
        return taken * 1000

    def in_sequence(self) -> float:
        start = time.perf_counter()
        for name in self.names:
            ended(self.start("mount", name))
        taken = time.perf_counter() - start
        self.unmount()
        return taken * 1000

    def in_parallel(self) -> float:
        start = time.perf_counter()
        for process in [self.start("mount", name) for name in self.names]:
            ended(process)
        taken = time.perf_counter() - start
        self.unmount()
        return taken * 1000

    def unmount(self) -> None:
        for process in [self.start("unmount", name) for name in self.names]:
            ended(process)


def ended(process: subprocess.Popen[bytes]) -> None:
    if process.wait() != 0:
        sys.exit(f"bench: exit status {process.returncode} from {process.args!r}")


def measure(ways: dict[str, Callable[[], float]], runs: int) -> dict[str, float]:
    """Return the median of each of *ways*, run *runs* times after one round that does not count."""
    found: dict[str, list[float]] = {name: [] for name in ways}
    chance = random.Random(0)
    for turn in range(runs + 1):
        for name in chance.sample(list(ways), len(ways)):
            taken = ways[name]()
            if turn:
                found[name].append(taken)
    return {name: statistics.median(samples) for name, samples in found.items()}


def main() -> int:
    """Measure, print, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=15, help="rounds (default: %(default)s)")
    options = parser.parse_args()
    columns = ("one call, ms", "in sequence, ms", "in parallel, ms", "of the sequence", "required", "  ")
    print(f"\n| {'a container with':21} | {' | '.join(columns)} |")
    print(f"|{'-' * 23}|{'|'.join('-' * (len(column) + 1) + ':' for column in columns)}|")
    over = False
    for count, delay in CASES:
        with surroundings.disk_directory(None) as root, surroundings.plugin(DRIVER, delay=delay) as sockets:
            container = Container(count, sockets, root / "state")
            ways = {"one": container.together, "sequence": container.in_sequence, "parallel": container.in_parallel}
            taken = measure(ways, options.runs)
        ratio = taken["one"] / taken["sequence"]
        last = ("", "")
        if (count, delay) == LIMITED:
            last = (f"{LIMIT:g} x", "ok" if ratio <= LIMIT else "OVER")
            over = ratio > LIMIT
        label = f"{count} volume{'s' if count > 1 else ''}, {delay} ms each"
        numbers = f"{taken['one']:12.1f} | {taken['sequence']:15.1f} | {taken['parallel']:15.1f} | {ratio:13.2f} x"
        print(f"| {label:21} | {numbers} | {last[0]:>8} | {last[1]:>2} |", flush=True)
    return int(over)


if __name__ == "__main__":
    sys.exit(main())
