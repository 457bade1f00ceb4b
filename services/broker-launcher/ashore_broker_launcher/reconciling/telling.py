"""What is to be told of an instance and its workloads: the difference between what is and what was told. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, Literal

import msgspec

from ashore.events import (
    InstanceAdded,
    InstanceChanged,
    InstanceNode,
    InstanceRemoved,
    WorkloadFailed,
    WorkloadFinished,
    WorkloadLaunched,
    WorkloadStopped,
    token_of,
)
from ashore_broker_launcher.cluster import JsonObject
from ashore_broker_launcher.model import Instance
from ashore_broker_launcher.presence import Sighting

WORKLOADS: Final = frozenset({"Pod", "Job", "Deployment", "StatefulSet", "DaemonSet", "CronJob"})
"""What runs something; a ConfigMap does not."""
Stage = Literal["waiting", "launched", "failed", "finished", "put-off"]
_TOLD_FIELDS: Final = tuple(field for field in InstanceAdded.__struct_fields__ if field != "uid")


class Workload(msgspec.Struct, frozen=True, kw_only=True):
    """One object that serves an instance, as far as events tell of it."""

    kind: str
    name: str
    uid: str = ""
    node: str = ""
    stage: Stage = "waiting"
    reason: str = ""
    exit_code: int | None = None
    log: str = ""
    attempts: int = 0


def of_instance(
    site: str, instance: Instance, seen: Sequence[Sighting], told: InstanceAdded | None, *, again: bool = False
) -> InstanceAdded | None:
    """What is news about an instance that is there; `again`: also where nothing is."""
    now = InstanceAdded(**_instance_fields(site, instance, seen))
    if told is None or told.uid != now.uid:
        return now
    if not again and all(getattr(told, name) == getattr(now, name) for name in _TOLD_FIELDS):
        return None
    return InstanceChanged(**_instance_fields(site, instance, seen))


def removed(told: InstanceAdded, cause: str) -> InstanceRemoved:
    """That an instance is no more."""
    return InstanceRemoved(
        site=told.site,
        namespace=told.namespace,
        configuration=told.configuration,
        instance=told.instance,
        uid=told.uid,
        cause=cause,
    )


def of_workloads(
    site: str,
    instance: Instance,
    workloads: Sequence[Workload],
    told: Mapping[str, WorkloadLaunched],
    causes: Mapping[str, str],
) -> Iterator[WorkloadLaunched]:
    """What is news about the workloads of an instance that is there; `causes` says why some have to end."""
    there = {f"{one.kind}/{one.name}": one for one in workloads}
    for name, before in told.items():
        now = there.get(name)
        if is_running(before) and (now is None or now.uid != before.uid):
            yield stopped(before, causes.get(name, "ended"))
    for name, one in there.items():
        event = _of_workload(site, instance, one)
        if event is not None and _is_news(event, told.get(name)):
            yield event


def is_running(told: WorkloadLaunched) -> bool:
    """Whether it was told to be launched, and nothing after that."""
    return type(told) is WorkloadLaunched


def stopped(told: WorkloadLaunched, cause: str) -> WorkloadStopped:
    """That a workload runs no longer."""
    return WorkloadStopped(
        site=told.site,
        namespace=told.namespace,
        configuration=told.configuration,
        instance=told.instance,
        uid=told.uid,
        kind=told.kind,
        workload=told.workload,
        node=told.node,
        cause=cause,
    )


def _instance_fields(site: str, instance: Instance, seen: Sequence[Sighting]) -> JsonObject:
    spec, metadata = instance.spec, instance.metadata
    by_node = {one.node: one for one in seen}
    nodes = {token_of(node): by_node.get(token_of(node)) for node in spec.nodes}
    return {
        "site": site,
        "namespace": metadata.namespace,
        "configuration": spec.configuration_name,
        "instance": metadata.name,
        "uid": metadata.uid,
        "device": instance.device,
        "handler": seen[0].seen.handler if seen else "",
        "shared": spec.shared,
        "capacity": spec.capacity,
        "properties": spec.broker_properties,
        "usage": spec.device_usage,
        "nodes": [_node(name, one) for name, one in nodes.items()],
    }


def _node(name: str, seen: Sighting | None) -> InstanceNode:
    if seen is None:
        return InstanceNode(node=name)
    return InstanceNode(node=name, device_nodes=seen.match.device_nodes, mounts=seen.match.mounts)


def _of_workload(site: str, instance: Instance, one: Workload) -> WorkloadLaunched | None:
    common: JsonObject = {
        "site": site,
        "namespace": instance.metadata.namespace,
        "configuration": instance.spec.configuration_name,
        "instance": instance.metadata.name,
        "uid": one.uid,
        "kind": one.kind,
        "workload": one.name,
        "node": one.node,
    }
    match one.stage:
        case "launched":
            return WorkloadLaunched(**common)
        case "finished":
            return WorkloadFinished(**common, log=one.log)
        case "put-off":
            return WorkloadStopped(**common, cause="put-off")
        case "failed":
            failed: JsonObject = {
                "reason": one.reason or "it failed",
                "exit_code": one.exit_code,
                "attempts": one.attempts,
            }
            return WorkloadFailed(**common, **failed, log=one.log)
    return None


def _is_news(event: WorkloadLaunched, told: WorkloadLaunched | None) -> bool:
    """Whether it says something else; that a log could be read late is no news."""
    if told is None or type(told) is not type(event) or told.uid != event.uid:
        return True
    return isinstance(event, WorkloadFailed) and isinstance(told, WorkloadFailed) and told.reason != event.reason
