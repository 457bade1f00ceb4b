"""The command `ashore`.

`app` is the tree of commands, `commands` has a module for each noun, `stack` runs everything on one machine. Services
are reached through `ashore.client` and events through `ashore.bus`; nothing here knows a service from within.
"""
