"""Services over the brokers of one instance, and over those of all instances of a configuration.

Made when the first broker runs, and removed after the last. Akri removes them whenever no broker runs, also while one
is being replaced, and a service that is made again has another address: here they stay as long as one is expected.
"""

from collections.abc import Sequence
from typing import Final

import msgspec

from ashore_broker_launcher.cluster import POD, SERVICE, JsonObject
from ashore_broker_launcher.desired import labels
from ashore_broker_launcher.desired.draft import Doomed, Draft
from ashore_broker_launcher.desired.phases import as_dict
from ashore_broker_launcher.model import (
    CONFIGURATION_LABEL,
    CONTROLLER,
    CONTROLLER_LABEL,
    HASH,
    INSTANCE_LABEL,
    PART,
    Configuration,
    Instance,
)
from ashore_broker_launcher.objects import annotation, hashed, is_leaving, owner_uid, uid_of

SERVICE_PART: Final = "service"


class ServicePlan(msgspec.Struct, frozen=True, kw_only=True):
    """What has to be done for a configuration's service."""

    apply: list[JsonObject] = []
    """As in a `Plan`: with a uid it exists, without one it must not."""
    delete: list[Doomed] = []


def plan_instance_service(draft: Draft) -> None:
    """Add what the instance's service needs; to be called when it is known whether brokers are expected."""
    existing = draft.of_kind(SERVICE.name, SERVICE_PART, "")
    spec = draft.configuration.spec.instance_service_spec
    live = draft.expects_brokers or any(is_live(one) for one in draft.world.children)
    if spec is None or not live:
        for one in existing:
            draft.doom(one, "replaced" if spec is None else "no-broker")
    elif existing or any(runs(one) for one in draft.world.children):
        wanted = instance_service(draft.instance, spec)
        if draft.claim(wanted):
            draft.want(wanted)


def instance_service(instance: Instance, spec: JsonObject) -> JsonObject:
    """`<instance>-svc`, with its hash."""
    metadata = labels.metadata_of(instance, labels.service_name(instance.metadata.name), SERVICE_PART)
    return _service(metadata, spec, {CONTROLLER_LABEL: CONTROLLER, INSTANCE_LABEL: instance.metadata.name})


def configuration_service(configuration: Configuration, spec: JsonObject) -> JsonObject:
    """`<configuration>-svc`, with its hash."""
    own = configuration.metadata.name
    metadata = labels.metadata_of_configuration(configuration, labels.service_name(own), SERVICE_PART)
    return _service(metadata, spec, {CONTROLLER_LABEL: CONTROLLER, CONFIGURATION_LABEL: own})


def plan_configuration_service(
    configuration: Configuration, existing: Sequence[JsonObject], brokers: Sequence[JsonObject], *, expected: bool
) -> ServicePlan:
    """What the configuration's service needs.

    `existing` are the services whose controller is the configuration, `brokers` the pods with its label, and `expected`
    is whether any of its instances expects a broker (`Plan.expects_brokers`).
    """
    own = [one for one in existing if owner_uid(one) == configuration.metadata.uid and not is_leaving(one)]
    own = [one for one in own if annotation(one, PART) in (SERVICE_PART, "")]
    spec = configuration.spec.configuration_service_spec
    if spec is None or not (expected or any(is_live(one) for one in brokers)):
        cause = "replaced" if spec is None else "no-broker"
        return ServicePlan(delete=[Doomed(child=one, cause=cause) for one in own])
    wanted = configuration_service(configuration, spec)
    same = next((one for one in own if one["metadata"]["name"] == wanted["metadata"]["name"]), None)
    if same is None:
        return ServicePlan(apply=[wanted] if any(runs(one) for one in brokers) else [])
    if annotation(same, HASH) == annotation(wanted, HASH):
        return ServicePlan()
    return ServicePlan(apply=[{**wanted, "metadata": {**wanted["metadata"], "uid": uid_of(same)}}])


def runs(child: JsonObject) -> bool:
    """Whether this is a broker that runs: a pod, or a workload that has pods which are ready."""
    if is_leaving(child):
        return False
    status = as_dict(child.get("status"))
    if child["kind"] == POD.name:
        return bool(status.get("phase") == "Running")
    return bool(status.get("readyReplicas") or (child["kind"] == "Job" and status.get("ready")))


def is_live(child: JsonObject) -> bool:
    """Whether a broker runs, or is about to."""
    if child["kind"] == POD.name and not is_leaving(child):
        return as_dict(child.get("status")).get("phase", "Pending") in ("Pending", "Running")
    return runs(child)


def _service(metadata: JsonObject, spec: JsonObject, selector: dict[str, str]) -> JsonObject:
    selected = {**as_dict(spec.get("selector")), **selector}
    return hashed(
        {
            "apiVersion": SERVICE.api_version,
            "kind": SERVICE.name,
            "metadata": metadata,
            "spec": {**spec, "selector": selected},
        }
    )
