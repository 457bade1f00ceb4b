"""Broker pods: one on each node that sees the device, as many as its capacity at most.

A pod keeps its place as long as its node sees the device. One that has failed, has ended, or does not begin within five
minutes is replaced, later each time; one that nobody can schedule is kept, and told. A pod whose text should be another
one is replaced, of those that serve only as many as the roll-out allows.
"""

from typing import Final

import msgspec

from ashore_broker_launcher.cluster import POD, JsonObject
from ashore_broker_launcher.desired import labels
from ashore_broker_launcher.desired.draft import Draft
from ashore_broker_launcher.desired.failures import place
from ashore_broker_launcher.desired.phases import PodLook, is_steady, look_at_pod, timestamp
from ashore_broker_launcher.desired.placeholder import unusable, with_device
from ashore_broker_launcher.desired.placement import PATIENCE, Held, Placement, node_of, pinned, place_pods
from ashore_broker_launcher.model import HASH, Instance
from ashore_broker_launcher.objects import annotation, hash_of, hashed

PART: Final = "pod"
_REPLACED_FIRST: Final = "other pods of its configuration are replaced first"
PROPERTIES: Final = "akri.sh/properties-hash"
"""Annotation of a broker pod: another one when the device's properties are, as the kubelet gives those at the start."""


class _Broker(msgspec.Struct, frozen=True):
    pod: JsonObject
    node: str
    look: PodLook


def plan_pods(draft: Draft) -> None:
    """Add what broker pods need."""
    brokers = [_broker(draft, pod) for pod in draft.of_kind(POD.name, PART, "")]
    template = draft.configuration.spec.pod_spec
    if template is None:
        for one in brokers:
            draft.doom(one.pod, "replaced")
        return
    _warn(draft)
    placement = _placement(draft, brokers)
    _remove(draft, brokers, placement)
    by_name = {one.pod["metadata"]["name"]: one for one in brokers}
    _keep(draft, [by_name[one.name] for one in placement.kept], template, spare=placement.spare)
    for node in placement.added:
        _add(draft, node, template, brokers)
    draft.expects_brokers |= bool(placement.kept or placement.added)


def desired_pod(instance: Instance, node: str, template: JsonObject, name: str = "") -> JsonObject:
    """The pod for a node, with its hash."""
    metadata = labels.metadata_of(instance, name or labels.pod_name(instance, node), PART, node=node)
    metadata["annotations"][PROPERTIES] = hash_of(instance.spec.broker_properties)
    spec = pinned(with_device(template, instance), node)
    return hashed({"apiVersion": POD.api_version, "kind": POD.name, "metadata": metadata, "spec": spec})


def _broker(draft: Draft, pod: JsonObject) -> _Broker:
    return _Broker(pod, node_of(pod), look_at_pod(pod, draft.world.now))


def _warn(draft: Draft) -> None:
    names = unusable(draft.instance.spec.broker_properties)
    if names:
        draft.tell(
            "PropertyName",
            f"no variable can be called {', '.join(map(repr, names))}: brokers do not get it",
            grave=False,
        )


def _placement(draft: Draft, brokers: list[_Broker]) -> Placement:
    instance = draft.instance
    # What an earlier instance of that name has left still holds the device.
    former = [_broker(draft, pod) for pod in draft.left_behind(POD.name, PART)]
    nodes = instance.spec.nodes
    return place_pods(
        instance.metadata.name,
        nodes,
        instance.spec.capacity,
        [
            *(_held(one, leaving=one.look.state == "leaving") for one in brokers),
            *(_held(one, leaving=True) for one in former),
        ],
        ready=draft.world.ready_nodes,
        failures={node: draft.failures.count(f"{POD.name}/{labels.pod_name(instance, node)}") for node in nodes},
    )


def _held(one: _Broker, *, leaving: bool) -> Held:
    name = str(one.pod["metadata"]["name"])
    return Held(node=one.node, name=name, leaving=leaving, serves=one.look.serves, since=one.look.since)


def _remove(draft: Draft, brokers: list[_Broker], placement: Placement) -> None:
    gone, surplus = {one.name for one in placement.gone}, {one.name for one in placement.surplus}
    for one in brokers:
        name, lost = one.pod["metadata"]["name"], _is_lost(draft, one.node)
        if one.look.state == "leaving" or (name in gone and lost and not draft.instance.spec.nodes):
            # Where nobody can take the place of a pod on a lost node, it is there still when the node comes back.
            draft.brokers.append(_told(draft, one))
            draft.expects_brokers |= one.look.state != "leaving"
        elif name in gone:
            draft.doom(one.pod, "node-lost" if lost else "device-gone")
        elif name in surplus:
            draft.doom(one.pod, "surplus")


def _is_lost(draft: Draft, node: str) -> bool:
    return draft.world.ready_nodes is not None and node not in draft.world.ready_nodes


def _keep(draft: Draft, brokers: list[_Broker], template: JsonObject, *, spare: bool) -> None:
    left = _may_replace(draft)
    for one in brokers:
        wanted = desired_pod(draft.instance, one.node, template, one.pod["metadata"]["name"])
        outdated = annotation(one.pod, HASH) != annotation(wanted, HASH)
        if outdated and not (one.look.serves and left <= 0):
            left -= one.look.serves
            draft.doom(one.pod, "replaced")
        elif outdated:
            draft.hold(draft.world.waits_for or _REPLACED_FIRST)
        else:
            _judge(draft, one, spare=spare)
        draft.brokers.append(_told(draft, one))


def _may_replace(draft: Draft) -> int:
    if draft.world.may_replace is not None:
        return draft.world.may_replace
    return draft.configuration.spec.rollout.max_unavailable if draft.world.may_start else 0


def _judge(draft: Draft, one: _Broker, *, spare: bool) -> None:
    """What becomes of a pod that is as it should be, by how it fares."""
    look, streak = one.look, draft.failures.of(place(one.pod), annotation(one.pod, HASH))
    if is_steady(look, draft.world.now) or (streak is not None and not streak.uid):
        draft.failures = draft.failures.without(place(one.pod))
    if look.state == "starts":
        draft.look(look.pending_until)
    elif look.state == "unschedulable" and not spare:
        draft.tell("Unschedulable", f"no node takes {place(one.pod)}: {look.message or look.reason}")
    elif look.state not in ("runs", "leaving"):
        _replace(draft, one, PATIENCE if look.state == "unschedulable" else 1)


def _replace(draft: Draft, one: _Broker, weight: int) -> None:
    """Remove a failed pod when the next attempt is due; with a weight of PATIENCE that is on another node."""
    look, now = one.look, draft.world.now
    draft.failures = draft.failures.failed(one.pod, now, look.reason or look.phase, ran=look.ran, weight=weight)
    streak = draft.failures.of(place(one.pod), annotation(one.pod, HASH))
    if streak is None or streak.due <= now:
        draft.doom(one.pod, "failed")
    else:
        draft.look(streak.due)


def _add(draft: Draft, node: str, template: JsonObject, brokers: list[_Broker]) -> None:
    wanted = desired_pod(draft.instance, node, template)
    if any(one.pod["metadata"]["name"] == wanted["metadata"]["name"] for one in brokers):
        # Two nodes whose names differ in dots and dashes only.
        wanted = desired_pod(draft.instance, node, template, labels.distinct_pod_name(draft.instance, node))
    if draft.claim(wanted):
        draft.want(wanted)
    draft.brokers.append({"kind": POD.name, "name": wanted["metadata"]["name"], "node": node, "phase": "Pending"})


def _told(draft: Draft, one: _Broker) -> JsonObject:
    """The pod, for the status of its instance."""
    look, name = one.look, str(one.pod["metadata"]["name"])
    told: JsonObject = {
        "kind": POD.name,
        "name": name,
        "node": one.node,
        "phase": _phase(look),
        "startedAt": timestamp(look.since),
    }
    streak = draft.failures.of(place(one.pod), annotation(one.pod, HASH))
    failures = streak.count if streak is not None and streak.uid else None
    extra: JsonObject = {"reason": look.reason, "message": look.message}
    extra |= {"exitCode": look.exit_code, "failures": failures}
    told |= {key: value for key, value in extra.items() if value not in ("", None)}
    has_log = look.state == "failed" and look.exit_code is not None
    return {**told, **draft.log_of(name, told["startedAt"], wanted=has_log)}


def _phase(look: PodLook) -> str:
    """The pod's own word, except where that would say less, or another thing, than it means for a broker."""
    if look.reason == "CrashLoopBackOff":
        return "Failed"
    if look.state == "leaving":
        return "Leaving"
    return "Ended" if look.phase == "Succeeded" else look.phase
