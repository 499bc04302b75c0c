"""A stateful double of Amazon EC2's calls for EBS volumes and of the instance metadata service, over real HTTP.

It is as strict as EC2 is: parameters, tokens, zones, states, device names and limits are checked, and what no right
caller does is recorded in `faults`, above all a detach of what is still in use. Attached volumes are real block
devices, below directories that stand for a host's /sys and /dev.
"""

from tests.doubles.ec2.api import Ec2
from tests.doubles.ec2.errors import Drop, Error
from tests.doubles.ec2.host import Device, Host
from tests.doubles.ec2.model import Attachment, Volume

__all__ = ["Attachment", "Device", "Drop", "Ec2", "Error", "Host", "Volume"]
