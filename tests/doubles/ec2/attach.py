"""AttachVolume and DetachVolume."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from tests.doubles.ec2.errors import Error
from tests.doubles.ec2.model import Attachment, Volume, find_host, find_volume

if TYPE_CHECKING:
    from tests.doubles.ec2.api import Ec2
    from tests.doubles.ec2.host import Host

DEVICE = re.compile(r"/dev/(xvd[b-d][a-z]|sd[f-p]|xvd[f-p])")


def attach_volume(ec2: Ec2, parameters: dict[str, Any]) -> dict[str, Any]:
    volume = find_volume(ec2, parameters["VolumeId"])
    host = find_host(ec2, parameters["InstanceId"])
    device = parameters["Device"]
    if host.state not in ("running", "stopped"):
        raise Error("IncorrectState", f"Instance '{host.id}' is not 'running' or 'stopped' but '{host.state}'.")
    _check_volume(volume, host)
    _check_device(host, device)
    attachment = Attachment(volume, host, device, host.devices)
    volume.attachments.append(attachment)

    def attached() -> None:
        if attachment.state == "attaching":
            attachment.state = "attached"
            host.appear(attachment)

    ec2.clock.after(ec2.attaching, attached)
    return attachment.describe()


def _check_volume(volume: Volume, host: Host) -> None:
    if volume.zone != host.zone:
        message = f"The volume '{volume.id}' is not in the same availability zone as instance '{host.id}'"
        raise Error("InvalidVolume.ZoneMismatch", message)
    if volume.state not in ("available", "in-use"):
        raise Error("IncorrectState", f"Volume '{volume.id}' is in the '{volume.state}' state.")
    if volume.attachments and (not volume.multi_attach or volume.attached_to(host.id)):
        raise Error("VolumeInUse", f"{volume.id} is already attached to an instance")


def _check_device(host: Host, device: str) -> None:
    if not DEVICE.fullmatch(device):
        message = f"Value ({device}) for parameter device is invalid. {device} is not a valid EBS device name."
        raise Error("InvalidParameterValue", message)
    if device in host.rejects or any(device == name for name, *_ in host.mapping()):
        message = f"Invalid value '{device}' for unixDevice. Attachment point {device} is already in use"
        raise Error("InvalidParameterValue", message)
    if len(host.attachments()) >= host.limit:
        message = f"The instance {host.id} has reached its attachment limit of {host.limit}"
        raise Error("AttachmentLimitExceeded", message)


def detach_volume(ec2: Ec2, parameters: dict[str, Any]) -> dict[str, Any]:
    instance, force = parameters.get("InstanceId"), parameters.get("Force", False)
    if instance is None:
        ec2.faults.append(f"detach that does not name the instance: {parameters}")
    volume = find_volume(ec2, parameters["VolumeId"])
    if not volume.attachments:
        raise Error("IncorrectState", f"Volume '{volume.id}' is in the '{volume.state}' state.")
    if instance is None and len(volume.attachments) > 1:
        message = f"Volume {volume.id} has more than one attachment: name the instance"
        raise Error("InvalidParameterCombination", message)
    attachment = volume.attached_to(instance) if instance else volume.attachments[0]
    if attachment is None or parameters.get("Device", attachment.device) != attachment.device:
        raise Error("InvalidAttachment.NotFound", f"The volume '{volume.id}' is not attached to instance '{instance}'.")
    if force:
        attachment.forced = True
    if attachment.state in ("attaching", "attached") or (attachment.state == "busy" and force):
        _start(ec2, attachment)
    return attachment.describe()


def _start(ec2: Ec2, attachment: Attachment) -> None:
    attachment.state = "detaching"
    if attachment.in_use() and not attachment.forced:
        ec2.faults.append(f"{attachment.volume.id} detached from {attachment.host.id} while in use")
        _wait_free(ec2, attachment)
    else:
        ec2.clock.after(ec2.detaching, lambda: finish(ec2, attachment))


def _wait_free(ec2: Ec2, attachment: Attachment) -> None:
    attachment.state = "busy"

    def free() -> bool:
        if attachment.state != "busy":
            return True  # forced in the meantime
        if attachment.in_use():
            return False
        attachment.state = "detaching"
        ec2.clock.after(ec2.detaching, lambda: finish(ec2, attachment))
        return True

    ec2.clock.until(free)


def finish(ec2: Ec2, attachment: Attachment) -> None:
    volume = attachment.volume
    if attachment not in volume.attachments or attachment.state != "detaching":
        return
    if attachment.in_use() and not attachment.forced:
        ec2.faults.append(f"{volume.id} taken into use on {attachment.host.id} while it was being detached")
        _wait_free(ec2, attachment)
        return
    attachment.host.vanish(attachment)
    volume.attachments.remove(attachment)
    attachment.state = "detached"
