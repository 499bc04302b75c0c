"""moto as a second opinion on EC2: its server, and hosts whose block devices follow what it says is attached."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

import boto3
import requests

from tests.doubles.ec2 import Device, Host
from tests.ebs import Machine

REGION = "eu-west-1"
SERVER = Path(__file__).parent / "doubles" / "moto_server.py"
GIB = 64 << 20  # bytes of an image for each of a volume's GiB
LOOK = 0.03


class Server:
    """moto, in a process of its own."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-I", SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        assert self.process.stdout is not None
        self.url = f"http://127.0.0.1:{int(self.process.stdout.readline())}"

    def close(self) -> None:
        self.process.communicate()  # closes its stdin
        assert self.process.returncode == 0


class MotoCloud:
    """What moto knows, emptied at first; `client` is boto3's. Closing it asserts that nobody sinned.

    It stands for the double's `Ec2` where a `Host` asks it for something; moto itself makes no device appear, so a
    thread looks what is attached and lets the devices follow.
    """

    def __init__(self, url: str, command: Path) -> None:
        self.url = url
        self.command = command
        self.region = REGION
        self.key = ("test-key", "test-secret")
        self.volumes: dict[str, Any] = {}  # the double's own, of which there are none
        self.faults: list[str] = []
        self.root = Path(tempfile.mkdtemp(prefix="dvd"))
        self.machines: list[Machine] = []
        self.hosts: dict[str, Host] = {}
        self.devices: dict[tuple[str, str], Device] = {}  # by instance and volume
        requests.post(f"{url}/moto-api/reset", timeout=60).raise_for_status()
        self.client = self._new_client()
        self._stopped = threading.Event()
        self._follower = threading.Thread(target=self._follow, daemon=True)
        self._follower.start()

    def machine(self, letter: str = "a", zone: str = "eu-west-1a") -> Machine:
        answer = self.client.run_instances(
            ImageId="ami-12345678", MinCount=1, MaxCount=1, Placement={"AvailabilityZone": zone}
        )
        host = Host(self, answer["Instances"][0]["InstanceId"], zone, "nitro")  # type: ignore[arg-type]
        root = self.root / letter
        root.mkdir()
        machine = Machine(root, self.command, host)
        self.machines.append(machine)
        self.hosts[host.id] = host
        return machine

    def volume(self, name: str = "", zone: str = "eu-west-1a", size: int = 1, **more: Any) -> str:
        """Make a volume by hand, and return its id."""
        tags = [{"ResourceType": "volume", "Tags": [{"Key": "Name", "Value": name}]}] if name else []
        answer = self.client.create_volume(
            AvailabilityZone=zone, Size=size, VolumeType="gp3", TagSpecifications=tags, **more
        )
        return str(answer["VolumeId"])

    def own(self) -> list[dict[str, Any]]:
        """Return what moto says of all volumes but those that its instances start from."""
        return [volume for volume in self.client.describe_volumes()["Volumes"] if not _is_root(volume)]

    def roots(self) -> list[str]:
        return [volume["VolumeId"] for volume in self.client.describe_volumes()["Volumes"] if _is_root(volume)]

    def the_volume(self) -> dict[str, Any]:
        [volume] = self.own()
        return volume

    def close(self) -> None:
        for machine in self.machines:
            machine.release()
        self._stopped.set()
        self._follower.join(60)
        for device in self.devices.values():
            device.remove()
        for machine in self.machines:
            machine.host.close()
            self.faults += machine.host.check_decoys()
        for machine in self.machines:
            machine.close()
        assert self.faults == []

    def _new_client(self) -> Any:
        key, secret = self.key
        session = boto3.session.Session(aws_access_key_id=key, aws_secret_access_key=secret, region_name=REGION)
        return session.client("ec2", endpoint_url=self.url)

    def _follow(self) -> None:
        client = self._new_client()
        while not self._stopped.wait(LOOK):
            try:
                self._take_over(client.describe_volumes()["Volumes"])
            except Exception as error:
                self.faults.append(f"{type(error).__name__}: {error}")
                return

    def _take_over(self, told: list[dict[str, Any]]) -> None:
        attached = {
            (each["InstanceId"], volume["VolumeId"]): volume["Size"] * GIB
            for volume in told for each in volume["Attachments"] if not _is_root(volume)
        }  # fmt: skip
        for gone in self.devices.keys() - attached:
            device = self.devices[gone]
            if device.loop.in_use():
                self.faults.append(f"{gone[1]} detached from {gone[0]} while in use")
            device.remove()
            del self.devices[gone]  # last: tests wait for it
        for (instance, volume_id), size in attached.items():
            image = self.root / f"{volume_id}.img"
            if not image.exists() or image.stat().st_size < size:
                with image.open("ab") as file:
                    file.truncate(size)
                if (instance, volume_id) in self.devices:
                    self.devices[instance, volume_id].resize()
            if (instance, volume_id) not in self.devices:
                name = f"nvme{len(self.devices) + 1}n1"
                device = Device(self.hosts[instance], name, image, volume_id.replace("-", ""))
                self.devices[instance, volume_id] = device


def _is_root(volume: dict[str, Any]) -> bool:
    return any(each["Device"].startswith("/dev/sd") for each in volume["Attachments"])
