"""The conformance suite on EBS, against the strict EC2 double."""

from __future__ import annotations

import contextlib
import threading

import boto3
import pytest

from dvdcli.linux import mountinfo
from dvdcli.providers import block, formatting
from dvdcli.providers.ebs import attach, devices, ec2, making, provider, volume
from dvdcli.testing import ProviderConformance, Subject
from tests.test_image import may_grow_ext4

pytestmark = pytest.mark.root
MODULES = (block, formatting, attach, devices, ec2, making, provider, volume)


class EbsSubject(Subject):
    """One instance; somebody else is another instance that has the volume attached."""

    sizes = ("1", "2")
    grows = may_grow_ext4()
    many = 12
    at_once = 2
    most_kills = 16
    longest = 255
    modules = tuple(module.__file__ for module in MODULES)

    def __init__(self, cloud):
        self.cloud = cloud
        self.here, self.other = cloud.machine("a").host, cloud.machine("b").host
        settings = {
            "region": cloud.ec2.region, "zone": self.here.zone, "instance": self.here.id, "endpoint": cloud.ec2.url,
        }  # fmt: skip
        super().__init__(provider.EbsProvider, settings, entry_point="ebs", driver="ebs")

    def allows(self, name):
        return len(name) <= self.longest and len(name.encode()) <= 1024

    def requests(self):
        return len(self.cloud.ec2.calls)

    @contextlib.contextmanager
    def elsewhere(self, name):
        [wanted] = [each for each in self.cloud.ec2.volumes.values() if each.name == name]
        attach_by_hand(self.cloud.ec2, self.other, wanted)
        try:
            yield self.other.id
        finally:
            client(self.cloud.ec2).detach_volume(VolumeId=wanted.id, InstanceId=self.other.id)

    @contextlib.contextmanager
    def silent(self):
        self.cloud.ec2.before = lambda action, when: self.cloud.gate.wait()
        try:
            yield
        finally:
            self.cloud.ec2.before = lambda action, when: None
            self.cloud.gate.set()

    def settle(self):
        self.cloud.ec2.wait_idle()

    def leftovers(self):
        attached = [each.id for each in self.cloud.ec2.volumes.values() if each.attached_to(self.here.id)]
        below = f"{self.cloud.root}/state/mounts/"
        return [*attached, *(mount.path for mount in mountinfo.read() if mount.path.startswith(below))]


def client(ec2):
    key, secret = ec2.key
    return boto3.client(
        "ec2", endpoint_url=ec2.url, region_name=ec2.region, aws_access_key_id=key, aws_secret_access_key=secret
    )


def attach_by_hand(ec2, host, wanted):
    client(ec2).attach_volume(VolumeId=wanted.id, InstanceId=host.id, Device="/dev/xvdbz")


class TestEbs(ProviderConformance):
    @pytest.fixture
    def subject(self, cloud, monkeypatch):
        cloud.gate = threading.Event()
        subject = EbsSubject(cloud)
        for key, value in subject.here.env().items():
            monkeypatch.setenv(key, value)
        monkeypatch.delenv("AWS_ENDPOINT_URL_EC2")
        monkeypatch.setenv("DVDCLI_STATE_DIR", str(cloud.root / "state"))
        yield subject
        assert subject.leftovers() == []
