"""Names and labels of what the launcher makes: Akri's, so that whoever knows Akri finds the same.

No name is longer than a label may be, as each one is also a label, or a part of a host name. A longer one is cut and
gets a digest of the whole. Akri's own end there: it cannot make such objects.
"""

import hashlib
from typing import Final

from ashore_broker_launcher.cluster import CONFIGURATION, INSTANCE, JsonObject
from ashore_broker_launcher.model import (
    CONFIGURATION_LABEL,
    CONTROLLER,
    CONTROLLER_LABEL,
    INSTANCE_LABEL,
    NODE_LABEL,
    PART,
    Configuration,
    Instance,
)
from ashore_broker_launcher.objects import owned_by

LONGEST: Final = 63
APP_LABEL: Final = "app"


def short(stem: str, suffix: str = "") -> str:
    """Stem and suffix as one name; too long, the stem is cut, and a digest of all of it stands in its place."""
    if len(stem) + len(suffix) <= LONGEST:
        return stem + suffix
    digest = hashlib.blake2b(stem.encode(), digest_size=4).hexdigest()
    return f"{stem[: LONGEST - len(suffix) - len(digest) - 1].rstrip('-.')}-{digest}{suffix}"


def pod_name(instance: Instance, node: str) -> str:
    """`<instance>-pod`, and where several nodes see the device `<node>-<instance>-pod`."""
    own = instance.metadata.name
    return short(_dashed(f"{node}-{own}" if instance.spec.shared else own), "-pod")


def distinct_pod_name(instance: Instance, node: str) -> str:
    """For a node whose pod would otherwise be called as another node's."""
    digest = hashlib.blake2b(node.encode(), digest_size=4).hexdigest()
    return short(_dashed(f"{node}-{instance.metadata.name}"), f"-{digest}-pod")


def job_name(instance: Instance, generation: int, run: str = "") -> str:
    """`<instance>-<generation>-job`; a run that is not the generation's first has its own digits."""
    return short(_dashed(instance.metadata.name), f"-{generation}{f'-{run}' if run else ''}-job")


def numbered(instance: Instance, number: int) -> str:
    """For an object of a manifest that gives itself no name."""
    return short(_dashed(instance.metadata.name), f"-{number}")


def service_name(owner: str) -> str:
    """`<owner>-svc`."""
    return short(_dashed(owner), "-svc")


def node_label(node: str) -> str:
    """The node as a label."""
    return short(node)


def metadata_of(instance: Instance, name: str, part: str, *, node: str = "") -> JsonObject:
    """What an object of an instance says of itself first."""
    return {
        "name": name,
        "namespace": instance.metadata.namespace,
        "labels": {
            APP_LABEL: short(name),
            **selected_by(instance),
            **({NODE_LABEL: node_label(node)} if node else {}),
        },
        "annotations": {PART: part},
        "ownerReferences": [owned_by(INSTANCE, instance.metadata)],
    }


def selected_by(instance: Instance) -> dict[str, str]:
    """The labels by which services, and everybody else, find what belongs to an instance."""
    return {
        CONTROLLER_LABEL: CONTROLLER,
        CONFIGURATION_LABEL: instance.spec.configuration_name,
        INSTANCE_LABEL: instance.metadata.name,
    }


def metadata_of_configuration(configuration: Configuration, name: str, part: str) -> JsonObject:
    """What an object of a whole configuration says of itself first."""
    return {
        "name": name,
        "namespace": configuration.metadata.namespace,
        "labels": {
            APP_LABEL: short(name),
            CONTROLLER_LABEL: CONTROLLER,
            CONFIGURATION_LABEL: configuration.metadata.name,
        },
        "annotations": {PART: part},
        "ownerReferences": [owned_by(CONFIGURATION, configuration.metadata)],
    }


def _dashed(name: str) -> str:
    return name.replace(".", "-")
