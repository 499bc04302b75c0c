"""What dvdcli adds to a mount from EBS, ScaleIO and a CSI driver: whole processes against doubles that answer at once.

The volume is there and has a file system. "x bare" is the ratio to `python3 -I -S -c pass` with the same interpreter;
the limits are those of a machine on which that takes 7 ms: 450 ms for EBS, 250 for ScaleIO and CSI. Calls are what the
double counted, memory is the peak of the process and the programs that it ran. Needs root, loop devices and openssl;
exits 1 where a limit is missed.

A CSI driver that attaches and stages has to be asked for a mount, by its specification, what it can do (three calls,
of plugin, controller and node), which node this is, and three steps to the mount; for an unmount three steps back, of
which those that the record tells nothing of need what it can do again. The row `csi least` is a Python program of our
interpreter that makes those calls of a mount or an unmount and no other, and does nothing else. dvdcli asks four less
for an unmount, and two more for a mount. What the driver calls itself: names and claims are that driver's, and another
one that listens at its socket is not to be given them. And whether the volume is still there: what is not is made anew,
or refused as not found, before anything is begun; the NOT_FOUND of a later step can mean this node as well. It does not
ask Probe, which can cost a driver much by its specification and says nothing of the calls that follow.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]  # -I leaves them out
import surroundings  # noqa: E402

from tests.doubles.csi import Driver  # noqa: E402
from tests.doubles.ec2 import Ec2  # noqa: E402
from tests.doubles.scaleio import Gateway  # noqa: E402

COMMAND = surroundings.PYTHON.parent / "dvdcli"
RUNS, WARM_UP = 15, 2
BARE = 7.0  # ms
LIMITS = {  # by driver: ms of a mount, MiB, calls of a mount and of an unmount
    "ebs": (450.0, 90.0, {"mount": 5, "unmount": 4}),
    "scaleio": (250.0, None, {"mount": 6}),
    "csi": (250.0, 90.0, {"mount": 9, "unmount": 3}),
    "csi least": (None, None, {}),
}


def run(argv: list[str], env: dict[str, str]) -> tuple[float, float]:
    """Run *argv*; return its wall time in ms and its peak memory in MiB."""
    start = time.perf_counter()
    pid = os.posix_spawn(argv[0], argv, env, file_actions=[(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)])
    _, status, usage = os.wait4(pid, 0)
    milliseconds = (time.perf_counter() - start) * 1000
    if os.waitstatus_to_exitcode(status) != 0:
        sys.exit(f"bench: exit status {os.waitstatus_to_exitcode(status)} from {' '.join(argv)}")
    return milliseconds, usage.ru_maxrss / 1024


def measure(driver: str, calls: Any, env: dict[str, str], *instead: str) -> dict[str, tuple[float, float, float, int]]:
    """Return, by verb, the median ratio to the bare interpreter, the median in ms, the peak in MiB, the calls.

    *instead* of dvdcli another program is given the verb.
    """
    times: dict[str, list[float]] = {"bare": [], "mount": [], "unmount": []}
    memory, count = {"mount": 0.0, "unmount": 0.0}, {}
    for turn in range(-WARM_UP, RUNS):
        found = {"bare": run([str(surroundings.PYTHON), "-I", "-S", "-c", "pass"], env)[0]}
        for verb in memory:
            calls.clear()
            line = [str(COMMAND), verb, f"--volumedriver={driver}", "--volumename=measured"]
            found[verb], peak = run([*instead, verb] if instead else line, env)
            memory[verb], count[verb] = max(memory[verb], peak), len(calls)
        if turn >= 0:
            for label, milliseconds in found.items():
                times[label].append(milliseconds)
    bare = statistics.median(times["bare"])
    medians = {verb: statistics.median(times[verb]) for verb in memory}
    return {verb: (medians[verb] / bare, medians[verb], memory[verb], count[verb]) for verb in memory}


def row(driver: str, verb: str, measured: tuple[float, float, float, int]) -> tuple[str, bool]:
    """Return a line of the table, and whether a limit is missed."""
    ratio, median, peak, calls = measured
    wall, memory, most = LIMITS[driver]
    limits = (wall / BARE if wall and verb == "mount" else None, memory, most.get(verb))
    words, over = [f"{driver}: {verb}", f"{median:.0f}"], False
    for value, limit in zip((ratio, peak, calls), limits, strict=True):
        missed = limit is not None and value > limit
        over = over or missed
        words += [f"{value:.3g}", *(("", "") if limit is None else (f"{limit:.3g}", "OVER" if missed else "ok"))]
    return f"| {' | '.join(words)} |", over


def environment(root: Path, **more: str) -> dict[str, str]:
    return {
        "PATH": os.environ.get("PATH", "/usr/bin:/bin"), "HOME": str(root), "DVDCLI_STATE_DIR": f"{root}/state",
        "DVDCLI_CONFIG": f"{root}/dvdcli.toml", **more,
    }  # fmt: skip


def ebs(root: Path) -> dict[str, tuple[float, float, float, int]]:
    """Measure EBS."""
    ec2 = Ec2(root / "ec2")
    try:
        host, volume = ec2.host("i-0123456789abcdef0"), ec2.volume("measured", size_bytes=64 << 20)
        subprocess.run(["mkfs.ext4", "-q", "-F", volume.image], check=True)
        return measure("ebs", ec2.calls, environment(root, **host.env()))
    finally:
        ec2.close()


def scaleio(root: Path) -> dict[str, tuple[float, float, float, int]]:
    """Measure ScaleIO, over HTTPS."""
    certificate = (root / "cert.pem", root / "key.pem")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=DNS:localhost", "-out", certificate[0], "-keyout", certificate[1]],
        check=True, capture_output=True,
    )  # fmt: skip
    gateway = Gateway(root / "gateway", certificate)
    try:
        host, volume = gateway.host(), gateway.volume("measured", size_bytes=64 << 20)
        subprocess.run(["mkfs.ext4", "-q", "-F", volume.image], check=True)
        drv_cfg = root / "drv_cfg"  # the real one is no Python
        drv_cfg.write_text(f'#!/bin/sh\n[ "$1" = --query_guid ] && echo {host.guid}\n')
        drv_cfg.chmod(0o700)
        settings = {"provider": "scaleio", "endpoint": gateway.url, "user": gateway.user, "drv_cfg": str(drv_cfg),
                    "ca_file": str(certificate[0])}  # fmt: skip
        lines = [f"{key} = {json.dumps(value)}" for key, value in settings.items()]
        (root / "dvdcli.toml").write_text("\n".join(["[drivers.scaleio]", *lines]))
        (root / "dvdcli.toml").chmod(0o600)
        password = {"DVDCLI_SCALEIO_PASSWORD": gateway.password}
        return measure("scaleio", gateway.calls, environment(root, **host.env(), **password))
    finally:
        gateway.close()


class Asked:
    """What a CSI driver was asked, as the list that it is for the others."""

    def __init__(self, driver: Driver) -> None:
        self.driver = driver

    def clear(self) -> None:
        self.driver.forget()

    def __len__(self) -> int:
        return len(self.driver.calls)


def csi(root: Path, least: bool = False) -> dict[str, tuple[float, float, float, int]]:
    """Measure a CSI driver that attaches and stages; with *least* not dvdcli, but who makes the calls alone."""
    driver = Driver(root / "csi", instant=True)
    try:
        driver.leave_alone()
        plugin = driver.node()
        text = f'[drivers.csi]\nprovider = "csi"\nendpoint = "{plugin.endpoint}"\n'
        (root / "dvdcli.toml").write_text(text)
        program = (str(surroundings.PYTHON), "-I", str(ROOT / "benchmarks/csi_least.py"), plugin.endpoint, str(root))
        return measure("csi", Asked(driver), environment(root), *(program if least else ()))
    finally:
        driver.close()


def csi_least(root: Path) -> dict[str, tuple[float, float, float, int]]:
    """Measure the calls that a CSI driver has to be asked, and nothing else."""
    return csi(root, least=True)


def main() -> int:
    """Measure, print, and return the exit status."""
    if os.geteuid() != 0:
        print("EBS, ScaleIO and CSI: not measured, that needs root and loop devices")
        return 0
    columns = ("median ms", "x bare", *("required", "", "peak MiB", "required", "", "calls", "required", ""))
    print(f"\n| block devices | {' | '.join(columns)} |\n|---|{'---:|' * len(columns)}")
    status = 0
    for driver, way in (("ebs", ebs), ("scaleio", scaleio), ("csi", csi), ("csi least", csi_least)):
        with tempfile.TemporaryDirectory(prefix="dvdcli-bench-", dir="/var/tmp") as root:
            for verb, measured in way(Path(root)).items():
                line, over = row(driver, verb, measured)
                print(line, flush=True)
                status = status or int(over)
    return status


if __name__ == "__main__":
    sys.exit(main())
