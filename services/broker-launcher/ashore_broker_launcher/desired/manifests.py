"""`brokerManifests`: any objects for each instance, with the device's values in their texts.

An object stays in its instance's namespace and belongs to it: it gets the labels, the owner and the annotations of all
that the launcher makes, and pods of its templates get the labels too. Kinds must be in the launcher's allow-list, and
none may stand outside of namespaces. Whoever may write a configuration may thereby have the launcher make such objects
and start pods of any form, as with Akri's `brokerSpec`: the right to write configurations is to be given like the right
to start pods, and the launcher's own role in the cluster (RBAC) is the outer bound of what any configuration can do.

What cannot be changed in place (pods, jobs) is removed and made again, a job only when none of its pods runs. What is
no longer among the manifests is removed. A manifest that is wrong is told, keeps no other from being applied, and
what it was before stays.
"""

import re
from typing import Final

import msgspec

from ashore_broker_launcher.cluster import JOB, POD, JsonObject
from ashore_broker_launcher.desired import labels
from ashore_broker_launcher.desired.draft import Draft
from ashore_broker_launcher.desired.failures import place
from ashore_broker_launcher.desired.jobs import state_of, told_job
from ashore_broker_launcher.desired.phases import as_dict, look_at_pod
from ashore_broker_launcher.desired.placeholder import resource
from ashore_broker_launcher.desired.services import runs
from ashore_broker_launcher.desired.templates import TemplateError, placeholders, rendered
from ashore_broker_launcher.model import HASH, NODE_LABEL, PART
from ashore_broker_launcher.objects import annotation, hashed, is_leaving, label

PREFIX: Final = "manifests/"
CLUSTER_WIDE: Final = frozenset(
    {
        "APIService", "CSIDriver", "CSINode", "CertificateSigningRequest", "ClusterRole", "ClusterRoleBinding",
        "ClusterTrustBundle", "CustomResourceDefinition", "DeviceClass", "FlowSchema", "IngressClass", "IPAddress",
        "MutatingAdmissionPolicy", "MutatingAdmissionPolicyBinding", "MutatingWebhookConfiguration", "Namespace",
        "Node", "PersistentVolume", "PriorityClass", "PriorityLevelConfiguration", "ResourceSlice", "RuntimeClass",
        "ServiceCIDR", "StorageClass", "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding",
        "ValidatingWebhookConfiguration", "VolumeAttachment",
    }
)  # fmt: skip
"""Kinds of Kubernetes itself that stand in no namespace. Of others the cluster says it, to whoever applies them."""
_NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
_UNCHANGING: Final = (POD.name, JOB.name)


class ManifestError(ValueError):
    """A manifest cannot be applied; the text says why."""


class _Object(msgspec.Struct, frozen=True):
    part: str
    body: JsonObject


def plan_manifests(draft: Draft) -> None:
    """Add what the manifests need."""
    existing = [one for one in draft.children if annotation(one, PART).startswith(PREFIX)]
    node = _node(draft, existing)
    wanted, kept = [], set()
    for number, manifest in enumerate(draft.configuration.spec.broker_manifests):
        part = f"{PREFIX}{number}"
        if not node and "NODE" in placeholders(manifest):
            draft.hold("no node sees the device")
            kept.add(part)
            continue
        try:
            wanted.append(_Object(part, desired_object(draft, number, manifest, node)))
        except (ManifestError, TemplateError) as error:
            draft.tell("ManifestInvalid", f"brokerManifests[{number}] is not applied: {error}")
            kept.add(part)
    _prune(draft, existing, wanted, kept)
    for one in wanted:
        if draft.claim(one.body):
            _settle(draft, one.body)


def told_jobs(draft: Draft) -> list[JsonObject | None]:
    """Each job among the manifests, as it fares; None where it is not there, or is another than it should be."""
    node = _node(draft, [one for one in draft.children if annotation(one, PART).startswith(PREFIX)])
    found: list[JsonObject | None] = []
    for number, manifest in enumerate(draft.configuration.spec.broker_manifests):
        if manifest.get("kind") != JOB.name:
            continue
        try:
            body = desired_object(draft, number, manifest, node)
        except (ManifestError, TemplateError):
            found.append(None)
            continue
        exists, run = draft.existing(body), annotation(body, HASH)
        if exists is None:
            found.append(draft.finished_before(JOB.name, run))
        else:
            found.append(told_job(draft, exists, run) if annotation(exists, HASH) == run else None)
    return found


def desired_object(draft: Draft, number: int, manifest: JsonObject, node: str) -> JsonObject:
    """The object of one manifest, with its hash; raise ManifestError or TemplateError."""
    body = rendered(manifest, values(draft, node))
    _check_kind(draft, body)
    part = f"{PREFIX}{number}"
    given = as_dict(body.get("metadata"))
    own = labels.metadata_of(draft.instance, _name(draft, given, number), part)
    _check_namespace(draft, given)
    if "NODE" in placeholders(manifest):
        own["labels"][NODE_LABEL] = labels.node_label(node)
    metadata = {
        **own,
        "labels": {**_texts(given, "labels"), **own["labels"]},
        "annotations": {**_texts(given, "annotations"), **own["annotations"]},
    }
    if "app" in _texts(given, "labels"):
        metadata["labels"]["app"] = given["labels"]["app"]
    rest = {key: value for key, value in body.items() if key not in ("metadata", "status")}
    return hashed({**_labelled(draft, rest), "metadata": metadata})


def values(draft: Draft, node: str) -> dict[str, str]:
    """What placeholders stand for."""
    instance = draft.instance
    return {
        "INSTANCE": instance.metadata.name,
        "CONFIGURATION": instance.spec.configuration_name,
        "NAMESPACE": instance.metadata.namespace,
        "DEVICE": instance.device,
        "NODE": node,
        "PLACEHOLDER": resource(instance),
        **{f"properties.{name}": value for name, value in instance.spec.broker_properties.items()},
    }


def _node(draft: Draft, existing: list[JsonObject]) -> str:
    """The first node that sees the device; one that was chosen before stays."""
    nodes = draft.instance.spec.nodes
    chosen = {label(one, NODE_LABEL) for one in existing}
    return next((one for one in nodes if labels.node_label(one) in chosen), next(iter(nodes), ""))


def _check_kind(draft: Draft, body: JsonObject) -> None:
    kind = f"{body.get('apiVersion')}/{body.get('kind')}"
    if not isinstance(body.get("apiVersion"), str) or not isinstance(body.get("kind"), str):
        raise ManifestError("it needs apiVersion and kind")
    if body["kind"] in CLUSTER_WIDE:
        raise ManifestError(f"{kind} stands in no namespace, and manifests stay in that of their instance")
    if kind not in draft.world.allowed_kinds:
        allowed = ", ".join(sorted(draft.world.allowed_kinds)) or "nothing"
        raise ManifestError(f"{kind} is not among the kinds that this launcher may make: {allowed}")


def _check_namespace(draft: Draft, given: JsonObject) -> None:
    own = draft.instance.metadata.namespace
    if given.get("namespace") not in (None, "", own):
        raise ManifestError(f"it says namespace '{given['namespace']}': leave that out, it goes to '{own}'")


def _name(draft: Draft, given: JsonObject, number: int) -> str:
    name = given.get("name")
    if name is None and "generateName" in given:
        raise ManifestError("generateName would make a new object each time: write name, as 'thing-{{INSTANCE}}'")
    if name is None:
        return labels.numbered(draft.instance, number)
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ManifestError(f"'{name}' is no name: small letters, digits, dashes and dots")
    return name


def _texts(given: JsonObject, field: str) -> dict[str, str]:
    return {key: value for key, value in as_dict(given.get(field)).items() if isinstance(value, str)}


def _labelled(draft: Draft, body: JsonObject) -> JsonObject:
    """With our labels on the pods of its template, as services look for them."""
    spec = as_dict(body.get("spec"))
    for field in ("template", "jobTemplate"):
        inner = spec.get(field)
        if isinstance(inner, dict) and isinstance(inner.get("spec"), dict):
            changed = _labelled(draft, inner) if field == "jobTemplate" else _with_labels(draft, inner)
            return {**body, "spec": {**spec, field: changed}}
    return body


def _with_labels(draft: Draft, template: JsonObject) -> JsonObject:
    metadata = as_dict(template.get("metadata"))
    if "containers" not in template["spec"]:
        return template
    labelled = {**as_dict(metadata.get("labels")), **labels.selected_by(draft.instance)}
    return {**template, "metadata": {**metadata, "labels": labelled}}


def _prune(draft: Draft, existing: list[JsonObject], wanted: list[_Object], kept: set[str]) -> None:
    names = {(one.body["apiVersion"], place(one.body)) for one in wanted}
    for one in existing:
        if annotation(one, PART) in kept or (one["apiVersion"], place(one)) in names:
            continue
        if one["kind"] == JOB.name and state_of(draft, one) == "runs":
            draft.brokers.append(told_job(draft, one, annotation(one, HASH)))
        else:
            draft.doom(one, "replaced")


def _settle(draft: Draft, body: JsonObject) -> None:
    """Bring one object to what it should be."""
    exists = draft.existing(body)
    if exists is None and (done := draft.finished_before(body["kind"], annotation(body, HASH))):
        draft.brokers.append(done)
        return
    _tell(draft, body, exists)
    differs = exists is not None and annotation(exists, HASH) != annotation(body, HASH)
    if exists is not None and differs and body["kind"] in _UNCHANGING:
        _replace(draft, exists)
    elif exists is None and body["kind"] == JOB.name and not draft.world.may_start:
        draft.hold(draft.world.waits_for or "its configuration's roll-out does not start its job yet")
    else:
        draft.want(body)


def _replace(draft: Draft, exists: JsonObject) -> None:
    if exists["kind"] == JOB.name and state_of(draft, exists) == "runs":
        draft.hold(f"{place(exists)} has to end before it is made again; delete it to go on at once")
    elif not draft.world.may_start:
        draft.hold(draft.world.waits_for or "its configuration's roll-out does not change it yet")
    else:
        draft.doom(exists, "replaced")


def _tell(draft: Draft, body: JsonObject, exists: JsonObject | None) -> None:
    """For the status: what runs, not what is only data."""
    kind = body["kind"]
    if exists is not None and kind == JOB.name:
        draft.brokers.append(told_job(draft, exists, annotation(exists, HASH)))
    elif exists is not None and kind == POD.name:
        phase = look_at_pod(exists, draft.world.now).phase
        draft.brokers.append({"kind": kind, "name": body["metadata"]["name"], "phase": phase})
    elif "template" in as_dict(body.get("spec")):
        running = exists is not None and runs(exists)
        phase = "Running" if running else "Pending"
        draft.brokers.append({"kind": kind, "name": body["metadata"]["name"], "phase": phase})
    draft.expects_brokers |= "template" in as_dict(body.get("spec")) and kind != JOB.name
    draft.expects_brokers |= kind == POD.name and not (exists is not None and is_leaving(exists))
