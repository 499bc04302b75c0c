"""Storage that stops answering, in the middle of everything: every command keeps its deadline and says what is stuck.

The plugin's volumes are FUSE file systems of the double, which count what they are asked once they are stuck: nothing,
where the mount table tells as well. For who asks a stuck one waits in the kernel, and cannot be killed.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dvdcli.clock import Deadline
from dvdcli.errors import Exit, TryAgainError
from dvdcli.linux import aside, mountinfo
from tests.blocks import backing_files, format_by_hand
from tests.conftest import Done, Home
from tests.doubles.fuse import Fuse
from tests.doubles.plugin import Plugin, Reply, Volume
from tests.expect import refused
from tests.isolators import Isolator, variables
from tests.sized import run
from tests.waiting import wait_until

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(not os.path.exists("/dev/fuse"), reason="there is no /dev/fuse: modprobe fuse"),
]
SITE = sysconfig.get_paths()["purelib"]
VOLUME = ("--volumedriver=local", "--volumename=v")
SECONDS = 30  # no call takes that long, deadline or not


class FusePlugin(Plugin):
    """A plugin whose volumes are FUSE file systems; its own server is what sticks. *inside* is what it names."""

    def __init__(self, where: str, root: Path) -> None:
        super().__init__(where, root)
        self.systems: dict[str, Fuse] = {}
        self.inside = ""
        self.sticks_at_once = False
        self.hangs = threading.Event()

    def _mount(self, volume: Volume) -> None:
        path = self.root / volume.name
        path.mkdir(parents=True, exist_ok=True)
        self.systems[volume.name] = Fuse(path)
        if self.sticks_at_once:
            self.systems[volume.name].stick()
        volume.mountpoint, volume.attached = f"{path}{self.inside}", True

    def _unmount(self, volume: Volume) -> None:
        self.systems[volume.name].detach()
        volume.mountpoint, volume.attached = "", False

    def hang_at(self, *methods: str) -> None:
        """Answer these no more, until the test is over."""
        self.before = lambda method: self.hangs.wait(SECONDS) and None if method in methods else None

    def asked(self) -> list[str]:
        return [name for system in self.systems.values() for name in system.asked()]

    def close(self) -> None:
        self.hangs.set()
        for system in self.systems.values():
            system.close()
        super().close()


@pytest.fixture
def plugin(home: Home) -> Iterator[FusePlugin]:
    plugin = FusePlugin(f"unix:{home.sockets}/plug.sock", home.root / "mnt")
    home.plugins.append(plugin)
    yield plugin
    plugin.close()
    home.plugins.remove(plugin)


@pytest.fixture
def stuck(home: Home, plugin: FusePlugin) -> FusePlugin:
    """A volume that is mounted, and then its file system stops answering."""
    assert home.mount().code == 0
    plugin.systems["v"].stick()
    return plugin


@pytest.fixture
def system(tmp_path: Path) -> Iterator[Fuse]:
    system = Fuse(tmp_path)
    yield system
    system.close()


def quick(home: Home, *words: str, **more: Any) -> Done:
    began = time.monotonic()
    done = home.run(*words, timeout=SECONDS, **more)
    assert time.monotonic() - began < SECONDS / 2
    return done


def test_list_tells_of_it_without_asking_it(home: Home, stuck: FusePlugin) -> None:
    [row] = json.loads(quick(home, "list", "--json").out)["data"]["mounts"]
    assert (row["status"], row["mountpoint"]) == ("mounted", stuck.volumes["v"].mountpoint)
    assert (row["file_system"], row["size"], row["used"]) == ("fuse.double", None, None)
    assert quick(home, "list").code == 0
    assert quick(home, "list", "--all").code == 0
    assert stuck.asked() == []


def test_the_size_of_what_is_mounted_in_a_stuck_one_is_not_asked_for(sized: Any, system: Fuse) -> None:
    """The volume's own file system would answer, but the way to it would not."""
    home = sized.home
    home.plugin().add("v")
    image = sized.create()
    format_by_hand(image, "ext4")
    assert home.mount().code == 0
    below = f"{system.path}/data"
    run("mount", "-o", "loop", image, below)
    try:
        home.edit_record(path=below)
        system.stick()
        [row] = json.loads(quick(home, "list", "--json").out)["data"]["mounts"]
        assert (row["status"], row["file_system"], row["size"]) == ("mounted", "ext4", None)
        assert system.asked() == []
    finally:
        system.close()
        wait_until(lambda: str(image) not in backing_files())


@pytest.mark.parametrize("below", ["", "/data/x"])
def test_inspect_tells_of_it_without_asking_it(home: Home, stuck: FusePlugin, below: str) -> None:
    done = quick(home, "inspect", f"{stuck.volumes['v'].mountpoint}{below}", "--json")
    assert done.code == 0, done
    [view] = json.loads(done.out)["data"]["volumes"]
    assert view["row"]["status"] == "mounted"
    assert view["mounts"][0]["type"] == "fuse.double"
    assert stuck.asked() == []


def test_check_looks_elsewhere(home: Home, stuck: FusePlugin) -> None:
    assert "a volume plugin answers" in quick(home, "check").out
    assert stuck.asked() == []


def test_another_mount_of_it_and_its_unmount(home: Home, stuck: FusePlugin) -> None:
    assert quick(home, "mount", "--volumedriver=plug", "--volumename=v", "--hold=b").code == 0
    assert home.unmount("v", "plug", "--hold=b", timeout=SECONDS).code == 0
    assert home.unmount(timeout=SECONDS).code == 0
    assert stuck.mounted() == home.leftovers() == []
    assert stuck.asked() == []


def test_recover_leaves_it_to_the_plugin(home: Home, stuck: FusePlugin) -> None:
    home.edit_record(status="mounting", adding="name:host")
    (home.state / "boot").unlink(missing_ok=True)
    done = quick(home, "recover", "--dry-run")
    assert "unmounted" in done.out + done.err, done
    assert quick(home, "recover").code == 0
    assert stuck.mounted() == home.leftovers() == []
    assert stuck.asked() == []


@pytest.mark.parametrize("method", ["Activate", "Get", "Unmount"])
def test_a_plugin_that_is_stuck_too(home: Home, stuck: FusePlugin, method: str) -> None:
    stuck.hang_at(method)
    error = refused(home.unmount("v", "plug", "--timeout=1", timeout=SECONDS), Exit.TRY_AGAIN)
    assert "plug.sock did not answer within 1 s" in error
    assert home.record()["status"] == "unmounting"
    [row] = json.loads(quick(home, "list", "--json").out)["data"]["mounts"]
    assert row["status"] == "unmounting"
    assert "did not answer" in row["failure"]
    assert stuck.asked() == []


def test_recover_of_what_both_will_not_give_back_keeps_its_deadline(home: Home, stuck: FusePlugin) -> None:
    stuck.hang_at("Unmount")
    home.unmount("v", "plug", "--timeout=1", timeout=SECONDS)
    done = quick(home, "recover", "--timeout=1", "--json")
    [outcome] = json.loads(done.out)["data"]["outcomes"]
    assert (done.code, outcome["action"]) == (Exit.TRY_AGAIN, "failed")
    assert "plug.sock did not answer" in outcome["detail"]
    assert stuck.asked() == []


# A container's volumes

def test_a_container_is_given_and_rid_of_it_without_asking_it(home: Home, plugin: FusePlugin) -> None:
    plugin.add("v")  # nothing has to be dressed
    plugin.sticks_at_once = True
    isolator = Isolator(home)
    assert isolator.launch("c1", variables(DRIVER="plug", NAME="v", CONTAINERPATH="data")) is not None
    assert isolator.cleanup("c1") == []
    assert plugin.mounted() == home.leftovers() == []
    assert plugin.asked() == []


def mount_isolator(home: Home, path: str | Path, timeout: int = 1, **more: Any) -> Done:
    isolator = Isolator(home)
    request = isolator.request("c1", variables(DRIVER="plug", NAME="v", CONTAINERPATH=str(path)), **more)
    request["timeout"] = timeout
    process = home.start("mount", "--isolator", stdin=-1)
    out, err = process.communicate(json.dumps(request).encode(), timeout=SECONDS)
    return Done(process.returncode, out.decode(), err.decode())


@pytest.mark.parametrize("inside", ["", "/data"], ids=["to be given an owner", "named below its root"])
def test_where_it_has_to_be_asked_a_child_does(home: Home, plugin: FusePlugin, inside: str) -> None:
    if inside:
        plugin.add("v")
    plugin.sticks_at_once, plugin.inside = True, inside
    error = refused(mount_isolator(home, "data"), Exit.TRY_AGAIN)
    assert f"{home.root}/mnt/v{inside} has not answered for 1 s: its file system is stuck" in error
    assert plugin.mounted() == home.leftovers() == []
    assert plugin.asked() != []


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory that root alone can write, as /tmp is not, with a file system `fuse` and a `link` to it."""
    root = Path(tempfile.mkdtemp(dir="/srv", prefix="dvd"))
    root.chmod(0o755)
    (root / "fuse").mkdir()
    (root / "link").symlink_to("fuse")
    system = Fuse(root / "fuse")
    system.stick()
    yield root
    system.close()
    shutil.rmtree(root)


@pytest.mark.parametrize("way", ["fuse", "fuse/data", "link", "link/data"])
def test_a_container_path_that_leads_into_a_stuck_one(home: Home, place: Path, way: str) -> None:
    """A task chooses the path: a link in its middle, and the place itself, are looked at by nobody but a child."""
    home.plugin().add("v")
    error = refused(mount_isolator(home, place / way), Exit.TRY_AGAIN)
    assert f"{place}/{way} has not answered for 1 s: its file system is stuck" in error
    assert home.leftovers() == home.plugins[0].mounted() == []


def test_a_stuck_place_whose_owner_a_fresh_volume_gets(home: Home) -> None:
    """What lies below /tmp is not looked at before: the model of a fresh volume's owner is."""
    home.plugin()
    where = Path(tempfile.mkdtemp(prefix="dvd", dir="/tmp"))
    system = Fuse(where)
    try:
        system.stick()
        error = refused(mount_isolator(home, where), Exit.TRY_AGAIN)
        assert f"{where} has not answered for 1 s: its file system is stuck" in error
    finally:
        system.close()
        where.rmdir()
    assert home.leftovers() == []


@pytest.mark.parametrize("below", ["", "/data"])
def test_a_mountpoint_behind_a_link_into_a_stuck_one(home: Home, system: Fuse, below: str) -> None:
    """The plugin names a path whose middle is a link; by the path's own words it is on the root's file system."""
    plugin = home.plugin()
    plugin.add("v")
    (home.root / "link").symlink_to(system.path)
    body = json.dumps({"Mountpoint": f"{home.root}/link{below}", "Err": ""}).encode()
    plugin.always["Mount"] = Reply(status=200, body=body)
    system.stick()
    done = mount_isolator(home, "data")
    if below:
        assert f"{home.root}/link{below} has not answered for 1 s" in refused(done, Exit.TRY_AGAIN)
    else:
        assert "is a symbolic link" in refused(done, Exit.FAILURE)
        assert system.asked() == []


# At the launch


def bound(home: Home, source: str, base: str, path: str, patience: float = 0.3, **more: Any) -> tuple[int, str, str]:
    """Run bind in a mount namespace of its own, as the command does but for its patience."""
    word = json.dumps({"source": source, "base": base, "path": path, **more})
    script = f"import sys; sys.path.append({SITE!r}); from dvdcli import bind; bind._PATIENCE = {patience}; "
    script += "from dvdcli.__main__ import main; main()"
    line = ["unshare", "--mount", "--propagation=unchanged", "sh", "-c",
            '"$0" "$@" && grep " $(pwd)/t " /proc/self/mountinfo',
            sys.executable, "-I", "-S", "-c", script, "bind", f"--outside={mountinfo.namespace()}", "--make-slave",
            word]  # fmt: skip
    done = subprocess.run(
        line, env=home.env, cwd=home.root, capture_output=True, text=True, check=False, timeout=SECONDS
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.namespace
@pytest.mark.parametrize("read_only", [False, True])
def test_a_stuck_volume_is_bound_without_asking_it(home: Home, system: Fuse, read_only: bool) -> None:
    system.stick()
    code, out, err = bound(home, str(system.path), str(home.root), "t", owner=[0, 0], read_only=read_only)
    assert (code, err) == (0, "")
    assert ("ro" in out.split()[5].split(",")) == read_only
    assert system.asked() == []


@pytest.mark.namespace
@pytest.mark.parametrize("inside", ["source", "path", "base"])
def test_a_bind_that_would_have_to_look_into_a_stuck_one(home: Home, system: Fuse, inside: str) -> None:
    (home.root / "v").mkdir()
    (home.root / "t").mkdir()
    deep = f"{system.path}/data"
    system.stick()
    source, base, path = {
        "source": (deep, str(home.root), "t"), "path": (f"{home.root}/v", os.path.dirname(system.path), ""),
        "base": (f"{home.root}/v", deep, ""),
    }[inside]  # fmt: skip
    path = path or f"{system.path.name}/data/x" if inside == "path" else path
    code, out, err = bound(home, source, base, path, owner=[0, 0])
    assert (code, out) == (Exit.TRY_AGAIN, "")
    assert "its file system is stuck" in err


# The state, and directories of volumes, on storage that is stuck


def stuck_calls(home: Home, *calls: list[str], **options: Any) -> list[Done]:
    """Run all *calls* at once, each of which has to end by itself."""
    processes = [home.start(*words, **options) for words in calls]
    return [home.finish(process, SECONDS / 2) for process in processes]


def test_a_state_directory_on_stuck_storage(home: Home, system: Fuse) -> None:
    home.plugin().add("v")
    home.env["DVDCLI_STATE_DIR"] = f"{system.path}/data"
    system.stick()
    volume = ["--volumedriver=plug", "--volumename=v"]
    named = [["mount", *volume], ["unmount", *volume], ["create", *volume], ["remove", "-y", *volume], ["recover"]]
    calls = [*([*words, "--timeout=1"] for words in named), ["list"], ["list", "--json"], ["inspect", "v"]]
    for words, done in zip(calls, stuck_calls(home, *calls), strict=True):
        seconds = 1 if "--timeout=1" in words else 5
        said = f"{system.path}/data has not answered for {seconds} s: its file system is stuck"
        assert said in done.err, (words, done)
        assert (done.code, done.err.count("\n")) == (Exit.TRY_AGAIN, 1), (words, done)
    assert home.plugins[0].calls == []


def test_an_isolators_calls_with_their_state_on_stuck_storage(home: Home, system: Fuse) -> None:
    home.env["DVDCLI_STATE_DIR"] = f"{system.path}/data"
    system.stick()
    error = refused(mount_isolator(home, "data"), Exit.TRY_AGAIN)
    assert f"{system.path}/data has not answered for 1 s" in error


def test_check_config_and_completion_with_the_state_on_stuck_storage(home: Home, system: Fuse) -> None:
    home.plugin().add("v")
    home.env["DVDCLI_STATE_DIR"] = f"{system.path}/data"
    home.config.write_text(f'[drivers.nfs]\nprovider = "local"\npath = "{system.path}/data"\n')
    system.stick()
    check, *others = stuck_calls(
        home, ["check", "--timeout=1"], ["config", "check"], ["config", "show"], ["version"], ["inspect", "--help"]
    )
    assert [(done.code, done.err) for done in others] == [(0, "")] * len(others)
    stuck = [line for line in check.out.split("\n") if "its file system is stuck" in line]
    assert check.code == Exit.FAILURE
    subjects = ["state", "mounts", "driver local", "driver nfs"]
    assert [line.split("/")[0].split() for line in stuck] == [["failed", *each.split()] for each in subjects]


def test_a_configuration_on_stuck_storage(home: Home, system: Fuse) -> None:
    """What needs it says so; what is on record is let go of without it."""
    home.plugin().add("v")
    assert home.mount().code == 0
    home.env["DVDCLI_CONFIG"] = f"{system.path}/dvdcli.toml"
    system.stick()
    calls = [["mount", "--volumedriver=plug", "--volumename=w"], ["list", "--all"], ["config", "check"]]
    calls += [["config", "show"], ["check", "--timeout=1"]]
    for words, done in zip(calls, stuck_calls(home, *calls), strict=True):
        said = f"{system.path}/dvdcli.toml has not answered for 5 s: its file system is stuck"
        assert said in done.out + done.err, (words, done)
        assert done.code != 0, (words, done)
    assert home.unmount("v", "plug", timeout=SECONDS).code == 0
    assert home.leftovers() == []


def test_completion_with_the_state_on_stuck_storage(home: Home, system: Fuse) -> None:
    """The shell waits for the end of what is printed: nobody who is left behind may have that open."""
    home.plugin().add("v")
    home.env["DVDCLI_STATE_DIR"] = f"{system.path}/data"
    system.stick()
    lines = ["dvdcli\ninspect\n", "dvdcli\nmount\n--volumedriver\np", "dvdcli\nunm"]
    processes = [home.start(env={"_DVDCLI_COMPLETE": "zsh_complete", "COMP_LINE": line}) for line in lines]
    done = [home.finish(process, SECONDS / 2) for process in processes]
    assert [(each.code, each.out.split("\t")[0].strip(), each.err) for each in done] == [
        (0, "", ""), (0, "", ""), (0, "unmount", "")
    ]  # fmt: skip


def test_local_with_its_directory_on_stuck_storage(home: Home, system: Fuse) -> None:
    """What is mounted of it can be let go of; whatever has to look at the directory says that it is stuck."""
    home.config.write_text(f'[drivers.nfs]\nprovider = "local"\npath = "{system.path}/data"\n')
    assert home.mount("w", "local").code == 0
    home.edit_record("w", "local", settings={"path": f"{system.path}/data"})
    system.stick()
    verbs = ["mount", "get", "path", "create", "remove"]  # each of a volume of its own: nobody waits for a lock
    calls = [[verb, "--volumedriver=nfs", f"--volumename={verb}", "--timeout=1"] for verb in verbs]
    calls[-1] += ["-y"]
    calls += [["list", "--volumedriver=nfs", "--timeout=1"]]
    for words, done in zip(calls, stuck_calls(home, *calls), strict=True):
        assert f"{system.path}/data has not answered for 1 s: its file system is stuck" in done.err, (words, done)
        assert done.code == Exit.TRY_AGAIN, (words, done)
    assert home.unmount("w", "local", timeout=SECONDS).code == 0
    open_ones = {path.split("/")[2] for path in home.leftovers()}
    assert open_ones == {"create", "remove"}, "what became of these is for recover to find out"


def test_a_stuck_file_system_that_was_mounted_over_a_volume(home: Home) -> None:
    assert home.mount("v", "local").code == 0
    system = Fuse(home.state / "mounts" / "local" / "v" / "data")
    try:
        system.stick()
        rows = json.loads(quick(home, "list", "--json").out)["data"]["mounts"]
        assert [row["status"] for row in rows] == ["mounted"]
        for words in (["list", "--volumedriver=local"], ["inspect", "v"], ["check"], ["mount", *VOLUME, "--hold=b"]):
            assert quick(home, *words).code == 0
        for hold in ("host", "b"):
            assert quick(home, "unmount", *VOLUME, f"--hold={hold}").code == 0
        error = refused(quick(home, "remove", *VOLUME, "--yes"), Exit.IN_USE)
        assert f"the volume 'v' is in use: {system.path}" in error
        assert system.asked() == []
    finally:
        system.close()


def test_a_stuck_file_system_over_one_with_a_size(sized: Any) -> None:
    """It is none of ours, so it is not unmounted, by force least of all; nor is the device taken away below it."""
    home = sized.home
    sized.create()
    assert sized.mount().code == 0
    system = Fuse(sized.path())
    try:
        system.stick()
        said = f"dvdcli-double is mounted at {sized.path()}, which is none of ours"
        assert said in refused(quick(home, *sized.line("unmount")), Exit.FAILURE)
        assert said in quick(home, "recover").err
        assert [row["status"] for row in home.mounts()] == ["unmounting"]
        assert len(sized.loops()) == 1
        assert system.asked() == []
    finally:
        system.close()
    assert home.recover().code == 0
    assert sized.left() == []


def test_a_stuck_file_system_in_a_volume_that_is_unmounted(sized: Any) -> None:
    """A task has mounted it in there: the volume is busy, and never taken away lazily."""
    home = sized.home
    sized.create()
    assert sized.mount().code == 0
    (sized.path() / "inner").mkdir()
    system = Fuse(sized.path() / "inner")
    try:
        system.stick()
        error = refused(quick(home, *sized.line("unmount", "--timeout=2")), Exit.IN_USE)
        assert f"{sized.path()} is busy" in error
        assert sized.mounts() == [str(sized.path()), str(system.path)]
        assert system.asked() == []
    finally:
        system.close()
    assert home.recover().code == 0
    assert sized.left() == []


# Who is in the way


def test_whoever_has_his_memory_locked_by_it_hangs_nobody(sized: Any, system: Fuse) -> None:
    """One thread waits for a page, another in mmap(2) for the first: whoever asks for that process's maps waits too."""
    home = sized.home
    sized.create()
    assert sized.mount().code == 0
    (sized.path() / "file").touch()
    code = f"""
import ctypes, os, sys, threading
held = os.open({str(sized.path() / "file")!r}, os.O_RDONLY)
paged, direct = (os.open({f"{system.path}/file"!r}, os.O_RDONLY) for _ in range(2))
print("open", flush=True)
sys.stdin.readline()
threading.Thread(target=os.pread, args=(paged, 1, 0)).start()
sys.stdin.readline()
ctypes.CDLL(None).mmap(None, 4096, 1, 2, direct, 0)  # PROT_READ, MAP_PRIVATE; no fstat before it
"""
    user = subprocess.Popen([sys.executable, "-I", "-c", code], stdin=-1, stdout=-1, text=True)
    assert user.stdin is not None
    assert user.stdout is not None
    try:
        assert user.stdout.readline() == "open\n"
        system.stick()
        for word in ("READ", ""):
            user.stdin.write("\n")
            user.stdin.flush()
            wait_until(lambda word=word: not word or word in system.asked())
        wait_until(lambda: Path(f"/proc/{user.pid}/stat").read_text().rpartition(") ")[2].startswith("D"))
        error = refused(quick(home, *sized.line("unmount", "--timeout=2")), Exit.IN_USE)
        assert f"pid {user.pid} (python" in error
        assert f"uses {sized.path()}/file" in error
    finally:
        system.close()
        user.communicate()
    assert home.recover().code == 0


def test_a_lock_file_of_the_same_name_in_a_stuck_one(home: Home, system: Fuse) -> None:
    """Who has a volume's lock is found among all open files; one of another file system is not looked at."""
    home.plugin().add("v")
    assert home.mount().code == 0
    lock = os.open(home.slot() / "lock", os.O_RDWR)
    fcntl.flock(lock, fcntl.LOCK_EX)
    other = os.open(f"{system.path}/lock", os.O_PATH)
    try:
        system.stick()
        error = refused(home.unmount("v", "plug", "--timeout=0.5", timeout=SECONDS), Exit.TRY_AGAIN)
        assert f"by pid {os.getpid()} for" in error
        assert system.asked() == []
    finally:
        os.close(other)
        os.close(lock)


# The look aside


def test_a_look_at_what_answers(system: Fuse) -> None:
    assert not aside.is_link(f"{system.path}/data", Deadline(SECONDS))
    assert aside.look(lambda: str(os.getpid()), str(system.path), Deadline(SECONDS)) != str(os.getpid())
    with pytest.raises(FileNotFoundError):
        aside.look(lambda: os.readlink(f"{system.path}/none"), f"{system.path}/none", Deadline(SECONDS))


def test_a_look_at_what_does_not(system: Fuse) -> None:
    system.stick()
    assert not aside.is_link(str(system.path), Deadline(SECONDS))
    assert system.asked() == []
    with pytest.raises(TryAgainError, match="is stuck"):
        aside.is_link(f"{system.path}/data", Deadline(0.2))


def test_a_look_elsewhere_takes_no_child(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("x")
    assert aside.is_link(str(tmp_path / "link"), Deadline(0.0))
    assert aside.look(lambda: str(os.getpid()), str(tmp_path), Deadline(0.0)) == str(os.getpid())


@pytest.mark.parametrize(
    ("device", "kind", "source", "can_hang", "has_device"),
    [
        ("8:1", "ext4", "/dev/sda1", False, True), ("0:44", "btrfs", "/dev/sdb", False, True),
        ("0:5", "fuse.sshfs", "a@b:/c", True, False), ("8:17", "fuseblk", "/dev/sdb1", True, False),
        ("0:6", "nfs4", "a:/b", True, False), ("0:7", "tmpfs", "tmpfs", False, False),
        ("0:8", "9p", "/dev/x", True, False), ("0:9", "unheard-of", "none", True, False),
    ],
)  # fmt: skip
def test_what_can_hang(device: str, kind: str, source: str, can_hang: bool, has_device: bool) -> None:
    [mount] = mountinfo.parse(f"1 2 {device} / /v rw,nodev shared:1 - {kind} {source} rw\n")
    assert (mount.can_hang, mount.has_device) == (can_hang, has_device)


def test_the_source_of_a_stuck_mount_is_not_looked_at(system: Fuse, tmp_path: Path) -> None:
    """A bindfs names the directory that it shows; it is no device's node, so nobody has to look."""
    system.stick()
    [mount] = mountinfo.parse(f"1 2 0:99 / /elsewhere rw - fuse.bindfs {system.path}/data rw\n")
    assert not mount.is_of("8:1")
    assert system.asked() == []
