"""Whether this host is ready: the host itself, each driver, the Mesos agent."""
