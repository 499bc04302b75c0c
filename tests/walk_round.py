"""One scene of a crash walk, hit again and again: in one world, as long as that can be used for the next hit."""

from __future__ import annotations

import subprocess
import traceback
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, Protocol, TypeVar

from tests import scenes
from tests.scenes import Scene
from tests.walk import LEVEL


class AnyHit(Protocol):
    """One way to hit a call."""

    @property
    def then(self) -> str:
        """What is done next."""

    @property
    def counted(self) -> str:
        """What it is counted as in the walk's report."""


Hit = TypeVar("Hit", bound=AnyHit)


class Round:
    """A round of hits on the scene *name* of *world*. *failures* are what is wrong already; the scene may be made."""

    def __init__(self, world: str, name: str, scene: Scene | None = None, failures: Iterable[str] = ()) -> None:
        self.world, self.name, self.scene = world, name, scene
        self.failures = list(failures)
        self.counts: Counter[str] = Counter()

    def go(self, hits: Iterable[Hit], strike: Callable[[Scene, Hit], subprocess.CompletedProcess[bytes]]) -> None:
        """Make the call with each of *hits*, by *strike*, and see that all is right afterwards."""
        for hit in hits:
            try:
                self._hit(hit, strike)
            except Exception as error:
                why = "".join(traceback.format_exception(error.__cause__ or error)[-4:])
                self.failures.append(f"{self.world} {self.name}, {hit}: {error!r}\nbecause\n{why}")
                self.scene = None
                if LEVEL == "sample":
                    break

    def _hit(self, hit: Hit, strike: Callable[[Scene, Hit], subprocess.CompletedProcess[bytes]]) -> None:
        scene = self.scene = scenes.make(self.world, self.name, self.scene)
        try:
            done = strike(scene, hit)
        except BaseException:
            scene.give_up()
            raise
        self.counts[hit.counted] += 1
        scene.finish(done, hit, hit.then)
        if not scene.reusable:
            self.scene = None

    def end(self, record_property: Any) -> None:
        """Take the world down, and fail with all that was wrong."""
        if self.scene is not None:
            self.scene.close()
        record_property("walked", {"world": self.world, "scene": self.name, "counts": dict(self.counts)})
        assert not self.failures, "\n\n".join(self.failures)
