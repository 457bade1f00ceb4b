"""The instance that a device should have for a configuration, from who sees it."""

from collections.abc import Callable, Collection, Mapping, Sequence

import msgspec

from ashore_broker_launcher import names
from ashore_broker_launcher.cluster import CONFIGURATION, INSTANCE, JsonObject
from ashore_broker_launcher.model import CONFIGURATION_LABEL, DEVICE, Configuration
from ashore_broker_launcher.objects import owned_by
from ashore_broker_launcher.presence import Sighting

_OWN_ID = ("id-", "path-")
"""Keys of devices that nothing better identifies than what their handler calls them: Akri's id of a device."""


class Naming(msgspec.Struct, frozen=True, kw_only=True):
    """The name of an instance, and whether the usual one was taken by another device."""

    digest: str
    collided: bool = False


def naming(configuration: str, seen: Sequence[Sighting], taken_by: Callable[[str], str]) -> Naming:
    """How a new instance is called; `taken_by` says whose a name is already: a device's key, or nothing."""
    first = seen[0].seen
    device, node = device_id(seen[0]), "" if first.shared else first.node
    short = names.digest(device, node)
    if taken_by(names.instance_name(configuration, short)) in ("", first.key):
        return Naming(digest=short)
    return Naming(digest=names.digest(device, node, names.LONGER_DIGEST_BYTES), collided=True)


def device_id(sighting: Sighting) -> str:
    """What the digest is made of: the handler's own id where nothing identifies the device better, else its key."""
    seen = sighting.seen
    if not seen.key.startswith(_OWN_ID):
        return seen.key
    own = [facet.partition(":")[2] for facet in seen.facets if facet.partition(":")[0] == seen.handler]
    return own[0] if own else seen.key


def desired_instance(
    configuration: Configuration,
    seen: Sequence[Sighting],
    digest: str,
    *,
    usage: Mapping[str, str],
    node_names: Mapping[str, str],
    lost_nodes: Collection[str] = (),
) -> JsonObject:
    """The object as it should be; without nodes where all that see the device are lost to the cluster.

    `node_names` are Kubernetes' names by the names that agents have; `usage` is who uses which slot.
    """
    own, spec = configuration.metadata, configuration.spec
    nodes = [node_names.get(one.node, one.node) for one in seen]
    nodes = [node for node in nodes if node not in lost_nodes]
    return {
        "apiVersion": INSTANCE.api_version,
        "kind": INSTANCE.name,
        "metadata": {
            "name": names.instance_name(own.name, digest),
            "namespace": own.namespace,
            "annotations": {DEVICE: seen[0].seen.key},
            "labels": {CONFIGURATION_LABEL: own.name},
            "ownerReferences": [owned_by(CONFIGURATION, own)],
        },
        "spec": {
            "configurationName": own.name,
            "cdiName": names.cdi_name(own.name, digest),
            "capacity": spec.capacity,
            "brokerProperties": {**properties(seen), **spec.broker_properties},
            "shared": seen[0].seen.shared,
            "nodes": nodes,
            "deviceUsage": dict(usage),
        },
    }


def properties(seen: Sequence[Sighting]) -> dict[str, str]:
    """What the handlers say of the device; where nodes differ, the first one that sees it holds."""
    found: dict[str, str] = {}
    for one in reversed(seen):
        found |= one.match.properties
    return found
