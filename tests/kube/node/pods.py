"""Pods on a whole node, and devices that its agent sees, as tests speak of them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import msgspec

from ashore_broker_launcher.cluster import INSTANCE
from tests.kube.api import Api, Object, until
from tests.kube.node.image import NAME
from tests.kube.node.kubelet import NODE
from tests.kube.node.whole import offered
from tests.launcher_kit import World

SAYS = "env; exec 3>$CAMERA_NODE && echo opened; "
_LONG = 600.0
"""The agent of these tests says once that it is alive."""


def pod_spec(resource: str, command: str) -> Object:
    """A Pod as in the documentation of Akri: one of a resource."""
    container = {
        "name": "user",
        "image": NAME,
        "imagePullPolicy": "Never",
        "command": ["sh", "-c", command],
        "resources": {"requests": {resource: "1"}, "limits": {resource: "1"}},
    }
    once = {"restartPolicy": "Never", "terminationGracePeriodSeconds": 0}
    return {"hostNetwork": True, "containers": [container], **once}


@asynccontextmanager
async def at_work(made: World) -> AsyncIterator[None]:
    """A launcher, and an agent on the node that is alive."""
    async with made.launcher():
        await made.live(NODE, interval=_LONG)
        yield


async def see(made: World, key: str = "cam-1", *nodes: str, **about: Any) -> None:
    """Let the agent of the node see a camera, which needs the first of these device nodes."""
    properties = {"CAMERA_KEY": key, **({"CAMERA_NODE": nodes[0]} if nodes else {})}
    await made.see(key, node=NODE, device_nodes=nodes, properties=properties, **about)


async def said(kube: Api, made: World, pod: str) -> str:
    """What a Pod has written, asked of the API server, which asks the kubelet."""
    headers = {"Authorization": f"Bearer {kube.access.token}"}
    async with httpx.AsyncClient(verify=kube.access.verified(), headers=headers, trust_env=False) as client:
        answer = await client.get(f"{kube.access.url}/api/v1/namespaces/{made.namespace}/pods/{pod}/log")
        assert answer.status_code == httpx.codes.OK, answer.text
        return answer.text


async def run_pod(kube: Api, made: World, name: str, spec: Object) -> None:
    """A Pod of a user."""
    body = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}
    await kube.create(f"/api/v1/namespaces/{made.namespace}/pods", body)


async def in_phase(kube: Api, made: World, name: str, phase: str) -> Object:
    """Wait until a Pod is that far."""
    path = f"/api/v1/namespaces/{made.namespace}/pods/{name}"

    async def reached() -> Object | None:
        found = await kube.get(path)
        assert found["status"].get("phase") in {"Pending", "Running", phase}, msgspec.json.encode(found["status"])
        return found if found["status"].get("phase") == phase else None

    found: Object = await until(reached, f"{name} is {phase}")
    return found


async def usage(made: World, instance: str) -> dict[str, str]:
    """Who has which slot of it."""
    found = await made.get(INSTANCE, instance)
    assert found is not None
    held: dict[str, str] = found["spec"].get("deviceUsage", {})
    return {slot: user for slot, user in held.items() if user}


async def is_offered(kube: Api, *resources: str) -> None:
    """Wait until the node has these resources for Pods, and no others."""

    async def known() -> bool:
        return set(resources) == set(await offered(kube))

    await until(known, f"the node offers {resources} and nothing else")


async def free(made: World, instance: str) -> None:
    """Wait until nobody has a slot of it."""

    async def unused() -> bool:
        return not await usage(made, instance)

    await until(unused, "the slot is free")


async def instance_name(made: World) -> str:
    """The only instance."""
    (found,) = await made.count(INSTANCE, 1)
    name: str = found["metadata"]["name"]
    return name


async def written(kube: Api, made: World, pod: str, line: str) -> list[str]:
    """What a Pod has written, once this line is among it."""

    async def wrote() -> list[str]:
        lines = (await said(kube, made, pod)).splitlines()
        return lines if line in lines else []

    lines: list[str] = await until(wrote, f"{pod} has written '{line}'")
    return lines
