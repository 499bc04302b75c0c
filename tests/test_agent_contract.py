"""What the docker/volume isolator of Mesos relies on, row by row, with a stand-in agent that calls as it does."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import socket
import subprocess
import threading
from contextlib import contextmanager
from functools import partial

import pytest

from tests.doubles.plugin import DROP, Reply, err
from tests.gate import Gate, flags

TRY_AGAIN = 5


class CallFailedError(Exception):
    """What the agent learns of a failed call: that it failed, and the whole of its stderr."""

    def __init__(self, code, text):
        super().__init__(text)
        self.code, self.text = code, text


class Agent:
    """Calls dvdcli as the isolator does, and counts the users of each volume as it does.

    Source: src/slave/containerizer/mesos/isolators/docker/volume/{driver,isolator}.cpp of Apache Mesos 1.0 to 1.11.
    """

    def __init__(self, home):
        self.home = home
        self.used_by = {}

    def start(self, verb, name="v", driver="plug", *more, **options):
        """No shell, stdin is /dev/null, two pipes, a session of its own, in /, and SIGPIPE ignored as it is here."""
        assert signal.getsignal(signal.SIGPIPE) is signal.SIG_IGN
        env = {"LIBPROCESS_IP": "127.0.0.1", "LIBPROCESS_PORT": "5051"}
        options = {"cwd": "/", "start_new_session": True, "restore_signals": False, "env": env, **options}
        return self.home.start(verb, *flags(name, driver), *more, **options)

    def finish(self, process, deadline=120):
        """Read both pipes to their end, SIGKILL the whole group at the deadline, and return the trimmed stdout."""
        try:
            out, said = process.communicate(timeout=deadline)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            raise CallFailedError(-signal.SIGKILL, "timed out") from None
        finally:
            with pytest.raises(ProcessLookupError):
                os.killpg(process.pid, 0)
        if process.returncode:
            raise CallFailedError(process.returncode, said.decode())
        return (out or b"").decode().strip()

    def mount(self, *words, **options):
        path = self.finish(self.start("mount", *words, **options))
        assert path or "stdout" in options  # the isolator does not catch an empty path
        return path

    def unmount(self, *words, **options):
        assert self.finish(self.start("unmount", *words, **options)) == ""

    def prepare(self, container, name, *more, **options):
        self.used_by.setdefault(name, set()).add(container)
        return self.mount(name, "plug", *more, **options)

    def cleanup(self, container):
        """Unmount what nobody else uses, also what was never mounted."""
        for name in [name for name, users in self.used_by.items() if container in users]:
            self.used_by[name].remove(container)
            if not self.used_by[name]:
                self.unmount(name)


@pytest.fixture
def agent(home):
    return Agent(home)


@pytest.fixture
def plugin(home):
    assert home.recover().code == 0  # the first of a boot looks at every record: those of the tests rely on markers
    return home.plugin()


def dead_socket(path):
    with socket.socket(socket.AF_UNIX) as nobody:
        nobody.bind(str(path))


@contextmanager
def hung(plugin, method):
    """From the first call of *method* on, nothing is answered until the end of the block."""
    answers, reached = threading.Event(), threading.Event()

    def before(called):
        if called == method or reached.is_set():
            reached.set()
            answers.wait(60)

    plugin.before = before
    try:
        yield
        assert reached.is_set()
    finally:
        plugin.before = lambda called: None
        answers.set()


# What can go wrong in a call: each is entered with (home, plugin, name) and gives more words and Popen's options.


@contextmanager
def stdout_closed(*_):
    yield (), {"stdout": None, "preexec_fn": partial(os.close, 1)}


@contextmanager
def stdout_unread(*_):
    reader, writer = os.pipe()
    os.close(reader)
    yield (), {"stdout": writer}
    os.close(writer)


@contextmanager
def stdout_full(*_):
    with open("/dev/full", "wb") as file:
        yield (), {"stdout": file}


@contextmanager
def lock_busy(home, plugin, name):
    home.slot(name).mkdir(0o700, exist_ok=True)
    with open(home.slot(name) / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield ("--timeout=2",), {}


def hangs(method):
    @contextmanager
    def step(home, plugin, name):
        with Gate(plugin, method) as gate:
            yield ("--timeout=2",), {}
            gate.wait()
        plugin.wait_idle()

    return pytest.param(step, id=f"{method} hangs")


def answers(method, reply, what):
    @contextmanager
    def step(home, plugin, name):
        plugin.next(method, reply)
        yield (), {}
        assert not plugin.replies[method]

    return pytest.param(step, id=f"{method} {what}")


LOST_STDOUT = [pytest.param(step, id=step.__name__) for step in (stdout_closed, stdout_unread, stdout_full)]
STEPS = [
    pytest.param(lock_busy, id="lock_busy"),
    hangs("Activate"),
    answers("Activate", Reply(status=500, body=b"boom"), "fails"),
    hangs("Get"),
    answers("Get", err("backend unreachable"), "fails"),
    answers("Get", DROP, "drops"),
    *LOST_STDOUT,
]
STEPS_OF_A_NEW_MOUNT = [
    *STEPS,
    hangs("Create"),
    answers("Create", err("no space"), "fails"),
    hangs("Mount"),
    answers("Mount", err("no device"), "fails"),
    answers("Mount", Reply(status=500, body=b"boom", act=True), "fails late"),
    answers("Mount", Reply(raw=b"HTTP/1.1 200"), "drops"),
    answers("Mount", Reply(status=200, body=b'{"Mountpoint": ""}', act=True), "names no path"),
]


# argv, stdout, stderr


def test_options_reach_the_plugin_unchanged(agent, plugin):
    options = {"a": "b,c=d", "eq": "=x=", "words": "two words ", "empty": "", "sh": "$(id) `id` 'q\" *", "é": "🙂\n"}
    agent.mount("a volume", "plug", *(f"--volumeopts={key}={value}" for key, value in options.items()))
    assert plugin.volumes["a volume"].options == options


def test_a_mount_says_the_bare_path_and_nothing_else(home, agent, plugin):
    for _ in range(2):
        done = home.finish(agent.start("mount"))
        assert (done.code, done.out, done.err) == (0, f"{plugin.volumes['v'].mountpoint}\n", "")


def test_an_unmount_says_nothing(home, agent, plugin):
    home.mount("v", "plug", "--hold=other")
    agent.mount()
    for hold, left in (("host", ["v"]), ("other", [])):  # others still need it, then nobody
        done = home.finish(agent.start("unmount", "v", "plug", *([] if hold == "host" else [f"--hold={hold}"])))
        assert (done.code, done.out, done.err, plugin.mounted()) == (0, "", "", left)


def test_the_failure_is_one_line_with_all_that_the_plugin_said(agent, plugin):
    plugin.next("Mount", err("no device:\n  /dev/xvdf\n  /dev/xvdg"))
    with pytest.raises(CallFailedError) as failed:
        agent.mount()
    assert failed.value.text == "dvdcli: mount plug/v: the plugin 'plug' says: no device:; /dev/xvdf; /dev/xvdg\n"


@pytest.mark.parametrize("held_by", ["", "host", "other"])
@pytest.mark.parametrize("lost", LOST_STDOUT)
def test_a_mount_whose_path_is_not_heard_undoes_what_it_added_and_no_more(home, agent, plugin, lost, held_by):
    if held_by:
        home.mount("v", "plug", f"--hold={held_by}")
    with lost() as (_, options), pytest.raises(CallFailedError, match="standard output") as failed:
        agent.mount(**options)
    assert failed.value.text.count("\n") == 1
    assert [row["holds"] for row in home.mounts()] == ([[f"name:{held_by}"]] if held_by else [])
    assert plugin.mounted() == (["v"] if held_by else [])
    assert held_by or home.leftovers() == []


@pytest.mark.parametrize("lost", LOST_STDOUT)
def test_an_unmount_needs_no_stdout(home, agent, plugin, lost):
    agent.mount()
    with lost() as (_, options):
        agent.unmount(**options)
    assert plugin.mounted() == []
    assert home.leftovers() == []


def test_the_mount_is_writable(agent):
    path = agent.mount("v", "local")
    with open(f"{path}/file", "w") as file:
        file.write("data")


# Pairing, and cleaning up


def test_many_mounts_and_one_unmount(home, agent, plugin):
    paths = {agent.prepare(f"container {number}", "v") for number in range(4)}
    assert paths == {plugin.volumes["v"].mountpoint}
    for number in range(4):
        assert plugin.mounted() == ["v"]
        agent.cleanup(f"container {number}")
    assert (plugin.names().count("Mount"), plugin.names().count("Unmount")) == (1, 1)
    assert plugin.mounted() == []
    assert home.leftovers() == []


@pytest.mark.parametrize("found", ["never mounted", "no such volume", "no such driver", "dead plugin"])
def test_an_unmount_of_what_is_not_mounted_is_fine(home, agent, found):
    if found == "dead plugin":
        dead_socket(home.sockets / "plug.sock")
    elif found != "no such driver":
        plugin = home.plugin()
        plugin.volumes.clear() if found == "no such volume" else plugin.add("v")
    agent.unmount()
    assert home.leftovers() == []


@pytest.mark.skipif(not shutil.which("strace"), reason="there is no strace")
def test_an_unmount_that_a_dead_plugin_could_not_confirm_goes_to_syslog(home):
    dead_socket(home.sockets / "plug.sock")
    trace = home.root / "trace"
    line = ["strace", "-f", "-qq", "-e", "trace=connect", "-o", trace, home.command, "unmount", *flags()]
    assert subprocess.run(line, env=home.env, capture_output=True, check=False).returncode == 0
    assert "/dev/log" in trace.read_text()


@pytest.mark.parametrize(
    ("name", "step"),
    [pytest.param("shared", *step.values, id=f"shared: {step.id}") for step in STEPS]
    + [pytest.param("other", *step.values, id=f"other: {step.id}") for step in STEPS_OF_A_NEW_MOUNT],
)
def test_the_first_container_goes_on_whatever_fails_in_the_second(home, agent, plugin, name, step):
    """The second container wants what the first one has, and another volume: one of its two mounts fails."""
    path = agent.prepare("first", "shared")
    assert name == "shared" or agent.prepare("second", "shared") == path
    with step(home, plugin, name) as (more, options), pytest.raises(CallFailedError):
        agent.prepare("second", name, *more, **options)
    agent.cleanup("second")
    assert plugin.mounted() == ["shared"]
    assert [(row["name"], row["status"], row["mountpoint"]) for row in home.mounts()] == [("shared", "mounted", path)]
    agent.cleanup("first")
    assert plugin.mounted() == []
    assert home.leftovers() == []


# Time and death


def test_it_gives_up_before_the_agent_kills_it():
    from dvdcli.lifecycle import MOUNT_TIMEOUT, UNMOUNT_TIMEOUT
    from dvdcli.work import UNDO_TIMEOUT

    assert 90 < MOUNT_TIMEOUT + UNDO_TIMEOUT < 120
    assert 500 < UNMOUNT_TIMEOUT < 600


@pytest.mark.parametrize("stale_socket", [False, True])
def test_a_plugin_that_starts_3_s_late_is_waited_for(home, agent, stale_socket):
    path = home.sockets / "plug.sock"
    if stale_socket:
        dead_socket(path)
    process = agent.start("mount")
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(3)
    path.unlink(missing_ok=True)
    plugin = home.plugin()
    assert agent.finish(process) == plugin.volumes["v"].mountpoint


@pytest.mark.parametrize(
    ("verb", "method"),
    [("mount", "Activate"), ("mount", "Get"), ("mount", "Mount"), ("unmount", "Activate"), ("unmount", "Unmount")],
)
def test_a_hung_plugin_is_given_up_and_recover_finishes_it(home, agent, plugin, verb, method):
    if verb == "unmount":
        agent.mount()
    with hung(plugin, method), pytest.raises(CallFailedError) as failed:
        agent.finish(agent.start(verb, "v", "plug", "--timeout=2"))
    assert (failed.value.code, failed.value.text.count("\n")) == (TRY_AGAIN, 1)
    assert "did not answer" in failed.value.text
    plugin.wait_idle()
    assert home.recover().code == 0
    assert plugin.mounted() == []
    assert home.leftovers() == []


@pytest.mark.parametrize("then", ["mount", "unmount"])
@pytest.mark.parametrize(
    ("verb", "method"),
    [("mount", "Get"), ("mount", "Create"), ("mount", "Mount"), ("unmount", "Get"), ("unmount", "Unmount")],
)
def test_killed_at_the_agents_deadline_and_called_again(home, agent, plugin, verb, method, then):
    if verb == "unmount":
        agent.mount()
    with Gate(plugin, method) as gate:
        process = agent.start(verb)
        gate.wait()
        with pytest.raises(CallFailedError, match="timed out"):
            agent.finish(process, deadline=0.1)
    plugin.wait_idle()
    agent.finish(agent.start(then))
    assert plugin.mounted() == (["v"] if then == "mount" else [])
    assert home.recover("--dry-run").out == ""
    agent.unmount()
    assert plugin.mounted() == []
    assert home.leftovers() == []


@pytest.mark.parametrize("end", ["killed", "gave up"])
def test_a_mount_that_the_plugin_finishes_after_the_unmount_is_undone_by_recover(home, agent, plugin, end):
    """The agent's unmount comes while the plugin still works on the Mount of the call before."""
    with Gate(plugin, "Mount") as gate:
        process = agent.start("mount", "v", "plug", *(["--timeout=2"] if end == "gave up" else []))
        gate.wait()
        with pytest.raises(CallFailedError):
            agent.finish(process, deadline=0.1 if end == "killed" else 120)
        agent.unmount()
    plugin.wait_idle()
    assert plugin.mounted() == ["v"]
    assert home.recover().code == 0
    assert plugin.mounted() == []


# What the agent never does again


def test_a_failed_unmount_is_remembered_and_recover_finishes_it(home, agent, plugin):
    agent.mount()
    plugin.next("Unmount", err("device is busy"))
    with pytest.raises(CallFailedError, match="device is busy"):
        agent.unmount()
    assert [(row["status"], "device is busy" in row["failure"]) for row in home.mounts()] == [("unmounting", True)]
    assert home.recover().code == 0
    assert plugin.mounted() == []
    assert home.leftovers() == []


def test_an_unmount_with_the_plugin_gone_is_remembered_and_recover_finishes_it(home, agent, plugin):
    agent.mount()
    path, away = home.sockets / "plug.sock", home.sockets / "away"
    path.rename(away)
    with pytest.raises(CallFailedError, match="cannot be reached") as failed:
        agent.unmount("v", "plug", "--timeout=2")
    assert (failed.value.code, failed.value.text.count("\n")) == (TRY_AGAIN, 1)
    away.rename(path)
    assert home.recover().code == 0
    assert plugin.mounted() == []
    assert home.leftovers() == []


def test_after_a_reboot_an_unmount_still_detaches(home, agent, plugin):
    agent.mount()
    home.reboot()
    assert (plugin.mounted(), plugin.volumes["v"].attached) == ([], True)
    agent.unmount()
    assert plugin.names()[-1] == "Unmount"
    assert not plugin.volumes["v"].attached
    assert home.leftovers() == []


# Order, and the environment


def test_different_volumes_are_mounted_at_once(agent, plugin):
    """Each Mount is answered only once both have come."""
    both = threading.Barrier(2)
    plugin.before = lambda method: both.wait(60) if method == "Mount" else None
    processes = [agent.start("mount", name) for name in ("a", "b")]
    paths = [agent.finish(process) for process in processes]
    assert paths == [plugin.volumes[name].mountpoint for name in ("a", "b")]


def test_names_that_differ_only_in_case_are_different_volumes(home, agent, plugin):
    volumes = [("v", "plug"), ("V", "plug"), ("v", "PLUG")]
    other = home.plugin("PLUG")
    for volume in volumes:
        agent.mount(*volume)
    assert (plugin.mounted(), other.mounted()) == (["V", "v"], ["v"])
    agent.unmount(*volumes[0])
    assert (plugin.mounted(), other.mounted()) == (["V"], ["v"])


@pytest.mark.parametrize(
    "env",
    [
        {"PATH": "/nonexistent"},
        {"PATH": None, "HOME": None},
        {"PYTHONPATH": "hostile", "PYTHONSTARTUP": "hostile/os.py", "PYTHONHOME": "/nonexistent", "PYTHONINSPECT": "1"},
        {"LC_ALL": "C", "LANG": "tlh_KL", "PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii", "PYTHONCOERCECLOCALE": "0"},
        {"IFS": "/adrv", "ENV": "hostile/os.py", "BASH_ENV": "hostile/os.py", "CDPATH": "/", "TMPDIR": "/nonexistent"},
    ],
    ids=lambda env: ",".join(env),
)
def test_the_agents_environment_does_not_matter(home, agent, plugin, env):
    hostile = home.root / "hostile"
    hostile.mkdir()
    for module in ("os", "json", "re", "sitecustomize"):
        (hostile / f"{module}.py").write_text("exit 99\nraise SystemExit(99)\n")
    for key, value in env.items():
        home.env.pop(key, None)
        if value is not None:
            home.env[key] = value.replace("hostile", str(hostile))
    assert agent.mount("🙂", "plug", cwd=hostile) == plugin.volumes["🙂"].mountpoint
    agent.unmount("🙂", "plug", cwd=hostile)
    assert plugin.mounted() == []
