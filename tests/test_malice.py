"""Tasks, plugins and users who mean harm: each is refused, or harmless. SECURITY.md says which test is against what."""

from __future__ import annotations

import json
import os
import shutil
import signal
import stat
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from dvdcli.errors import DvdcliError, Exit
from dvdcli.linux.paths import Walk
from tests.conftest import Home
from tests.doubles.plugin import Plugin, Reply
from tests.expect import on_terminal, refused
from tests.isolators import Isolator, variables

TASK = 1000
ONE = variables(NAME="v", DRIVER="plug", CONTAINERPATH="data")


def answers(plugin: Plugin, mountpoint: str | Path) -> None:
    body = json.dumps({"Mountpoint": str(mountpoint), "Err": ""}).encode()
    plugin.next("Mount", Reply(status=200, body=body, act=True))


def owner(path: Path) -> tuple[int, int, int]:
    status = path.stat()
    return status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)


# Plugins


@pytest.mark.parametrize("mountpoint", [
    "/etc", "/etc/ssl", "/usr", "/usr/local/bin", "/bin", "/lib/x", "/proc/self/root", "/sys", "/dev/shm", "/boot",
    "/run", "/var", "/var/run", "//etc/", "/etc/.",
])  # fmt: skip
def test_a_plugin_that_names_the_systems_own(home: Home, mountpoint: str) -> None:
    """A plugin can be on another host, where it is not root on this one."""
    plugin = home.plugin()
    answers(plugin, mountpoint)
    assert "as mountpoint" in refused(home.mount(), Exit.FAILURE)
    assert plugin.mounted() == []
    assert home.leftovers() == []


def test_a_plugin_that_names_what_is_not_there(home: Home) -> None:
    """It mounts in a namespace of its own, perhaps."""
    plugin = home.plugin()
    answers(plugin, "/nonexistent/v")
    line = refused(Isolator(home).prepare("c1", ONE), Exit.FAILURE)
    assert "/nonexistent/v, where the driver says that it is: No such file or directory" in line
    assert "mount namespace" in line
    assert plugin.mounted() == []
    assert home.leftovers() == []


@pytest.mark.parametrize("where", ["", "volumes", "volumes/plug/v/lock", "mounts", "mounts/local/w/data/x", ".."])
def test_a_plugin_that_names_what_is_dvdclis_own(home: Home, where: str) -> None:
    """The volumes of other drivers are among it."""
    assert home.mount("w", "local").code == 0
    plugin = home.plugin()
    for mountpoint in (home.state / where, Path(os.path.normpath(home.state / where))):
        answers(plugin, mountpoint)
        refused(home.mount(), Exit.FAILURE)
        assert plugin.mounted() == []
    assert [row["name"] for row in home.mounts()] == ["w"]


@pytest.mark.root
@pytest.mark.parametrize("fresh", [True, False])
@pytest.mark.parametrize("way", ["directory", "link/x", "link", "moved/directory", "../twice/x"])
def test_a_mountpoint_in_a_volume_that_a_task_writes(home: Home, way: str, fresh: bool) -> None:
    """The task has put a link there, or will: nothing is given to it, nothing is bound by that name."""
    victim = home.root / "victim"
    (victim / "x").mkdir(parents=True)
    volume = home.root / "volume"
    for path in (volume / "directory", volume / "moved" / "directory"):
        path.mkdir(parents=True)
    (volume / "link").symlink_to(victim)
    (home.root / "twice").symlink_to(volume / "link")
    os.chown(volume, TASK, TASK)
    before = [owner(path) for path in (victim, victim / "x", volume / "directory")]
    plugin = home.plugin()
    if not fresh:
        plugin.add("v")
    answers(plugin, os.path.normpath(volume / way))
    refused(Isolator(home).prepare("c1", ONE), Exit.FAILURE)
    assert [owner(path) for path in (victim, victim / "x", volume / "directory")] == before
    assert plugin.mounted() == []
    assert home.leftovers() == []


@pytest.mark.root
def test_a_link_to_what_root_relies_on(home: Home) -> None:
    before = owner(Path("/usr/share"))
    (home.root / "link").symlink_to("/usr")
    plugin = home.plugin()
    answers(plugin, home.root / "link" / "share")
    assert "the system's own /usr" in refused(Isolator(home).prepare("c1", ONE), Exit.FAILURE)
    assert owner(Path("/usr/share")) == before
    assert home.leftovers() == []


def test_an_operators_link_to_where_volumes_are(home: Home) -> None:
    """The launch message names what the link led to, which nobody can change any more."""
    real = home.root / "disk" / "v"
    real.mkdir(parents=True)
    (home.root / "link").symlink_to("disk")
    answers(home.plugin(), home.root / "link" / "v")
    message = json.dumps(Isolator(home).launch("c1", ONE))
    assert str(real) in message
    assert str(home.root / "link") not in message


# Tasks: names


LOOKALIKES = ("v", "\uff56", "v\u200b", "v\u202e", "\u2066v", "v\u00ad", "\u1d5b", "v\ufe0f", "V", "v.", "v\u00a0")


def test_names_that_look_alike_are_different_volumes(home: Home) -> None:
    plugin = home.plugin()
    for name in LOOKALIKES:
        for driver in ("plug", "local"):
            assert home.mount(name, driver).code == 0
    assert plugin.mounted() == sorted(LOOKALIKES)
    paths = {row["mountpoint"] for row in home.mounts() if row["driver"] == "local"}
    assert len(paths) == len(LOOKALIKES)
    for name in LOOKALIKES[1:]:
        assert home.unmount(name).code == 0
    assert plugin.mounted() == ["v"]
    assert "\uff4cocal" in refused(home.mount("v", "\uff4cocal", "--timeout=0.2"), Exit.NOT_FOUND)


def test_what_people_read_shows_what_cannot_be_seen(home: Home) -> None:
    """A name cannot turn a line around, hide in it, or look like two cells."""
    assert home.mount("safe\u202egnp.exe\u200b", "local").code == 0
    shown = [
        home.run("list").out, on_terminal(home, "list", "--wide", columns=300),
        home.run("inspect", "local/safe\u202egnp.exe\u200b").out, home.run("list", "--all").out,
        home.run("forget", "--yes", "local/safe\u202e\u2028").err, home.mount("\u202ev", "nobody", "--timeout=0.1").err,
    ]  # fmt: skip
    for text in shown:
        assert "\\u202e" in text, text
        assert not {"\u202e", "\u200b", "\u2028"} & set(text), text
    assert home.mounts()[0]["name"] == "safe\u202egnp.exe\u200b", "programs get it as it is"


# Tasks: links


SWAPPER = """
import ctypes, os, sys
os.chdir(sys.argv[1])
libc, here, exchange = ctypes.CDLL(None, use_errno=True), -100, 2
print(flush=True)
while libc.renameat2(here, b"target", here, b"aside", exchange) == 0:
    pass
sys.exit(os.strerror(ctypes.get_errno()))
"""


@pytest.mark.parametrize("follow", [True, False])
def test_a_directory_that_becomes_a_link_while_it_is_walked_to(tmp_path: Path, follow: bool) -> None:
    """Whenever the two are swapped, the walk ends below its base or is refused; nothing is made outside."""
    base, victim = tmp_path / "base", tmp_path / "victim"
    (base / "target" / "inner").mkdir(parents=True)
    (victim / "inner").mkdir(parents=True)
    (base / "aside").symlink_to("../victim")
    task = subprocess.Popen([sys.executable, "-I", "-c", SWAPPER, base], stdout=subprocess.PIPE)
    assert task.stdout is not None
    outcomes = set()
    try:
        task.stdout.readline()
        for number in range(1000):
            try:
                with Walk(str(base), (os.geteuid(), os.getegid())) as walk:
                    walk.along(f"target/inner/{number}", follow=follow)
                    reached = os.readlink(f"/proc/self/fd/{walk.descriptor}")
                    assert reached.startswith(f"{base}/"), reached
                    outcomes.add("reached")
            except (DvdcliError, OSError) as error:
                outcomes.add(type(error).__name__)
        assert task.poll() is None
    finally:
        task.send_signal(signal.SIGKILL)
        task.communicate()
    assert os.listdir(victim / "inner") == []
    assert sorted(os.listdir(victim)) == ["inner"]
    assert outcomes <= {"reached", "DvdcliError", "OSError"}  # the last where a link is none any more when it is read


def test_what_a_task_left_in_a_volume_leads_remove_nowhere(home: Home) -> None:
    victim = home.root / "victim"
    (victim / "deep").mkdir(parents=True)
    (victim / "deep" / "file").write_text("kept")
    data = Path(home.mount("v", "local").out.removesuffix("\n"))
    for name in ("link", "a\nb", "-rf", "x" * 255, "\x1b[2J", "\udcff"):
        (data / name).symlink_to(victim)
    os.link(victim / "deep" / "file", data / "hard")
    (data / "closed" / "inner").mkdir(parents=True)
    (data / "closed").chmod(0o000)
    os.mkfifo(data / "pipe")
    assert home.unmount("v", "local").code == 0
    assert home.run("remove", "--volumedriver=local", "--volumename=v").code == 0
    assert not data.exists()
    assert (victim / "deep" / "file").read_text() == "kept"


LAUNCH = """
import json, os, subprocess, sys
for line in json.loads(sys.argv[1]):
    subprocess.run(line, check=True)
assert os.path.ismount(sys.argv[2])
"""


@pytest.mark.namespace
@pytest.mark.parametrize("release", ["0.23.1", "1.11.0"])
def test_a_container_path_that_a_shell_or_a_format_would_read(home: Home, release: str) -> None:
    """Whatever runs the launch's commands, a shell or not: the volume is at that very path, and nothing else ran."""
    home.plugin(real=True).add("v")
    isolator = Isolator(home, release)
    paths = (
        "a b", "$(touch pwned)", "`touch pwned`", "'; touch pwned; '", '"', "\\", "-rf", "*", "ü", "%s%n{}", "a\u202eb",
        "~", "#x", "&& touch pwned", "$HOME", "x" * 255,
    )  # fmt: skip
    for number, path in enumerate(paths):
        container = f"c{number}"
        sandbox = isolator.sandbox(container)
        given = path.encode().decode("latin-1") if release == "0.23.1" else path  # its JSON has a character a byte
        message = isolator.launch(container, variables(NAME="v", DRIVER="plug", CONTAINERPATH=given))
        lines = []
        for command in message.get("pre_exec_commands", [message]):
            words = command.get("arguments")
            lines.append(["/bin/sh", "-c", command["value"]] if words is None else words)
        contained = ["unshare", "--mount", "--propagation=slave", sys.executable, "-I", "-c", LAUNCH]
        place = str(sandbox / path)
        done = subprocess.run(
            [*contained, json.dumps(lines), place], cwd=sandbox, env=home.env, capture_output=True, check=False
        )
        assert (done.returncode, done.stderr) == (0, b""), (path, done)
        assert os.listdir(sandbox) == [path.split("/")[0]]
        isolator.cleanup(container)
    assert not list(home.root.rglob("pwned"))


# Users without rights


def _permitted(directories: list[Path], files: list[Path]) -> list[str]:
    tries = [(path.read_bytes, path) for path in files]
    for path in directories:
        tries += [((path / "x").mkdir, path), (partial((path / "y").symlink_to, "/etc"), path), (path.iterdir, path)]
    found = []
    for act, path in tries:
        try:
            list(act() or ())
        except PermissionError:
            continue
        found.append(str(path))
    return found


@pytest.mark.root
def test_a_user_puts_nothing_where_we_look(home: Home) -> None:
    """No directory, no lock, no link, in any directory that we made; and what is there he cannot read."""
    home.root.chmod(0o755)
    home.plugin()
    assert home.mount("w", "local").code == 0
    assert Isolator(home).prepare("c1", ONE).code == 0
    directories = [home.state, *(path for path in home.state.rglob("*") if path.is_dir() and "data" not in path.parts)]
    files = [path for path in home.state.rglob("*") if path.is_file() and "data" not in path.parts]
    reader, writer = os.pipe()
    child = os.fork()  # an interpreter's own files can be root's alone
    if not child:
        os.setgroups([])
        os.setresgid(TASK, TASK, TASK)
        os.setresuid(TASK, TASK, TASK)
        os.write(writer, "\n".join(["tried", *_permitted(directories, files)]).encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as told:
        assert told.read() == "tried"
    os.waitpid(child, 0)
    assert len(directories) > 8
    assert len(files) > 5


@pytest.mark.root
def test_a_state_directory_that_is_somebodys_link(home: Home) -> None:
    """To a directory of root's: what we write would go where he likes."""
    target = home.root / "roots-own"
    target.mkdir(0o700)
    home.state.symlink_to(target)
    os.lchown(home.state, TASK, TASK)
    home.plugin()
    for verb in ("mount", "unmount"):
        refused(home.run(verb, "--volumedriver=plug", "--volumename=v"), Exit.STATE)
    refused(home.run("list"), Exit.STATE)
    assert os.listdir(target) == []
    os.lchown(home.state, 0, 0)
    assert home.mount().code == 0, "an operator's link is one"


@pytest.mark.root
@pytest.mark.parametrize("kind", ["socket", "spec", "json"])
@pytest.mark.parametrize("way", ["mode", "owner"])
def test_a_plugin_where_anybody_can_put_one(home: Home, kind: str, way: str) -> None:
    """What it answers would be mounted by root."""
    plugin = home.plugin()
    if kind != "socket":
        shutil.move(home.sockets / "plug.sock", home.root / "elsewhere.sock")
        url = f"unix://{home.root}/elsewhere.sock"
        (home.specs / f"plug.{kind}").write_text(url if kind == "spec" else json.dumps({"Addr": url}))
    directory = home.sockets if kind == "socket" else home.specs
    if way == "mode":
        directory.chmod(0o1777)
    else:
        os.chown(directory, TASK, TASK)
    assert f"{directory}: anybody can put plugins there" in refused(home.mount(), Exit.FAILURE)
    assert plugin.calls == []
    assert home.leftovers() == []
    directory.chmod(0o755)
    os.chown(directory, 0, 0)
    assert home.mount().code == 0


def test_whatever_the_umask(home: Home, sized) -> None:
    """Of every part of the state, and of the images, which have all that is in their volumes."""
    home.plugin()
    isolator = Isolator(home)
    done = isolator.call("mount", isolator.request("c1", ONE), preexec_fn=lambda: os.umask(0))
    assert done.code == 0, done
    words = sized.line("mount", "size=64M", name="s") if os.geteuid() == 0 else sized.line("create", "size=64M")
    assert home.run(*words, preexec_fn=lambda: os.umask(0)).code == 0
    try:
        modes = {}
        for path in home.state.rglob("*"):
            if "data" not in path.parts:
                modes.setdefault(stat.S_IFMT(path.lstat().st_mode), {})[path] = stat.S_IMODE(path.lstat().st_mode)
        assert set(modes[stat.S_IFREG].values()) == {0o600}, modes
        passed = {path for path, mode in modes[stat.S_IFDIR].items() if mode != 0o700}
        assert {path.relative_to(home.state).parts[0] for path in passed} <= {"mounts"}
        assert {modes[stat.S_IFDIR][path] for path in passed} <= {0o711}
        parts = {path.relative_to(home.state).parts[0] for path in home.state.rglob("*")}
        assert parts >= {"volumes", "containers", "pending", "mounts"}
    finally:
        sized.unmount(name="s")


# The agent's environment


@pytest.mark.root
def test_what_root_runs_is_never_found_on_the_callers_path(home: Home, sized) -> None:
    """Nor in its current directory; LD_* alone is trusted, since it is the agent's own."""
    evil = home.root / "evil"
    evil.mkdir()
    programs = ("mkfs.ext4", "mount", "umount", "losetup", "blkid", "e2fsck", "resize2fs", "readlink", "python3", "sh")
    for name in programs:
        (evil / name).write_text(f"#!/bin/sh\necho {name} >> '{home.root}/caught'\n")
        (evil / name).chmod(0o755)
    surroundings = {"env": {"PATH": f"{evil}:.:{home.env['PATH']}", "IFS": "/", "ENV": f"{evil}/sh"}, "cwd": evil}
    assert home.run(*sized.line("mount", "size=64M"), **surroundings).code == 0
    assert home.run(*sized.line("unmount"), **surroundings).code == 0
    assert home.run(*sized.line("resize", "size=96M"), "--yes", **surroundings).code == 0
    assert not (home.root / "caught").exists(), (home.root / "caught").read_text()
