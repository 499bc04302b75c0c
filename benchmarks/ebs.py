"""What dvdcli adds to a mount from EBS: whole processes against an EC2 double that answers at once, client included.

The volume is there and has a file system. "x bare" is the ratio to `python3 -I -S -c pass` with the same interpreter;
the limits are those of a machine on which that takes 7 ms: 450 ms, so 64 times as long. Calls are what the double
counted, memory is the peak of the process and the programs that it ran. Needs root and loop devices; exits 1 where a
limit is missed.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]  # -I leaves them out
import surroundings  # noqa: E402

from tests.doubles.ec2 import Ec2  # noqa: E402

COMMAND = surroundings.PYTHON.parent / "dvdcli"
RUNS, WARM_UP = 15, 2
LIMIT_OF_TIME = 450 / 7  # times the bare interpreter
LIMIT_OF_MEMORY = 90.0  # MiB
LIMITS_OF_CALLS = {"mount": 5, "unmount": 4}


def run(argv: list[str], env: dict[str, str]) -> tuple[float, float]:
    """Run *argv*; return its wall time in ms and its peak memory in MiB."""
    start = time.perf_counter()
    pid = os.posix_spawn(argv[0], argv, env, file_actions=[(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)])
    _, status, usage = os.wait4(pid, 0)
    milliseconds = (time.perf_counter() - start) * 1000
    if os.waitstatus_to_exitcode(status) != 0:
        sys.exit(f"bench: exit status {os.waitstatus_to_exitcode(status)} from {' '.join(argv)}")
    return milliseconds, usage.ru_maxrss / 1024


def measure(ec2: Ec2, env: dict[str, str]) -> tuple[dict[str, list[float]], dict[str, float], dict[str, int]]:
    """Return the times in ms, the peak memory in MiB and the calls of each verb."""
    times: dict[str, list[float]] = {}
    memory, calls = {"mount": 0.0, "unmount": 0.0}, {}
    for turn in range(-WARM_UP, RUNS):
        bare = run([str(surroundings.PYTHON), "-I", "-S", "-c", "pass"], env)[0]
        found = {"bare interpreter": bare}
        for verb in ("mount", "unmount"):
            ec2.calls.clear()
            argv = [str(COMMAND), verb, "--volumedriver=ebs", "--volumename=measured"]
            found[verb], peak = run(argv, env)
            memory[verb] = max(memory[verb], peak)
            calls[verb] = len(ec2.calls)
        if turn >= 0:
            for label, milliseconds in found.items():
                times.setdefault(label, []).append(milliseconds)
    return times, memory, calls


def main() -> int:
    """Measure, print, and return the exit status."""
    if os.geteuid() != 0:
        print("EBS: not measured, it needs root and loop devices")
        return 0
    with tempfile.TemporaryDirectory(prefix="dvdcli-bench-", dir="/var/tmp") as root:
        ec2 = Ec2(Path(root) / "ec2")
        try:
            host = ec2.host("i-0123456789abcdef0")
            volume = ec2.volume("measured", size_bytes=64 << 20)
            subprocess.run(["mkfs.ext4", "-q", "-F", volume.image], check=True)
            env = {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "HOME": root, **host.env()}
            env.update(DVDCLI_STATE_DIR=f"{root}/state", DVDCLI_CONFIG=f"{root}/none.toml")
            times, memory, calls = measure(ec2, env)
        finally:
            ec2.close()
    bare = statistics.median(times.pop("bare interpreter"))
    columns = ("median ms", "x bare", *("required", "", "peak MiB", "required", "", "calls", "required", ""))
    print(f"\n| EBS | {' | '.join(columns)} |\n|---|{'---:|' * len(columns)}")
    over = False
    for verb, values in times.items():
        median = statistics.median(values)
        judged = [
            (median / bare, LIMIT_OF_TIME if verb == "mount" else None), (memory[verb], LIMIT_OF_MEMORY),
            (calls[verb], LIMITS_OF_CALLS[verb]),
        ]  # fmt: skip
        words = []
        for value, limit in judged:
            over = over or (limit is not None and value > limit)
            said = "" if limit is None else "OVER" if value > limit else "ok"
            words.append(f"{value:.3g} | {'' if limit is None else format(limit, '.3g')} | {said}")
        print(f"| {verb} | {median:.0f} | {' | '.join(words)} |")
    return int(over)


if __name__ == "__main__":
    sys.exit(main())
