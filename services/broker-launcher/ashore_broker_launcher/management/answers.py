"""Lists in pages, and what else the management API answers."""

from typing import Literal

import msgspec

from ashore_broker_launcher.cluster import JsonObject
from ashore_broker_launcher.management.views import ConfigurationView, InstanceView, WorkloadView


class ConfigurationPage(msgspec.Struct):
    """A part of the list."""

    items: list[ConfigurationView]
    next: str | None = None


class InstancePage(msgspec.Struct):
    """A part of the list."""

    items: list[InstanceView]
    next: str | None = None


class WorkloadPage(msgspec.Struct):
    """A part of the list."""

    items: list[WorkloadView]
    next: str | None = None


class ObjectPage(msgspec.Struct):
    """A part of what a dry run has applied, whole objects."""

    items: list[JsonObject]
    next: str | None = None


class LogView(msgspec.Struct, kw_only=True):
    """The last lines of a pod."""

    namespace: str
    pod: str
    log: str


class AgentView(msgspec.Struct, kw_only=True):
    """An agent of the launcher's site."""

    node: str
    lost: bool
    """Whether it has been silent for too long."""


class LauncherView(msgspec.Struct, kw_only=True):
    """How the launcher is."""

    launcher: Literal["kubernetes", "dry-run"]
    site: str
    namespace: str
    """The only one that it looks at; empty where it looks at all."""
    leads: bool
    """Whether this replica is the one that does the work."""
    queue: int
    """So much it has to look at now."""
    configurations: int
    instances: int
    cluster: str
    """Why the cluster cannot be used; empty where it can."""
    agents: list[AgentView] = []
