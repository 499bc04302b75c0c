"""What destroys or forgets asks first on a terminal, and elsewhere does nothing that was not asked for in full."""

from __future__ import annotations

import pytest

from tests.conftest import Home
from tests.expect import on_terminal, refused
from tests.gate import flags
from tests.sized import Sized

FAILURE, USAGE, NOT_FOUND = 1, 2, 3


def test_remove_asks_on_a_terminal(home: Home) -> None:
    plugin = home.plugin()
    plugin.add("v")
    plugin.add("w")
    remove = ("remove", *flags("v", "plug"))
    for answer in ("n\n", "\n", "no\n"):
        shown = on_terminal(home, *remove, typed=answer, code=FAILURE)
        assert "Destroy plug/v and all data in it?" in shown
        assert "nothing was changed" in shown
    assert "Remove" not in plugin.names()
    assert "Destroy" not in on_terminal(home, *remove, "--yes", typed="x")
    assert list(plugin.volumes) == ["w"]
    on_terminal(home, "remove", *flags("w", "plug"), typed="y\n")
    assert list(plugin.volumes) == []


def test_remove_does_as_the_go_dvdcli_elsewhere(home: Home) -> None:
    plugin = home.plugin()
    plugin.add("v")
    assert home.run("remove", *flags("v", "plug")).code == 0
    assert list(plugin.volumes) == []


@pytest.mark.root
def test_resize_asks_or_needs_to_be_told(sized: Sized) -> None:
    sized.create("16M")
    resize = ["resize", *flags("v", "local"), "--volumeopts=size=32M"]
    assert "--yes" in refused(sized.home.run(*resize), USAGE)
    shown = on_terminal(sized.home, *resize, typed="n\n", code=FAILURE)
    assert "Make local/v larger to 32M?" in shown
    assert sized.image().stat().st_size == 16 << 20
    on_terminal(sized.home, *resize, typed="y\n")
    assert sized.image().stat().st_size == 32 << 20


def test_forget_drops_the_record_and_touches_no_storage(home: Home) -> None:
    plugin = home.plugin()
    home.mount("a/v")
    assert "--yes" in refused(home.run("forget", "plug/a/v"), USAGE)
    calls = len(plugin.calls)
    shown = on_terminal(home, "forget", "plug/a/v", typed="n\n", code=FAILURE)
    assert "Forget plug/a/v, held by host?" in shown
    assert len(home.mounts()) == 1
    done = home.run("forget", "plug/a/v", "--yes")
    assert (done.code, done.out, done.err) == (0, "", "")
    assert home.leftovers() == []
    assert len(plugin.calls) == calls
    assert plugin.mounted() == ["a/v"]
    assert "plug/a/v" in refused(home.run("forget", "plug/a/v", "--yes"), NOT_FOUND)
    refused(home.run("forget", "v", "--yes"), USAGE)


def test_forget_finishes_what_a_killed_forget_left(home: Home) -> None:
    assert home.mount(driver="local").code == 0
    (home.slot(driver="local") / "record.json").unlink()  # the first of its steps
    assert home.run("forget", "local/v", "--yes").code == 0
    assert home.recover().out == ""
    assert home.leftovers() == []
    refused(home.run("forget", "local/v", "--yes"), NOT_FOUND)


def test_forget_of_a_driver_that_is_gone(home: Home) -> None:
    plugin = home.plugin()
    home.mount()
    plugin.close()
    home.plugins.clear()
    assert home.unmount("v", "plug", "--timeout=1").code != 0
    assert home.recover().code != 0
    assert home.run("forget", "plug/v", "-y").code == 0
    assert home.leftovers() == []
    assert home.recover().code == 0


def test_forget_of_what_is_damaged_keeps_what_was_set_aside(home: Home) -> None:
    home.mount("v", "local")
    record = home.slot("v", "local") / "record.json"
    record.write_text("{")
    assert home.run("forget", "local/v", "-y").code == 0
    assert home.mounts() == []
    assert [path.name for path in home.slot("v", "local").iterdir()] == ["record.json.corrupt-0"]


@pytest.mark.root
def test_forget_frees_the_claim_and_leaves_the_mount(sized: Sized) -> None:
    assert sized.mount("size=16M").code == 0
    shown = on_terminal(sized.home, "forget", "local/v", typed="y\n")
    assert f"which stays mounted at {sized.path()}?" in shown.replace("\n", "")
    assert sized.path().is_mount()
    assert sized.home.leftovers() == []
    assert sized.mount().code == 0  # found again where it is
    assert sized.unmount().code == 0
    assert sized.left() == []
