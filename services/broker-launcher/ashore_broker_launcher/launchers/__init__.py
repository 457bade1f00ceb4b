"""Whoever can be asked for the port of `ashore_broker_launcher.cluster`."""
