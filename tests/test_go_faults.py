"""The Go dvdcli's faults, each shown absent here, and what of it is kept: commands, flags, stdout, requests."""

from __future__ import annotations

import json
import os
import socket

import pytest

from tests.doubles.engine import Engine
from tests.doubles.plugin import DROP, NOT_THERE, Plugin, Reply, err
from tests.gate import Gate, flags

FAILURE, USAGE, NOT_FOUND, TRY_AGAIN = 1, 2, 3, 5


@pytest.fixture
def plugin(home):
    return home.plugin()


def plugin_at(home, where, kind=Plugin):
    home.plugins.append(kind(where, home.root / "mnt"))
    return home.plugins[-1]


def fails(done, code, text=""):
    assert (done.code, done.out, done.err.count("\n")) == (code, "", 1), done
    assert text in done.err
    assert "Traceback" not in done.err
    return True


def answer(**value):
    return Reply(status=200, body=json.dumps(value).encode())


# What is kept


@pytest.mark.parametrize(
    ("found", "words", "out", "names"),
    [
        ("nothing", ["create", *flags()], "", ["Create"]),
        ("volume", ["get", *flags()], "v\n", ["Get"]),
        ("volume", ["list", "--volumedriver=plug"], "a\nv\n", ["List"]),
        ("volume", ["mount", *flags()], "PATH\n", ["Get", "Mount"]),
        ("nothing", ["mount", *flags()], "PATH\n", ["Get", "Create", "Mount"]),
        ("volume", ["mount", *flags(), "--explicitcreate"], "PATH\n", ["Get", "Mount"]),
        ("mounted", ["path", *flags()], "PATH\n", ["Get"]),
        ("volume", ["path", *flags()], "", ["Get", "Path"]),
        ("volume", ["remove", *flags()], "", ["Get", "Remove"]),
        ("mounted", ["unmount", *flags()], "", ["Get", "Unmount"]),
    ],
)
def test_stdout_and_requests(home, plugin, found, words, out, names):
    for name in ("v", "a") if found == "volume" else ():
        plugin.add(name)
    path = home.mount().out.strip() if found == "mounted" else ""
    plugin.calls.clear()
    done = home.run(*words)
    path = path or ("v" in plugin.volumes and plugin.volumes["v"].mountpoint) or ""
    assert (done.code, done.out, done.err) == (0, out.replace("PATH", path), "")
    assert plugin.names() == names


def test_stdout_of_version(home, plugin):
    done = home.run("version")
    assert [line.partition(": ")[0] for line in done.out.splitlines()] == [
        "Binary", "SemVer", "OsArch", "Branch", "Commit", "Formed",
    ]  # fmt: skip
    assert (done.code, done.err, plugin.calls) == (0, "", [])


def test_stdout_of_help(home, plugin):
    done = home.run("help")
    assert (done.code, done.err, plugin.calls) == (0, "", [])
    for name in ("create", "get", "list", "mount", "path", "remove", "unmount", "version", "help"):
        assert f"\n  {name} " in done.out


def test_path_is_asked_where_get_names_no_mountpoint(home, plugin):
    plugin.next("Get", answer(Volume={"Name": "v"}))
    plugin.next("Path", answer(Mountpoint="/somewhere"))
    assert home.run("path", *flags()).out == "/somewhere\n"


def test_explicit_create_makes_no_volume(home, plugin):
    assert fails(home.mount("v", "plug", "--explicitcreate"), NOT_FOUND, "no volume plug/v")
    assert plugin.names() == ["Get"]


def test_the_name_that_get_replies_is_used_in_what_follows(home, plugin):
    plugin.add("canon")
    plugin.always["Get"] = answer(Volume={"Name": "canon"})
    assert home.run("get", *flags()).out == "canon\n"
    assert home.mount().code == home.unmount().code == 0
    assert [a["Name"] for name, a in plugin.calls if name in ("Mount", "Unmount")] == ["canon", "canon"]
    assert home.run("remove", *flags()).code == 0
    assert "canon" not in plugin.volumes


@pytest.mark.parametrize(
    "words",
    [
        ["mount", "--volumedriver", "plug", "--volumename", "v"],
        ["--volumedriver=plug", "--volumename=v", "mount"],
        ["--volumedriver", "plug", "mount", "--volumename=v"],
        ["mount", "--volumename=x", "--volumename=v", "--volumedriver=nope", "--volumedriver", "plug"],
        ["--volumename=x", "--volumedriver=nope", "mount", "--volumename=v", "--volumedriver=plug"],
        ["mount", "--volumename=v", "--volumedriver=plug", "--explicitcreate=true", "--explicitcreate=false"],
    ],
)
def test_flags_before_and_after_the_command_and_the_last_one_wins(home, plugin, words):
    done = home.run(*words)
    assert (done.code, done.err, plugin.mounted()) == (0, "", ["v"])


# The faults


def test_fault_01_an_option_without_equals_or_with_a_trailing_comma_panics(home, plugin):
    assert fails(home.mount("v", "plug", "--volumeopts=size"), USAGE, "'size'")
    assert fails(home.mount("v", "plug", "--volumeopts=,"), USAGE)
    assert plugin.calls == []
    assert home.mount("v", "plug", "--volumeopts=a=b,").code == 0
    assert plugin.volumes["v"].options == {"a": "b,"}


@pytest.mark.parametrize("verb", ["create", "mount"])
def test_fault_02_a_value_ends_at_its_second_equals(home, plugin, verb):
    assert home.run(verb, *flags(), "--volumeopts=a=b=c", "--volumeopts", "d==").code == 0
    assert plugin.volumes["v"].options == {"a": "b=c", "d": "="}


@pytest.mark.parametrize(
    "words",
    [
        ["mount", "--volumedriver=plug"],
        ["unmount", "--volumename=v"],
        ["mount", *flags(), "--nosuchflag"],
        ["mount", *flags(), "extra"],
        ["mount", *flags(), "--explicitcreate=perhaps"],
        ["mount", "--volumedriver=plug", "--volumename"],
        ["nosuchcommand"],
        ["help", "nosuchcommand"],
        ["--nosuchflag"],
    ],
)
def test_fault_03_usage_errors_exit_0(home, plugin, words):
    assert fails(home.run(*words), USAGE)
    assert plugin.calls == []


def test_fault_03_no_command_at_all_exits_0(home):
    done = home.run()
    assert (done.code, done.out, "Usage: dvdcli" in done.err) == (USAGE, "", True)


def test_fault_04_a_json_spec_panics(home):
    plugin = plugin_at(home, f"unix:{home.root}/p.sock")
    (home.specs / "plug.json").write_text(json.dumps({"Name": "plug", "Addr": plugin.url}))
    assert home.mount().code == 0
    assert plugin.mounted() == ["v"]


def test_fault_05_a_null_in_a_list_panics(home, plugin):
    plugin.next("List", answer(Volumes=[None, {"Name": "v"}, None, {}]), answer(Volumes=None), answer())
    assert [(done.code, done.out) for done in (home.run("list", "--volumedriver=plug") for _ in range(3))] == [
        (0, "v\n"), (0, ""), (0, ""),
    ]  # fmt: skip


@pytest.mark.parametrize("where", ["unix", "tcp"])
@pytest.mark.parametrize("method", ["Activate", "Get", "Create", "Mount"])
def test_fault_06_a_lost_connection_is_retried_with_an_empty_body(home, where, method):
    """A request that arrived is not sent again, and none has an empty body: the double refuses those."""
    plugin = plugin_at(home, "tcp" if where == "tcp" else f"unix:{home.root}/p.sock")
    (home.specs / "plug.spec").write_text(plugin.url)
    plugin.next(method, DROP)
    assert fails(home.mount(), TRY_AGAIN, "connection")
    assert [called for called, _ in plugin.calls].count(method) == 1
    assert home.mount().code == 0


class HangsUp(Plugin):
    """Closes the connection in the middle of the first Create request."""

    hung_up = 0

    def _exchange(self, connection):
        if b"Create" in connection.recv(64, socket.MSG_PEEK) and not self.hung_up:
            self.hung_up += 1
            return
        super()._exchange(connection)


def test_fault_06_a_request_that_was_not_fully_written_is_sent_again_whole(home):
    plugin = plugin_at(home, f"unix:{home.sockets}/plug.sock", HangsUp)
    options = {f"key{number}": "x" * 100_000 for number in range(10)}
    done = home.mount("v", "plug", *(f"--volumeopts={key}={value}" for key, value in options.items()))
    assert (done.code, done.err) == (0, "")
    assert (plugin.hung_up, plugin.names()) == (1, ["Get", "Create", "Mount"])
    assert plugin.volumes["v"].options == options


@pytest.mark.parametrize(
    ("reply", "code"),
    [
        (err("backend timed out"), FAILURE),
        (err("host not found", 500), FAILURE),
        (Reply(status=500, body=b"boom"), FAILURE),
        (Reply(status=200, body=b"{"), FAILURE),
        (Reply(status=200, body=b"[1]"), FAILURE),
        (Reply(raw=b"HTTP/1.1 200 OK\r\nContent-Length: 90\r\n\r\n{"), TRY_AGAIN),
        (DROP, TRY_AGAIN),
    ],
    ids=["error", "something else not found", "500", "half JSON", "a list", "half a reply", "lost"],
)
def test_fault_07_any_failure_of_get_leads_to_create(home, plugin, reply, code):
    plugin.next("Get", reply)
    assert fails(home.mount(), code)
    assert plugin.names() == ["Get"]
    assert home.leftovers() == []


def test_fault_07_a_timeout_of_get_leads_to_create(home, plugin):
    with Gate(plugin, "Get") as gate:
        assert fails(home.mount("v", "plug", "--timeout=2"), TRY_AGAIN, "did not answer")
        gate.wait()
    assert plugin.names() == ["Get"]


def test_fault_08_a_plugin_that_closes_idle_connections_fails_half_of_the_mounts(home, plugin):
    """The double closes every connection after one reply that says nothing of it."""
    plugin.frame = lambda status, body: b"HTTP/1.1 %d OK\r\nContent-Length: %d\r\nConnection: keep-alive\r\n\r\n%s" % (
        status, len(body), body,
    )  # fmt: skip
    names = [f"v{number}" for number in range(6)]
    assert [home.mount(name).err for name in names] == [""] * 6
    assert plugin.mounted() == names
    assert plugin.names() == ["Get", "Create", "Mount"] * 6


@pytest.mark.parametrize("mountpoint", ["", None, " ", "relative/path", "/", "/a/../../b", "/a\n/b"])
def test_fault_09_an_empty_mountpoint_is_printed_with_exit_0(home, plugin, mountpoint):
    plugin.next("Mount", Reply(status=200, body=json.dumps({"Mountpoint": mountpoint}).encode(), act=True))
    assert fails(home.mount(), FAILURE, "mountpoint")
    assert plugin.mounted() == []
    assert home.leftovers() == []


@pytest.mark.parametrize(("reply", "code"), [(err("backend gone"), FAILURE), (DROP, TRY_AGAIN)], ids=["error", "lost"])
def test_fault_10_errors_of_path_are_swallowed(home, plugin, reply, code):
    plugin.add("v")
    plugin.next("Path", reply)
    assert fails(home.run("path", *flags()), code)


@pytest.mark.parametrize(
    "words",
    [
        ["get", *flags()],
        ["path", *flags()],
        ["list", "--volumedriver=plug"],
        ["list"],
        ["list", "--json"],
        ["mount", *flags()],
        ["version"],
        ["help"],
        ["--help"],
        ["mount", "--help"],
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("lost", ["full", "closed"])
def test_fault_11_a_lost_stdout_exits_0(home, plugin, words, lost):
    home.mount()
    with open("/dev/full", "wb") as full:
        options = {"stdout": full} if lost == "full" else {"stdout": None, "preexec_fn": lambda: os.close(1)}
        assert fails(home.run(*words, **options), FAILURE, "standard output")
    assert plugin.mounted() == ["v"]


@pytest.mark.parametrize("name", ["mount", "list", "--help", "-v", "--volumedriver=nope"])
def test_fault_12_a_value_that_looks_like_a_command_is_lost(home, plugin, name):
    for words in (["--volumename", name, "--volumedriver", "plug", "mount"], ["mount", *flags(name)]):
        done = home.run(*words)
        assert (done.code, plugin.mounted()) == (0, [name]), done


@pytest.mark.parametrize("driver", ["../out", "plug/../../out", "..", "/run/out", "./plug", "plug/", "a//b"])
def test_fault_13_a_driver_leaves_the_plugin_directory(home, driver):
    home.plugin()
    outside = home.plugin("../out")
    for verb in ("mount", "unmount", "create", "get"):
        assert fails(home.run(verb, *flags("v", driver)), USAGE)
    assert (outside.calls, home.plugins[0].calls) == ([], [])
    assert not home.state.exists()


@pytest.mark.parametrize("verb", ["create", "get", "mount", "path", "remove", "unmount"])
def test_fault_14_an_empty_volume_name_is_sent(home, plugin, verb):
    assert fails(home.run(verb, *flags("")), USAGE, "empty")
    assert fails(home.run(verb, *flags("v", "")), USAGE, "empty")
    assert plugin.calls == []
    assert not home.state.exists()


@pytest.mark.parametrize("verb", ["create", "get", "list", "mount", "path", "remove", "unmount"])
def test_fault_15_a_hung_plugin_hangs_the_caller(home, plugin, verb):
    if verb == "unmount":
        home.mount()
    with Gate(plugin, "Activate") as gate:
        words = flags() if verb != "list" else flags()[:1]
        assert fails(home.run(verb, *words, "--timeout=2"), TRY_AGAIN, "did not answer within 2 s")
        gate.wait()
    assert home.recover().code == 0
    assert home.leftovers() == []


def test_fault_16_unmount_path_and_remove_need_get(home, plugin):
    plugin.always["Get"] = NOT_THERE
    plugin.add("v")
    path = home.mount().out
    assert home.run("path", *flags()).out == path
    assert home.unmount().code == 0
    assert plugin.mounted() == []
    assert home.run("remove", *flags()).code == 0
    assert plugin.volumes == {}
    assert set(plugin.names()) == {"Get", "Mount", "Path", "Unmount", "Remove"}


@pytest.mark.parametrize("verb", ["create", "mount"])
def test_fault_17_options_are_split_at_commas(home, plugin, verb):
    assert home.run(verb, *flags(), "--volumeopts=a=b,c=d", "--volumeopts=e=,f").code == 0
    assert plugin.volumes["v"].options == {"a": "b,c=d", "e": ",f"}


def test_fault_18_managed_plugins_are_not_found(home):
    engine = Engine(home.root / "docker.sock", f"{home.root}/docker")
    (home.sockets / "abc123").mkdir()
    plugin = home.plugin("abc123/plug")
    plugin.root = home.root / "data"
    engine.add("vieux/sshfs:latest", "abc123")
    done = home.mount("v", "vieux/sshfs:latest")
    engine.close()
    assert (done.code, done.err, plugin.mounted()) == (0, "", ["v"])
    assert done.out == f"{home.root}/docker/plugins/abc123/rootfs{plugin.volumes['v'].mountpoint}\n"
