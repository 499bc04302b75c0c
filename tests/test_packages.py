"""What is released: the wheel has its pages and completions, the .deb its files, its launcher is as sealed as ours.

`make dist` builds all of them and tries each; here is what takes no building.
"""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import Home
from tests.test_startup import HOOK_WAY, SITE, hostile, traps

ROOT = Path(__file__).parents[1]
LAUNCHER = ROOT / "tools" / "deb" / "dvdcli"
SHARED = {
    **{path: f"share/{path.relative_to(ROOT)}" for path in (ROOT / "man").glob("man?/*")},
    ROOT / "completions/dvdcli.bash": "share/bash-completion/completions/dvdcli",
    ROOT / "completions/_dvdcli": "share/zsh/site-functions/_dvdcli",
    ROOT / "completions/dvdcli.fish": "share/fish/vendor_completions.d/dvdcli.fish",
}
needs_dpkg = pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="dpkg-deb is not installed")


def test_the_installed_wheel_has_pages_and_completions() -> None:
    installed = {os.path.normpath(os.path.join(SITE, path)) for path in importlib.metadata.files("dvdcli") or []}
    for source, place in SHARED.items():
        path = os.path.join(sys.prefix, place)
        assert path in installed
        assert Path(path).read_bytes() == source.read_bytes()


@pytest.fixture(scope="module")
def deb(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A .deb with dvdcli alone inside, without what it imports."""
    folder = tmp_path_factory.mktemp("deb")
    for name in ("inside", "dist"):
        (folder / name).mkdir()
    for path in Path(SITE).glob("dvdcli*"):
        shutil.copytree(path, folder / "inside" / path.name, ignore=shutil.ignore_patterns("__pycache__"))
    argv = ["sh", ROOT / "tools" / "deb.sh", folder / "inside", "9.8.7", folder / "tree", folder / "dist"]
    subprocess.run(argv, env={**os.environ, "SOURCE_DATE_EPOCH": "1700000000"}, check=True)
    return folder / "dist" / "dvdcli_9.8.7-1_all.deb"


@needs_dpkg
def test_the_deb_has_every_file_in_its_place(deb: Path) -> None:
    listed = subprocess.run(["dpkg-deb", "--contents", deb], capture_output=True, check=True).stdout.decode()
    rows = [line.split(None, 5) for line in listed.splitlines()]
    files = {row[5].removeprefix("."): row[0] for row in rows}
    assert files["/usr/bin/dvdcli"] == "-rwxr-xr-x"
    assert files["/etc/dvdcli/"] == "drwxr-xr-x"
    assert {row[1] for row in rows} == {"root/root"}
    assert [name for name, mode in files.items() if mode[0] != "l" and (mode[5] == "w" or mode[8] == "w")] == []
    for place in SHARED.values():
        name = f"/usr/{place}".replace("site-functions", "vendor-completions")
        assert (f"{name}.gz" if "/man/" in name else name) in files
    units = "systemd/system/dvdcli-recover"
    for name in (f"{units}.service", f"{units}.timer", "dvdcli/dvdcli/cli.py"):
        assert f"/usr/lib/{name}" in files
    assert "/usr/share/doc/dvdcli/copyright" in files
    assert not [name for name in files if name.startswith("/var")], "dpkg would remove what it has brought"


@needs_dpkg
def test_the_debs_control_and_scripts(deb: Path, tmp_path: Path) -> None:
    subprocess.run(["dpkg-deb", "--control", deb, tmp_path / "control"], check=True)
    assert "Version: 9.8.7-1\n" in (tmp_path / "control" / "control").read_text()
    assert "Depends: python3 (>= 3.11)" in (tmp_path / "control" / "control").read_text()
    for script in ("postinst", "prerm", "postrm"):
        subprocess.run(["sh", "-n", tmp_path / "control" / script], check=True)
        if script != "postinst":
            assert "/var/" not in (tmp_path / "control" / script).read_text()


# The .deb's launcher


@pytest.fixture
def launcher(installed_home: Home) -> Path:
    """The launcher below a prefix of its own, with this environment's packages."""
    system = Path("/usr/bin/python3")
    done = subprocess.run([system, "-c", "import sys; print(sys.version_info[:2])"], capture_output=True, check=False)
    if done.stdout.decode().strip() != str(sys.version_info[:2]):
        pytest.skip("no /usr/bin/python3 of this release")
    for folder in ("usr/bin", "usr/lib"):
        (installed_home.root / folder).mkdir(parents=True)
    (installed_home.root / "usr/lib/dvdcli").symlink_to(SITE)
    return Path(shutil.copy(LAUNCHER, installed_home.root / "usr/bin/dvdcli"))


def calls(home: Home, launcher: Path, **surroundings: object) -> list[tuple[int, bytes, bytes]]:
    env = {**home.env, **surroundings.pop("env", {})}  # type: ignore[dict-item]
    words = (["mount", "--volumedriver=local", "--volumename=v"], ["unmount", "--volumedriver=local", "--volumename=v"])
    found = []
    for argv in (*words, ["list"], ["nonsense"]):
        done = subprocess.run([launcher, *argv], env=env, capture_output=True, check=False, **surroundings)  # type: ignore[call-overload]
        found.append((done.returncode, done.stdout, done.stderr))
    return found


def test_the_debs_launcher_minds_neither_environment_nor_directory(installed_home: Home, launcher: Path) -> None:
    expected = calls(installed_home, launcher)
    assert [code for code, _, _ in expected] == [0, 0, 0, 2]
    marker, folder = installed_home.root / "marker", installed_home.root / "trap"
    traps(folder, marker)
    assert calls(installed_home, launcher, env=hostile(folder), cwd=folder) == expected
    assert not marker.exists(), marker.read_text()
    (installed_home.root / "link").symlink_to(launcher)
    assert calls(installed_home, installed_home.root / "link") == expected


def test_the_debs_launcher_imports_no_more_than_a_call_needs(installed_home: Home, launcher: Path) -> None:
    installed_home.plugin()

    def told(*argv: str | Path) -> set[str]:
        words = ["/usr/bin/python3", "-IS", "-X", "importtime", *argv]
        done = subprocess.run(words, env=installed_home.env, capture_output=True, check=True)
        return {line.rpartition("|")[2].strip() for line in done.stderr.decode().splitlines()}

    modules = told(launcher, "mount", "--volumedriver=plug", "--volumename=v")
    assert "dvdcli.hook" in modules
    assert modules - told("-c", "pass") - HOOK_WAY == set()
