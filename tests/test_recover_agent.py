"""`dvdcli recover --agent`: what no living container holds is released, and nothing else, whatever the agent says."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from dvdcli import clock, containers, group, releasing
from dvdcli.agent import Agent
from dvdcli.agent_settings import Settings
from dvdcli.clock import Deadline
from dvdcli.containers import Container, Given
from dvdcli.errors import Exit
from dvdcli.recovery import BUSY, FAILED, RELEASED, SKIPPED, Outcome
from dvdcli.state import State, boot_id
from dvdcli.volume import Hold, Volume
from tests.conftest import COMMAND, Home
from tests.doubles.mesos_agent import RELEASES, MesosAgent
from tests.doubles.mesos_agent.agent import cut, edit, say
from tests.doubles.plugin import Reply
from tests.expect import refused
from tests.gate import Gate
from tests.isolators import Isolator, variables
from tests.test_recovery import Container as Process


@pytest.fixture
def agent() -> Iterator[MesosAgent]:
    agent = MesosAgent()
    yield agent
    agent.close()
    assert agent.faults == []


@pytest.fixture
def plugin(home):
    plugin = home.plugin()
    for name in ("a", "b"):
        plugin.add(name)
    return plugin


def launch(home: Home, container: str | list[str], volume: str = "a", driver: str = "plug", name: str = "") -> None:
    Isolator(home, name=name).launch(container, variables(NAME=volume, DRIVER=driver))


def recover(home: Home, agent: MesosAgent, *flags: str) -> Any:
    return home.recover(f"--agent={agent.url}", "--grace=0", *flags)


def holds(home: Home) -> dict[str, list[str]]:
    return {row["name"]: row["holds"] for row in home.mounts()}


# The command


def test_a_container_that_is_gone(home, plugin, agent):
    for name in ("c1", "c2"):
        launch(home, name)
    launch(home, "c3", "b")
    agent.run("c2")
    dry = recover(home, agent, "--dry-run")
    assert (dry.code, dry.err) == (0, "")
    assert dry.out == (
        "container c1: would be released (dead for 3 answers; plug/a)\n"
        "container c3: would be released (dead for 3 answers; plug/b)\n"
    )
    assert holds(home) == {"a": ["container:c1", "container:c2"], "b": ["container:c3"]}
    done = recover(home, agent)
    assert (done.code, done.err) == (0, ""), done
    assert "container c1: released (dead for 3 answers; plug/a)\n" in done.out
    assert "plug/b: unmounted" in done.out
    assert holds(home) == {"a": ["container:c2"]}
    assert plugin.mounted() == ["a"]
    agent.asked.clear()
    again = recover(home, agent)
    assert (again.code, again.out, again.err) == (0, "", "")
    assert agent.asked.count("/api/v1") == 1, "no more is asked where all live"
    agent.end("c2")
    done = recover(home, agent, "--json")
    assert json.loads(done.out)["data"]["outcomes"][0] == {
        "kind": "container", "container": "c2", "action": "released", "detail": "dead for 3 answers; plug/a",
    }  # fmt: skip
    assert home.leftovers() == []


def test_nobody_is_asked_where_there_is_nothing_to_release(home, plugin, agent):
    agent.close()
    assert home.mount("a").code == 0
    assert home.mount("b", "plug", "--hold=backup").code == 0
    for flags in (["--agent"], [f"--agent={agent.url}"]):
        done = home.recover(*flags)
        assert (done.code, done.out, done.err) == (0, "", "")
    launch(home, "c1")
    done = home.recover(f"--agent={agent.url}")
    assert (done.code, done.out, done.err) == (0, "", ""), "the hold is a young one"
    assert holds(home) == {"a": ["container:c1", "name:host"], "b": ["name:backup"]}


@pytest.mark.parametrize("flags", [[], ["--agent"]], ids=["recover", "recover --agent"])
def test_nothing_is_imported_for_nothing(installed_home, flags):
    line = [COMMAND.parent / "python3", "-I", "-S", "-X", "importtime", COMMAND, "recover", *flags]
    done = subprocess.run(line, env=installed_home.env, capture_output=True, check=True)
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.decode().splitlines()}
    assert "dvdcli.recovery" in imported
    assert not imported & {"requests", "urllib3", "http.client", "ssl", "tempfile", "dvdcli.metrics", "rich"}
    assert bool(flags) == ("dvdcli.agent" in imported)


def test_an_agent_that_cannot_be_asked(home, plugin, agent):
    launch(home, "c1")
    agent.always["/api/v1"] = say(b"<html>")
    error = refused(recover(home, agent), Exit.TRY_AGAIN)
    assert "nothing is released" in error
    agent.web.stop(reserve=True)
    done = recover(home, agent, "--json")
    told = json.loads(done.out)
    assert (done.code, told["exit_code"], told["data"]["outcomes"][0]["agent"]) == (5, 5, agent.url)
    assert holds(home) == {"a": ["container:c1"]}
    assert plugin.mounted() == ["a"]


def test_what_is_pending_is_finished_without_the_agent(home, plugin, agent):
    launch(home, "c1")
    assert home.mount("b").code == 0
    plugin.next("Unmount", Reply(status=500, body=b'{"Err": "busy"}'))
    assert home.unmount("b").code == 1
    agent.web.stop(reserve=True)
    done = recover(home, agent)
    assert (done.code, "plug/b: unmounted" in done.out) == (5, True)
    assert plugin.mounted() == ["a"]


def test_the_configuration(home, plugin, agent):
    launch(home, "c1", name="two")
    home.config.write_text(f'[agent]\nurl = "{agent.url}"\nname = "two"\ngrace = 0\n')
    assert home.recover("--agent", "--agent-name=").out == ""
    assert home.recover().out == "", "only --agent asks"
    assert agent.asked == []
    assert "container c1: would be released" in home.recover("--agent", "--dry-run").out
    home.config.write_text("[agent]\nurll = 1\n")
    assert "urll" in refused(home.recover("--agent"), 1)
    assert home.recover().code == 0


@pytest.mark.parametrize(
    "flags",
    [
        ["--agent=nonsense"], ["--agent=http://a:b@c"], ["--agent", "--agent-name=a/b"], ["--agent", "--grace=-1"],
        ["--agent", "--grace=nan"],
    ],
    ids=str,
)  # fmt: skip
def test_calls_that_are_wrong(home, flags):
    refused(home.recover(*flags), Exit.USAGE)


def test_only_holds_of_the_agent_that_was_asked(home, plugin, agent):
    assert home.mount("a", "plug", "--hold=c1").code == 0
    launch(home, "c1", name="one")
    launch(home, "c2", name="two")
    launch(home, "c3")
    assert "container c1: released" in recover(home, agent, "--agent-name=one").out
    assert holds(home) == {"a": ["container:c3", "container@two:c2", "name:c1"]}


def test_a_call_at_work_is_cancelled(home, plugin, agent):
    isolator = Isolator(home)
    request = isolator.request("c1", variables(NAME="a", DRIVER="plug"))
    with Gate(plugin, "Mount") as gate:
        found = []
        thread = threading.Thread(target=lambda: found.append(isolator.call("mount", request)))
        thread.start()
        gate.wait()
        done = recover(home, agent, "-v")
        assert (done.code, "told to undo itself" in done.err) == (0, True)
    thread.join()
    assert (found[0].code, "was cancelled" in found[0].err) == (Exit.TRY_AGAIN, True)
    assert plugin.mounted() == []
    assert home.leftovers() == []


def test_two_runs_at_once(home, plugin, agent):
    for name in ("c1", "c2", "c3"):
        launch(home, name)
    agent.run("c3")
    runs = [home.start("recover", f"--agent={agent.url}", "--grace=0") for _ in range(2)]
    done = [home.finish(run) for run in runs]
    assert [(each.code, each.err) for each in done] == [(0, ""), (0, "")]
    assert holds(home) == {"a": ["container:c3"]}
    assert Isolator(home).cleanup("c3") == []
    assert home.leftovers() == []


def real(home: Home, driver: str, options: str = "") -> Path:
    """Let c1, which is gone, hold a real volume of *driver*; return where that is mounted."""
    given = variables(NAME="v", DRIVER=driver, **({"OPTS": options} if options else {}))
    Isolator(home).launch("c1", given)
    path = Path(home.mounts()[0]["mountpoint"])
    assert path.is_dir()
    return path


@pytest.mark.root
@pytest.mark.parametrize("driver", ["local", "sized", "docker"])
def test_what_a_mount_namespace_has_is_left_alone(home, agent, driver):
    plugin = home.plugin(real=True) if driver == "docker" else None
    path = real(home, "plug" if plugin else "local", "size=32M" if driver == "sized" else "")
    target = home.root / "elsewhere"
    target.mkdir()
    process = Process("private", "/", f"mount --bind {path} {target}")
    try:
        done = recover(home, agent)
        assert (done.code, f"pid {process.process.pid} at {target}" in done.err) == (Exit.IN_USE, True), done
        assert "container c1: released" in done.out
        assert path.is_dir()
        assert driver == "local" or path.is_mount()
    finally:
        process.stop()
    done = recover(home, agent)
    assert (done.code, done.err, "unmounted" in done.out) == (0, "", True)
    assert not path.is_mount()
    assert home.leftovers() == []


# Metrics

LINE = re.compile(r'[a-z_]+(?:\{[a-z_]+="(?:[^"\\\n]|\\["\\n])*"(?:,[a-z_]+="(?:[^"\\\n]|\\["\\n])*")*\})? -?[0-9.e+]+')


def metrics(path: Path) -> dict[str, float]:
    """Return the samples in *path*, which has to be valid: every family has its HELP and TYPE, once, before it."""
    found, family = {}, ""
    text = path.read_text()
    assert text.endswith("\n")
    for line in text.splitlines():
        if line.startswith("# HELP "):
            family = line.split()[2]
            assert family not in {name.partition("{")[0] for name in found}
        elif line.startswith("# TYPE "):
            assert line == f"# TYPE {family} gauge"
        else:
            assert LINE.fullmatch(line), line
            assert line.startswith((f"{family} ", f"{family}{{"))
            name, _, value = line.rpartition(" ")
            found[name] = float(value)
    return found


def test_metrics(home, plugin, agent):
    path = home.root / "dvdcli.prom"
    launch(home, "c1")
    assert home.mount("b").code == 0
    assert home.mount('with "\\', "local").code == 0
    done = recover(home, agent, f"--metrics={path}")
    assert done.code == 0
    assert path.stat().st_mode & 0o7777 == 0o644
    found = metrics(path)
    assert found['dvdcli_mounts{driver="plug",status="mounted"}'] == 1
    assert found['dvdcli_mounts{driver="local",status="mounted"}'] == 1
    assert found['dvdcli_recover_outcomes{action="released"}'] == 1
    assert found['dvdcli_recover_outcomes{action="unmounted"}'] == 1
    assert found['dvdcli_recover_outcomes{action="failed"}'] == 0
    assert found["dvdcli_pending_volumes"] == found["dvdcli_recover_exit_code"] == 0
    success = found["dvdcli_recover_last_success_timestamp_seconds"]
    assert success == found["dvdcli_recover_last_run_timestamp_seconds"] > 1e9
    assert found["dvdcli_recover_duration_seconds"] >= 2
    assert [each.name for each in home.root.glob("*dvdcli.prom*")] == ["dvdcli.prom"]


def test_metrics_of_runs_that_fail(home, plugin, agent):
    path = home.root / "dvdcli.prom"
    launch(home, "c1")
    agent.web.stop(reserve=True)
    assert recover(home, agent, f"--metrics={path}").code == 5
    assert metrics(path)["dvdcli_recover_last_success_timestamp_seconds"] == 0
    assert metrics(path)['dvdcli_recover_outcomes{action="failed"}'] == 1
    assert home.recover(f"--metrics={path}").code == 0
    success = metrics(path)["dvdcli_recover_last_success_timestamp_seconds"]
    home.state.chmod(0o777)
    assert home.recover(f"--metrics={path}").code == Exit.STATE
    home.state.chmod(0o700)
    found = metrics(path)
    assert found["dvdcli_recover_exit_code"] == Exit.STATE
    assert found["dvdcli_recover_last_success_timestamp_seconds"] == success
    assert "dvdcli_pending_volumes" not in found
    plugin.next("Unmount", Reply(status=500, body=b'{"Err": "busy"}'))
    assert Isolator(home).cleanup("c1") != []
    plugin.always["Unmount"] = Reply(status=500, body=b'{"Err": "busy"}')
    assert home.recover(f"--metrics={path}").code == 1
    found = metrics(path)
    assert (found["dvdcli_pending_volumes"], found['dvdcli_mounts{driver="plug",status="unmounting"}']) == (1, 1)


def test_metrics_that_cannot_be_written(home):
    path = home.root / "no" / "dvdcli.prom"
    assert str(path) in refused(home.recover(f"--metrics={path}"), 1)
    done = home.recover(f"--metrics={path}", "--json")
    assert (done.code, json.loads(done.out)["exit_code"]) == (1, 1)


# The engine, with a state of its own and answers without a pause


class World:
    """Containers with holds in a state of their own, and an agent's double that they live on, or do not."""

    def __init__(self, release: str = "1.11.0", name: str = "") -> None:
        self.root = Path(tempfile.mkdtemp(prefix="dvd"))
        self.patch = pytest.MonkeyPatch()
        self.patch.setenv("DVDCLI_STATE_DIR", str(self.root / "state"))
        self.agent = MesosAgent(release)
        self.agent.model.flags["runtime_dir"] = str(self.root / "run")
        self.agent.model.flags["cgroups_hierarchy"] = str(self.root / "cgroup")
        self.name = name

    def give(self, *path: str, age: float = 1000.0, agent: str = "", who: str = "") -> str:
        """Hold a volume for the container, as its mount did so many seconds ago."""
        who = who or containers.hold_of(agent, list(path))
        volume = Volume("plug", path[-1])
        since = {"wall": 0, "uptime": clock.now()["uptime"] - age}
        container = Container(containers.directory_name(who))
        container.acquire(Deadline(5)).release()
        given = Given(who, agent, boot_id())
        given.since, given.volumes = since, [volume]
        container.save(given)
        slot = State().slot(volume)
        slot.acquire(Deadline(5)).release()
        slot.holds.take(Hold(who, boot_id(), {"since": since}))
        return who

    def held(self) -> set[str]:
        return {who for slot in State().slots() for who in slot.holds.valid(boot_id())}

    def release(self, grace: float = 60.0, dry_run: bool = False) -> list[Outcome]:
        client = Agent(Settings(url=self.agent.url), Deadline(20))
        try:
            return list(releasing.release(client, self.name, grace, dry_run, pause=0.0))
        finally:
            client.close()

    def close(self) -> None:
        self.agent.close()
        self.patch.undo()
        shutil.rmtree(self.root)
        assert self.agent.faults == []


@pytest.fixture
def world() -> Iterator[World]:
    world = World()
    yield world
    world.close()


def actions(outcomes: list[Outcome]) -> list[tuple[str, str]]:
    return [(outcome.volume, outcome.action) for outcome in outcomes]


@pytest.mark.parametrize("release", RELEASES)
def test_every_release(release):
    world = World(release)
    try:
        for name in ("alive", "dead", "young"):
            world.give(name, age=10 if name == "young" else 61)
        world.give("alive", "nested")
        world.give("dead", "nested")
        world.agent.run("alive")
        world.agent.run("dead")
        world.agent.end("dead")
        assert sorted(actions(world.release())) == [("dead", RELEASED), ("dead/nested", RELEASED)]
        assert world.held() == {"container:alive", "container:alive/nested", "container:young"}
        assert world.release() == []
    finally:
        world.close()


def test_a_young_hold_whatever_the_clock_on_the_wall_says(world, monkeypatch):
    world.give("young", age=59)
    for wall in (0, 4e9):
        monkeypatch.setattr("time.time", lambda wall=wall: wall)
        assert world.release() == []
    assert world.agent.asked == []


def test_a_hold_of_an_earlier_boot_is_no_young_one(world):
    who = world.give("c1", age=1)
    path = Path(Container(containers.directory_name(who)).directory) / "container.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "boot": "older"}))
    assert actions(world.release()) == [("c1", RELEASED)]


def test_holds_whose_container_file_is_lost(world):
    for name, age in (("old", 61.0), ("young", 59.0)):
        who = world.give(name, age=age)
        (Path(Container(containers.directory_name(who)).directory) / "container.json").write_text("{")
    assert actions(world.release()) == [("old", RELEASED)]
    assert world.held() == {"container:young"}


def test_a_container_that_comes_back_between_the_answers(world):
    who = world.give("c1")
    asked = []

    def before(path: str) -> None:
        asked.append(path)
        if asked.count("/api/v1") == 3 and path == "/api/v1":
            world.agent.run("c1", standalone=True)

    world.agent.before = before
    assert world.release() == []
    assert world.held() == {who}


def test_a_container_that_is_given_more_after_the_last_answer(world):
    who = world.give("c1")

    def before(path: str) -> None:
        if path == "/state" and world.agent.asked.count("/state") == 4:
            world.give("c1", age=1000)

    world.agent.before = before
    assert actions(world.release()) == [("c1", SKIPPED)]
    assert world.held() == {who}


def test_a_container_that_another_call_releases_meanwhile(world):
    who = world.give("c1")
    container = Container(containers.directory_name(who))

    def before(path: str) -> None:
        if path == "/state" and world.agent.asked.count("/state") == 4:
            assert group.drop_dead(who, container) == ""

    world.agent.before = before
    assert world.release() == []
    assert group.drop_dead(who, container, lambda: False) == "another call is at work on it"
    assert not container.exists()


def test_what_the_host_still_shows_of_a_container(world):
    for name in ("orphan", "process"):
        world.give(name)
    (world.root / "run" / "containers" / "orphan").mkdir(parents=True)
    cgroup = world.root / "cgroup" / "freezer" / "mesos" / "process" / "mesos" / "nested"
    cgroup.mkdir(parents=True)
    (cgroup.parents[1] / "cgroup.procs").write_text("")
    (cgroup / "cgroup.procs").write_text("4711\n")
    outcomes = world.release()
    assert actions(outcomes) == [("orphan", SKIPPED), ("process", SKIPPED)]
    assert "containers/orphan is still there" in outcomes[0].detail
    assert "pid 4711" in outcomes[1].detail
    (cgroup / "cgroup.procs").write_text("")
    shutil.rmtree(world.root / "run")
    assert actions(world.release()) == [("orphan", RELEASED), ("process", RELEASED)]


def test_a_container_adopted_by_its_leaf(world):
    world.give("leaf", who=containers.adopted_hold("", "leaf"))
    world.agent.run("root")
    world.agent.run("root", "leaf")
    assert world.release() == []
    world.agent.end("root")
    assert actions(world.release()) == [("~/leaf", RELEASED)]


def test_a_lock_that_somebody_has(world):
    who = world.give("c1")
    lock = Container(containers.directory_name(who)).acquire(Deadline(1))
    assert actions(world.release()) == [("c1", BUSY)]
    lock.release()
    assert world.held() == {who}
    assert actions(world.release()) == [("c1", RELEASED)]


@pytest.mark.parametrize("which", range(10))
def test_one_answer_that_fails_of_all(world, which):
    who = world.give("c1")
    world.agent.later.extend([None] * which + [cut(5)])
    (outcome,) = world.release()
    assert (outcome.kind, outcome.action, outcome.code) == ("agent", FAILED, Exit.TRY_AGAIN)
    assert world.held() == {who}


WAYS: list[Callable[[Reply], Reply]] = [
    cut(30), say(b"", 500), say(b"", 503), say(b"[]"), say(b"{}"), say(b"<html>"), say(b"", 302),
    edit(lambda body: {key: value for key, value in body.items() if key != "frameworks"}),
]  # fmt: skip


class Histories(RuleBasedStateMachine):
    """Any history of containers, agents and answers: what lives is never released, and what is dead is in the end."""

    @initialize(release=st.sampled_from(RELEASES))
    def begin(self, release: str) -> None:
        self.world = World(release)
        self.number = 0
        self.holding: dict[str, tuple[str, ...]] = {}  # what is alive, by its hold

    def _start(self, path: tuple[str, ...], **how: Any) -> None:
        self.world.agent.run(*path, **how)  # the agent knows a container before its isolators do
        self.holding[self.world.give(*path)] = path

    def _name(self) -> str:
        self.number += 1
        return f"c{self.number}"

    @rule(state=st.sampled_from(["registering", "running", "terminating"]))
    def run(self, state: str) -> None:
        self._start((self._name(),), state=state)

    @precondition(lambda self: self.world.agent.model.number >= (1, 5))
    @rule()
    def run_standalone(self) -> None:
        self._start((self._name(),), standalone=True)

    @precondition(lambda self: self.holding and self.world.agent.model.number >= (1, 1))
    @rule(data=st.data())
    def nest(self, data: st.DataObject) -> None:
        root = data.draw(st.sampled_from(sorted(self.holding.values())))
        self._start((*root, self._name()))

    @precondition(lambda self: self.holding)
    @rule(data=st.data())
    def end(self, data: st.DataObject) -> None:
        self._end(data.draw(st.sampled_from(sorted(self.holding.values()))))

    def _end(self, path: tuple[str, ...]) -> None:
        self.world.agent.end(*path)
        self.holding = {who: own for who, own in self.holding.items() if own[: len(path)] != path}

    @rule()
    def agent_restarts(self) -> None:
        self.world.agent.restart()

    @rule(on=st.booleans())
    def agent_recovers(self, on: bool) -> None:
        self.world.agent.model.recovering = on

    @rule(fault=st.none() | st.sampled_from(WAYS), at=st.integers(0, 13), event=st.sampled_from(
        ["", "run", "end", "restart", "recover", "recovered", "lie"]), when=st.integers(1, 13))  # fmt: skip
    def release(self, fault: Any, at: int, event: str, when: int) -> None:
        agent, model = self.world.agent, self.world.agent.model
        seen = 0
        truth = model.containers

        def before(path: str) -> None:
            nonlocal seen
            seen += 1
            if event == "lie":  # for a whole answer and more, but never for three in a row
                model.containers = [] if when <= seen < when + (5 if model.number >= (1, 0) else 2) else truth
            if seen != when:
                return
            if event == "run":
                self._start((self._name(),))
            elif event == "end" and self.holding:
                self._end(next(iter(self.holding.values())))
            elif event == "restart":
                agent.restart()
            elif event.startswith("recover"):
                model.recovering = event == "recover"

        agent.before = before
        if fault:
            agent.later.extend([None] * at + [fault])
        self.world.release(grace=60.0)
        agent.before = lambda path: None
        agent.later.clear()
        if event == "lie":
            model.containers = truth

    @precondition(lambda self: self.world.agent.model.number >= (1, 0) and self.world.agent.model.executors())
    @rule()
    def hide_one(self) -> None:
        """From now on the agent shows us the latest executor no more."""
        self.world.agent.model.executors()[-1].hidden = True
        self.world.release()

    @invariant()
    def nothing_alive_is_released(self) -> None:
        if hasattr(self, "world"):
            assert set(self.holding) <= self.world.held()

    def teardown(self) -> None:
        if not hasattr(self, "world"):
            return
        try:
            self.world.agent.model.recovering = False
            for container in self.world.agent.model.containers:
                container.hidden = False
            outcomes = self.world.release()
            assert {outcome.action for outcome in outcomes} <= {RELEASED}
            living = {path[0] for path in self.holding.values()}
            left = {who for who in self.world.held() if who.partition(":")[2].partition("/")[0] not in living}
            assert left == set(), "what is dead is released in the end"
        finally:
            self.world.close()


TestHistories = Histories.TestCase
TestHistories.settings = settings(
    max_examples=40, stateful_step_count=15, deadline=None, suppress_health_check=list(HealthCheck)
)
