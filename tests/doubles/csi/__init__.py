"""A stateful double of a CSI driver: gRPC on Unix sockets, from processes that can be killed, with real mounts.

It enforces what the specification asks of whoever calls a driver, and refuses what a driver may refuse. What no right
caller does is recorded in `faults`. Volumes are images on loop devices; the storage system's books and each node's are
files, so that a driver that was killed goes on from them.
"""

from tests.doubles.csi.books import Volume
from tests.doubles.csi.control import Answer, Die, Drop, Fail, Hang, Instead, Slow
from tests.doubles.csi.driver import Driver, Plugin
from tests.doubles.csi.settings import CONTROLLER, NODE, Settings

__all__ = [
    "CONTROLLER", "NODE", "Answer", "Die", "Driver", "Drop", "Fail", "Hang", "Instead", "Plugin", "Settings", "Slow",
    "Volume",
]  # fmt: skip
