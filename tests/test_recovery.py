"""Recover and real mount namespaces: what somebody still has mounted is left alone, and named."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.doubles.plugin import Plugin, Reply, err
from tests.gate import Gate, flags

IN_USE = 4


class Container:
    """A process in a mount namespace of its own, which first makes *path* private or a slave, and runs *setup* (sh)."""

    def __init__(self, propagation: str, path: str, setup: str = ":") -> None:
        script = f"mount --make-{propagation} {path} && {setup} && echo ready && read gone"
        line = ["unshare", "--mount", "--propagation=unchanged", "sh", "-c", script]
        self.process = subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self.process.stdout.readline() == b"ready\n"

    def stop(self) -> None:
        self.process.communicate(b"\n")


@pytest.fixture
def plugin(home):
    return home.plugin(real=True)


def failed_unmount(home, plugin):
    plugin.next("Unmount", err("device is busy"))
    assert home.unmount().code == 1


@pytest.mark.root
def test_a_bind_in_a_container_keeps_the_volume(home, plugin):
    path = home.mount().out.strip()
    target = home.root / "sandbox"
    target.mkdir()
    container = Container("slave", path, f"mount --rbind {path} {target}")
    failed_unmount(home, plugin)
    done = home.recover()
    assert (done.code, done.err.count("\n")) == (IN_USE, 1)
    assert f"at {target}" in done.err
    assert plugin.mounted() == ["v"]
    assert Path(path).is_mount()
    container.stop()
    assert home.recover().code == 0
    assert plugin.mounted() == []
    assert home.leftovers() == []


@pytest.mark.root
def test_a_private_copy_in_a_container_keeps_the_volume(home, plugin):
    path = home.mount().out.strip()
    container = Container("private", path)
    failed_unmount(home, plugin)
    done = home.recover()
    assert (done.code, f"pid {container.process.pid} at {path}" in done.err) == (IN_USE, True)
    assert plugin.mounted() == ["v"]
    container.stop()
    assert home.recover().code == 0
    assert plugin.mounted() == []


@pytest.mark.root
def test_a_copy_that_goes_with_the_hosts_does_not_keep_it(home, plugin):
    container = Container("slave", home.mount().out.strip())
    failed_unmount(home, plugin)
    assert home.recover().code == 0
    assert plugin.mounted() == []
    container.stop()


@pytest.mark.root
def test_a_bind_on_the_host_keeps_the_volume(home, plugin):
    path = home.mount().out.strip()
    elsewhere = home.root / "elsewhere"
    elsewhere.mkdir()
    subprocess.run(["mount", "--bind", path, elsewhere], check=True)
    failed_unmount(home, plugin)
    done = home.recover()
    assert (done.code, str(elsewhere) in done.err) == (IN_USE, True)
    subprocess.run(["umount", elsewhere], check=True)
    assert home.recover().code == 0


def test_one_volume_that_cannot_be_finished_does_not_stop_the_others(home):
    plugin = home.plugin()
    for name in ("a", "b", "c"):
        home.mount(name)
    home.reboot()
    plugin.next("Unmount", err("device is busy"))
    done = home.recover()
    assert (done.code, done.err.count("\n"), done.out.count("unmounted")) == (1, 1, 2)
    assert [row["name"] for row in home.mounts()] == ["a"]
    again = home.recover("--json")
    assert '"action": "unmounted"' in again.out
    assert home.leftovers() == []


def test_a_dead_plugin_costs_recover_little_and_loses_nothing(home):
    plugin = home.plugin()
    home.mount()
    home.reboot()
    plugin.stop()
    done = home.recover()
    assert (done.code, "cannot be reached" in done.err) == (5, True)
    assert home.record()["status"] == "mounted"
    Path(plugin.where[5:]).unlink()
    plugin.listen()
    assert home.recover().code == 0
    assert not plugin.volumes["v"].attached


@pytest.mark.parametrize("where", ["unix", "tcp"])
def test_a_mount_that_the_plugin_finishes_late_is_not_forgotten(home, where):
    """Killed during Mount, unmounted while the plugin is still at it: recover asks again until nothing can come."""
    plugin = home.plugin() if where == "unix" else Plugin("tcp", home.root / "mnt")
    home.plugins.append(plugin)
    (home.specs / "plug.spec").write_text(plugin.url)
    plugin.add("v")
    with Gate(plugin, "Mount") as gate:
        process = home.start("mount", *flags())
        gate.wait()
        process.kill()
        process.communicate()
        assert home.unmount().code == 0
        assert [row["status"] for row in home.mounts()] == ["unmounting"]
        waits = home.recover("-v")
        assert (waits.code, waits.out, "can still be under way" in waits.err) == (0, "", True)
    plugin.wait_idle()
    assert plugin.mounted() == ["v"]
    assert home.recover().code == 0
    assert plugin.mounted() == []
    assert home.leftovers() == []


def _lose_the_answer(home):
    """Have a plugin behind TCP, whose next answer to a mount is lost."""
    plugin = Plugin("tcp", home.root / "mnt")
    home.plugins.append(plugin)
    (home.specs / "plug.spec").write_text(plugin.url)
    plugin.add("v")
    plugin.next("Mount", Reply(raw=b""))


def test_a_mount_that_never_comes_is_forgotten_after_a_while(home):
    """Over TCP nobody can see whether the plugin is still at work: two minutes are enough."""
    _lose_the_answer(home)
    assert home.mount().code == 5
    assert home.recover().out == ""
    assert [row["status"] for row in home.mounts()] == ["unmounting"]
    assert home.run("remove", *flags()).code == 5
    home.age()
    assert home.recover().out.startswith("plug/v: unmounted")
    assert home.leftovers() == []


@pytest.mark.root
def test_a_mount_that_never_comes_is_forgotten_whatever_the_clock_was_then(home):
    """It was given up in a time namespace where 40 days more have passed since the boot."""
    _lose_the_answer(home)
    ahead = ["unshare", "--time", "--boottime", str(40 * 86400)]
    line = [*ahead, home.command, "mount", *flags()]
    assert subprocess.run(line, env=home.env, capture_output=True, check=False).returncode == 5
    then = home.record()["since"]["uptime"]
    assert home.recover().out == ""
    assert [row["status"] for row in home.mounts()] == ["unmounting"]
    assert home.record()["since"]["uptime"] < then - 86400, "it counts from now on"
    home.age()
    assert home.recover().out.startswith("plug/v: unmounted")
    assert home.leftovers() == []


def test_a_mount_goes_on_where_the_last_one_was_given_up(home):
    plugin = Plugin("tcp", home.root / "mnt")
    home.plugins.append(plugin)
    (home.specs / "plug.spec").write_text(plugin.url)
    plugin.next("Mount", Reply(raw=b""))
    assert home.mount().code == 5
    assert home.mount().code == 0
    assert home.mounts()[0]["status"] == "mounted"
    assert home.unmount().code == 0
    assert home.leftovers() == []


def test_a_plugin_whose_path_is_an_error_where_nothing_is_mounted(home):
    plugin = home.plugin()
    home.mount()
    plugin.always["Path"] = err("volume v is not mounted")
    plugin.reboot()
    assert home.mount("v", "plug", "--hold=b").code == 0
    assert home.run("path", *flags()).code == 0
    plugin.reboot()
    assert home.run("path", *flags()).code == 1
    home.reboot()
    assert home.recover().code == 0
    assert not plugin.volumes["v"].attached
    assert home.leftovers() == []


def test_two_recovers_at_once_are_harmless(home):
    plugin = home.plugin()
    for number in range(6):
        home.mount(f"v{number}")
    home.reboot()
    processes = [home.start("recover") for _ in range(4)]
    assert {home.finish(process).code for process in processes} == {0}
    assert not any(volume.attached for volume in plugin.volumes.values())
    assert plugin.names().count("Unmount") == 6
    assert home.recover().out == ""
    assert home.leftovers() == []


def test_a_state_that_is_not_there_yet_is_an_empty_one(home):
    for args in (("recover",), ("list",), ("recover", "--dry-run")):
        done = home.run(*args)
        assert (done.code, done.out, done.err) == (0, "", "")
    assert home.unmount("v", "nobody").code == 0
    assert home.leftovers() == []


def test_a_pinned_provider_that_has_gone_is_said(home):
    home.plugin()
    home.mount()
    home.edit_record(provider="uninstalled")
    done = home.run("unmount", *flags())
    assert (done.code, "'uninstalled'" in done.err, done.err.count("\n")) == (3, True, 1)
    assert home.recover().code == 3
