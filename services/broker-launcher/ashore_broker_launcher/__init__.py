"""The broker launcher: from a device that is seen to a workload that serves it.

The way of the data: events of agents become a table of what is there (`presence`), configurations and that table become
the objects that should exist (`desired/`, pure functions), and the difference to those that do exist is applied
(`reconciling/`) through a launcher: a Kubernetes API server or, where there is none, one that only shows.
"""
