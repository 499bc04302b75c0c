"""The people's commands, one module each, imported by cli.py when it is called for; each has a `command`."""
