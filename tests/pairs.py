"""Two machines of one storage system, for tests that are the same for each that can take a volume from a host."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from tests.conftest import Done
from tests.csi import Cluster
from tests.csi import Machine as Member
from tests.doubles import csi, ec2, scaleio
from tests.ebs import Cloud
from tests.ebs import Machine as Instance
from tests.gate import flags
from tests.scaleio import Grid
from tests.scaleio import Machine as Node

Machine = Instance | Node | Member


class Pair:
    """The machines *a* and *b*, and the storage system that both have."""

    driver = ""
    size = 0  # of a new volume
    running = ""  # what an error says of a host that has the volume and is not stopped
    hint = "preempt"  # what an error says can be done where another host has the volume
    takes = True  # dvdcli takes a volume from another host, where it is told to, and sees when that is done to it
    a: Machine
    b: Machine

    def volume(self) -> Any:
        """Make the blank volume `v`, and return it: the double's own."""
        raise NotImplementedError

    def name(self, machine: Machine) -> str:
        """Return what the storage system calls *machine*."""
        raise NotImplementedError

    def holders(self) -> list[str]:
        """Return the names of the machines that the storage system has `v` attached to."""
        raise NotImplementedError

    def preempt(self, machine: Machine, policy: str) -> None:
        """Set the policy of *machine* for volumes that another has: never, stopped, force.

        Where dvdcli has none, who looks after the storage system does by hand what the policy allows.
        """
        raise NotImplementedError

    def lose_power(self, machine: Machine) -> None:
        """Let *machine* die, and the storage system not hear of it."""
        raise NotImplementedError

    def stop(self, machine: Machine) -> None:
        """Let the storage system hear that *machine*, which has died, is down."""
        raise NotImplementedError

    def taken_in_use(self, machine: Machine) -> None:
        """Say that `v` is about to be taken from *machine* while that uses it, which is else a sin."""

    def fail_to_detach(self) -> None:
        """Let the storage system fail with whatever detaches a volume, until it is healed."""
        raise NotImplementedError

    def heal(self) -> None:
        """Let the storage system work again."""
        raise NotImplementedError

    def await_another_attachment(self) -> None:
        """Wait until an attachment that is made now can be told from those that were."""

    def close(self) -> None:
        """Take everything down; raises AssertionError for what no right caller does."""
        raise NotImplementedError

    # What both share

    def call(self, machine: Machine, verb: str, *more: str) -> Done:
        return machine.run(verb, *flags("v", self.driver), *more)

    def new(self, machine: Machine) -> Done:
        """Mount `v` on *machine*, and make it for that."""
        return self.call(machine, "mount", f"--volumeopts=size={self.size}")


class EbsPair(Pair):
    """Two instances of one zone."""

    driver, size, running = "ebs", 1, "not stopped"

    def __init__(self, command: Path) -> None:
        self.cloud = Cloud(command)
        self.ec2 = self.cloud.ec2
        self.a, self.b = self.cloud.machine("a"), self.cloud.machine("b")
        self.close = self.cloud.close

    def volume(self) -> Any:
        return self.ec2.volume("v")

    def name(self, machine: Machine) -> str:
        return machine.host.id

    def holders(self) -> list[str]:
        [volume] = self.ec2.volumes.values()
        return [attachment.instance for attachment in volume.attachments]

    def preempt(self, machine: Machine, policy: str) -> None:
        machine.configure(f'preempt = "{policy}"')

    def lose_power(self, machine: Machine) -> None:
        machine.host.die()

    def stop(self, machine: Machine) -> None:
        self.ec2.stop(machine.host)

    def fail_to_detach(self) -> None:
        error = ec2.Error("InternalError", "An internal error has occurred", 500)
        self.ec2.next("DetachVolume", *[error] * 20)

    def heal(self) -> None:
        self.ec2.replies.clear()

    def await_another_attachment(self) -> None:
        """Wait for another second: EC2 tells attachments apart by those."""
        second = int(time.time())
        while int(time.time()) == second:
            time.sleep(0.01)


class ScaleIoPair(Pair):
    """Two hosts with an SDC each."""

    driver, size, running = "scaleio", 8, "connected"

    def __init__(self, command: Path) -> None:
        self.grid = Grid(command)
        self.gateway = self.grid.gateway
        self.a, self.b = self.grid.machine("a"), self.grid.machine("b")
        self.close = self.grid.close

    def volume(self) -> Any:
        return self.gateway.volume("v")

    def name(self, machine: Machine) -> str:
        return machine.host.sdc

    def holders(self) -> list[str]:
        return self.gateway.named("v").mapped

    def preempt(self, machine: Machine, policy: str) -> None:
        machine.configure(preempt=policy)

    def lose_power(self, machine: Machine) -> None:
        machine.host.unnoticed = True
        machine.host.die()

    def stop(self, machine: Machine) -> None:
        machine.host.unnoticed = False

    def taken_in_use(self, machine: Machine) -> None:
        self.grid.expected.append(f"v unmapped from {machine.host.name} while in use")

    def fail_to_detach(self) -> None:
        self.gateway.next("removeMappedSdc", *[scaleio.Error(1, "Could not unmap the volume")] * 20)

    def heal(self) -> None:
        self.gateway.replies.clear()


class CsiPair(Pair):
    """Two nodes of a CSI driver that attaches. To take a volume from a node is for people."""

    driver, size, hint, takes = "csi", 1, "unmount it there", False

    def __init__(self, command: Path) -> None:
        self.cluster = Cluster(command, apart=True)
        self.double = self.cluster.driver
        self.a, self.b = self.cluster.machine("a"), self.cluster.machine("b")
        self.stopped: list[str] = []
        self.close = self.cluster.close

    def volume(self) -> Any:
        return self.double.volume("v")

    def name(self, machine: Machine) -> str:
        return machine.host.id

    def holders(self) -> list[str]:
        return list(self.double.named("v").published)

    def preempt(self, machine: Machine, policy: str) -> None:
        if policy == "stopped":
            with self.double.books.change() as book:
                for volume in book.volumes.values():
                    volume.published = {node: told for node, told in volume.published.items()
                                        if node not in self.stopped}  # fmt: skip

    def lose_power(self, machine: Machine) -> None:
        machine.host.die()

    def stop(self, machine: Machine) -> None:
        self.stopped.append(machine.host.id)

    def fail_to_detach(self) -> None:
        self.double.next("ControllerUnpublishVolume", *[csi.Fail("INTERNAL", "cannot detach")] * 20)

    def heal(self) -> None:
        self.double.replies.clear()


PAIRS: dict[str, type[EbsPair | ScaleIoPair | CsiPair]] = {"ebs": EbsPair, "scaleio": ScaleIoPair, "csi": CsiPair}
