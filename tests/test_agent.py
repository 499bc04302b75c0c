"""What lives, asked of an agent's double that speaks like five releases: the truth, or that it cannot be known."""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Iterator

import pytest
import trustme

from dvdcli.agent import Agent, Living
from dvdcli.agent_http import AgentError, check_is_of_this_host
from dvdcli.agent_settings import KEYS, Settings, settings
from dvdcli.clock import Deadline
from dvdcli.config import Config
from dvdcli.errors import DvdcliError, UsageError
from dvdcli.names import sha256
from tests.doubles.mesos_agent import RELEASES, MesosAgent
from tests.doubles.mesos_agent.agent import cut, drip, edit, say
from tests.doubles.web import DROP, HANG

Start = Callable[..., MesosAgent]


@pytest.fixture
def start() -> Iterator[Start]:
    agents = []

    def begin(*args: object, **options: object) -> MesosAgent:
        agents.append(MesosAgent(*args, **options))
        return agents[-1]

    yield begin
    for agent in agents:
        agent.close()
        assert agent.faults == []


def ask(double: MesosAgent, seconds: float = 20, **given: object) -> Agent:
    return Agent(Settings(url=double.url, **given), Deadline(seconds))


def refused(client: Agent, *words: str) -> str:
    with pytest.raises(AgentError) as caught:
        client.containers()
    text = str(caught.value)
    assert [word for word in words if word not in text] == [], text
    return text


# The truth


@pytest.mark.parametrize("release", RELEASES)
def test_what_lives(start, release):
    double = start(release)
    for name, state in (("new", "registering"), ("old", "running"), ("ending", "terminating"), ("ended", "running")):
        double.run(name, state=state)
    double.end("ended")
    client = ask(double)
    assert client.version() == release
    assert client.containers().ids == {("new",), ("old",), ("ending",)}
    assert client.flags() == double.model.flags


@pytest.mark.parametrize("release", RELEASES)
def test_nothing_lives(start, release):
    assert ask(start(release)).containers().ids == frozenset()


def test_endpoints(start):
    asked = {}
    for release in RELEASES:
        double = start(release)
        ask(double).containers()
        asked[release] = double.asked
    assert asked == {
        "0.23.0": ["/state", "/state.json", "/state.json"],
        "0.28.3": ["/state", "/state"],
        **{release: ["/state", "/metrics/snapshot", "/api/v1", "/state"] for release in RELEASES[2:]},
    }


@pytest.mark.parametrize("release", RELEASES[2:])
def test_a_terminated_executor_whose_updates_are_not_acknowledged_is_left_out_of_no_list(start, release):
    double = start(release)
    double.run("c1", state="terminated")
    assert ask(double).containers().has("container:c1")


@pytest.mark.parametrize("release", RELEASES)
def test_a_nested_container_lives_while_its_root_does(start, release):
    double = start(release)
    double.run("root")
    double.run("root", "nested")
    living = ask(double).containers()
    assert living.has("container:root/nested")
    assert living.has("container:root/not-listed")
    assert living.has("container@two:root")
    assert not living.has("container:other/sub")
    double.end("root")
    assert not ask(double).containers().has("container:root/nested")


def test_nested_and_standalone_containers_of_1_11(start):
    double = start("1.11.0")
    double.run("alone", standalone=True)
    double.run("alone", "in-it")
    assert ask(double).containers().ids == {("alone",), ("alone", "in-it"), ("in-it",)}


def test_a_container_known_by_its_leaf_alone():
    for whole in (True, False):
        assert Living([("root", "leaf")], whole).has("container:~/leaf")
        assert not Living([], whole).has("container:~/leaf")
    assert not Living([("root",)], True).has("container:~/leaf")
    assert Living([("root",)], False).has("container:~/leaf"), "it can be nested in that root"


def test_an_id_that_is_no_file_name():
    living = Living([("a/b",), ("x" * 200,)])
    assert living.has("container:a%2Fb")
    assert not living.has("container:a/b")
    assert living.has(f"container:{'x' * 80}~{sha256(b'x' * 200)}")


@pytest.mark.parametrize("release", ["1.0.4", "1.4.3"])
@pytest.mark.parametrize("status", [403, 404, 405])
def test_containers_where_there_is_no_operator_api(start, release, status):
    double = start(release)
    double.run("c1")
    double.always["/api/v1"] = say(b"", status)
    double.always["/state"] = edit(lambda state: {**state, "frameworks": []})  # not seen there
    assert ask(double).containers().ids == {("c1",)}


def test_containers_of_1_11_would_leave_out_standalone_ones(start):
    double = start("1.11.0")
    double.always["/api/v1"] = say(b"", 403)
    refused(ask(double), "/api/v1", "403", "principal")
    assert "/containers" not in double.asked


@pytest.mark.parametrize("release", RELEASES[1:])
def test_flags_that_the_state_does_not_show(start, release):
    double = start(release)
    double.always["/state"] = edit(lambda state: {key: value for key, value in state.items() if key != "flags"})
    assert ask(double).flags() == double.model.flags
    double.model.shows_flags = False
    assert ask(double).flags() == {}


# No answer

FAILURES = {
    "an error": say(b"oops", 500),
    "recovering": say(b"Agent has not finished recovery", 503),
    "a page": say(b"<html>proxy</html>"),
    "nothing": say(b""),
    "null": say(b"null"),
    "a list of numbers": say(b"[1]"),
    "an empty object": say(b"{}"),
    "cut": cut(20),
    "no connection": lambda reply: DROP,
    "deep": say(b"[" * 100_000),
    "elsewhere": say(b"", 302, [("Location", "/state")]),
    "unchanged": say(b"", 304),
    "partly": say(b"{}", 206),
}


@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize("release", ["0.23.0", "0.28.3", "1.4.3", "1.11.0"])
def test_what_is_no_answer(start, release, failure):
    double = start(release)
    double.run("c1")
    paths = ["/state.json" if release == "0.23.0" else "/state"]
    if release >= "1":
        paths += ["/metrics/snapshot", "/api/v1"]
    for path in paths:
        double.always = {path: FAILURES[failure]}
        refused(ask(double), double.url)


@pytest.mark.parametrize(
    "changes",
    [
        {"frameworks": None}, {"frameworks": {}}, {"frameworks": [None]}, {"frameworks": [{"id": "x"}]},
        {"frameworks": [{"executors": [{"id": "e"}]}]}, {"frameworks": [{"executors": [{"container": ""}]}]},
        {"frameworks": [{"executors": [{"container": 5}]}]}, {"completed_frameworks": 7},
        {"completed_frameworks": [{"executors": 1}]}, {"id": None}, {"id": ""}, {"start_time": None},
        {"start_time": True}, {"version": None}, {"version": "newest"}, {"version": "0.22.1"}, {"pid": None},
        {"pid": "master@10.0.0.1:5050"}, {"slaves": []},
    ],
    ids=str,
)  # fmt: skip
def test_a_state_that_is_none(start, changes):
    double = start("1.11.0")
    double.always["/state"] = edit(
        lambda state: {key: value for key, value in {**state, **changes}.items() if value is not None}
    )
    refused(ask(double))


@pytest.mark.parametrize(
    "answer",
    [
        {"type": "GET_STATE"}, {"type": "GET_CONTAINERS", "get_containers": []},
        {"type": "GET_CONTAINERS", "get_containers": {"containers": {}}},
        {"type": "GET_CONTAINERS", "get_containers": {"containers": [None]}},
        {"type": "GET_CONTAINERS", "get_containers": {"containers": [{}]}},
        {"type": "GET_CONTAINERS", "get_containers": {"containers": [{"container_id": {"value": ""}}]}},
        {"type": "GET_CONTAINERS", "get_containers": {"containers": [{"container_id": {"value": "a", "parent": {}}}]}},
    ],
    ids=str,
)  # fmt: skip
def test_a_list_of_containers_that_is_none(start, answer):
    double = start("1.11.0")
    double.always["/api/v1"] = edit(lambda _: answer)
    refused(ask(double))


@pytest.mark.parametrize("value", [None, "3", -1, True, float("nan"), float("inf")])
def test_metrics_that_are_none(start, value):
    double = start("1.11.0")
    double.always["/metrics/snapshot"] = edit(lambda found: {**found, "slave/executors_running": value})
    is_json = not isinstance(value, float)
    refused(ask(double), "how many executors" if is_json else "no JSON")


@pytest.mark.parametrize("release", RELEASES[2:])
def test_an_agent_that_shows_the_principal_only_a_part(start, release):
    double = start(release)
    double.run("seen")
    double.run("hidden", hidden=True)
    double.run("ended", state="terminated")
    refused(ask(double), "shows 1 of 2 executors' containers", "principal")


def test_an_executor_that_ends_between_two_questions(start):
    double = start("1.11.0")
    double.run("c1")
    double.before = lambda path: double.end("c1") if path == "/api/v1" else None
    assert ask(double).containers().ids == frozenset()


@pytest.mark.parametrize("release", RELEASES)
def test_an_agent_that_recovers(start, release):
    double = start(release)
    double.run("c1")
    double.model.recovering = True
    refused(ask(double), "recovering")


@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.parametrize("new_id", [False, True])
def test_an_agent_that_starts_anew(start, release, new_id):
    double = start(release)
    double.run("c1")
    client = ask(double)
    client.containers()
    double.restart(new_id)
    refused(client, "started anew")
    client = ask(double)
    double.before = lambda path: double.restart() if path == "/metrics/snapshot" else None
    if release >= "1":
        refused(client, "started anew")


def test_nobody_listens(start):
    double = start()
    double.web.stop(reserve=True)
    refused(ask(double), "cannot be asked", "see that the agent runs")


def test_a_body_that_never_ends(start):
    double = start()
    double.always["/state"] = say(b" " * ((64 << 20) + 1))
    refused(ask(double), "64 MiB")


@pytest.mark.parametrize("path", ["/state", "/metrics/snapshot", "/api/v1"])
def test_a_byte_now_and_then_does_not_outlast_the_deadline(start, path):
    double = start()
    double.always[path] = drip(0.1)
    before = time.monotonic()
    refused(ask(double, 0.6), "in full")
    assert time.monotonic() - before < 10, "the whole answer would take over a minute" if path == "/state" else path


def test_an_agent_that_says_nothing(start):
    double = start()
    double.always["/state"] = lambda reply: HANG
    refused(ask(double, 0.3), "/state")
    refused(ask(double, 0.0), "was not asked")


def test_another_hosts_agent():
    for pid in ("slave(1)@192.0.2.1:5051", "slave(1)@[2001:db8::1]:5051", "slave(1)"):
        with pytest.raises(UsageError, match="another host"):
            check_is_of_this_host("http://192.0.2.7:5051", pid)
    for url in ("http://localhost:5051", "http://127.0.0.1:5051/prefix", "https://[::1]:5051"):
        check_is_of_this_host(url, "slave(1)@192.0.2.1:5051")
    check_is_of_this_host("http://192.0.2.7:5051", "slave(1)@127.0.0.1:5051")


# Who asks


@pytest.fixture
def secret(tmp_path):
    path = tmp_path / "secret"
    path.touch(0o600)
    path.write_text("s3crét\n")
    return path


@pytest.mark.parametrize("release", RELEASES[2:])
def test_credentials(start, release, secret):
    double = start(release, "me", "s3crét")
    double.run("c1")
    refused(ask(double), "401", "principal and secret_file")
    assert ask(double, principal="me", secret_file=str(secret)).containers().ids == {("c1",)}
    refused(ask(double, principal="you", secret_file=str(secret)), "401")


def test_a_secret_that_others_can_read(start, secret):
    secret.chmod(0o640)
    with pytest.raises(DvdcliError, match="others can read it"):
        ask(start(), principal="me", secret_file=str(secret)).containers()
    with pytest.raises(DvdcliError, match="secret_file"):
        ask(start(), principal="me", secret_file=f"{secret}.no").containers()


def test_nothing_of_the_environment_is_used(start, monkeypatch, tmp_path):
    double = start("1.11.0", "me", "secret")
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login me password secret\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    refused(ask(double), "401")


@pytest.fixture
def authority(tmp_path):
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    return authority


def context(authority: trustme.CA) -> ssl.SSLContext:
    found = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost", "127.0.0.1").configure_cert(found)
    return found


def test_tls(start, authority, tmp_path):
    double = start(context=context(authority))
    double.run("c1")
    assert double.url.startswith("https://")
    refused(ask(double), "cannot be trusted", "ca_file")
    assert ask(double, ca_file=str(tmp_path / "ca.pem")).containers().ids == {("c1",)}
    assert ask(double, insecure=True).containers().ids == {("c1",)}
    with pytest.raises(DvdcliError, match=r"\[agent\]"):
        ask(double, ca_file=str(tmp_path / "no.pem")).containers()


def test_our_certificate(start, authority, tmp_path):
    asking = context(authority)
    asking.verify_mode = ssl.CERT_REQUIRED
    authority.configure_trust(asking)
    double = start(context=asking)
    ours = authority.issue_cert("dvdcli")
    ours.private_key_pem.write_to_path(tmp_path / "key.pem")
    (tmp_path / "key.pem").chmod(0o600)
    ours.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    ours.private_key_and_cert_chain_pem.write_to_path(tmp_path / "both.pem")
    trusted = {"ca_file": str(tmp_path / "ca.pem")}
    refused(ask(double, **trusted))
    pair = {"cert_file": str(tmp_path / "cert.pem"), "key_file": str(tmp_path / "key.pem")}
    assert ask(double, **trusted, **pair).containers().ids == frozenset()
    assert ask(double, **trusted, cert_file=str(tmp_path / "both.pem")).containers().ids == frozenset()
    double.faults.clear()  # its own server's, of the handshake that failed


# The configuration


def test_settings(tmp_path, monkeypatch):
    path = tmp_path / "dvdcli.toml"
    monkeypatch.setenv("DVDCLI_CONFIG", str(path))
    assert vars(settings(Config())) == {key: default for key, (_, default) in KEYS.items()}
    path.write_text('[agent]\nurl = "https://node:5051/"\nname = "two"\ngrace = 5\n')
    found = settings(Config())
    assert (found.url, found.name, found.grace) == ("https://node:5051", "two", 5)
    found = settings(Config(), url="http://[::1]:1", name="", grace=None)
    assert (found.url, found.name, found.grace) == ("http://[::1]:1", "", 5)


@pytest.mark.parametrize(
    "line", ["url = 5", "insecure = 1", "grace = -1", "grace = nan", "grace = true", "nonsense = 1"]
)
def test_settings_that_are_none(tmp_path, monkeypatch, line):
    path = tmp_path / "dvdcli.toml"
    monkeypatch.setenv("DVDCLI_CONFIG", str(path))
    path.write_text(f"[agent]\n{line}\n")
    with pytest.raises(DvdcliError, match=line.partition(" ")[0]):
        settings(Config())


@pytest.mark.parametrize(
    "given",
    [
        {"url": "127.0.0.1:5051"}, {"url": "ftp://x"}, {"url": "http://"}, {"url": "http://u:p@x"},
        {"url": "http://x/?a"}, {"url": "http://x y"}, {"principal": "me"}, {"key_file": "/k"},
    ],
    ids=str,
)  # fmt: skip
def test_an_agent_that_cannot_be_reached_like_that(given):
    with pytest.raises(UsageError):
        Agent(Settings(**given), Deadline(1))
