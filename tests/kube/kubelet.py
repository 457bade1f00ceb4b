"""Nodes that are not there: each is Ready, renews its Lease, and its Pods fare as a test tells.

`async with Kubelets(api, "node-a", "node-b") as nodes`. A Pod that is bound to one of them becomes what `nodes.decide`
says (running, unless a test sets another function of `tests.kube.pod_status`), and a Pod that is being deleted goes as
when its containers have stopped, so that owners replace and garbage is collected as with a real kubelet. Nothing but
the scheduler binds Pods, unless `binds=True`: then whatever asks for a node by name or host name gets it, and else the
first.

A node that is `lost` does nothing any more, `back` undoes that, `remove` deletes it.
"""

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from typing import Any, Final, Self

import httpx

from tests.kube import pod_status
from tests.kube.api import Api, Object, RefusedError

_HEARTBEAT_SECONDS: Final = 2.0
_LEASES: Final = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
_AT_ONCE: Final = 16
_CAPACITY: Final = {"cpu": "64", "memory": "256Gi", "pods": "5000", "ephemeral-storage": "100Gi"}

Decide = Callable[[Object], Object | None]
"""From a Pod that is bound to its status; None leaves it as it is."""


class Kubelets:
    """Several nodes, played for the length of a block."""

    def __init__(
        self, api: Api, *names: str, decide: Decide = pod_status.running, binds: bool = False, logs_port: int = 0
    ) -> None:
        self.decide = decide
        self._api, self._binds, self._logs_port = api, binds, logs_port
        self._ready = dict.fromkeys(names, True)
        self._pods: dict[str, Object] = {}
        self._at_work: dict[str, asyncio.Task[None]] = {}
        self._room = asyncio.Semaphore(_AT_ONCE)
        self._ending = AsyncExitStack()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as undo:
            for name in self._ready:
                await self.add(name)
            tasks = [asyncio.create_task(self._heartbeats()), asyncio.create_task(self._follow())]
            undo.push_async_callback(self._end, tasks)
            self._ending = undo.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._ending.aclose()
        for name in list(self._ready):
            await self.remove(name)

    async def add(self, name: str) -> None:
        """One more node."""
        labels = {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux"}
        await self._api.apply(f"/api/v1/nodes/{name}", _named("v1", "Node", name, labels))
        await self.back(name)

    async def lost(self, name: str) -> None:
        """The node is cut off; the control plane has noticed."""
        self._ready[name] = False
        await self._say_ready(name, "Unknown")

    async def back(self, name: str) -> None:
        """It answers again, and catches up on its Pods."""
        self._ready[name] = True
        await self._beat(name)
        await self._say_ready(name, "True")
        # Every new node is tainted; with controllers they take it away in their time.
        await self._api.patch(f"/api/v1/nodes/{name}", {"spec": {"taints": None}})
        for pod in list(self._pods.values()):
            self._take_up(pod)

    async def remove(self, name: str) -> None:
        """It is no longer part of the cluster."""
        self._ready.pop(name, None)
        for path in (f"/api/v1/nodes/{name}", f"{_LEASES}/{name}"):
            await self._unless_gone(self._api.delete(path))

    async def become(self, pod: Object, status: Object) -> None:
        """A Pod's new status, as its kubelet writes it."""
        path = f"{_path(pod)}/status"
        body = {"metadata": {"uid": pod["metadata"]["uid"]}, "status": status}
        await self._unless_gone(self._api.patch(path, body))

    async def offer(self, name: str, **resources: str) -> None:
        """What a device plugin would add to the node; a dot in a name is written as it is, by **{...}."""
        path = f"/api/v1/nodes/{name}/status"
        await self._api.patch(path, {"status": {"capacity": resources, "allocatable": resources}})

    async def serve_logs_at(self, port: int) -> None:
        """Where kubelets give logs from now on."""
        self._logs_port = port
        for name in self._ready:
            await self._say_ready(name, "True")

    async def _say_ready(self, name: str, status: str) -> None:
        ready = {"type": "Ready", "status": status, "reason": "Played", "lastHeartbeatTime": _now()}
        body = {
            "capacity": _CAPACITY,
            "allocatable": _CAPACITY,
            "conditions": [ready],
            "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": self._logs_port}},
        }
        await self._api.patch(f"/api/v1/nodes/{name}/status", {"status": body})

    async def _heartbeats(self) -> None:
        while True:
            await asyncio.sleep(_HEARTBEAT_SECONDS)
            for name, ready in list(self._ready.items()):
                if ready:
                    await self._unless_away(self._beat(name))

    async def _beat(self, name: str) -> None:
        lease = _named("coordination.k8s.io/v1", "Lease", name, {})
        lease["spec"] = {"holderIdentity": name, "leaseDurationSeconds": 40, "renewTime": _now()}
        await self._api.apply(f"{_LEASES}/{name}", lease)

    async def _follow(self) -> None:
        """List and watch all Pods, again and again: an API server that a test kills comes back."""
        while True:
            await self._unless_away(self._follow_once())
            await asyncio.sleep(0.1)

    async def _follow_once(self) -> None:
        listed = await self._api.get("/api/v1/pods")
        self._pods = {pod["metadata"]["uid"]: pod for pod in listed["items"]}
        for pod in listed["items"]:
            self._take_up(pod)
        version = listed["metadata"]["resourceVersion"]
        async for event in self._api.lines("/api/v1/pods", resourceVersion=version, timeoutSeconds="300"):
            pod = event["object"]
            if event["type"] == "ERROR":
                return
            if event["type"] == "DELETED":
                self._pods.pop(pod["metadata"]["uid"], None)
                continue
            self._pods[pod["metadata"]["uid"]] = pod
            self._take_up(pod)

    def _take_up(self, pod: Object) -> None:
        """One task for each Pod, which works on the newest that is known of it."""
        uid = pod["metadata"]["uid"]
        if uid not in self._at_work:
            self._at_work[uid] = asyncio.create_task(self._work_on(uid))

    async def _work_on(self, uid: str) -> None:
        seen: Object | None = None
        try:
            while (pod := self._pods.get(uid)) is not None and pod is not seen:
                seen = pod
                async with self._room:
                    await self._unless_away(self._handle(pod))
        finally:
            del self._at_work[uid]

    async def _handle(self, pod: Object) -> None:
        node = pod["spec"].get("nodeName")
        if node is None:
            if self._binds and not pod["metadata"].get("deletionTimestamp"):
                await self._bind(pod)
        elif not self._ready.get(node):
            return
        elif pod["metadata"].get("deletionTimestamp"):
            gone = {"gracePeriodSeconds": 0, "preconditions": {"uid": pod["metadata"]["uid"]}}
            await self._unless_gone(self._api.delete(_path(pod), **gone))
        elif pod["status"]["phase"] == "Pending":
            status = self.decide(pod)
            if status is not None:
                await self.become(pod, status)

    async def _bind(self, pod: Object) -> None:
        wanted = _wanted_node(pod["spec"])
        ready = [name for name, well in self._ready.items() if well and wanted in (None, name)]
        if ready:
            binding = _named("v1", "Binding", pod["metadata"]["name"], {})
            binding["target"] = {"apiVersion": "v1", "kind": "Node", "name": ready[0]}
            await self._unless_gone(self._api.create(f"{_path(pod)}/binding", binding))

    async def _unless_gone(self, asking: Any) -> None:
        """Ignore that the object is gone, or has changed: its next event tells."""
        try:
            await asking
        except RefusedError as error:
            if error.code not in {httpx.codes.NOT_FOUND, httpx.codes.CONFLICT}:
                raise

    async def _unless_away(self, asking: Any) -> None:
        """Ignore that the API server is away, or comes back and is not ready yet."""
        try:
            await asking
        except httpx.HTTPError:
            await asyncio.sleep(0.1)
        except RefusedError as error:
            if error.code < httpx.codes.INTERNAL_SERVER_ERROR and error.code != httpx.codes.FORBIDDEN:
                raise

    async def _end(self, tasks: list[asyncio.Task[None]]) -> None:
        ending = [*tasks, *self._at_work.values()]
        for task in ending:
            task.cancel()
        for result in await asyncio.gather(*ending, return_exceptions=True):
            # What a task of ours met must be seen by whoever runs the test.
            if isinstance(result, Exception):
                raise result


def _wanted_node(spec: Object) -> str | None:
    """The node that a Pod asks for: by its host name, or by Akri's affinity to a name."""
    if "kubernetes.io/hostname" in spec.get("nodeSelector", {}):
        return spec["nodeSelector"]["kubernetes.io/hostname"]
    affinity = spec.get("affinity", {}).get("nodeAffinity", {})
    terms = affinity.get("requiredDuringSchedulingIgnoredDuringExecution", {}).get("nodeSelectorTerms", [])
    for term in terms:
        for match in term.get("matchFields", []) + term.get("matchExpressions", []):
            if match["key"] in {"metadata.name", "kubernetes.io/hostname"} and match["operator"] == "In":
                return match["values"][0]
    return None


def _path(pod: Object) -> str:
    return f"/api/v1/namespaces/{pod['metadata']['namespace']}/pods/{pod['metadata']['name']}"


def _named(version: str, kind: str, name: str, labels: dict[str, str]) -> Object:
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name, "labels": labels}}


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
