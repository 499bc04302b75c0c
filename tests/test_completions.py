"""Completion: the committed scripts, in the real shells, with what is there."""

from __future__ import annotations

import json
import shutil
import subprocess
import threading

import pytest

from dvdcli import cli
from tests.conftest import COMMAND, Home
from tests.doubles.engine import Engine
from tests.doubles.plugin import DROP, NOT_THERE, Reply
from tests.isolators import Isolator, variables
from tests.shells import COMPLETIONS, Shell
from tests.walk import needs_strace

FILES = {"bash": "dvdcli.bash", "zsh": "_dvdcli", "fish": "dvdcli.fish"}
STRANGE = "my vol:a=b$HOME'\"&ü*"


def ask(home: Home, *words: str, shell: str = "zsh") -> list[str]:
    """Return the completions of the last of *words*."""
    env = {"_DVDCLI_COMPLETE": f"{shell}_complete", "COMP_LINE": "\n".join(["dvdcli", *words])}
    done = home.run(env=env, timeout=40)
    assert (done.code, done.err) == (0, ""), done
    return [line.partition("\t")[0] for line in done.out.splitlines()]


@pytest.fixture(params=sorted(FILES))
def shell(request: pytest.FixtureRequest, home: Home) -> Shell:
    return Shell(request.param, home)


# The scripts


@pytest.mark.parametrize("name", sorted(FILES))
def test_the_committed_script_is_what_the_command_makes(home: Home, name: str) -> None:
    done = home.run(env={"_DVDCLI_COMPLETE": f"{name}_source"})
    assert (done.code, done.err) == (0, "")
    assert done.out == (COMPLETIONS / FILES[name]).read_text()


def test_no_variable_makes_anything_else_of_a_call_with_words(home: Home) -> None:
    env = {"_DVDCLI_COMPLETE": "bash_complete", "COMP_LINE": "dvdcli mo", "COMP_WORD": "mo"}
    assert home.run("version", env=env).out.startswith("Binary: ")
    assert home.run("list", env=env).out == ""
    assert home.run(env=env).out == "mount\n"
    assert home.run(env={"_DVDCLI_COMPLETE": "tcsh_complete"}).code == 2


@needs_strace
def test_where_no_thread_can_be_had_nothing_is_offered(home: Home) -> None:
    line = ["strace", "-o", "/dev/null", "-e", "trace=clone,clone3", "-e", "inject=clone,clone3:error=EAGAIN"]
    env = {**home.env, "_DVDCLI_COMPLETE": "zsh_complete", "COMP_LINE": "dvdcli\nmo"}
    done = subprocess.run([*line, home.command], env=env, capture_output=True, check=False, timeout=120)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


# In the shells


def test_a_command_and_a_flag(shell: Shell) -> None:
    assert shell.complete("dvdcli unm") == ["unmount"]
    assert shell.complete("dvdcli mount --volumed") == ["mount", "--volumedriver"]
    assert shell.complete("dvdcli help unm") == ["help", "unmount"]


def test_a_driver_and_a_volume(shell: Shell, home: Home) -> None:
    home.plugin().add("v")
    assert shell.complete("dvdcli mount --volumedriver=pl") == ["mount", "--volumedriver=plug"]
    assert shell.complete("dvdcli --volumedriver pl") == ["--volumedriver", "plug"]
    home.run("create", "--volumedriver=local", "--volumename=db1")
    words = ["path", "--volumedriver=local", "--volumename"]
    assert shell.complete(f"dvdcli {' '.join(words)} ") == [*words, "db1"]
    assert shell.complete(f"dvdcli {' '.join(words)}=d") == [*words[:2], "--volumename=db1"]


@pytest.mark.parametrize("begun", ["--volumename=m", "--volumename m", "--volumename 'm", '--volumename "my v'])
def test_whatever_is_in_a_name_arrives_whole(shell: Shell, home: Home, begun: str) -> None:
    (home.root / STRANGE).mkdir()  # a directory of that name changes nothing
    assert home.mount(STRANGE, "local").code == 0
    whole = shell.complete(f"dvdcli path --volumedriver=local {begun}")
    given = [f"--volumename={STRANGE}"] if "=" in begun else ["--volumename", STRANGE]
    assert whole == ["path", "--volumedriver=local", *given]


def test_a_name_that_goes_on_behind_what_bash_ends_words_at(shell: Shell, home: Home) -> None:
    assert home.mount("a:b:c=d", "local").code == 0
    for begun in ("a", "a:", "a:b", "a:b:c=", "a:b:c=d"):
        assert shell.complete(f"dvdcli path --volumename={begun}") == ["path", "--volumename=a:b:c=d"]


def test_fish_lists_flags_with_their_meaning(home: Home) -> None:
    shell = Shell("fish", home)
    script = f"source {COMPLETIONS}/dvdcli.fish; complete -C'dvdcli mount --volumed'"
    done = subprocess.run(["fish", "--no-config", "-c", script], env=shell.env, capture_output=True, check=True)
    assert done.stdout.decode().splitlines() == ["--volumedriver\tThe driver of the volume."]


# What is completed


def test_drivers(home: Home) -> None:
    home.config.write_text('[drivers.fast]\nprovider = "local"\n')
    home.plugin("sock").add("v")
    (home.specs / "spec.spec").write_text("tcp://127.0.0.1:1\n")
    (home.root / "lib" / "js").mkdir()
    (home.root / "lib" / "js" / "js.json").write_text("{}")
    assert home.mount("v", "sock").code == 0
    assert ask(home, "mount", "--volumedriver", "") == ["sock", "fast", "csi", "ebs", "local", "scaleio", "js", "spec"]


def test_managed_plugins(home: Home) -> None:
    engine = Engine(home.root / "docker.sock", str(home.root))
    try:
        engine.add("vieux/sshfs:latest", "abc")
        assert ask(home, "mount", "--volumedriver", "v") == ["vieux/sshfs"]
    finally:
        engine.close()


def test_volumes_are_those_on_record_and_those_the_driver_knows(home: Home) -> None:
    home.plugin().add("known")
    assert home.mount("mounted").code == 0
    assert ask(home, "mount", "--volumedriver=plug", "--volumename", "") == ["mounted", "known"]
    assert ask(home, "--volumedriver=plug", "mount", "--volumename=k") == ["--volumename=known"]
    assert ask(home, "mount", "--volumename", "") == ["mounted"]


def test_holds(home: Home) -> None:
    for hold in ("me", "you"):
        assert home.mount("v", "local", "--hold", hold).code == 0
    assert sorted(ask(home, "unmount", "--hold", "")) == ["me", "you"]


def test_containers_volumes_and_mountpoints(home: Home) -> None:
    isolator = Isolator(home)
    assert isolator.prepare(["c0", "c1"], variables(NAME="db1", DRIVER="local")).code == 0
    assert ask(home, "list", "--container", "c") == ["c0/c1"]
    path = home.record("db1", "local")["path"]
    assert ask(home, "inspect", "") == ["local/db1", "c0/c1", path]
    assert ask(home, "forget", "l") == ["local/db1"]
    assert json.loads(home.run("list", "--container", "c0/c1", "--json").out)["data"]["mounts"]


def test_every_flag_and_every_command_that_help_knows(home: Home) -> None:
    root = cli.dvdcli
    commands = root.list_commands(None)  # type: ignore[arg-type]
    assert ask(home, "") == commands
    for name in commands:
        flags = {line.split()[0].rstrip(",") for line in home.run(name, "--help").out.splitlines() if "  -" in line}
        offered = set(ask(home, name, "-"))
        assert flags - offered == set(), name


# What goes wrong


def test_a_plugin_that_does_not_answer_is_not_waited_for(home: Home) -> None:
    plugin, over = home.plugin(), threading.Event()
    assert home.mount("mounted").code == 0

    def hang(method: str) -> None:
        over.wait(60)

    plugin.before = hang
    try:  # the shell has its answer before the plugin has said a word
        assert ask(home, "mount", "--volumedriver=plug", "--volumename", "") == ["mounted"]
        assert not over.is_set()
    finally:
        over.set()


def test_a_plugin_that_is_dead_or_says_nonsense(home: Home) -> None:
    plugin = home.plugin()
    assert home.mount("mounted").code == 0
    for reply in (DROP, NOT_THERE, Reply(body=b"{"), Reply(body=b'{"Volumes": 7}')):
        plugin.next("List", reply)
        assert ask(home, "mount", "--volumedriver=plug", "--volumename", "") == ["mounted"]
    plugin.stop()
    assert ask(home, "mount", "--volumedriver=plug", "--volumename", "") == ["mounted"]


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_nothing_goes_to_the_systems_log(home: Home) -> None:
    """A damaged record, a warning for any other call, and a driver that fails."""
    home.plugin()
    assert home.mount("v").code == 0
    (home.slot("v") / "record.json").write_text("{")
    line = "dvdcli\nmount\n--volumedriver=gone\n--volumename="
    env = {**home.env, "_DVDCLI_COMPLETE": "zsh_complete", "COMP_LINE": line}
    log = home.root / "trace"
    subprocess.run(["strace", "-f", "-e", "trace=connect,rename", "-o", log, COMMAND], env=env, check=True)
    assert "/dev/log" not in log.read_text()
    assert "rename" not in log.read_text()


def test_nothing_is_said_where_nothing_can_be_read(home: Home) -> None:
    home.config.write_text("this is no TOML")
    home.state.mkdir()
    home.state.chmod(0o777)
    assert ask(home, "mount", "--volumename", "") == []
    assert "local" in ask(home, "mount", "--volumedriver", "")
    assert ask(home, "mount", "--volumedriver=../x", "--volumename", "") == []
