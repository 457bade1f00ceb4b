"""What the management API shows of configurations, instances and workloads, read from the objects of the cluster.

Anybody may have written into those objects, so whatever has another form than expected is left out, and nothing fails.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from ashore.slots import slot_name
from ashore_broker_launcher.cluster import CONFIGURATION, JOB, JsonObject, Key
from ashore_broker_launcher.desired.phases import as_dict, dicts
from ashore_broker_launcher.model import CONFIGURATION_LABEL, DEVICE, INSTANCE_LABEL
from ashore_broker_launcher.objects import annotation, key_of, label, owner_uid, uid_of
from ashore_broker_launcher.reconciling.telling import Stage, Workload
from ashore_broker_launcher.reconciling.view import View
from ashore_broker_launcher.reconciling.workloads import put_off, workloads

_FAULTS: Final = frozenset({"Valid", "HandedOut"})
"""Conditions that do not hold only where something is wrong."""
_MOST_SLOTS: Final = 1000


class ConfigurationView(msgspec.Struct, kw_only=True):
    """A configuration in short."""

    namespace: str
    name: str
    handler: str
    capacity: int
    phase: str
    instances: int
    ready: int
    failed: int
    problems: list[str] = []
    """What is wrong; a sentence each."""


class ConditionView(msgspec.Struct, kw_only=True):
    """Something that holds or does not."""

    type: str
    status: str
    reason: str = ""
    message: str = ""
    since: str = ""


class ConfigurationDetail(ConfigurationView, kw_only=True):
    """A configuration with all that was said of it."""

    conditions: list[ConditionView] = []
    manifest: JsonObject = {}
    """As a person would apply it."""


class InstanceView(msgspec.Struct, kw_only=True):
    """An instance in short."""

    namespace: str
    name: str
    configuration: str
    device: str
    shared: bool
    nodes: list[str]
    capacity: int
    used: int
    """So many of its slots are taken."""
    phase: str
    message: str = ""
    """Why, where it is not as it should be."""


class BrokerView(msgspec.Struct, kw_only=True):
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


class SlotView(msgspec.Struct, kw_only=True):
    """One of as many as the instance has capacity."""

    name: str
    used_by: str = ""
    """The node; empty where the slot is free."""


class InstanceDetail(InstanceView, kw_only=True):
    """An instance with what its brokers get, and how they fare."""

    cdi_name: str = ""
    properties: dict[str, str] = {}
    slots: list[SlotView] = []
    brokers: list[BrokerView] = []
    conditions: list[ConditionView] = []


class WorkloadView(msgspec.Struct, kw_only=True):
    """One object that serves an instance."""

    namespace: str
    name: str
    kind: str
    configuration: str
    instance: str
    stage: Stage
    node: str = ""
    reason: str = ""
    exit_code: int | None = None
    created_at: str = ""
    pods: list[str] = []
    """Its pods, the latest last: whose log may be read."""


def configuration_view(body: JsonObject) -> ConfigurationView:
    """A configuration."""
    return ConfigurationView(**_configuration(body))


def configuration_detail(body: JsonObject) -> ConfigurationDetail:
    """All of a configuration."""
    conditions = _conditions(as_dict(body.get("status")))
    return ConfigurationDetail(**_configuration(body), conditions=conditions, manifest=manifest(body))


def instance_view(body: JsonObject) -> InstanceView:
    """An instance."""
    return InstanceView(**_instance(body))


def instance_detail(body: JsonObject) -> InstanceDetail:
    """All of an instance."""
    spec, status = as_dict(body.get("spec")), as_dict(body.get("status"))
    usage, count = as_dict(spec.get("deviceUsage")), _number(spec, "capacity")
    slots = [slot_name(body["metadata"]["name"], number) for number in range(min(count, _MOST_SLOTS))]
    return InstanceDetail(
        **_instance(body),
        cdi_name=_text(spec, "cdiName"),
        properties={name: str(value) for name, value in as_dict(spec.get("brokerProperties")).items()},
        slots=[SlotView(name=name, used_by=str(usage.get(name) or "")) for name in slots],
        brokers=[_broker(one) for one in dicts(status.get("brokers"))],
        conditions=_conditions(status),
    )


def workload_views(view: View, instance: JsonObject, now: float) -> list[WorkloadView]:
    """What serves an instance."""
    own = uid_of(instance)
    owned = view.owned(own)
    of_jobs = [one for kind, body in owned if kind == JOB for one in view.owned(uid_of(body))]
    children = [{**body, "apiVersion": kind.api_version, "kind": kind.name} for kind, body in (*owned, *of_jobs)]
    by_name = {(one["kind"], one["metadata"]["name"]): one for one in children}
    return [
        _workload(one, by_name[one.kind, one.name], children, instance)
        for one in workloads(children, own, now, {}, put_off(as_dict(instance.get("status"))))
    ]


def manifest(body: JsonObject) -> JsonObject:
    """A configuration without what the cluster has added."""
    metadata = body["metadata"]
    kept = {name: metadata[name] for name in ("name", "namespace", "labels", "annotations") if metadata.get(name)}
    given = {"apiVersion": CONFIGURATION.api_version, "kind": CONFIGURATION.name}
    return {**given, "metadata": kept, "spec": body.get("spec", {})}


def shown(key: Key) -> str:
    """`namespace/name`."""
    return "/".join(part for part in key if part)


def _configuration(body: JsonObject) -> JsonObject:
    (namespace, name), spec, status = key_of(body), as_dict(body.get("spec")), as_dict(body.get("status"))
    return {
        "namespace": namespace,
        "name": name,
        "handler": _text(as_dict(spec.get("discoveryHandler")), "name"),
        "capacity": _number(spec, "capacity", 1),
        "phase": _text(status, "phase"),
        "instances": _number(status, "instances"),
        "ready": _number(status, "ready"),
        "failed": _number(status, "failed"),
        "problems": [one.message for one in _conditions(status) if _is_problem(one)],
    }


def _is_problem(one: ConditionView) -> bool:
    """What nobody has to mend is none: that nothing was found yet, or that a broker is about to start."""
    return one.status == "False" and (one.type in _FAULTS or one.reason == "InstancesFailed")


def _instance(body: JsonObject) -> JsonObject:
    (namespace, name), spec, status = key_of(body), as_dict(body.get("spec")), as_dict(body.get("status"))
    return {
        "namespace": namespace,
        "name": name,
        "configuration": _text(spec, "configurationName"),
        "device": annotation(body, DEVICE),
        "shared": bool(spec.get("shared")),
        "nodes": [str(one) for one in spec.get("nodes") or []],
        "capacity": _number(spec, "capacity", 1),
        "used": sum(bool(value) for value in as_dict(spec.get("deviceUsage")).values()),
        "phase": _text(status, "phase"),
        "message": next((one.message for one in _conditions(status) if one.status != "True"), ""),
    }


def _workload(one: Workload, body: JsonObject, children: Sequence[JsonObject], instance: JsonObject) -> WorkloadView:
    namespace, name = key_of(instance)
    pods = [body] if one.kind == "Pod" else [child for child in children if owner_uid(child) == one.uid]
    return WorkloadView(
        namespace=namespace,
        name=one.name,
        kind=one.kind,
        configuration=label(body, CONFIGURATION_LABEL) or _text(as_dict(instance.get("spec")), "configurationName"),
        instance=label(body, INSTANCE_LABEL) or name,
        stage=one.stage,
        node=one.node,
        reason=one.reason,
        exit_code=one.exit_code,
        created_at=_text(body["metadata"], "creationTimestamp"),
        pods=[str(pod["metadata"]["name"]) for pod in sorted(pods, key=created)],
    )


def created(body: JsonObject) -> tuple[str, str]:
    """When an object was made, and among those of one second its name."""
    return _text(body["metadata"], "creationTimestamp"), str(body["metadata"]["name"])


def _broker(one: JsonObject) -> BrokerView:
    code = one.get("exitCode")
    return BrokerView(
        kind=_text(one, "kind"),
        name=_text(one, "name"),
        node=_text(one, "node"),
        phase=_text(one, "phase"),
        reason=_text(one, "reason"),
        message=_text(one, "message"),
        exit_code=code if isinstance(code, int) else None,
        started_at=_text(one, "startedAt"),
        log=_text(one, "log"),
    )


def _conditions(status: Mapping[str, object]) -> list[ConditionView]:
    return [
        ConditionView(
            type=_text(one, "type"),
            status=_text(one, "status"),
            reason=_text(one, "reason"),
            message=_text(one, "message"),
            since=_text(one, "lastTransitionTime"),
        )
        for one in dicts(status.get("conditions"))
    ]


def _text(body: Mapping[str, object], name: str) -> str:
    value = body.get(name)
    return "" if value is None else str(value)


def _number(body: Mapping[str, object], name: str, default: int = 0) -> int:
    value = body.get(name)
    return value if isinstance(value, int) else default
