"""ScaleIO, now PowerFlex: the provider, its door to the gateway, and what this host's SDC has."""
