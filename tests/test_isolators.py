"""The isolators, of every API generation: built, loaded by the agent's double, with the real dvdcli and real mounts."""

from __future__ import annotations

import copy
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.agents import ALIAS, NAME, NEEDS_COMPILER, SOURCE, Agent, built, quietly, refused_agent
from tests.doubles.launcher import launch
from tests.doubles.plugin import Reply, err
from tests.isolators import number, variables
from tests.waiting import wait_until

pytestmark = NEEDS_COMPILER
# One release of each API generation and of each dialect of its messages.
RELEASES = ["0.23.1", "0.24.2", "0.25.1", "0.26.2", "0.27.3", "0.28.3", "1.0.4", "1.3.2", "1.6.2", "1.9.0", "1.11.0"]
NEWEST = "1.11.0"
CLONE_NEWNS = 0x20000
ONE = variables(NAME="v", DRIVER="plug")


def answer(launch_message):
    """Return a script that answers every request with *launch_message*."""
    text = json.dumps({"protocol": 1, "launch": launch_message})
    return f"cat > /dev/null; cat <<'END'\n{text}\nEND"


# What each generation does


@pytest.mark.parametrize("release", RELEASES)
def test_what_it_says_of_itself(shared, home, release):
    with Agent(shared, home, release) as agent:
        said = agent.do("agent").result()
        at = number(release)
        assert said.get("namespaces") == (CLONE_NEWNS if at < (0, 25) else None)
        assert said.get("nesting") == (True if at >= (1, 1) else None)
        assert said.get("standalone") == (True if at >= (1, 5) else None)
        for what in ("isolate", "update"):
            assert agent.do(what, id={"value": "c"}).value() == {}
        assert agent.do("usage", id={"value": "c"}).value() == {}
        if at >= (0, 28):
            assert agent.do("status", id={"value": "c"}).value() == {}
        watch = agent.do("watch", id={"value": "c"})
        agent.do("isolate", id={"value": "c"}).value()
        assert watch.ended.empty(), "a limitation that never comes"


@pytest.mark.namespace
@pytest.mark.parametrize("release", RELEASES)
def test_life_cycle_with_real_mounts(shared, home, release):
    plugin = home.plugin(real=True)
    plugin.add("v")
    plugin.add("w")
    target = Path(f"/srv/dvdcli-{os.getpid()}")
    target.mkdir(exist_ok=True)
    given = variables(NAME="v", DRIVER="plug", CONTAINERPATH="data/in side", NAME1="w", DRIVER1="plug",
                      CONTAINERPATH1=str(target), MODE1="ro")  # fmt: skip
    task = ["sh", "-c", f"echo hello > 'data/in side/file' && ls {target} && ! touch {target}/x"]
    try:
        with Agent(shared, home, release) as agent:
            agent.recover().value()
            sandbox = agent.isolator.sandbox("c1")
            message = agent.prepare("c1", given).value()
            agent.do("isolate", id={"value": "c1"}).value()
            (Path(plugin.volumes["w"].mountpoint) / "there").write_text("")
            done = launch(release, message, task, sandbox)
            assert (done.returncode, "there" in done.stdout) == (0, True), done
            assert "Read-only" in done.stderr
            assert (Path(plugin.volumes["v"].mountpoint) / "file").read_text() == "hello\n"
            assert os.listdir(sandbox / "data" / "in side") == [], "the host does not see it there"
            assert os.listdir(target) == []
            other = launch(
                release, agent.prepare("c2", variables()).value(), ["ls", str(target)], agent.isolator.sandbox("c2")
            )
            assert (other.returncode, other.stdout) == (0, ""), "nor does the next container"
            agent.do("update", id={"value": "c1"}).value()
            agent.do("usage", id={"value": "c1"}).value()
            for container in ("c2", "c1"):
                assert agent.cleanup(container).value() == {}
            assert plugin.mounted() == []
            assert home.leftovers() == []
    finally:
        target.rmdir()


@pytest.mark.namespace
@pytest.mark.parametrize("release", [release for release in RELEASES if number(release) >= (0, 27)])
def test_in_an_image(shared, home, release):
    plugin = home.plugin(real=True)
    plugin.add("v")
    image = home.root / "image"
    for name in ("bin", "lib", "lib64", "usr", "mnt/mesos/sandbox"):
        (image / name).mkdir(parents=True)
    busybox = shutil.which("busybox")
    if busybox is None:
        pytest.skip("there is no busybox to put into an image")
    shutil.copy(busybox, image / "bin" / "sh")
    given = variables(NAME="v", DRIVER="plug", CONTAINERPATH="/var/data")
    with Agent(shared, home, release) as agent:
        message = agent.prepare("c1", given, rootfs=str(image)).value()
        done = launch(
            release, message, ["/bin/sh", "-c", "echo hello > /var/data/file"], image, rootfs=image, inside="/"
        )
        assert done.returncode == 0, done
        assert (Path(plugin.volumes["v"].mountpoint) / "file").read_text() == "hello\n"
        assert os.listdir(image / "var" / "data") == []
        agent.cleanup("c1").value()
    assert home.leftovers() == []


@pytest.mark.namespace
@pytest.mark.parametrize("place", ["sandbox", "tmp", "rootfs"])
@pytest.mark.parametrize("release", RELEASES)
def test_an_archive_that_puts_a_link_where_the_target_was(shared, home, release, place):
    if place == "rootfs" and number(release) < (0, 27):
        pytest.skip("this release does not tell where an image is")
    plugin = home.plugin(real=True)
    plugin.add("v")
    victim = home.root / "victim"
    victim.mkdir()
    rootfs = home.root / "rootfs"
    (rootfs / "mnt" / "mesos" / "sandbox").mkdir(parents=True)
    with Agent(shared, home, release) as agent:
        sandbox = agent.isolator.sandbox("c1")
        tmp = Path(f"/tmp/dvdcli-{os.getpid()}-{release}")
        path, where = {
            "sandbox": ("data/x", sandbox / "data"),
            "tmp": (f"{tmp}/x", tmp),
            "rootfs": ("data/x", rootfs / "mnt/mesos/sandbox/data"),
        }[place]
        config = {"rootfs": str(rootfs)} if place == "rootfs" else {}
        message = agent.prepare("c1", variables(NAME="v", DRIVER="plug", CONTAINERPATH=path), **config).value()

        def fetch():
            shutil.rmtree(where, ignore_errors=True)
            where.symlink_to(victim)

        try:
            done = launch(release, message, ["grep", "-c", str(victim), "/proc/self/mountinfo"], sandbox, before=fetch)
        finally:
            where.unlink()
        assert done.returncode != 0
        assert "symbolic link" in done.stderr
        assert os.listdir(victim) == []
        agent.cleanup("c1").value()
    assert plugin.mounted() == []


@pytest.mark.namespace
def test_a_hostile_environment_of_the_task(shared, home):
    """Until 1.0 the commands that root runs at the launch get the task's environment."""
    plugin = home.plugin(real=True)
    plugin.add("v")
    evil = home.root / "evil"
    evil.mkdir()
    for name in ("mount", "readlink", "python3", "dvdcli", "sh", "os.py", "json.py"):
        (evil / name).write_text(f"#!/bin/sh\ntouch {home.root}/caught\n")
        (evil / name).chmod(0o755)
    hostile = {
        "PATH": str(evil),
        "PYTHONPATH": str(evil),
        "PYTHONSTARTUP": f"{evil}/os.py",
        "HOME": str(evil),
        "IFS": "/",
        "ENV": f"{evil}/sh",
        "BASH_ENV": f"{evil}/sh",
        "DVDCLI_STATE_DIR": str(evil),
    }
    for release in ("0.23.1", "1.0.4"):
        with Agent(shared, home, release) as agent:
            message = agent.prepare("c1", variables(NAME="v", DRIVER="plug", CONTAINERPATH="data")).value()
            done = launch(release, message, ["/bin/ls", "data"], agent.isolator.sandbox("c1"), environment=hostile)
            assert done.returncode == 0, done
            agent.cleanup("c1").value()
    assert not (home.root / "caught").exists()


@pytest.mark.parametrize("release", RELEASES)
def test_a_key_that_the_release_does_not_know_fails_the_launch(shared, home, stand_in, release):
    """protobuf::parse drops it in silence, and the container would run without its volume."""
    path = "commands" if number(release) < (1, 0) else "pre_exec_commands"
    nested = {"shell": True, "value": "x", "unheard": 1}
    messages = [{"unheard_of": 1}, nested if number(release) < (0, 24) else {path: [nested]}]
    if number(release) < (1, 5):
        messages.append({"mounts": [{"target": "/x"}]})
    for message in messages:
        with Agent(shared, home, release, dvdcli=stand_in(answer(message))) as agent:
            reason = agent.prepare("c1", ONE).reason()
            assert "has no field" in reason, reason
            assert release in reason


BAD = [
    ({"pre_exec_commands": {}}, "has to be a list"),
    ({"pre_exec_commands": 5}, "has to be a list"),
    ({"clone_namespaces": 5}, "has to be a list"),
    ({"pre_exec_commands": [5]}, "cannot be"),
    ({"pre_exec_commands": [None]}, "cannot be"),
    ({"mounts": [{"target": 5}]}, "cannot be"),
    ({"mounts": [{"target": "/x", "flags": -1}]}, "cannot be"),
    ({"mounts": [{"target": "/x", "flags": 1.5}]}, "cannot be"),
    ({"mounts": [{"target": "/x", "flags": "1"}]}, "cannot be"),
    ({"mounts": [{"source": "/x"}]}, "target"),
    ({"rootfs": None}, "cannot be"),
    ({"rootfs": []}, "is no list"),
    ({"environment": {"variables": [{}]}}, "name"),
    (5, "no JSON object"),
]


@pytest.mark.parametrize(("message", "reason"), BAD, ids=str)
def test_values_that_do_not_fit(shared, home, stand_in, message, reason):
    with Agent(shared, home, NEWEST, dvdcli=stand_in(answer(message))) as agent:
        assert reason in agent.prepare("c1", ONE).reason()


def test_nested_errors_that_0_23_swallows(shared, home, stand_in):
    message = {"shell": True, "value": "x", "environment": {"variables": [{"value": 5}]}}
    with Agent(shared, home, "0.23.1", dvdcli=stand_in(answer(message))) as agent:
        assert "cannot be" in agent.prepare("c1", ONE).reason()


def test_nested_containers(shared, home):
    plugin = home.plugin()
    plugin.add("v")
    with Agent(shared, home, NEWEST) as agent:
        agent.prepare(["c1", "n1"], ONE).value()
        assert [row["holds"] for row in home.mounts()] == [["container:c1/n1"]]
        agent.cleanup("c1").value()
        assert plugin.mounted() == ["v"]
        agent.cleanup(["c1", "n1"]).value()
    assert home.leftovers() == []


def test_the_request_leaves_out_what_is_bulky_or_secret(shared, home, stand_in):
    seen = home.root / "seen"
    dvdcli = stand_in(f"cat > {seen}; echo '{{\"protocol\": 1}}'")
    for release in ("0.23.1", "0.26.2", "1.0.4", NEWEST):
        with Agent(shared, home, release, dvdcli=dvdcli, parameters={"agent": "a.b", "timeout": "7"}) as agent:
            request = copy.deepcopy(agent.isolator.request("c1", ONE))
            executor = request.get("container_config", request)["executor_info"]
            executor["data"], executor["resources"] = "bulk", [{"name": "cpus"}]
            if release == NEWEST:
                key = {"name": "KEY", "type": "SECRET", "secret": {"text": "hidden"}}
                request["container_config"]["command_info"]["environment"]["variables"].append(key)
            agent.isolator.request = lambda *_, wanted=request, **__: wanted
            assert agent.prepare("c1", ONE).value() is None
        written = json.loads(seen.read_text())
        assert "bulk" not in seen.read_text()
        assert "cpus" not in seen.read_text()
        assert ("KEY" in seen.read_text(), "hidden" in seen.read_text()) == (release == NEWEST, False)
        assert (written["protocol"], written["agent"], written["timeout"]) == (1, "a.b", 7)
        assert (written["mesos_version"], written["container_id"]) == (release, ["c1"])
        assert "docker_volumes" not in written


# What can go wrong


def test_a_failed_prepare_and_its_cleanup(shared, home):
    plugin = home.plugin()
    plugin.add("v")
    plugin.next("Mount", err("the array is on fire"))
    with Agent(shared, home, NEWEST) as agent:
        reason = agent.prepare("c1", ONE).reason()
        assert reason.startswith("dvdcli: mount for container c1: plug/v: ")
        assert "the array is on fire" in reason
        assert "\n" not in reason
        assert agent.cleanup("c1").value() == {}
        assert agent.cleanup("unknown").value() == {}
    assert home.leftovers() == []


def test_a_discard_loses_nothing(shared, home):
    plugin = home.plugin()
    plugin.add("v")
    plugin.next("Mount", Reply(delay=1))
    with Agent(shared, home, NEWEST) as agent:
        call = agent.prepare("c1", ONE)
        call.held()
        agent.do("discard", of=call.number)
        assert call.result()["state"] == "ready"
        agent.cleanup("c1").value()
    assert plugin.mounted() == []


def test_recover_with_orphans(shared, home):
    plugin = home.plugin()
    for name in ("c1", "c2", "c3"):
        plugin.add(name)
    with Agent(shared, home, NEWEST) as agent:
        for name in ("c1", "c2", "c3"):
            agent.prepare(name, variables(NAME=name, DRIVER="plug")).value()
    with Agent(shared, home, NEWEST) as agent:
        agent.recover(["c1"], ["c2"]).value()
        assert plugin.mounted() == ["c1", "c2"]
        agent.cleanup("c2").value()
        assert plugin.mounted() == ["c1"]
        agent.cleanup("c1").value()
    assert home.leftovers() == []


def test_two_agents_on_one_host(shared, home):
    plugin = home.plugin()
    plugin.add("v")
    plugin.add("w")
    with Agent(shared, home, NEWEST, parameters={"agent": "one"}) as one:
        one.prepare("c1", ONE).value()
        with Agent(shared, home, "0.26.2", parameters={"agent": "two"}) as two:
            two.prepare("c1", ONE).value()
            two.prepare("c2", variables(NAME="w", DRIVER="plug")).value()
        with Agent(shared, home, "0.26.2", parameters={"agent": "two"}) as two:
            two.recover().value()
        assert plugin.mounted() == ["v"]
        assert [row["holds"] for row in home.mounts()] == [["container@one:c1"]]
        one.cleanup("c1").value()
    assert home.leftovers() == []


def test_two_containers_share_a_volume(shared, home):
    plugin = home.plugin()
    plugin.add("v")
    with Agent(shared, home, NEWEST) as agent:
        calls = [agent.prepare(name, ONE) for name in ("c1", "c2")]
        assert [call.value() for call in calls] == [None, None]
        agent.cleanup("c1").value()
        assert plugin.mounted() == ["v"]
        agent.cleanup("c2").value()
    assert (plugin.names().count("Mount"), plugin.names().count("Unmount")) == (1, 1)


def test_what_is_pending_is_in_the_agents_log(shared, home):
    plugin = home.plugin()
    plugin.add("v")
    with Agent(shared, home, NEWEST) as agent:
        agent.prepare("c1", ONE).value()
        plugin.next("Unmount", err("busy"))
        assert agent.cleanup("c1").value() == {}
        assert "W dvdcli: to be finished later" in agent.log()
        assert "busy" in agent.log()


ENDS = {
    "junk": ("cat > /dev/null; echo junk", "no JSON"),
    "nothing": ("cat > /dev/null", "no JSON"),
    "another protocol": ("cat > /dev/null; echo '{\"protocol\": 2}'", "protocol 1"),
    "no protocol": ("cat > /dev/null; echo '{}'", "protocol 1"),
    "a silent failure": ("exit 7", "ended with status 7 and without a word"),
    "a failure": ("cat > /dev/null; echo 'dvdcli: no luck' >&2; exit 1", "dvdcli: no luck"),
    "a signal": ("kill -SEGV $$", "ended by signal 11"),
    "a flood": ("cat > /dev/null; head -c 100000000 /dev/zero | tr '\\0' x >&2; exit 1", "xxx..."),
    "too long an answer": ("cat > /dev/null; head -c 20000000 /dev/zero; exit 0", "more than 16777216 bytes"),
}  # fmt: skip


@pytest.mark.parametrize("end", ENDS)
def test_ends_that_are_none(shared, home, stand_in, end):
    script, reason = ENDS[end]
    with Agent(shared, home, NEWEST, dvdcli=stand_in(script)) as agent:
        assert reason in agent.prepare("c1", ONE).reason()
        assert reason in agent.cleanup("c1").reason()
        assert agent.recover().value() == {}, "a failed recover would end the agent"
        assert "E dvdcli could not recover" in agent.log()
        assert reason in agent.log()


def test_one_that_does_not_read_a_long_request(shared, home, stand_in):
    long = variables(NAME="v", X="y" * 7_000_000)
    with Agent(shared, home, NEWEST, dvdcli=stand_in("exec <&-; sleep 0.2; echo '{\"protocol\": 1}'")) as agent:
        assert agent.prepare("c1", long).value() is None
    with Agent(shared, home, NEWEST, dvdcli=stand_in("exit 3")) as agent:
        assert "status 3" in agent.prepare("c1", long).reason()


def test_one_that_is_gone(shared, home, stand_in):
    dvdcli = stand_in("exit 0")
    with Agent(shared, home, NEWEST, dvdcli=dvdcli) as agent:
        agent.do("agent").result()
        dvdcli.unlink()
        assert agent.prepare("c1", ONE).reason() == f"{dvdcli} cannot be run: No such file or directory"
        dvdcli.write_text("no program")
        dvdcli.chmod(0o755)
        assert "Exec format error" in agent.prepare("c1", ONE).reason()


def test_something_that_keeps_the_pipes_open(shared, home, stand_in):
    script = 'cat > /dev/null; echo \'{"protocol": 1}\'; setsid sleep 60 & echo $! > "$0.pid"'
    dvdcli = stand_in(script)
    with Agent(shared, home, NEWEST, dvdcli=dvdcli) as agent:
        start = time.monotonic()
        assert agent.prepare("c1", ONE).value() is None
        assert time.monotonic() - start < 30
    os.kill(int(Path(f"{dvdcli}.pid").read_text()), signal.SIGKILL)


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_one_that_hangs_is_killed_with_all_that_it_started(shared, home, stand_in):
    dvdcli = stand_in('sleep 500 & echo $! > "$0.1"; (setsid sh -c \'echo $$ > "$0.2"; sleep 500\' "$0") & sleep 500')
    with Agent(shared, home, NEWEST, dvdcli=dvdcli, parameters={"timeout": "1"}) as agent:
        reason = agent.prepare("c1", ONE).reason()
    assert f"{dvdcli} mount did not end in 21 s and was killed" in reason
    pids = [int(Path(f"{dvdcli}.{which}").read_text()) for which in "12"]
    wait_until(lambda: not any(alive(pid) for pid in pids))


def test_an_agent_that_dies_takes_it_along(shared, home, stand_in):
    dvdcli = stand_in('echo $$ > "$0.pid"; exec sleep 500')
    with Agent(shared, home, NEWEST, dvdcli=dvdcli) as agent:
        agent.prepare("c1", ONE).held()
        wait_until(lambda: Path(f"{dvdcli}.pid").exists() and Path(f"{dvdcli}.pid").read_text())
        agent.process.kill()
    wait_until(lambda: not alive(int(Path(f"{dvdcli}.pid").read_text())))


def test_what_the_child_inherits(shared, home, stand_in):
    told = home.root / "told"
    script = f"""cat > /dev/null
    {{ ls /proc/self/fd | wc -l; pwd; grep -E 'Sig(Blk|Ign)' /proc/self/status; cut -d' ' -f5 /proc/$$/stat; echo $$
    echo "$@"; echo $DVDCLI_STATE_DIR
    }} > {told}; echo '{{"protocol": 1}}'"""
    with Agent(shared, home, NEWEST, dvdcli=stand_in(script)) as agent:
        agent.prepare("c1", ONE).value()
    lines = told.read_text().split("\n")
    assert int(lines[0]) == 4, "0, 1, 2, and ls's own"
    assert lines[1] == "/"
    masks = [int(line.split()[1], 16) for line in lines[2:4]]
    internal = 0b11 << 31  # 32 and 33 are the C library's own, and nobody's to reset
    assert [mask & ~internal for mask in masks] == [0, 0], "SIGPIPE is not ignored any more"
    assert lines[4].strip() == lines[5]
    assert lines[6:8] == ["mount --isolator", home.env["DVDCLI_STATE_DIR"]]


def test_fifty_containers_at_once_and_no_thread_of_the_agents_held(shared, home, stand_in):
    gate = home.root / "gate"
    script = f"cat > /dev/null; while [ ! -e {gate} ]; do sleep 0.2; done; echo '{{\"protocol\": 1}}'"
    with Agent(shared, home, NEWEST, dvdcli=stand_in(script)) as agent:
        calls = [agent.prepare(f"c{n}", ONE) for n in range(50)]
        for call in calls:
            call.held()  # the agent's one thread has made all fifty calls, and none has ended
        assert all(call.ended.empty() for call in calls)
        assert agent.do("update", id={"value": "c0"}).value() == {}
        gate.touch()
        assert [call.value() for call in calls] == [None] * 50


STRESSED = """#!/bin/sh
read end
case $end in
answer) cat > /dev/null; echo '{}' ;;
fail) echo no >&2; exit 1 ;;
flood) head -c 1000000 /dev/zero | tr '\\0' x >&2; echo '{}' ;;
die) kill -KILL $$ ;;
leave) (exec setsid sleep 4) & echo '{}' ;;
hang) sleep 100 ;;
esac
"""


@pytest.mark.parametrize("sanitizer", ["address,undefined", "thread"])
def test_the_core_under_sanitizers(tmp_path, sanitizer):
    program = tmp_path / "program"
    program.write_text(STRESSED)
    program.chmod(0o755)
    sources = [*(SOURCE / "core").glob("*.cpp"), SOURCE / "testing" / "stress.cpp"]
    flags = ["-std=c++11", "-g", "-O1", "-pthread", f"-fsanitize={sanitizer}", "-fno-sanitize-recover=all"]
    quietly("g++", *flags, "-o", tmp_path / "stress", *sources)
    line = [tmp_path / "stress", program, "60", "3"]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "30 31\n", ""), done


# Parameters

GOOD = [
    {"timeout": "1"}, {"timeout": "3600"}, {"sandbox_directory": "/mnt/x"}, {"docker_volumes": "true"},
    {"docker_volumes": "false"}, {"agent": "a-B_1.2"}, {"agent": ""}, {"work_dir": "/x"}, {"isolator_command": "y"},
]  # fmt: skip
WRONG = [
    ({"dvdcli": "dvdcli"}, "absolute"),
    ({"dvdcli": ""}, "absolute"),
    ({"dvdcli": "/no/such"}, "no such program"),
    ({"dvdcli": "/etc"}, "no such program"),
    ({"dvdcli": "/etc/passwd"}, "no such program"),
    ({"timeout": "0"}, "1 to 3600"),
    ({"timeout": "3601"}, "1 to 3600"),
    ({"timeout": "5s"}, "1 to 3600"),
    ({"timeout": ""}, "1 to 3600"),
    ({"timeout": "-1"}, "1 to 3600"),
    ({"timeout": "99999999999"}, "1 to 3600"),
    ({"timeout": "007"}, "1 to 3600"),
    ({"sandbox_directory": "x"}, "absolute"),
    ({"docker_volumes": "yes"}, "true or false"),
    ({"agent": "a/b"}, "letters"),
    ({"agent": "a" * 65}, "letters"),
    ({"unheard": "x"}, "the known ones"),
    ([("timeout", "5"), ("timeout", "6")], "twice"),
]


@pytest.mark.parametrize("parameters", GOOD, ids=str)
def test_parameters(shared, home, parameters):
    with Agent(shared, home, NEWEST, parameters=parameters) as agent:
        agent.do("agent").result()
        assert ("is ignored" in agent.log()) == bool({"work_dir", "isolator_command"} & set(parameters))


@pytest.mark.parametrize(("parameters", "why"), WRONG, ids=str)
def test_parameters_that_are_refused(shared, home, parameters, why):
    log = refused_agent(Agent(shared, home, NEWEST, parameters=parameters))
    key = parameters[0][0] if isinstance(parameters, list) else next(iter(parameters))
    assert f"'{key}'" in log
    assert why in log
    assert "Error creating Module instance" in log


@pytest.mark.parametrize("release", [RELEASES[0], NEWEST])
def test_its_two_names(shared, home, release):
    with Agent(shared, home, release, names=ALIAS) as agent:
        assert agent.recover().value() == {}
    for names in (f"{NAME},{ALIAS}", f"{ALIAS},{NAME}"):
        assert "a second time" in refused_agent(Agent(shared, home, release, names=names))


def test_the_default_dvdcli_is_the_originals(shared, home):
    parameters = [("dvdcli", "/usr/bin/dvdcli")]
    if not Path("/usr/bin/dvdcli").exists():
        assert "/usr/bin/dvdcli" in refused_agent(Agent(shared, home, NEWEST, parameters=parameters))


# The sources and CMake


def code_lines(path):
    return [line for line in path.read_text().splitlines() if line.strip() and not line.strip().startswith("//")]


def test_the_sources_are_small_and_ask_for_no_version():
    sources = sorted((SOURCE / "generations").glob("*.cpp"))
    assert len(sources) == 6
    for path in sources:
        lines = code_lines(path)
        assert len(lines) <= 80, path
        assert not any(line.startswith("#") and not line.startswith("#include") for line in lines), path
        text = path.read_text()
        assert text.count(" override") == 7, path
    for path in [SOURCE / "glue.hpp", SOURCE / "module.cpp"]:
        assert not any(word in path.read_text() for word in ("#if", "VERSION_NUM")), path
    core = "".join(path.read_text() for path in (SOURCE / "core").iterdir())
    assert "mesos" not in core.lower().replace("there is no mesos in here", "")


@pytest.mark.parametrize("release", ["0.22.1", "1.11.0-rc1", "1.12.0", "2.0.0"])
def test_versions(tmp_path, release):
    quietly(sys.executable, SOURCE / "testing" / "tree.py", "1.11.0", tmp_path / "mesos")
    header = tmp_path / "mesos" / "include" / "mesos" / "version.hpp"
    header.write_text(header.read_text().replace("1.11.0", release))
    line = ["cmake", "-S", SOURCE, "-B", tmp_path / "build", f"-DMESOS_ROOT={tmp_path / 'mesos'}"]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    if release == "0.22.1":
        assert done.returncode != 0
        assert "0.23.0 is the first" in done.stderr
        return
    assert done.returncode == 0, done.stderr
    assert f"Mesos {release}: generations/mesos-1.10.cpp" in done.stdout
    assert ("newer than" in done.stderr) == (release in ("1.12.0", "2.0.0"))


@pytest.mark.parametrize(("gone", "told"), [
    ("mesos/version.hpp", "make install"), ("mesos/mesos.pb.h", "protoc"), ("stout/json.hpp", "make install"),
    ("glog/logging.h", "libgoogle-glog-dev"), ("picojson.h", "libpicojson-dev"), ("boost/variant.hpp", "libboost-dev"),
])  # fmt: skip
def test_what_is_missing_is_told_with_its_package(tmp_path, gone, told):
    quietly(sys.executable, SOURCE / "testing" / "tree.py", NEWEST, tmp_path / "mesos")
    (tmp_path / "mesos" / "include" / gone).unlink()
    (tmp_path / "mesos" / "include" / "google" / "protobuf").mkdir(parents=True)
    (tmp_path / "mesos" / "include" / "google" / "protobuf" / "message.h").touch()
    line = [
        "cmake",
        "-S",
        SOURCE,
        "-B",
        tmp_path / "build",
        f"-DMESOS_ROOT={tmp_path / 'mesos'}",
        "-DCMAKE_IGNORE_PATH=/usr/include",
    ]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert f"there is no <{gone}>" in " ".join(done.stderr.split())
    assert told in done.stderr


def test_install(shared, tmp_path):
    built(shared, NEWEST)
    module = shared / f"mesos-{NEWEST}" / "module"
    copy = tmp_path / "module"
    line = ["cmake", "-S", SOURCE, "-B", copy, f"-DMESOS_ROOT={shared / f'mesos-{NEWEST}' / 'mesos'}",
            f"-DCMAKE_INSTALL_PREFIX={tmp_path / 'pre fix'}", "-DDVDCLI=/opt/dvdcli/bin/dvdcli"]  # fmt: skip
    quietly(*line)
    quietly("cmake", "--build", copy)
    quietly("cmake", "--install", copy)
    manifest = json.loads((tmp_path / "pre fix" / "share" / "dvdcli" / "modules.json").read_text())
    library = manifest["libraries"][0]
    assert Path(library["file"]).name == f"libdvdcli_isolator-{NEWEST}.so"
    assert Path(library["file"]).is_file()
    assert library["modules"] == [{"name": NAME, "parameters": [{"key": "dvdcli", "value": "/opt/dvdcli/bin/dvdcli"}]}]
    needed = subprocess.run(
        ["readelf", "-d", next(module.glob("*.so"))], capture_output=True, text=True, check=True
    ).stdout
    assert not any(word in needed for word in ("libmesos", "libprotobuf", "libglog"))


def test_check_isolators(tmp_path):
    line = ["sh", SOURCE / "check.sh"]
    done = subprocess.run(line, capture_output=True, text=True, check=False, env={"PATH": os.environ["PATH"]})
    assert (done.returncode, "MESOS_SOURCE" in done.stdout) == (0, True)
    done = subprocess.run(
        [*line, "/no/such"], capture_output=True, text=True, check=False, env={"PATH": os.environ["PATH"]}
    )
    assert done.returncode != 0
