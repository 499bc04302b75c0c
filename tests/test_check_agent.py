"""dvdcli check --agent: the flags of a Mesos agent, against what dvdcli needs."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from dvdcli.checks.agent import compare, duration
from dvdcli.errors import Exit
from tests.conftest import Home
from tests.doubles.mesos_agent import MesosAgent
from tests.expect import refused
from tests.test_check import check, said

GOOD = {
    "isolation": "filesystem/linux,org_dvdcli_mesos_VolumeIsolator", "launcher": "linux", "work_dir": "/var/lib/mesos",
    "executor_registration_timeout": "3mins",
}  # fmt: skip


@pytest.fixture
def agent() -> Iterator[MesosAgent]:
    agent = MesosAgent("1.11.0")
    agent.model.flags = dict(GOOD)
    yield agent
    agent.close()
    assert agent.faults == []


def found(in_process: object, version: str = "1.11.0", **flags: str) -> dict[str, str]:
    """Return what is said by status, of an agent with these flags instead of the good ones."""
    rows = list(compare(version, {key: value for key, value in {**GOOD, **flags}.items() if value}))
    return {status: "\n".join(f"{row.text}; {row.hint}" for row in rows if row.status == status)
            for status in {row.status for row in rows}}  # fmt: skip


def test_an_agent_that_suits(home, agent):
    rows = check(home, "local", f"--agent={agent.url}")
    assert {status for status, subject, _ in rows if subject == "agent"} == {"ok"}
    text = said(rows, "ok", "agent")
    for word in ("Mesos 1.11.0", "VolumeIsolator's", "launcher is linux", "of 3mins", "are apart"):
        assert word in text
    home.config.write_text(f'[agent]\nurl = "{agent.url}"\n')
    assert said(check(home, "--agent"), "ok", "agent") == text
    assert "driver local" in {subject for _, subject, _ in check(home, "--agent")}


def test_flags_that_only_others_may_view(home, agent):
    agent.model.shows_flags = False
    assert "does not show its flags" in said(check(home, "local", f"--agent={agent.url}"), "warning", "agent")


def test_an_agent_that_cannot_be_asked(home):
    rows = check(home, "local", "--agent=http://127.0.0.1:1", "--timeout=5", code=1)
    assert "http://127.0.0.1:1" in said(rows, "failed", "agent")
    assert "is no agent's URL" in said(check(home, "--agent", "local", "local", code=1), "failed", "agent")
    home.config.write_text("[agent]\nnmae = 'x'\n")
    assert "did you mean name?" in said(check(home, "local", "--agent", code=1), "failed", "agent")
    assert refused(home.run("check", "--agnet"), Exit.USAGE)


def test_directories_that_are_not_apart(home, agent):
    agent.model.flags["work_dir"] = str(home.root)
    rows = check(home, "local", f"--agent={agent.url}", code=1)
    text = said(rows, "failed", "agent")
    assert f"the state directory ({os.path.realpath(home.state)}) is in its work_dir" in text
    assert "the mounts directory" in text
    agent.model.flags["work_dir"] = f"{home.state}/mounts/mesos"
    assert "is in the mounts directory" in said(check(home, "local", f"--agent={agent.url}", code=1), "failed", "agent")
    home.config.write_text('[drivers.fast]\nprovider = "local"\npath = "/srv/mesos/volumes"\n')
    agent.model.flags["work_dir"] = "/srv/mesos"
    text = said(check(home, "local", f"--agent={agent.url}", code=1), "failed", "agent")
    assert text == "the directory of the driver fast (/srv/mesos/volumes) is in its work_dir /srv/mesos; " \
        "it unmounts and deletes there: move it"  # fmt: skip


@pytest.fixture
def nowhere(home: Home, in_process: object, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.setenv("DVDCLI_STATE_DIR", "/nowhere/state")
    return home


def test_how_long_an_executor_may_take(nowhere):
    for given in ("1mins", "100secs", "99secs", "0ns"):
        said = found(nowhere, executor_registration_timeout=given)["warning"]
        assert f"executor_registration_timeout is {given}" in said
    for given in ("101secs", "2mins", "1.5hrs", "1weeks"):
        assert set(found(nowhere, executor_registration_timeout=given)) == {"ok"}
    assert "no time" in found(nowhere, executor_registration_timeout="soon")["warning"]


@pytest.mark.parametrize(("text", "seconds"), [
    ("1mins", 60), ("1.5mins", 90), ("10secs", 10), ("250ms", 0.25), ("1days", 86400), ("2weeks", 1209600),
    ("1hrs", 3600), ("5us", 5e-6), ("7ns", 7e-9), ("", None), ("1", None), ("mins", None), ("1min", None),
    ("-1mins", None), ("1 mins", None),
])  # fmt: skip
def test_times_as_mesos_writes_them(text, seconds):
    assert duration(text) == (None if seconds is None else pytest.approx(seconds))


def test_launchers(nowhere):
    assert "refuses mount namespaces" in found(nowhere, launcher="posix")["failed"]
    assert "makes no mount namespaces" in found(nowhere, "0.28.2", launcher="posix")["failed"]
    assert set(found(nowhere, "0.24.1", launcher="")) == {"ok"}


def test_isolators(nowhere):
    none = found(nowhere, isolation="posix/cpu, posix/mem")["failed"]
    assert "has no isolator for volumes; add org_dvdcli_mesos_VolumeIsolator, or filesystem/linux,docker/volume" in none
    assert "docker/volume" not in found(nowhere, "0.26.2", isolation="posix/cpu")["failed"]
    assert set(found(nowhere, isolation="filesystem/linux,docker/volume")) == {"ok"}
    assert "without filesystem/linux" in found(nowhere, isolation="docker/volume")["failed"]
    both = found(nowhere, isolation=f"{GOOD['isolation']},docker/volume")
    assert "leave docker/volume out" in both["warning"]
    assert set(found(nowhere, "0.23.1", isolation="posix/cpu,com_emccode_mesos_DockerVolumeDriverIsolator")) == {"ok"}


@pytest.mark.parametrize(("version", "words"), [
    ("1.2.3", ["kills an unmount after 120 s", "skips the next ones", "read-only"]),
    ("1.3.0", ["skips the next ones", "read-only"]), ("1.7.0", ["skips the next ones"]), ("1.11.0", []),
    ("1.12.0-rc1", []),
])  # fmt: skip
def test_what_the_stock_isolator_of_a_release_does(nowhere, version, words):
    text = found(nowhere, version, isolation="filesystem/linux,docker/volume").get("warning", "")
    known = ("kills an unmount after 120 s", "skips the next ones", "read-only")
    assert [word for word in known if word in text] == words
    assert len(text.splitlines()) == len(words)
