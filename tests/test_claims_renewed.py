"""A mount that has to finish an unmount first takes the claim on its disk anew: it went with the record before."""

from __future__ import annotations

import pytest

from tests.worlds import WORLDS, close_after_failure

pytestmark = pytest.mark.root


@pytest.mark.parametrize("name", WORLDS)
def test_a_mount_that_finishes_an_unmount_first_has_its_claim(command, name):
    world = WORLDS[name](command)
    try:
        world.mount("v", *world.options)
        [hold] = (world.home.slot("v", world.driver) / "holds").iterdir()
        hold.unlink()  # as an unmount does that is killed right after
        world.mount("v", *world.options)
        assert world.check_agreement() == ["v"]
        assert world.call("unmount").code == 0
        assert world.check_agreement() == []
    except BaseException:
        close_after_failure(world)
        raise
    world.close()
