"""A Mesos agent's HTTP endpoints over a real socket: those of 0.23, 0.28, 1.0, 1.4 and 1.11, and no others.

The bodies are our own, after the public documentation. What a release does not have answers 404.
"""

from tests.doubles.mesos_agent.agent import MesosAgent
from tests.doubles.mesos_agent.model import RELEASES

__all__ = ["RELEASES", "MesosAgent"]
