"""Volumes of drivers that speak the Container Storage Interface (CSI) over a Unix socket; needs `dvdcli[csi]`."""
