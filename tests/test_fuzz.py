"""Bad input by machine: what once found something, mutations of what is right, and whole commands watched from outside.

tests/fuzz has the targets. What hypothesis tries here is the same every time; `make fuzz` goes on from there.
"""

from __future__ import annotations

import json
import os
import random
import socket
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from dvdcli.errors import Exit
from tests.conftest import Home
from tests.expect import one_line, refused
from tests.fuzz import CORPUS, TARGETS, corpus, load
from tests.fuzz.findings import finding, smallest
from tests.fuzz.isolator import SANDBOX
from tests.fuzz.isolator import SEEDS as REQUESTS
from tests.fuzz.mutate import VALUES, mutated
from tests.fuzz.watch import World, target, world
from tests.fuzz.watch import refused as refusing

# How many inputs of each target: what is slower has fewer.
_MANY, _SLOW = 60, {"state": 15, "ec2": 25, "scaleio": 25, "argv": 30, "configuration": 30, "agent_http": 30}


@pytest.mark.parametrize("name", TARGETS)
def test_what_is_right_is_right(name: str) -> None:
    module = load(name)
    assert module.SEEDS
    for seed in module.SEEDS:
        module.one_input(seed)


@pytest.mark.parametrize(
    ("name", "path"), [pytest.param(name, path, id=f"{name}-{path.name}") for name in TARGETS for path in corpus(name)]
)
def test_what_once_found_something_finds_nothing(name: str, path: Path) -> None:
    load(name).one_input(path.read_bytes())


def test_every_part_of_the_corpus_is_of_a_target() -> None:
    assert {path.name for path in CORPUS.iterdir()} <= set(TARGETS)


@pytest.mark.parametrize("name", TARGETS)
def test_mutations_of_what_is_right(name: str) -> None:
    module = load(name)
    inputs = [*module.SEEDS, *(path.read_bytes() for path in corpus(name))]

    @settings(
        max_examples=_SLOW.get(name, _MANY), deadline=None, derandomize=True, database=None, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(st.sampled_from(range(len(inputs))), st.integers(0, 2**32))
    def run(index: int, number: int) -> None:
        data = mutated(inputs[index], random.Random(number), 4)
        what = finding(module.one_input, data)
        assert not what, f"{what}: {smallest(module.one_input, data, 50)!r}"

    run()


@pytest.mark.parametrize("value", VALUES, ids=range(len(VALUES)))
def test_every_strange_value_in_every_place_of_a_request(value: str) -> None:
    """All of them, at each level of one request: the door that tasks come nearest to."""
    module, request = load("isolator"), json.loads(REQUESTS[4])
    places = [("agent",), ("container_id",), ("mesos_version",), ("timeout",), ("docker_volumes",),
              ("container_config",), ("sandbox_directory",), ("container_config", "directory"),
              ("container_config", "command_info"),
              ("container_config", "rootfs"), ("container_config", "container_class"),
              ("container_config", "container_info", "volumes", 0, "source", "docker_volume", "driver"),
              ("container_config", "container_info", "volumes", 0, "container_path"),
              ("container_config", "command_info", "environment", "variables", 0, "name"),
              ("container_config", "command_info", "environment", "variables", 3, "value")]  # fmt: skip
    for place in places:
        changed = json.loads(json.dumps(request))
        holder = changed
        for key in place[:-1]:
            holder = holder[key]
        holder[place[-1]] = "\x01"
        module.one_input(json.dumps(changed).replace('"\\u0001"', value).encode("utf-8", "surrogatepass"))


# The watch itself


def test_the_watch_sees_a_write_outside_and_stops_it(tmp_path: Path) -> None:
    @target
    def writes(world: World, data: bytes) -> None:
        with refusing():
            Path(world.root / "inside").write_bytes(data)
            (tmp_path / "outside").write_bytes(data)

    assert finding(writes, b"x").startswith("OutsideError")
    assert not (tmp_path / "outside").exists()
    assert (world().root / "inside").read_bytes() == b"x"


def test_the_watch_starts_no_program_and_asks_nobody() -> None:
    @target
    def goes_out(world: World, data: bytes) -> None:
        for go in (lambda: subprocess.run(["true"], check=True), lambda: socket.create_connection(("192.0.2.1", 80))):
            try:
                go()
            except OSError:
                continue
            raise AssertionError("it went")

    goes_out(b"")


def test_what_is_found_is_made_small() -> None:
    @target
    def fails(world: World, data: bytes) -> None:
        assert b"bad" not in data

    assert finding(fails, b"good") == ""
    assert smallest(fails, b"some very bad input" * 20) == b"bad"


# Whole commands


def _files(root: Path) -> set[str]:
    return {str(path) for path in root.rglob("*")}


def _written(home: Home, verb: str, data: bytes, where: Path) -> tuple[int, str, set[str]]:
    """Send *data* to `VERB --isolator`; return its exit code, its stderr, and what it opened for writing elsewhere."""
    log = where / "trace"
    calls = "openat,open,creat,mkdir,mkdirat,rename,renameat,renameat2,unlink,unlinkat,rmdir,symlink,symlinkat,linkat"
    argv = ["strace", "-f", "-qq", "-e", f"trace={calls}", "-o", str(log), str(home.command), verb, "--isolator"]
    done = subprocess.run(argv, input=data, env=home.env, capture_output=True, timeout=60, check=False)
    outside = set()
    for line in log.read_text(errors="replace").splitlines():
        call = line.partition(" ")[2].strip()
        is_write = not call.startswith("open") or any(flag in call for flag in ("O_WRONLY", "O_RDWR", "O_CREAT"))
        for path in call.split('"')[1::2] if is_write and " = -1 " not in call else ():
            if path.startswith("/") and not path.startswith((f"{home.root}/", "/dev/null", "/dev/shm/", str(where))):
                outside.add(call)
    return done.returncode, done.stderr.decode(), outside


@pytest.mark.parametrize("seed", range(6))
def test_a_whole_command_answers_a_bad_request_in_one_line_and_writes_nowhere_else(
    installed_home: Home, tmp_path: Path, seed: int
) -> None:
    home, rng = installed_home, random.Random(seed)
    sandbox = home.root / "slaves" / "sandbox"
    sandbox.mkdir(parents=True)
    valid = rng.choice(REQUESTS).replace(SANDBOX.encode(), os.fsencode(sandbox))
    valid = valid.replace(b'"timeout": 60', b'"timeout": 1').replace(b'"user": "nobody"', b'"timeout": 1')
    for verb in ("mount", "unmount", "recover"):
        code, err, outside = _written(home, verb, mutated(valid, rng, 4), tmp_path)
        assert outside == set()
        assert "bug" not in err
        assert "Traceback" not in err
        if code:
            one_line(type("Done", (), {"code": code, "out": "", "err": err})())
    assert home.unmount("v", "local").code == 0
    assert {path for path in _files(home.root) if "container" in path and path.endswith(".new")} == set()


WORST = (
    b'{"protocol": 1, "mesos_version": "1.11.0", "agent": ' + b"[" * 980 + b"]" * 980 + b"}",
    b'{"protocol": 1, "mesos_version": "1.11.0", "container_id": ["\\ud800"]}',
    b'{"protocol": 1, "mesos_version": "1.11.0", "container_id": ["a"], "timeout": ' + b"9" * 4000 + b"}",
    b'{"protocol": true, "mesos_version": "1.11.0", "container_id": ["a"]}',
    b'{"protocol": 1, "mesos_version": "1.11.0", "container_config": {"directory": "/a\\u0000b"}}',
    b'{"protocol": 1, "mesos_version": "1.11.0", "container_config": {"directory": "/\\ud800"}}',
    b"\xef\xbb\xbf{}", b"\xff\xfe{\x00}\x00", b"[" * 1_000_000, b'{"a":' * 200_000, b"1" * 10_000, b"NaN", b"\0",
    b'{"protocol": 1e999}',
)  # fmt: skip


@pytest.mark.parametrize("data", WORST, ids=range(len(WORST)))
def test_the_worst_requests(home: Home, data: bytes) -> None:
    with subprocess.Popen(
        [home.command, "mount", "--isolator"], env=home.env, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        out, err = process.communicate(data, timeout=60)
    assert (process.returncode, out) == (Exit.USAGE, b"")
    assert err.count(b"\n") == 1
    assert b"bug" not in err
    assert not home.state.exists()


ARGV = (
    ["mount", "--volumedriver=local", "--volumename=v", "--volumeopts=size=" + "9" * 5000],
    ["mount", "--volumedriver=local", "--volumename=v", "--timeout=nan"],
    ["mount", "--volumedriver=local", "--volumename=v", "--timeout=1e999"],
    ["mount", "--volumedriver=local", "--volumename=" + "x" * 100_000],
    ["recover", "--agent=http://\udcff"], ["list", "--status=\udcff"], ["inspect", "\udcff"], ["inspect", "/\udcff"],
    ["bind", "--outside=mnt:[1]", '{"source": "/a\\u0000b", "base": "/"}'],
    ["bind", "--outside=mnt:[1]", '{"source": "/\\ud800", "base": "/"}'],
    ["bind", "--outside=mnt:[1]", '{"source": "/a", "base": "/", "owner": [99999999999999999999, 0]}'],
    ["bind", "--outside=mnt:[1]", '{"source": "/a", "base": "/", "owner": [-2, 0]}'],
    ["bind", "--outside=mnt:[1]", "{" * 1000],
)  # fmt: skip


@pytest.mark.parametrize("argv", ARGV, ids=range(len(ARGV)))
def test_the_worst_command_lines(home: Home, argv: list[str]) -> None:
    done = home.run(*map(os.fsencode, argv))
    refused(done, done.code)
    assert done.code != Exit.DONE
    assert "bug" not in done.err
    assert home.leftovers() == []


@pytest.mark.parametrize("name", ["record.json", "holds/name:host.json"])
def test_a_fifo_in_the_place_of_a_file_of_the_state_keeps_nobody_waiting(home: Home, name: str) -> None:
    assert home.mount("v", "local").code == 0
    path = home.slot("v", "local") / name
    path.unlink()
    os.mkfifo(path)
    for argv in (["list"], ["recover"], ["mount", "--volumedriver=local", "--volumename=v"], ["recover"]):
        assert "bug" not in home.run(*argv, timeout=20).err
    assert home.unmount("v", "local", timeout=20).code == 0


def test_a_description_of_a_plugin_that_is_a_fifo_or_a_device_keeps_nobody_waiting(home: Home) -> None:
    os.mkfifo(home.specs / "plug.spec")
    assert "is no address" in refused(home.mount(timeout=20), Exit.FAILURE)
    (home.specs / "plug.spec").unlink()
    (home.specs / "plug.json").symlink_to("/dev/zero")
    assert "File too large" in refused(home.mount(timeout=60), Exit.FAILURE)


def test_a_key_with_a_passphrase_asks_nobody_for_it(home: Home) -> None:
    """OpenSSL would ask on the terminal, and wait: agents have none, people would wonder."""
    from cryptography.hazmat.primitives import serialization
    from trustme import CA

    leaf = CA().issue_cert("localhost")
    key = serialization.load_pem_private_key(leaf.private_key_pem.bytes(), None)
    locked = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"secret")
    )
    for name, data in (("key.pem", locked), ("cert.pem", leaf.cert_chain_pems[0].bytes())):
        (home.root / name).write_bytes(data)
        (home.root / name).chmod(0o600)
    tls = {"InsecureSkipVerify": True, "CertFile": f"{home.root}/cert.pem", "KeyFile": f"{home.root}/key.pem"}
    (home.specs / "plug.json").write_text(json.dumps({"Addr": "https://127.0.0.1:1", "TLSConfig": tls}))
    line = f"{home.command} mount --volumedriver=plug --volumename=v"
    # script gives it a terminal of its own
    done = subprocess.run(
        ["script", "-qec", line, "/dev/null"], env=home.env, stdin=subprocess.DEVNULL, capture_output=True, timeout=60,
        check=False,
    )  # fmt: skip
    assert done.returncode == Exit.FAILURE
    assert b"a TLS file cannot be used" in done.stdout
    assert b"pass phrase" not in done.stdout
