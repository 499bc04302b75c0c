"""dvdcli check: the host, the drivers, and what each says of what is missing."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

import pytest

from dvdcli.errors import Exit
from tests.conftest import Done, Home
from tests.doubles.plugin import Reply
from tests.expect import on_terminal, refused

root = pytest.mark.root


def findings(done: Done, code: int) -> list[tuple[str, str, str]]:
    """Return what a check for programs has found: status, subject, and what is said."""
    assert (done.code, done.err) == (code, ""), done
    answer = json.loads(done.out)
    rows = [(each["status"], each["subject"], f"{each['text']}; {each['hint']}") for each in answer["data"]["findings"]]
    failed = [f"{subject}: {text}".removesuffix("; ") for status, subject, text in rows if status == "failed"]
    assert [error["message"] for error in answer["errors"]] == failed
    assert (answer["exit_code"], bool(failed)) == (code, code != 0)
    return rows


def check(home: Home, *words: str, code: int = 0, **options: object) -> list[tuple[str, str, str]]:
    return findings(home.run("check", "--json", *words, **options), code)  # type: ignore[arg-type]


def said(rows: list[tuple[str, str, str]], status: str, subject: str) -> str:
    return "\n".join(text for a, b, text in rows if (a, b) == (status, subject))


def all_ok(rows: list[tuple[str, str, str]]) -> bool:
    return {status for status, _, _ in rows} == {"ok"}


# The host


def test_a_host_that_is_ready(home):
    home.config.write_text("")
    rows = check(home)
    assert {status for status, _, _ in rows} <= {"ok", "warning"}
    subjects = {"configuration", "state", "mounts", "user", "python", "kernel", "syslog", "driver local"}
    assert {subject for _, subject, _ in rows} - {"namespace"} == subjects
    assert "is made by the first mount" in said(rows, "ok", "state")
    assert home.mount("v", "local").code == 0
    assert f"{home.state} is ours alone" in said(check(home), "ok", "state")
    assert home.unmount("v", "local").code == 0
    assert not [path for path in home.root.iterdir() if path.name.startswith(".")], "nothing is left"


def test_nothing_is_made_by_a_check(home):
    before = sorted(home.root.rglob("*"))
    check(home)
    check(home, "local")
    assert sorted(home.root.rglob("*")) == before


def test_columns_in_a_pipe_and_a_table_on_a_terminal(home):
    done = home.run("check", "local")
    lines = done.out.splitlines()
    assert (done.code, done.err, lines[0].split()) == (0, "", ["STATUS", "SUBJECT", "FINDING"])
    assert all(line.split()[0] in ("ok", "warning") and line.split()[1:3] == ["driver", "local"] for line in lines[1:])
    shown = on_terminal(home, "check", "local", columns=200)
    assert "\x1b[32mok" in shown
    assert "\x1b[32m" not in on_terminal(home, "check", "local", columns=200, env={"NO_COLOR": "1"})


def test_quiet_shows_what_is_not_ok(home):
    home.config.write_text("explicit_creat = true")
    done = home.run("check", "-q")
    assert done.code == Exit.FAILURE
    assert {line.split()[0] for line in done.out.splitlines()[1:]} <= {"warning", "failed"}
    assert f"{home.config}:1: unknown key 'explicit_creat'" in done.out


def test_a_state_directory_of_others(home):
    home.state.mkdir()
    home.state.chmod(0o777)
    assert "others can write it" in said(check(home, code=1), "failed", "state")
    home.state.chmod(0o755)
    assert "others can read it (mode 755)" in said(check(home), "warning", "state")
    home.state.chmod(0o700)
    home.root.chmod(0o777)
    assert f"below {home.root}, where others can write" in said(check(home, code=1), "failed", "state")
    home.root.chmod(0o700)
    home.state.rmdir()
    home.state.touch()
    assert "is no directory" in said(check(home, code=1), "failed", "state")


def test_a_state_directory_in_an_agents_work_directory(home):
    (home.root / "meta" / "slaves").mkdir(parents=True)
    rows = check(home, code=1)
    assert f"in {home.root}, a Mesos agent's work directory" in said(rows, "failed", "state")
    assert "work directory" in said(rows, "failed", "mounts")
    assert "work directory" in said(rows, "failed", "driver local")


@root
def test_a_state_directory_in_memory_or_full(home):
    home.state.mkdir()
    options = "size=64k,nr_inodes=20,mode=700"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "dvdcli-test", home.state], check=True)
    try:
        rows = check(home)
        assert "is on tmpfs: a reboot forgets" in said(rows, "warning", "state")
        assert "inodes are left; make room" in said(rows, "warning", "state")
        with (home.state / "full").open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, os.statvfs(home.state).f_bavail * 4096)
        assert "there are no blocks left" in said(check(home, code=1), "failed", "state")
        (home.state / "full").unlink()
        for number in range(os.statvfs(home.state).f_favail):
            (home.state / str(number)).touch()
        assert "there are no inodes left" in said(check(home, code=1), "failed", "state")
        subprocess.run(["mount", "-o", "remount,ro", home.state], check=True)
        assert "read-only" in said(check(home, code=1), "failed", "state")
    finally:
        subprocess.run(["umount", home.state], check=True)


@root
def test_mounts_that_tasks_cannot_reach(home):
    assert f"behind {home.root}, which only its owner can pass" in said(check(home), "warning", "mounts")
    home.root.chmod(0o711)
    home.state.mkdir(0o711)
    assert said(check(home), "ok", "mounts")
    (home.state / "mounts").mkdir()
    (home.state / "mounts").chmod(0o777)
    assert "others can write it" in said(check(home, code=1), "failed", "mounts")


@root
@pytest.mark.namespace
@pytest.mark.parametrize("apart", [True, False], ids=["in another", "in that of process 1"])
def test_a_mount_namespace_of_its_own_is_odd(home, apart):
    """Process 1 is one of a PID namespace that is made for it: the machine's may be nobody's to look at."""
    check_there = f"{'unshare --mount ' if apart else ''}'{home.command}' check --json"
    script = f"readlink /proc/1/ns/mnt >&2; {check_there}; exit $?"  # not exec: process 1 stays the shell
    inside = subprocess.run(
        ["unshare", "--pid", "--fork", "--mount-proc", "sh", "-c", script],
        env=home.env, capture_output=True, text=True, check=False,
    )  # fmt: skip
    rows = findings(Done(inside.returncode, inside.stdout, ""), 0)
    assert inside.stderr.startswith("mnt:[")
    if apart:
        assert f"process 1 is in {inside.stderr.strip()}" in said(rows, "warning", "namespace")
        assert "nsenter -t 1 -m" in said(rows, "warning", "namespace")
    else:
        assert "process 1" in said(rows, "ok", "namespace")


@root
def test_another_user_is_told_that_only_root_mounts(installed_home):
    home = installed_home
    home.root.chmod(0o777)
    setpriv = ["setpriv", "--reuid=12345", "--regid=12345", "--clear-groups"]
    done = subprocess.run([*setpriv, home.command, "check", "--json"], env=home.env, capture_output=True, check=False)
    home.root.chmod(0o700)
    if b"Permission denied" in done.stderr:
        pytest.skip("the command is where only root can go")
    rows = findings(Done(done.returncode, done.stdout.decode(), done.stderr.decode()), 1)
    assert "only root can mount" in said(rows, "warning", "user")


# Docker plugins, and drivers as such


def test_a_plugin_that_answers(home):
    home.plugin()
    rows = check(home, "plug")
    assert all_ok(rows)
    assert "a volume plugin answers at unix://" in said(rows, "ok", "driver plug")
    assert "its volumes are global" in said(rows, "ok", "driver plug")
    assert said(check(home), "ok", "driver plug") == said(rows, "ok", "driver plug")


def test_dead_plugins_cost_their_deadline_once(home):
    plugin = home.plugin("slow")
    plugin.always["Activate"] = Reply(delay=30)
    home.plugin("late").always["Activate"] = Reply(delay=30)
    home.plugin("good")
    home.config.write_text('[drivers.slow]\nprovider = "docker"\n')
    start = time.monotonic()
    rows = check(home, "--timeout=1", code=1)
    assert time.monotonic() - start < 20
    assert said(rows, "failed", "driver slow")
    assert said(rows, "warning", "driver late"), "nobody asks for it"
    assert "answers" in said(rows, "ok", "driver good")


def test_what_only_lies_about_is_no_failure(home):
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(f"{home.sockets}/stale.sock")
    (home.specs / "net.spec").write_text("tcp://127.0.0.1:1\n")
    rows = check(home)
    assert "cannot be reached" in said(rows, "warning", "driver stale")
    assert "cannot be reached" in said(rows, "warning", "driver net")
    assert "cannot be reached" in said(check(home, "stale", code=1), "failed", "driver stale")


def test_a_plugin_of_another_kind(home):
    plugin = home.plugin("net")
    plugin.always["Activate"] = Reply(status=200, body=b'{"Implements": ["NetworkDriver"]}')
    assert "is no volume plugin" in said(check(home, "net", code=1), "failed", "driver net")


def test_drivers_that_cannot_be(home):
    b = '[drivers.b]\nprovider = "local"\npath = "/dev/null/x"\n'
    home.config.write_text(f'[drivers.a]\nprovider = "nonsense"\n{b}')
    rows = check(home, "--timeout=1", code=1)
    assert "'nonsense'" in said(rows, "failed", "driver a")
    assert "'nonsense'" in said(rows, "failed", "configuration")
    assert said(rows, "failed", "driver b")
    assert said(rows, "ok", "driver local")
    rows = check(home, "nobody", "--timeout=1", code=1)
    assert "there is no driver 'nobody'" in said(rows, "failed", "driver nobody")
    assert refused(home.run("check", ""), Exit.USAGE)


@root
def test_a_configuration_that_cannot_be_read_fails_all_that_read_it(home):
    home.config.write_text("drivers = 3")
    rows = check(home, code=1)
    assert "drivers is no table" in said(rows, "failed", "configuration")
    assert "drivers is no table" in said(rows, "failed", "driver local")
    assert said(rows, "ok", "kernel")


# EBS


@root
def test_ebs_that_is_ready(machine, ec2):
    rows = check(machine, "ebs")
    assert all_ok(rows)
    assert f"this is {machine.host.id}, in eu-west-1a" in said(rows, "ok", "driver ebs")
    assert "takes these credentials" in said(rows, "ok", "driver ebs")
    assert set(ec2.names()) == {"DescribeInstances", "DescribeVolumes"}


@root
def test_ebs_without_what_it_needs(machine, ec2):
    machine.configure('instance = "i-0bbbbbbbbbbbbbbbb"')
    assert "EC2 knows no instance i-0bbbbbbbbbbbbbbbb" in said(check(machine, "ebs", code=1), "failed", "driver ebs")
    machine.configure("")
    wrong = {"AWS_ACCESS_KEY_ID": "wrong"}
    assert "EC2 refused" in said(check(machine, "ebs", code=1, env=wrong), "failed", "driver ebs")
    machine.host.metadata.off = True
    rows = check(machine, code=1)
    assert "metadata service" in said(rows, "failed", "driver ebs")
    assert said(rows, "ok", "driver local")


# ScaleIO


@root
@pytest.mark.parametrize("generation", ["2.0", "4.5"])
def test_scaleio_that_is_ready(command, generation):
    from tests.scaleio import Grid

    grid = Grid(command, generation)
    try:
        machine = grid.machine()
        rows = check(machine, "scaleio")
        assert all_ok(rows)
        text = said(rows, "ok", "driver scaleio")
        assert f"version {generation}" in text
        assert "this host's SDC is connected" in text
        assert f"the pool {grid.gateway.pool.id}" in text
        assert grid.gateway.password not in str(rows)
        assert not grid.gateway.tokens.open() or generation == "4.5", "it logs out"
    finally:
        grid.close()


@root
def test_scaleio_without_what_it_needs(grid):
    machine = grid.machine()
    machine.configure(storage_pool="none")
    rows = check(machine, "scaleio", code=1)
    assert "no storage pool 'none'" in said(rows, "failed", "driver scaleio")
    assert "this host's SDC is connected" in said(rows, "ok", "driver scaleio")
    machine.configure(storage_pool=grid.gateway.pool.name)
    machine.host.connected = False
    assert "this host's SDC is disconnected" in said(check(machine, "scaleio", code=1), "failed", "driver scaleio")
    machine.host.connected = True
    machine.configure(drv_cfg="/nowhere/drv_cfg")
    rows = check(machine, "scaleio", code=1)
    assert "there is no /nowhere/drv_cfg" in said(rows, "failed", "driver scaleio")
    assert "the gateway answers" in said(rows, "ok", "driver scaleio")
    machine.configure(drv_cfg=str(machine.host.drv_cfg), ca_file=None)
    rows = check(machine, "scaleio", code=1)
    assert "cannot be trusted" in said(rows, "failed", "driver scaleio")
    assert "drv_cfg answers" in said(rows, "ok", "driver scaleio")
    machine.configure(insecure=True)
    shutil.rmtree(Path(machine.env["DVDCLI_DEV"]) / "disk")
    rows = check(machine, "scaleio")
    assert "not verified" in said(rows, "warning", "driver scaleio")
    assert "udev" in said(rows, "warning", "driver scaleio")
    machine.password_file.chmod(0o644)
    assert "others can read it" in said(check(machine, "scaleio", code=1), "failed", "driver scaleio")
