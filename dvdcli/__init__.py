"""dvdcli mounts external volumes for Mesos containers, and keeps account of them."""

__version__ = "0.1.0"
