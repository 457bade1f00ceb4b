"""Configurations for tests of what is said of them."""

from typing import Any

from ashore_broker_launcher.admission.checks import Rules, problems

Object = dict[str, Any]
CONTAINER = {"name": "broker", "image": "example.test/broker", "resources": {"limits": {"{{PLACEHOLDER}}": "1"}}}
RULES = Rules(manifest_kinds=["v1/ConfigMap", "apps/v1/Deployment"])


def configuration(
    handler: str = "debugEcho", details: str = "descriptions: [foo]", *, properties: Any = None, **spec: Any
) -> Object:
    """One in the namespace `plant`."""
    discovery = {"name": handler, "discoveryDetails": details}
    if properties is not None:
        discovery["discoveryProperties"] = properties
    return {
        "apiVersion": "akri.sh/v0",
        "kind": "Configuration",
        "metadata": {"name": "cams", "namespace": "plant"},
        "spec": {"discoveryHandler": discovery, **spec},
    }


def said(*args: Any, **spec: Any) -> list[str]:
    """What is wrong with such a configuration."""
    return problems(configuration(*args, **spec), RULES)


def pod(**spec: Any) -> Object:
    """A broker."""
    return {"brokerSpec": {"brokerPodSpec": {"containers": [CONTAINER], **spec}}}


def job(**spec: Any) -> Object:
    """A broker that ends."""
    return {"brokerSpec": {"brokerJobSpec": {"template": {"spec": {"containers": [CONTAINER]}}, **spec}}}
