"""Attaching an EBS volume to this instance and detaching it, through every state that EC2 has for that.

Source: the EC2 API reference, AttachVolume, DetachVolume, DescribeVolumes; "Device names", AWS's EC2 guide.
"""

from __future__ import annotations

from dvdcli import output
from dvdcli.errors import DvdcliError, InUseError, NotFoundError, TryAgainError
from dvdcli.providers.ebs.ec2 import Ec2, Ec2Error, Pauses
from dvdcli.providers.ebs.volume import Ec2Volume

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from dvdcli.clock import Deadline

ATTACHING = 90.0  # seconds, after which an attachment that does not come is taken back
_ALPHABET = "abcdefghijklmnopqrstuvwxyz"
DEVICE_NAMES = [f"/dev/xvd{first}{last}" for first in "bcd" for last in _ALPHABET]
_GONE = frozenset(("IncorrectState", "InvalidAttachment.NotFound", "InvalidVolume.NotFound"))
_LOOK_AGAIN = frozenset(("VolumeInUse", "IncorrectState", "InvalidVolume.NotFound"))
NEVER, STOPPED, FORCE = POLICIES = ("never", "stopped", "force")


class Attacher:
    """Attaches to, and detaches from, the instance *here*; *look* asks EC2 for a volume by its id.

    *policy* is one of POLICIES: what happens to a volume that another instance has.
    """

    def __init__(
        self, ec2: Ec2, here: str, policy: str, look: Callable[[str], Ec2Volume | None], deadline: Deadline
    ) -> None:
        self._ec2 = ec2
        self._here = here
        self._policy = policy
        self._look = look
        self._deadline = deadline
        self._refused: list[str] = []  # names that EC2 has called used although the mapping does not show them

    def attach(self, volume: Ec2Volume, shared: bool) -> Ec2Volume:
        """Return *volume* when it is attached here; with *shared* other instances can have it too.

        Raises InUseError, naming the instance that has it; TryAgainError.
        """
        pauses, patience = Pauses(self._deadline), self._deadline.sooner(ATTACHING)
        while True:
            mine = volume.attachments.get(self._here)
            if mine is not None and mine.state == "attached":
                return volume
            if volume.state == "error":
                raise DvdcliError(f"EC2 says that {volume} is in error", "see its status there")
            if mine is not None and mine.state == "attaching" and not patience.left():
                self.detach(volume.id)
                raise TryAgainError(f"{volume} stayed in attaching, and was taken back", "try again later")
            if mine is None and volume.attachments and not (shared and volume.multi):
                self._preempt(volume)
            elif mine is None and volume.state in ("available", "in-use"):
                self._ask(volume)
            pauses.wait_after_a_look(f"{volume} was not attached")
            volume = self._again(volume)

    def _again(self, volume: Ec2Volume) -> Ec2Volume:
        found = self._look(volume.id)
        if found is None:
            raise NotFoundError(f"{volume} is no more", "somebody has deleted it")
        return found

    def _ask(self, volume: Ec2Volume) -> None:
        """Ask EC2 to attach *volume*, by the first device name that is free."""
        used = self._used_names()
        names = [name for name in DEVICE_NAMES if name not in used]
        names = [name for name in names if name not in self._refused] + [n for n in names if n in self._refused]
        for name in names:
            try:
                self._ec2.call("attach_volume", VolumeId=volume.id, InstanceId=self._here, Device=name)
            except Ec2Error as error:
                if error.api_code in _LOOK_AGAIN:
                    return
                if error.api_code == "AttachmentLimitExceeded":
                    raise DvdcliError(
                        f"{self._here} can have no more volumes: {error.said}", "its type limits how many; unmount one"
                    ) from error
                if error.api_code != "InvalidParameterValue" or name not in error.said:
                    raise
                if name not in self._refused:
                    self._refused.append(name)
                    names.append(name)  # once more, last
                output.debug(f"{name}: {error.said}")
                continue
            return
        raise DvdcliError(f"{self._here} has no device name left for {volume}", "unmount another volume")

    def _used_names(self) -> set[str]:
        answer = self._ec2.call("describe_instances", InstanceIds=[self._here])
        instances = [each for told in answer.get("Reservations", ()) for each in told.get("Instances", ())]
        mappings = [mapping for each in instances for mapping in each.get("BlockDeviceMappings", ())]
        names = {mapping.get("DeviceName", "") for mapping in mappings}
        return names | {name.replace("/dev/sd", "/dev/xvd", 1) for name in names}

    def _preempt(self, volume: Ec2Volume) -> None:
        """Take *volume* from the instance that has it, if the policy says so; else raise InUseError."""
        holder, attachment = min(volume.attachments.items())
        if attachment.state == "detaching":
            return  # it is being let go of
        refusal = InUseError(
            f"{volume} is attached to the instance {holder}, as {attachment.device}",
            f"unmount it there, or set preempt for this driver (it is {self._policy})",
        )
        if volume.multi or self._policy == NEVER:
            raise refusal
        if self._policy == STOPPED and not self._is_stopped(holder):
            refusal.hint = "that instance is not stopped; unmount it there"
            raise refusal
        output.to_syslog(f"taking {volume} from the instance {holder}: preempt is {self._policy}")
        self._request_detach(volume.id, holder, force=self._policy == FORCE)

    def _is_stopped(self, instance: str) -> bool:
        try:
            answer = self._ec2.call("describe_instances", InstanceIds=[instance])
        except Ec2Error as error:
            if error.api_code == "InvalidInstanceID.NotFound":
                return True  # terminated long ago
            raise
        told = [each for found in answer.get("Reservations", ()) for each in found.get("Instances", ())]
        states = {each.get("State", {}).get("Name") for each in told}
        return bool(states) and states <= {"stopped", "terminated"}

    def detach(self, volume_id: str) -> None:
        """Detach the volume from this instance, and return when EC2 says that it is; one that is not is fine.

        Raises TryAgainError, InUseError where EC2 finds the device busy.
        """
        self._request_detach(volume_id, self._here, force=False)
        pauses = Pauses(self._deadline)
        while True:
            volume = self._look(volume_id)
            mine = volume.attachments.get(self._here) if volume else None
            if mine is None:
                return
            if mine.state == "busy":
                raise InUseError(f"EC2 finds {volume_id} busy on {self._here}", "see who has its device open")
            pauses.wait_after_a_look(f"{volume_id} was not detached")
            if mine.state in ("attached", "attaching"):
                self._request_detach(volume_id, self._here, force=False)

    def _request_detach(self, volume_id: str, instance: str, force: bool) -> None:
        parameters = {"VolumeId": volume_id, "InstanceId": instance, **({"Force": True} if force else {})}
        try:
            self._ec2.call("detach_volume", **parameters)
        except Ec2Error as error:
            if error.api_code not in _GONE:
                raise
