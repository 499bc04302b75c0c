"""Whether this instance can use EBS: who it is, and whether EC2 takes its credentials. Changes nothing."""

from __future__ import annotations

from dvdcli.errors import DvdcliError
from dvdcli.findings import attempt
from dvdcli.providers.ebs.ec2 import Ec2, Ec2Error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from dvdcli.findings import Finding


def check(ec2: Ec2) -> Iterator[Finding]:
    """Return what is found, with those calls alone that contrib/iam-policy.json allows."""
    found = attempt(lambda: "this is {0.id}, in {0.zone}".format(ec2.here()))
    yield found
    if found.status == "ok":
        yield attempt(lambda: _instance(ec2))
        yield attempt(lambda: _volumes(ec2))


def _instance(ec2: Ec2) -> str:
    here = ec2.here()
    try:
        ec2.call("describe_instances", InstanceIds=[here.id])
    except Ec2Error as error:
        if error.api_code in ("InvalidInstanceID.NotFound", "InvalidInstanceID.Malformed"):
            hint = "see region and instance of this driver, and whose credentials these are"
            raise DvdcliError(f"EC2 knows no instance {here.id} in {here.region}", hint) from error
        raise
    return f"EC2 answers in {here.region}, and takes these credentials"


def _volumes(ec2: Ec2) -> str:
    filters = [{"Name": "availability-zone", "Values": [ec2.here().zone]}]
    ec2.call("describe_volumes", Filters=filters, MaxResults=5)
    return f"the volumes of {ec2.here().zone} can be seen"
