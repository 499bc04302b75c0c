"""How the installed command starts: what it imports, what it does not listen to, where it can be called from."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from tests.conftest import COMMAND, Done, Home
from tests.doubles.plugin import Plugin
from tests.isolators import Isolator, variables

PYTHON = COMMAND.parent / "python3"
SITE = sysconfig.get_paths()["purelib"]
SOURCE = Path(__file__).parents[1] / "bin" / "dvdcli"
CALL = ["--volumedriver=plug", "--volumename=v"]

# Everything that a mount or unmount through a Docker plugin imports, beside what a bare interpreter has.
HOOK_WAY = {
    "__future__", "_json", "_socket", "fcntl", "errno",
    "os", "os.path", "_collections_abc", "_stat", "genericpath", "posixpath", "stat",
    "_sha256", "_sha2",  # the one until Python 3.11, the other since
    "syslog",  # where there is something to say
    "dvdcli", "dvdcli.__main__", "dvdcli.clock", "dvdcli.config", "dvdcli.errors", "dvdcli.fastjson", "dvdcli.holds",
    "dvdcli.hook", "dvdcli.http", "dvdcli.lifecycle", "dvdcli.linux", "dvdcli.linux.files", "dvdcli.linux.mountinfo",
    "dvdcli.locks", "dvdcli.output", "dvdcli.providers", "dvdcli.providers.base", "dvdcli.providers.docker",
    "dvdcli.providers.plugins", "dvdcli.marker", "dvdcli.state", "dvdcli.names", "dvdcli.volume", "dvdcli.work",
}  # fmt: skip
# What all import besides, where a file system of this host may never answer.
WHERE_IT_MAY_HANG = {"dvdcli.clock", "dvdcli.linux.aside", "dvdcli.linux.paths", "select"}
# What an isolator's calls import besides.
ISOLATOR_WAY = {
    "_thread", "dvdcli.bind", "dvdcli.containers", "dvdcli.isolator", "dvdcli.linux.mountflags", "dvdcli.linux.paths",
    "dvdcli.group", "dvdcli.linux.aside", "dvdcli.mesos", "dvdcli.parallel", "dvdcli.placing", "dvdcli.targets",
    "dvdcli.wanted",
}  # fmt: skip
RECOVER_WAY = {"dvdcli.pending", "dvdcli.recovery"}
BIND_WAY = {
    "__future__", "_json", "_ctypes", "_struct", "ctypes", "ctypes._endian", "struct", "errno", "types",
    "os", "os.path", "_collections_abc", "_stat", "genericpath", "posixpath", "stat",
    "dvdcli", "dvdcli.__main__", "dvdcli.bind", "dvdcli.errors", "dvdcli.fastjson", "dvdcli.linux",
    "dvdcli.linux.files", "dvdcli.linux.mountflags", "dvdcli.linux.mountinfo", "dvdcli.linux.paths",
    "dvdcli.linux.syscalls", "dvdcli.output",
}  # fmt: skip
# Named, so that nobody adds one of them to the list above in passing: what each costs is in the design.
NEVER = {
    "argparse", "boto3", "click", "contextlib", "dataclasses", "datetime", "enum", "filelock", "hashlib", "http",
    "http.client", "importlib.metadata", "inspect", "json", "logging", "pathlib", "re", "requests", "rich", "socket",
    "ssl", "subprocess", "tempfile", "threading", "tomllib", "traceback", "typing", "urllib.parse",
}  # fmt: skip
TELL = """
import sys
bare = set(sys.modules)
sys.path.append(sys.argv.pop(1))
import os
leave = os._exit
def tell(code):
    os.write(2, " ".join(sorted(set(sys.modules) - bare)).encode())
    leave(code)
os._exit = tell
from dvdcli.__main__ import main
main()
"""


def imported(home: Home, *words: str, stdin: bytes = b"", prefix: tuple[str, ...] = ()) -> set[str]:
    """Return what a call by the machines' door imports that a bare interpreter has not."""
    argv = [*prefix, PYTHON, "-I", "-S", "-c", TELL, SITE, *words]
    done = subprocess.run(argv, env=home.env, input=stdin, capture_output=True, check=False)
    assert done.returncode == 0, done
    return set(done.stderr.decode().split())


def test_list_and_its_absentees_are_at_odds_nowhere() -> None:
    assert not HOOK_WAY & NEVER
    argv = [PYTHON, "-I", "-S", "-c", "import sys; print(*sys.modules)"]
    assert not set(subprocess.run(argv, capture_output=True, check=True).stdout.decode().split()) & NEVER


@pytest.mark.parametrize("exists", [True, False], ids=["mounted", "created and mounted"])
def test_modules_of_a_mount_and_unmount(installed_home: Home, exists: bool) -> None:
    plugin = installed_home.plugin()
    if exists:
        plugin.add("v")
    calls = {verb: imported(installed_home, verb, *CALL) for verb in ("mount", "unmount")}
    assert plugin.names() == ["Get", *([] if exists else ["Create"]), "Mount", "Get", "Unmount"]
    for modules in calls.values():
        assert modules - HOOK_WAY - WHERE_IT_MAY_HANG == set()
        assert modules & NEVER == set()
    ours = {name for name in HOOK_WAY if name.startswith("dvdcli")}
    assert ours - set.union(*calls.values()) == set(), "the list names what nobody imports any more"


def test_modules_of_a_repeated_mount_and_of_one_with_options(installed_home: Home) -> None:
    installed_home.plugin()
    for words in (["--volumeopts=size=1"], [], ["--explicitcreate=true"]):
        modules = imported(installed_home, "mount", *CALL, *words)
        assert modules - HOOK_WAY - WHERE_IT_MAY_HANG == set()
        assert modules & NEVER == set()


def test_modules_of_the_list_that_programs_ask_for(installed_home: Home) -> None:
    installed_home.mount("v", "local")
    assert imported(installed_home, "list", "--json") & NEVER == set()


def test_modules_of_an_isolators_calls(installed_home: Home) -> None:
    installed_home.plugin().add("v")
    isolator = Isolator(installed_home)
    where = {"CONTAINERPATH": "data", "CONTAINERPATH1": "more"}
    given = variables(NAME="v", DRIVER="plug", NAME1="w", DRIVER1="plug", MODE="ro", **where)
    requests = {
        "mount": isolator.request("c1", given), "unmount": isolator.envelope(container_id=["c1"]),
        "recover": isolator.envelope(containers=[], orphans=[]),
    }  # fmt: skip
    for verb, request in requests.items():
        modules = imported(installed_home, verb, "--isolator", stdin=json.dumps(request).encode())
        usual = HOOK_WAY | ISOLATOR_WAY | WHERE_IT_MAY_HANG | (RECOVER_WAY if verb == "recover" else set())
        assert modules - usual == set()
        assert modules & NEVER == set()


@pytest.mark.namespace
def test_modules_of_a_bind(installed_home: Home) -> None:
    source, target = installed_home.root / "source", installed_home.root / "target"
    source.mkdir()
    target.mkdir()
    word = json.dumps({"source": str(source), "base": str(target), "path": ""})
    prefix = ("unshare", "--mount", "--propagation=slave")
    modules = imported(installed_home, "bind", "--outside=mnt:[1]", "--make-slave", word, prefix=prefix)
    assert modules - BIND_WAY - WHERE_IT_MAY_HANG == set()
    assert modules & NEVER == set()


def test_the_launcher_imports_no_more_than_that(installed_home: Home) -> None:
    installed_home.plugin()

    def told(*argv: str | Path) -> set[str]:
        words = [PYTHON, "-I", "-S", "-X", "importtime", *argv]
        done = subprocess.run(words, env=installed_home.env, capture_output=True, check=True)
        return {line.rpartition("|")[2].strip() for line in done.stderr.decode().splitlines()}

    bare = told("-c", "pass")
    for verb in ("mount", "unmount"):
        modules = told(COMMAND, verb, *CALL)
        assert "dvdcli.hook" in modules
        assert modules - bare - HOOK_WAY - WHERE_IT_MAY_HANG == set()


# The caller's environment and directory


def traps(folder: Path, marker: Path) -> None:
    """Fill *folder* with modules that nobody means to import: each leaves *marker* and raises."""
    folder.mkdir()
    text = (  # posix is built in, and open() is not there yet where encodings is imported
        f"import posix\nposix.write(posix.open({str(marker)!r}, {os.O_WRONLY | os.O_CREAT | os.O_APPEND}), "
        "(__name__ + '\\n').encode())\nraise SystemExit('trapped by ' + __name__)\n"
    )
    names = [
        "click", "codecs", "dvdcli", "encodings", "fcntl", "importlib", "io", "json", "os", "posixpath", "re", "rich",
        "site", "sitecustomize", "socket", "stat", "tempfile", "tomllib", "typing", "usercustomize",
    ]  # fmt: skip
    for name in names:
        (folder / f"{name}.py").write_text(text)
    for name in ("dvdcli", "encodings", "importlib"):
        (folder / "packages" / name).mkdir(parents=True)
        (folder / "packages" / name / "__init__.py").write_text(text)
    (folder / "python3").write_text(f"#!/bin/sh\necho python3 >> '{marker}'\nexit 99\n")
    (folder / "python3").chmod(0o755)


def hostile(folder: Path) -> dict[str, str]:
    return {
        "PYTHONPATH": f"{folder}:{folder}/packages",
        "PYTHONHOME": str(folder),
        "PYTHONSTARTUP": str(folder / "re.py"),
        "PYTHONOPTIMIZE": "2",
        "PYTHONSAFEPATH": "",
        "PYTHONINSPECT": "1",
        "PYTHONVERBOSE": "1",
        "PYTHONWARNINGS": "error",
        "PYTHONDEVMODE": "1",
        "PYTHONUSERBASE": str(folder),
        "PYTHONPLATLIBDIR": "nowhere",
        "PYTHONBREAKPOINT": "os.abort",
        "PYTHONIOENCODING": "ascii:strict",
        "PYTHONEXECUTABLE": str(folder / "python3"),
        "PYTHONPYCACHEPREFIX": str(folder / "cache"),
        "PYTHONMALLOC": "nonsense",
        "PYTHONHASHSEED": "nonsense",
        "PYTHONPROFILEIMPORTTIME": "1",
    }


def outcome(home: Home, plugin: Plugin, **surroundings: object) -> list[tuple[int, str, str]]:
    """Return what calls by both doors came to."""
    calls = [
        ["mount", *CALL],
        ["mount", *CALL, "--hold", "me"],
        ["list"],
        ["list", "--volumedriver=plug"],
        ["recover"],
        ["unmount", *CALL, "--hold", "me"],
        ["unmount", *CALL],
        ["list"],
        ["mount", "--volumedriver=plug"],
        ["nonsense"],
        ["mount", "--help"],
    ]
    done = [home.run(*call, **surroundings) for call in calls]  # type: ignore[arg-type]
    assert plugin.mounted() == []
    return [(each.code, re.sub(r" \d+s +", " ", each.out), each.err) for each in done]  # whatever age a mount has


def test_environment_and_directory_of_the_caller_have_no_effect(installed_home: Home) -> None:
    plugin = installed_home.plugin()
    expected = outcome(installed_home, plugin)
    assert [code for code, _, _ in expected] == [0] * 8 + [2, 2, 0]
    assert all(err == "" for _, _, err in expected[:8])
    marker, folder = installed_home.root / "marker", installed_home.root / "trap"
    traps(folder, marker)
    assert outcome(installed_home, plugin, env=hostile(folder)) == expected
    assert outcome(installed_home, plugin, cwd=folder) == expected
    assert outcome(installed_home, plugin, cwd=folder, env=hostile(folder)) == expected
    path = {"PATH": f"{folder}:{folder}/packages:{installed_home.env['PATH']}"}
    assert outcome(installed_home, plugin, cwd=folder, env={**hostile(folder), **path}) == expected
    assert not marker.exists(), marker.read_text()
    assert not (folder / "cache").exists()


def test_the_traps_would_catch_a_plain_interpreter(installed_home: Home) -> None:
    marker, folder = installed_home.root / "marker", installed_home.root / "trap"
    traps(folder, marker)
    env = {"PYTHONPATH": str(folder), "PATH": installed_home.env["PATH"]}
    done = subprocess.run([PYTHON, "-m", "dvdcli"], env=env, cwd=folder, capture_output=True, check=False)
    assert done.returncode != 0
    assert marker.exists()


# Where the command is called from


def test_what_pip_installed_is_the_launcher_byte_for_byte() -> None:
    assert COMMAND.read_bytes() == SOURCE.read_bytes()
    assert os.access(COMMAND, os.X_OK)


def by_call(home: Home, argv: list[str | Path], **options: object) -> Done:
    """Mount and unmount with *argv* in front, and return what the mount came to."""
    done = {}
    for verb in ("mount", "unmount", "version"):
        words = [*argv, verb, *(CALL if verb != "version" else [])]
        env = {**home.env, **options.get("env", {})}  # type: ignore[dict-item]
        process = subprocess.Popen(
            words, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            **{key: value for key, value in options.items() if key != "env"},
        )  # type: ignore[call-overload]  # fmt: skip
        done[verb] = home.finish(process)
        assert (done[verb].code, done[verb].err) == (0, ""), (verb, done[verb])
    assert done["version"].out.startswith("Binary: ")
    return done["mount"]


def mounted_at(home: Home, plugin: Plugin, argv: list[str | Path], **options: object) -> None:
    assert by_call(home, argv, **options).out == f"{home.root}/mnt/v1-{abs(hash('v')) % 10**8}\n"
    assert plugin.mounted() == []


@pytest.fixture
def plugin(installed_home: Home) -> Plugin:
    return installed_home.plugin()


@pytest.mark.parametrize("target", ["absolute", "relative", "chain"])
def test_called_through_a_symlink(installed_home: Home, plugin: Plugin, target: str) -> None:
    folder = installed_home.root / "links"
    folder.mkdir()
    link = folder / "dvdcli"
    first = COMMAND if target != "relative" else Path(os.path.relpath(COMMAND, folder))
    if target == "chain":
        (folder / "other").symlink_to(first)
        first = Path("other")
    link.symlink_to(first)
    mounted_at(installed_home, plugin, [link])
    mounted_at(installed_home, plugin, ["./links/dvdcli"], cwd=installed_home.root)
    mounted_at(installed_home, plugin, ["dvdcli"], env={"PATH": f"{folder}:/usr/bin:/bin"}, executable=link)


def test_called_by_a_relative_path(installed_home: Home, plugin: Plugin) -> None:
    mounted_at(installed_home, plugin, ["./dvdcli"], cwd=COMMAND.parent)
    mounted_at(installed_home, plugin, ["../bin/dvdcli"], cwd=COMMAND.parent)
    mounted_at(installed_home, plugin, [os.path.relpath(COMMAND, installed_home.root)], cwd=installed_home.root)


def test_found_on_path_by_a_shell(installed_home: Home, plugin: Plugin) -> None:
    for path in (f"{COMMAND.parent}:/usr/bin:/bin", f"/nowhere:{COMMAND.parent}", f"{COMMAND.parent}"):
        mounted_at(installed_home, plugin, ["/bin/sh", "-c", 'dvdcli "$@"', "sh"], env={"PATH": path})


def test_called_without_any_environment(installed_home: Home) -> None:
    done = subprocess.run([COMMAND, "version"], env={}, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize("on_path", [False, True], ids=["absolute", "PATH"])
def test_called_from_a_directory_that_is_gone(installed_home: Home, plugin: Plugin, on_path: bool) -> None:
    gone = installed_home.root / "gone"
    name = "dvdcli" if on_path else str(COMMAND)
    for verb in ("mount", "unmount"):
        gone.mkdir()
        script = f'rmdir "{gone}" && PATH="{COMMAND.parent}:$PATH" && exec "{name}" {verb} "$@"'
        done = installed_home.finish(subprocess.Popen(
            ["/bin/sh", "-c", script, "sh", *CALL], env=installed_home.env, cwd=gone, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        ))  # fmt: skip
        assert done.code == 0
        # dash itself says, before it reads a line of the launcher, that there is no such directory.
        assert [line for line in done.err.splitlines() if "getcwd" not in line] == []
    assert plugin.names() == ["Get", "Create", "Mount", "Get", "Unmount"]


# Installed otherwise

EXECVE = "import os, sys; os.execve('dvdcli', ['dvdcli', *sys.argv[1:]], os.environ)"


def environment(root: Path, *, package: bool) -> Path:
    """Make an environment at *root* with the launcher, and with dvdcli in it or not; return the launcher."""
    site = root / Path(SITE).relative_to(Path(sys.prefix))
    (root / "bin").mkdir(parents=True)
    site.mkdir(parents=True)
    shutil.copy(SOURCE, root / "bin" / "dvdcli")
    shutil.copy(Path(sys.prefix) / "pyvenv.cfg", root)
    (root / "bin" / "python3").symlink_to(PYTHON.resolve())
    for item in Path(SITE).iterdir():
        if package or not item.name.startswith("dvdcli"):
            (site / item.name).symlink_to(item)
    return root / "bin" / "dvdcli"


def test_installed_below_a_directory_with_a_space_in_its_name(installed_home: Home, plugin: Plugin) -> None:
    root = installed_home.root / "my 'own' $HOME/bin/é x"
    launcher = environment(root, package=True)
    mounted_at(installed_home, plugin, [launcher])
    mounted_at(installed_home, plugin, ["./bin/dvdcli"], cwd=root)
    (installed_home.root / "a link").symlink_to(launcher)
    mounted_at(installed_home, plugin, [installed_home.root / "a link"])


@pytest.mark.parametrize("first", [["/bin/sh"], []], ids=["sh", "execve"])
def test_called_by_a_bare_name_that_is_not_on_path(installed_home: Home, plugin: Plugin, first: list[str]) -> None:
    # execve("dvdcli"), a name without a slash: the kernel hands exactly that to the launcher.
    folder = environment(installed_home.root / "env", package=True).parent
    (folder / "__main__.py").write_text("raise SystemExit('trapped')\n")
    call: list[str | Path] = [*first, "dvdcli"] if first else [sys.executable, "-c", EXECVE]
    mounted_at(installed_home, plugin, call, cwd=folder, env={"PATH": "/usr/bin:/bin"})


def test_an_editable_install_is_found(installed_home: Home, plugin: Plugin) -> None:
    launcher = environment(installed_home.root / "env", package=False)
    site = installed_home.root / "env" / Path(SITE).relative_to(Path(sys.prefix))
    (site / "_dvdcli.pth").write_text(f"{Path(__file__).parents[1]}\n")
    mounted_at(installed_home, plugin, [launcher])


def test_an_environment_without_dvdcli_says_so(installed_home: Home) -> None:
    launcher = environment(installed_home.root / "env", package=False)
    done = subprocess.run([launcher, "version"], env=installed_home.env, capture_output=True, check=False)
    assert done.returncode == 1
    assert b"No module named 'dvdcli'" in done.stderr


def test_a_launcher_without_a_python_beside_it_takes_the_systems(installed_home: Home) -> None:
    (installed_home.root / "bin").mkdir()
    launcher = installed_home.root / "bin" / "dvdcli"
    shutil.copy(SOURCE, launcher)
    site = installed_home.root / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"
    site.mkdir(parents=True)
    (site / "dvdcli").symlink_to(Path(SITE) / "dvdcli")
    system = Path("/usr/bin/python3")
    version = [system, "-c", "import sys; print(*sys.version_info[:2], sep='.')"]
    if not system.exists() or subprocess.run(version, capture_output=True, check=True).stdout.decode().strip() != (
        f"{sys.version_info[0]}.{sys.version_info[1]}"
    ):
        pytest.skip("no /usr/bin/python3 of this release")
    done = subprocess.run([launcher, "unmount", *CALL], env=installed_home.env, capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (0, b"")
