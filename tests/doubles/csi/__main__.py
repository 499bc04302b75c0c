"""Runs a driver: python -m tests.doubles.csi ROOT NAME SOCKET SERVICE..."""

import os
import sys

from tests.doubles.csi.server import main

status = main()
sys.stdout.flush()
os._exit(status)  # calls may still hang
