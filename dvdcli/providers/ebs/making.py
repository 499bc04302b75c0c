"""Making an EBS volume: however often it is asked for, and by however many hosts, there is one of a name.

Source: the EC2 API reference, CreateVolume; "Ensuring idempotency". EC2 knows a token for a day at least: with other
parameters it is refused then, and with the same ones it is answered with the same volume, deleted or not.
"""

from __future__ import annotations

from dvdcli.errors import DvdcliError, TryAgainError
from dvdcli.names import sha256
from dvdcli.providers.ebs.ec2 import Ec2, Ec2Error, Pauses
from dvdcli.providers.ebs.volume import Ec2Volume

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from dvdcli.clock import Deadline

_NEW = 20.0  # seconds in which EC2 may not know yet what it has just made
_TOKENS = 50  # volumes of one name that were made and deleted within EC2's memory


def make(
    ec2: Ec2, name: str, zone: str, wanted: dict[str, Any], look: Callable[[str], Ec2Volume | None], deadline: Deadline
) -> Ec2Volume:
    """Make the volume *name* in *zone*, with *wanted* of CreateVolume's parameters; return it when it is available.

    *look* asks EC2 for a volume by its id, and has found none of that name. Raises DvdcliError.
    """
    tags = [{"ResourceType": "volume", "Tags": [{"Key": "Name", "Value": name}]}]
    for number in range(_TOKENS):
        token = sha256(f"{zone}\0{name}\0{number}".encode())
        try:
            answer = ec2.call(
                "create_volume", ClientToken=token, AvailabilityZone=zone, TagSpecifications=tags, **wanted
            )
        except Ec2Error as error:
            if error.api_code == "IdempotentParameterMismatch":
                continue  # one of that name was made otherwise, and is no more
            raise
        volume = _await(Ec2Volume(answer), look, deadline)
        if volume is not None:
            return volume
    raise DvdcliError(f"{_TOKENS} volumes named {name!r} were made and deleted lately", "take another name")


def _await(made: Ec2Volume, look: Callable[[str], Ec2Volume | None], deadline: Deadline) -> Ec2Volume | None:
    """Return the volume once it is available; None where the answer was an old one's, deleted since."""
    pauses, unknown = Pauses(deadline), deadline.sooner(_NEW)
    while True:
        volume = look(made.id)
        if volume is not None and volume.state == "error":
            raise DvdcliError(f"EC2 could not make {volume}", "see the policy of its key, where it is encrypted")
        if volume is not None and volume.state != "creating":
            return volume
        if volume is None and not unknown.left():
            if not deadline.left():
                raise TryAgainError(f"EC2 does not know {made.id} yet, which it has made", "try again later")
            return None
        pauses.wait(f"{made.id} did not become available")
