"""Many processes at once, on one volume and on many."""

from __future__ import annotations

import pytest

from tests.gate import flags


def all_at_once(home, calls):
    processes = [home.start(*call) for call in calls]
    done = [home.finish(process, 300) for process in processes]
    assert [d for d in done if d.code] == []
    return done


@pytest.mark.parametrize("count", [2, 10, 50])
def test_one_volume_is_mounted_once(home, count):
    plugin = home.plugin()
    done = all_at_once(home, [("mount", *flags())] * count)
    assert {d.out.strip() for d in done} == {plugin.volumes["v"].mountpoint}
    assert plugin.names().count("Mount") == 1
    assert plugin.names().count("Create") == 1
    done = all_at_once(home, [("unmount", *flags())] * count)
    assert plugin.names().count("Unmount") == 1
    assert home.leftovers() == []


@pytest.mark.parametrize("count", [2, 10, 50])
def test_different_volumes_do_not_meet(home, count):
    plugin = home.plugin()
    names = [f"v{number}" for number in range(count)]
    done = all_at_once(home, [("mount", *flags(name)) for name in names])
    assert [d.out.strip() for d in done] == [plugin.volumes[name].mountpoint for name in names]
    assert plugin.mounted() == sorted(names)
    all_at_once(home, [("unmount", *flags(name)) for name in names])
    assert plugin.mounted() == []
    assert home.leftovers() == []


@pytest.mark.parametrize("count", [2, 10, 50])
def test_holds_of_many_containers_come_and_go(home, count):
    """Half of the holds go while others come: the volume stays mounted all the time, and goes with the last."""
    plugin = home.plugin()
    home.mount("v", "plug", "--hold=keeper")
    calls = [("mount", *flags(), f"--hold=c{number}") for number in range(count)]
    calls += [("unmount", *flags(), f"--hold=c{number}") for number in range(count)]
    all_at_once(home, calls)
    assert plugin.names().count("Unmount") == 0
    assert plugin.names().count("Mount") == 1
    rest = [("unmount", *flags(), hold.replace("name:", "--hold=")) for hold in home.mounts()[0]["holds"]]
    all_at_once(home, rest)
    assert plugin.names().count("Unmount") == 1
    assert home.leftovers() == []


@pytest.mark.parametrize("count", [2, 10, 50])
def test_mounts_unmounts_and_recovers_at_once_end_consistent(home, count):
    plugin = home.plugin()
    calls = [("mount", *flags()), ("unmount", *flags()), ("recover",)] * (count // 2)
    all_at_once(home, calls)
    rows = home.mounts()
    assert plugin.mounted() == [row["name"] for row in rows]
    for row in rows:
        assert (row["status"], row["mountpoint"]) == ("mounted", plugin.volumes["v"].mountpoint)
    assert home.recover("--dry-run").out == ""
    home.unmount()
    assert plugin.mounted() == []
    assert home.leftovers() == []
