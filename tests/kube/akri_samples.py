"""Configurations as Akri's users have them, written anew from what Akri documents; one of each of its handlers."""

from typing import Any

Object = dict[str, Any]
BROKER = {
    "name": "broker",
    "image": "example.test/broker",
    "resources": {
        "requests": {"{{PLACEHOLDER}}": "1", "memory": "11Mi", "cpu": "10m"},
        "limits": {"{{PLACEHOLDER}}": "1", "memory": "24Mi", "cpu": "24m"},
    },
}
POD_BROKER = {"brokerPodSpec": {"containers": [BROKER]}}
JOB_BROKER = {
    "brokerJobSpec": {
        "parallelism": 1,
        "completions": 1,
        "backoffLimit": 2,
        "template": {"spec": {"restartPolicy": "OnFailure", "containers": [BROKER]}},
    }
}
SERVICES = {
    "instanceServiceSpec": {"type": "ClusterIP", "ports": [{"name": "grpc", "port": 80, "targetPort": 8083}]},
    "configurationServiceSpec": {"type": "ClusterIP", "ports": [{"name": "grpc", "port": 80, "targetPort": 8083}]},
}
DETAILS = {
    "debugEcho": "descriptions:\n- foo0\n- foo1\n",
    "udev": 'groupRecursive: true\nudevRules:\n- \'KERNEL=="video[0-9]*", ENV{ID_V4L_CAPABILITIES}=="*:capture:*"\'\n',
    "onvif": (
        "ipAddresses:\n  action: Exclude\n  items: []\nmacAddresses:\n  action: Exclude\n  items: []\n"
        "scopes:\n  action: Exclude\n  items: []\nuuids:\n  action: Exclude\n  items: []\ndiscoveryTimeoutSeconds: 1\n"
    ),
    "opcua": (
        "opcuaDiscoveryMethod:\n  standard:\n    discoveryUrls:\n    - opc.tcp://192.0.2.4:4840/\n"
        "applicationNames:\n  action: Include\n  items:\n  - Boiler\n"
    ),
}


def configuration(name: str, handler: str, namespace: str = "default", **spec: Any) -> Object:
    """One of them."""
    discovery = {"name": handler, "discoveryDetails": DETAILS.get(handler, "")}
    return {
        "apiVersion": "akri.sh/v0",
        "kind": "Configuration",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"discoveryHandler": discovery, **spec},
    }


def samples(namespace: str = "default") -> list[Object]:
    """All of them."""
    secret = {"name": "cam", "namespace": namespace, "key": "user"}
    cameras = configuration(
        "akri-onvif",
        "onvif",
        namespace,
        brokerSpec=POD_BROKER,
        capacity=5,
        brokerProperties={"RESOLUTION_WIDTH": "640"},
        **SERVICES,
    )
    cameras["spec"]["discoveryHandler"]["discoveryProperties"] = [
        {"name": "username_default", "valueFrom": {"secretKeyRef": secret}},
        {"name": "password_default", "valueFrom": {"secretKeyRef": {**secret, "key": "password", "optional": True}}},
    ]
    return [
        configuration(
            "akri-debug-echo", "debugEcho", namespace, capacity=2, brokerSpec=POD_BROKER, brokerProperties={}
        ),
        configuration("akri-udev", "udev", namespace, capacity=1, brokerSpec=POD_BROKER, **SERVICES),
        configuration(
            "akri-opcua", "opcua", namespace, brokerSpec=JOB_BROKER, brokerProperties={"IDENTIFIER": "Boiler"}
        ),
        cameras,
    ]
