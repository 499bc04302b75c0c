"""`make fuzz`: every target in turn, each in a process of its own, for some seconds; what fails is kept and told.

    python -m tests.fuzz [--target NAME] [--seconds 60] [--seed 0]     atheris, by coverage
    python -m tests.fuzz --target NAME --replay FILE                   one input, with its traceback
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import random
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.fuzz import CORPUS, TARGETS, corpus, load
from tests.fuzz.findings import finding, smallest
from tests.fuzz.mutate import mutated

FOUND = Path(".fuzz")
_INSTRUMENTED = ["dvdcli", "tomllib"]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__.partition("\n")[0])
    parser.add_argument("--target", choices=TARGETS, help="only this one; all of them otherwise")
    parser.add_argument("--seconds", type=int, default=60, help="for each target (default 60)")
    parser.add_argument("--seed", type=int, default=0, help="where the mutations begin; 0 is another each time")
    parser.add_argument("--replay", type=Path, metavar="FILE", help="run this input, and nothing else")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)  # the child of one target
    args = parser.parse_args()
    if args.replay:
        if not args.target:
            parser.error("--replay needs --target")
        load(args.target).one_input(args.replay.read_bytes())
        print(f"{args.replay}: nothing wrong")
        return 0
    if importlib.util.find_spec("atheris") is None:
        print("fuzz: atheris is not installed: `make fuzz` installs the dependency group `fuzz`", file=sys.stderr)
        return 2
    if args.here:
        _run(args.target, args.seconds, args.seed)
    before = set(FOUND.glob("*/*"))
    failed = [name for name in ([args.target] if args.target else TARGETS) if not _child(name, args)]
    found = sorted(set(FOUND.glob("*/*")) - before)
    for path in found:
        print(f"found: {path}\n  again: {sys.executable} -m tests.fuzz --target {path.parent.name} --replay {path}")
    for name in failed:
        print(f"the fuzzer of {name} ended before its time: see above", file=sys.stderr)
    return 1 if found or failed else 0


def _child(name: str, args: argparse.Namespace) -> bool:
    argv = [sys.executable, "-m", "tests.fuzz", "--here", f"--target={name}", f"--seconds={args.seconds}"]
    print(f"== {name}, {args.seconds} s", flush=True)
    return subprocess.run([*argv, f"--seed={args.seed}"], stdin=subprocess.DEVNULL, check=False).returncode == 0


def _run(name: str, seconds: int, seed: int) -> None:
    """Be the process of one target. Never returns: libFuzzer ends it."""
    import atheris

    with atheris.instrument_imports(include=_INSTRUMENTED):
        module = load(name)
        for seed_input in module.SEEDS:
            module.one_input(seed_input)  # what is imported only where it is used
    seen: set[str] = set()

    def one(data: bytes) -> None:
        what = finding(module.one_input, data)
        if not what or what in seen:
            return
        seen.add(what)
        _keep(name, what, smallest(module.one_input, data))

    def mutate(data: bytes, most: int, number: int) -> bytes:
        rng = random.Random(number)
        if rng.randrange(3):
            return mutated(bytes(data), rng)[:most]
        return atheris.Mutate(data, most)

    work = Path(tempfile.mkdtemp(prefix="fuzz-corpus"))
    for number, each in enumerate([*module.SEEDS, *(path.read_bytes() for path in corpus(name))]):
        (work / f"seed-{number}").write_bytes(each)
    flags: list[Any] = [
        f"-max_total_time={seconds}", f"-seed={seed}", "-max_len=70000", "-timeout=120", "-report_slow_units=1000", "-rss_limit_mb=4096",
        "-print_final_stats=1", f"-artifact_prefix={_directory(name)}/", "-verbosity=0", str(work),
    ]  # fmt: skip
    atheris.Setup([sys.argv[0], *flags], one, custom_mutator=mutate)
    print(f"   from {len(list(work.iterdir()))} inputs, of which {len(corpus(name))} found something once", flush=True)
    atheris.Fuzz()


def _directory(name: str) -> Path:
    directory = FOUND / name
    directory.mkdir(parents=True, exist_ok=True)
    return directory


def _keep(name: str, what: str, data: bytes) -> None:
    path = _directory(name) / f"{hashlib.sha256(what.encode()).hexdigest()[:12]}"
    path.write_bytes(data)
    print(f"   {what}\n   {data[:200]!r}\n   kept as {path}; to {CORPUS / name} once it is mended", flush=True)


if __name__ == "__main__":
    sys.exit(main())
