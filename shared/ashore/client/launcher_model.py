"""What the broker launcher's REST API answers."""

from typing import Any

import msgspec

Manifest = dict[str, Any]
"""An object of Kubernetes, as JSON."""


class Condition(msgspec.Struct, kw_only=True):
    """Something that holds or does not."""

    type: str
    status: str
    reason: str = ""
    message: str = ""
    since: str = ""


class Configuration(msgspec.Struct, kw_only=True):
    """A configuration in short."""

    namespace: str
    name: str
    handler: str = ""
    capacity: int = 1
    phase: str = ""
    instances: int = 0
    ready: int = 0
    failed: int = 0
    problems: list[str] = []


class ConfigurationDetail(Configuration, kw_only=True):
    """A configuration with all that was said of it."""

    conditions: list[Condition] = []
    manifest: Manifest = {}
    """As a person would apply it."""


class ConfigurationPage(msgspec.Struct):
    """A part of the list."""

    items: list[Configuration]
    next: str | None = None


class Applied(msgspec.Struct, kw_only=True):
    """What became of a configuration that was applied."""

    namespace: str
    name: str
    result: str
    """`created`, `changed` or `unchanged`."""
    warnings: list[str] = []


class Verdict(msgspec.Struct, kw_only=True):
    """A device that is seen now, and what would become of it."""

    device: str
    handler: str = ""
    nodes: list[str] = []
    wanted: str
    """`yes`, `no` or `unknown`."""
    why: str = ""
    instance: str = ""
    manifests: list[Manifest] = []
    problems: list[str] = []


class ConfigurationExplanation(msgspec.Struct, kw_only=True):
    """What would become of a configuration."""

    namespace: str
    name: str
    problems: list[str] = []
    warnings: list[str] = []
    handed_out: Manifest | None = None
    """What agents would be told."""
    devices: list[Verdict] = []
    more_devices: int = 0


class Instance(msgspec.Struct, kw_only=True):
    """An instance in short."""

    namespace: str
    name: str
    configuration: str
    device: str = ""
    shared: bool = False
    nodes: list[str] = []
    capacity: int = 1
    used: int = 0
    phase: str = ""
    message: str = ""


class Broker(msgspec.Struct, kw_only=True):
    """A workload, as its instance's status tells of it."""

    kind: str
    name: str
    node: str = ""
    phase: str = ""
    reason: str = ""
    message: str = ""
    exit_code: int | None = None
    started_at: str = ""
    log: str = ""


class Slot(msgspec.Struct, kw_only=True):
    """One of as many as the instance has capacity."""

    name: str
    used_by: str = ""


class InstanceDetail(Instance, kw_only=True):
    """An instance with what its brokers get, and how they fare."""

    cdi_name: str = ""
    properties: dict[str, str] = {}
    slots: list[Slot] = []
    brokers: list[Broker] = []
    conditions: list[Condition] = []


class InstancePage(msgspec.Struct):
    """A part of the list."""

    items: list[Instance]
    next: str | None = None


class Workload(msgspec.Struct, kw_only=True):
    """One object that serves an instance."""

    namespace: str
    name: str
    kind: str
    configuration: str = ""
    instance: str = ""
    stage: str = ""
    """`waiting`, `launched`, `failed` or `finished`."""
    node: str = ""
    reason: str = ""
    exit_code: int | None = None
    created_at: str = ""
    pods: list[str] = []


class WorkloadPage(msgspec.Struct):
    """A part of the list."""

    items: list[Workload]
    next: str | None = None


class WorkloadLog(msgspec.Struct, kw_only=True):
    """The last lines of a pod."""

    namespace: str
    pod: str
    log: str


class ObjectPage(msgspec.Struct):
    """A part of what a dry run has applied."""

    items: list[Manifest]
    next: str | None = None


class SiteAgent(msgspec.Struct, kw_only=True):
    """An agent of the launcher's site."""

    node: str
    lost: bool = False


class LauncherState(msgspec.Struct, kw_only=True):
    """How a launcher is."""

    launcher: str
    """`kubernetes` or `dry-run`."""
    site: str
    namespace: str = ""
    leads: bool = True
    queue: int = 0
    configurations: int = 0
    instances: int = 0
    cluster: str = ""
    """Why the cluster cannot be used; empty where it can."""
    agents: list[SiteAgent] = []
