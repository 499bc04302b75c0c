"""`dvdcli recover --adopt`: what runs under another isolator becomes ours, without an unmount."""

from __future__ import annotations

import json

import pytest

from tests.expect import refused
from tests.isolators import Isolator
from tests.test_checkpoints import field, framed, mount

USAGE, FAILED = 2, 6


@pytest.fixture
def plugin(home):
    plugin = home.plugin()
    for name in ("a", "b"):
        plugin.add(name)
    return plugin


def listed(home, **containers):
    """Write docker/volume's checkpoints: which volumes each container has."""
    root = home.root / "checkpoints"
    for container, names in containers.items():
        (root / container).mkdir(parents=True)
        volumes = [{"driver": "plug", "name": name} for name in names]
        (root / container / "volumes").write_text(json.dumps({"volumes": volumes}))
    return f"--docker-volume-checkpoints={root}"


def adopt(home, *flags):
    return home.recover("--adopt", f"--dvdi-checkpoint={home.root}/no", *flags)


def holds(home):
    return {row["name"]: row["holds"] for row in home.mounts()}


def test_the_stock_isolators_mounts(home, plugin):
    for name in ("a", "b"):
        assert home.mount(name).code == 0
    where = listed(home, c1=["a", "b"], c2=["a"])
    done = adopt(home, where, "--dry-run")
    assert (done.code, done.out.count("would be adopted")) == (0, 3)
    assert holds(home) == {"a": ["name:host"], "b": ["name:host"]}
    done = adopt(home, where)
    assert (done.code, done.err, done.out.count("adopted")) == (0, "", 3)
    assert holds(home) == {"a": ["container:~/c1", "container:~/c2"], "b": ["container:~/c1"]}
    isolator = Isolator(home)
    assert isolator.recover([["c1"], ["c2"]]) == []
    assert isolator.cleanup("c1") == []
    assert plugin.mounted() == ["a"]
    assert isolator.cleanup("c2") == []
    assert plugin.names().count("Unmount") == 2
    assert home.leftovers() == []


def test_a_full_id_that_ends_in_it(home, plugin):
    assert home.mount("a").code == 0
    assert adopt(home, listed(home, leaf=["a"])).code == 0
    isolator = Isolator(home)
    assert isolator.recover([["root", "leaf"]]) == []
    assert plugin.mounted() == ["a"]
    assert isolator.cleanup(["root", "other"]) == []
    assert plugin.mounted() == ["a"]
    assert isolator.cleanup(["root", "leaf"]) == []
    assert home.leftovers() == []


def test_a_container_that_is_gone_when_the_agent_comes_back(home, plugin):
    assert home.mount("a").code == 0
    assert adopt(home, listed(home, c1=["a"])).code == 0
    assert Isolator(home).recover([["c2"]]) == []
    assert plugin.mounted() == []
    assert home.leftovers() == []


def test_mounts_of_the_go_dvdcli_have_no_record(home, plugin):
    plugin.volumes["a"].ids.add("go")
    plugin.volumes["a"].mountpoint = "/mnt/a"
    path = home.root / "dvdimounts.pb"
    path.write_bytes(
        framed(mount("c1", "plug", "a", field(4, "/mnt/a"), field(5, "size=5")) + mount("c2", "plug", "b"))
    )
    done = home.recover("--adopt", f"--dvdi-checkpoint={path}", f"--docker-volume-checkpoints={home.root}/no", "-v")
    assert done.code == 0
    assert "plug/a: adopted" in done.out
    assert "plug/b: skipped (it is not mounted any more)" in done.err
    assert holds(home) == {"a": ["container:~/c1"]}
    assert home.record("a")["path"] == "/mnt/a"
    assert home.record("a")["options"] == {"size": "5"}
    assert "Mount" not in plugin.names()


def test_agents_apart(home, plugin):
    assert home.mount("a").code == 0
    assert adopt(home, listed(home, c1=["a"]), "--agent-name=one").code == 0
    assert holds(home) == {"a": ["container@one:~/c1"]}
    assert Isolator(home, name="two").recover() == []
    assert Isolator(home, name="two").cleanup("c1") == []
    assert plugin.mounted() == ["a"]
    assert Isolator(home, name="one").cleanup("c1") == []
    assert plugin.mounted() == []


def test_twice_is_once(home, plugin):
    assert home.mount("a").code == 0
    where = listed(home, c1=["a"])
    for _ in range(2):
        assert adopt(home, where).code == 0
    assert holds(home) == {"a": ["container:~/c1"]}
    assert Isolator(home).cleanup("c1") == []
    assert adopt(home, where).code == 0, "what has ended since is not mounted any more"
    assert home.leftovers() == []


def test_other_holds_stay(home, plugin):
    assert home.mount("a", "plug", "--hold=backup").code == 0
    assert home.mount("a").code == 0
    assert adopt(home, listed(home, c1=["a"])).code == 0
    assert holds(home) == {"a": ["container:~/c1", "name:backup"]}


def test_what_cannot_be_adopted(home, plugin):
    where = listed(home, c1=["a", "x\0y", "z"])
    done = adopt(home, where)
    assert done.code == USAGE
    assert "control character" in done.err
    assert home.leftovers() == []


def test_a_damaged_checkpoint(home, plugin):
    (home.root / "bad").write_bytes(b"junk")
    refused(home.recover("--adopt", f"--dvdi-checkpoint={home.root}/bad"), 1)
    assert adopt(home, "--agent-name=a/b").code == USAGE


def test_only_where_it_is_asked_for(home, plugin):
    assert home.mount("a").code == 0
    listed(home, c1=["a"])
    assert home.recover().code == 0
    assert holds(home) == {"a": ["name:host"]}


def test_a_hold_that_was_taken_before_it_failed_is_the_containers(home, plugin):
    assert home.mount("a").code == 0
    in_the_way = home.slot("a") / "record.json.new"
    in_the_way.mkdir()
    where = listed(home, c1=["a"])
    assert adopt(home, where).code == FAILED
    assert holds(home) == {"a": ["container:~/c1", "name:host"]}
    in_the_way.rmdir()
    assert adopt(home, where).code == 0
    assert Isolator(home).cleanup("c1") == []
    assert home.leftovers() == []
