"""What the state survives: damage, newer schemas, names with one hash, directories that others can write."""

from __future__ import annotations

import json
import os
import subprocess

import pytest

from dvdcli import locks
from dvdcli.clock import Deadline
from tests.gate import flags

STATE = 6


def damage(home, text='{"schema": 1, "driv', name="v"):
    (home.slot(name) / "record.json").write_text(text)


@pytest.mark.parametrize("text", ["", '{"schema": 1, "driv', "[]", '{"schema": 1}', '{"schema": 1, "name": 7}', "\0\0"])
def test_a_damaged_record_is_set_aside_and_rebuilt_from_its_holds(home, text):
    plugin = home.plugin()
    path = home.mount().out
    damage(home, text)
    done = home.mount("v", "plug", "--hold=b")
    assert (done.code, done.out) == (0, path)
    assert "was damaged" in done.err
    assert done.err.count("\n") == 1
    assert (home.slot() / "record.json.corrupt-0").read_text() == text
    assert home.mounts()[0]["holds"] == ["name:b", "name:host"]
    assert home.unmount("v", "plug", "--hold=b").code == 0
    assert plugin.mounted() == ["v"]
    assert home.unmount().code == 0
    assert plugin.mounted() == []


def test_damage_is_numbered_and_nothing_of_it_is_lost(home):
    home.plugin()
    for text in ("one", "two"):
        home.mount()
        damage(home, text)
        home.unmount()
    kept = {path.name: path.read_text() for path in home.slot().glob("*.corrupt-*")}
    assert kept == {"record.json.corrupt-0": "one", "record.json.corrupt-1": "two"}


def test_a_damaged_record_without_holds_is_still_unmounted(home):
    """Attached but not mounted, nothing readable: the plugin is asked to unmount all the same."""
    plugin = home.plugin()
    home.mount()
    damage(home)
    for hold in (home.slot() / "holds").iterdir():
        hold.unlink()
    plugin.reboot()
    assert home.unmount().code == 0
    assert not plugin.volumes["v"].attached


def test_recover_undoes_a_damaged_record_without_holds(home):
    plugin = home.plugin()
    home.mount()
    damage(home)
    (home.slot() / "holds" / "name:host.json").unlink()
    (home.state / "pending" / "plug" / "v").touch()
    planned = home.recover("--dry-run")
    assert "its record was damaged" in planned.out
    assert not list(home.slot().glob("*.corrupt-*"))
    done = home.recover()
    assert (done.code, "unmounted" in done.out) == (0, True)
    assert plugin.mounted() == []
    plugin.calls.clear()
    (home.state / "boot").unlink()
    assert home.recover().out == ""
    assert plugin.calls == []


def test_recover_completes_a_damaged_record_that_is_held(home):
    plugin = home.plugin()
    home.mount()
    damage(home)
    (home.state / "pending" / "plug" / "v").touch()
    assert home.recover().code == 0
    assert home.record()["status"] == "mounted"
    assert plugin.mounted() == ["v"]
    assert home.mounts()[0]["holds"] == ["name:host"]


def test_record_and_holds_all_damaged_keep_the_volume_in_use(home):
    plugin = home.plugin()
    home.mount("v", "plug", "--hold=a")
    damage(home)
    (home.slot() / "holds" / "name:a.json").write_text("")
    assert home.unmount("v", "plug", "--hold=b").code == 0
    assert plugin.mounted() == ["v"]
    assert home.unmount("v", "plug", "--hold=a").code == 0
    assert plugin.mounted() == []


@pytest.mark.parametrize("verb", ["mount", "unmount", "recover"])
def test_a_record_of_a_newer_schema_is_refused_and_not_touched(home, verb):
    plugin = home.plugin()
    home.mount()
    home.edit_record(schema=2)
    before = (home.slot() / "record.json").read_bytes()
    (home.state / "pending" / "plug" / "v").touch()
    done = home.run(verb, *(flags() if verb != "recover" else ()))
    assert (done.code, "newer dvdcli (schema 2)" in done.err) == (STATE, True)
    assert (home.slot() / "record.json").read_bytes() == before
    assert plugin.mounted() == ["v"]
    listed = home.run("list", "--json")
    assert (listed.code, json.loads(listed.out)["errors"][0]["code"]) == (STATE, STATE)


def test_the_record_of_another_volume_with_the_same_hash_is_refused(home):
    home.plugin()
    home.mount()
    path = home.slot() / "record.json"
    path.write_text(path.read_text().replace('"name": "v"', '"name": "w"'))
    done = home.unmount()
    assert (done.code, "is the record of plug/w" in done.err) == (STATE, True)


def test_a_long_name_is_recovered_although_its_file_name_does_not_tell_it(home):
    plugin = home.plugin()
    name = "n" * 1000
    home.mount(name)
    plugin.reboot()
    home.reboot()
    assert home.recover().code == 0
    assert not plugin.volumes[name].attached
    assert home.leftovers() == []


def test_a_state_directory_that_others_can_write_is_refused(home):
    home.plugin()
    home.state.mkdir()
    home.state.chmod(0o777)
    done = home.mount()
    assert (done.code, "others can write it" in done.err) == (STATE, True)


@pytest.mark.root
def test_a_state_directory_of_somebody_else_is_refused(home):
    home.plugin()
    home.state.mkdir()
    os.chown(home.state, 65534, 65534)
    assert home.mount().code == STATE


def test_a_relative_state_directory_is_refused(home):
    assert home.run("list", env={"DVDCLI_STATE_DIR": "here"}).code == 2


def test_what_is_ours_is_for_us_alone_whatever_the_umask(home):
    home.plugin()
    home.run("mount", *flags(), preexec_fn=lambda: os.umask(0))
    modes = {str(path.relative_to(home.state)): path.stat().st_mode & 0o777 for path in home.state.rglob("*")}
    assert {mode for name, mode in modes.items() if name.split("/")[0] in ("volumes", "pending")} == {0o700, 0o600}
    assert home.state.stat().st_mode & 0o777 == 0o711


def test_xdg_state_home_is_for_everyone_but_root(home, monkeypatch):
    from dvdcli import config

    monkeypatch.delenv("DVDCLI_STATE_DIR", raising=False)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("XDG_STATE_HOME", "/xdg")
    assert (config.state_directory(), config.mounts_directory()) == ("/xdg/dvdcli", "/xdg/dvdcli-mounts")
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setenv("HOME", "/home/me")
    assert config.state_directory() == "/home/me/.local/state/dvdcli"
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert (config.state_directory(), config.mounts_directory()) == ("/var/lib/dvdcli", "/var/lib/dvdcli-mounts")


@pytest.mark.root
@pytest.mark.parametrize("verb", ["mount", "unmount"])
def test_a_full_disk(home, verb):
    """A mount changes nothing; letting go works all the same."""
    plugin = home.plugin()
    home.state.mkdir(0o711)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k,mode=711", "tmpfs", home.state], check=True)
    try:
        if verb == "unmount":
            assert home.mount().code == 0
        with open(home.state / "filler", "wb", 0) as filler:
            try:
                while True:
                    filler.write(b"x" * 4096)
            except OSError:
                pass
        done = home.run(verb, *flags())
        if verb == "mount":
            assert (done.code, "No space left" in done.err, done.err.count("\n")) == (STATE, True, 1)
        else:
            assert (done.code, done.err) == (0, "")
        assert plugin.mounted() == []
        assert home.leftovers() == ["filler"]
    finally:
        subprocess.run(["umount", home.state], check=True)


def test_waiting_for_a_lock_whose_directory_goes(tmp_path, monkeypatch):
    """filelock makes the directory, finds that it is there, and looks again when it is not any more."""
    import filelock

    def gone(self):
        raise FileExistsError(17, "File exists", str(tmp_path))

    monkeypatch.setattr(filelock.FileLock, "acquire", gone)
    locks.wait(str(tmp_path / "lock"), Deadline(5))
