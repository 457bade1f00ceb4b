"""The events of the broker launcher: instances of configurations, and the workloads that serve them.

An instance is a device that a configuration wants, under the name that Kubernetes knows it by. The last of the three
`instance-*` events about it is its state, and carries all that a device plugin needs to offer it on a node. A workload
is one object that was started for an instance; `uid` tells one of a name from the next of the same name.
"""

import re
from typing import Annotated, ClassVar

import msgspec
from msgspec import Meta

from ashore.events.discovery import DeviceNode, Mount, Text
from ashore.events.model import Count, Event, Token

Name = Annotated[str, Meta(min_length=1, max_length=253, description="As a Kubernetes name")]
_LONGEST_TOKEN = 128


def token_of(name: str) -> str:
    """A Kubernetes name as a part of a subject, where a dot would begin the next part."""
    return re.sub(r"[^a-z0-9-]", "-", name)[:_LONGEST_TOKEN]


class InstanceNode(msgspec.Struct, frozen=True, kw_only=True):
    """A node that sees the device, and what a broker there needs to reach it."""

    node: Annotated[Token, Meta(description="The node, by the name its agent has")]
    device_nodes: Annotated[list[DeviceNode], Meta(max_length=256)] = []
    mounts: Annotated[list[Mount], Meta(max_length=256)] = []


class _OfInstance(Event, frozen=True, kw_only=True):
    """What every event about an instance says first."""

    subject_fields: ClassVar[tuple[str, ...]] = ("site", "namespace_token", "configuration_token", "instance_token")
    site: Annotated[Token, Meta(description="The site, whose cluster this is about")]
    namespace: Name
    configuration: Annotated[Name, Meta(description="The configuration that wants the device")]
    instance: Annotated[Name, Meta(description="The instance: configuration and digest of the device's id")]
    uid: Annotated[str, Meta(max_length=64, description="The instance's UID in Kubernetes: one life of that name")]

    @property
    def namespace_token(self) -> str:
        """The namespace in the subject."""
        return token_of(self.namespace)

    @property
    def configuration_token(self) -> str:
        """The configuration in the subject."""
        return token_of(self.configuration)

    @property
    def instance_token(self) -> str:
        """The instance in the subject."""
        return token_of(self.instance)


class InstanceAdded(_OfInstance, frozen=True, kw_only=True):
    """A configuration has a new instance."""

    name: ClassVar[str] = "instance-added"
    device: Annotated[Text, Meta(description="The device's key in `device-seen`")]
    handler: Annotated[Text, Meta(description="The discovery handler that offers it")] = ""
    shared: Annotated[bool, Meta(description="Whether several nodes can see the same device")] = False
    capacity: Annotated[int, Meta(ge=1, description="How many may use it at once")] = 1
    properties: Annotated[
        dict[str, str],
        Meta(max_length=1024, description="Environment of brokers, the configuration's own included"),
    ] = {}
    nodes: Annotated[list[InstanceNode], Meta(max_length=1024, description="The nodes that see it")] = []
    usage: Annotated[
        dict[str, str],
        Meta(
            max_length=1024,
            description="Who uses it, by slot as `<instance>-<number>`: a node, or `C:<virtual id>:<node>` where the "
            "slot is used through the configuration's resource; a slot that is not named is free",
        ),
    ] = {}


class InstanceChanged(InstanceAdded, frozen=True, kw_only=True):
    """An instance has other nodes, properties, capacity or users than before."""

    name: ClassVar[str] = "instance-changed"


class InstanceRemoved(_OfInstance, frozen=True, kw_only=True):
    """An instance is no more: its device is gone, or no longer wanted."""

    name: ClassVar[str] = "instance-removed"
    cause: Annotated[str, Meta(max_length=256, description="`disappeared`, `configuration-deleted`, `deleted`")]


class WorkloadLaunched(_OfInstance, frozen=True, kw_only=True):
    """A workload runs for an instance."""

    name: ClassVar[str] = "workload-launched"
    subject_fields: ClassVar[tuple[str, ...]] = (*_OfInstance.subject_fields, "workload_token")
    uid: Annotated[str, Meta(max_length=64, description="The object's UID: one life of its name")]
    kind: Annotated[str, Meta(max_length=64, description="`Pod`, `Job`, or another kind of object")]
    workload: Annotated[Name, Meta(description="The object's name")]
    node: Annotated[str, Meta(max_length=253, description="The node it runs on, where that is one")] = ""

    @property
    def workload_token(self) -> str:
        """The workload in the subject."""
        return token_of(self.workload)


class WorkloadFailed(WorkloadLaunched, frozen=True, kw_only=True):
    """A workload could not be started, or has ended with a failure."""

    name: ClassVar[str] = "workload-failed"
    reason: Annotated[str, Meta(max_length=1024, description="Why, as Kubernetes says it")]
    exit_code: int | None = None
    log: Annotated[str, Meta(max_length=4096, description="The last lines that it wrote")] = ""
    attempts: Annotated[Count, Meta(description="How many of this instance have failed one after another")] = 0


class WorkloadFinished(WorkloadLaunched, frozen=True, kw_only=True):
    """A job has done its work."""

    name: ClassVar[str] = "workload-finished"
    log: Annotated[str, Meta(max_length=4096, description="The last lines that it wrote")] = ""


class WorkloadStopped(WorkloadLaunched, frozen=True, kw_only=True):
    """A workload runs no longer, as its instance went or another one took its place."""

    name: ClassVar[str] = "workload-stopped"
    cause: Annotated[str, Meta(max_length=256, description="Why: `instance-removed`, `replaced`, `node-lost`")] = ""


WORKLOAD_EVENTS: tuple[type[Event], ...] = (
    InstanceAdded,
    InstanceChanged,
    InstanceRemoved,
    WorkloadLaunched,
    WorkloadFailed,
    WorkloadFinished,
    WorkloadStopped,
)
