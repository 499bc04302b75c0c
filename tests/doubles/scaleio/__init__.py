"""A stateful double of a ScaleIO or PowerFlex gateway's REST API, over real HTTPS, of both its generations.

It is as strict as it can be: paths, headers, bodies, tokens, names, sizes and mappings are checked, and what no right
caller does is recorded in `faults`, above all an unmap of what is still in use. Mapped volumes are real block devices,
below directories that stand for a host's /sys and /dev, and each host has a drv_cfg of its own.
"""

from tests.doubles.scaleio.api import Gateway
from tests.doubles.scaleio.errors import Drop, Error, Half, Raw, Slow
from tests.doubles.scaleio.host import Device, Host
from tests.doubles.scaleio.model import Mapping, Volume

__all__ = ["Device", "Drop", "Error", "Gateway", "Half", "Host", "Mapping", "Raw", "Slow", "Volume"]
