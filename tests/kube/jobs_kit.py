"""A launcher's jobs on a real API server with its job controller; nodes are played, and tests say how each pod ends."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from ashore.bus import Bus
from ashore_broker_launcher.cluster import CONFIGURATION, INSTANCE, JOB, POD, Kind
from ashore_broker_launcher.crds.install import ensure
from ashore_broker_launcher.launchers.kubernetes.access import from_files
from ashore_broker_launcher.launchers.kubernetes.cluster import KubernetesCluster
from tests.kube import pod_status
from tests.kube.api import Api
from tests.kube.kubelet import Kubelets
from tests.kube.logs import Logs
from tests.launcher_kit import Object, World, world

RERUN, OF_INSTANCE = "akri.sh/rerun", "akri.sh/instance"


def job_spec(image: str = "example/work", **spec: Any) -> Object:
    """A broker that is a job with one try."""
    template = {"spec": {"restartPolicy": "Never", "containers": [{"name": "work", "image": image}]}}
    return {"brokerJobSpec": {"backoffLimit": 0, "template": template, **spec}}


class Site:
    """A world with one node, whose pods run until a test ends them."""

    def __init__(self, made: World, kube: Api, nodes: Kubelets, logs: Logs) -> None:
        self.world = made
        self.kube = kube
        self.nodes = nodes
        self.logs = logs
        nodes.decide = lambda pod: dated(pod, pod_status.running(pod))

    async def see(self, *keys: str, **about: Any) -> None:
        """The node's agent lives, and sees these devices."""
        await self.world.live()
        for key in keys:
            await self.world.see(key, **about)

    async def demand(self, value: str, *, instance: str = "") -> None:
        """Have a configuration's jobs run again, or those of one instance."""
        where = f"instances/{instance}" if instance else "configurations/cams"
        path = f"/apis/akri.sh/v0/namespaces/{self.world.namespace}/{where}"
        await self.kube.patch(path, {"metadata": {"annotations": {RERUN: value}}})

    async def instances(self, count: int) -> list[Object]:
        """So many of them, by name."""
        found = await self.world.count(INSTANCE, count)
        return sorted(found, key=lambda one: str(one["metadata"]["name"]))

    async def is_(self, name: str, phase: str, *words: str) -> Object:
        """Wait until an instance has this phase, and says these words of why."""
        found = await self.world.until(
            INSTANCE,
            lambda found: any(_is(one, name, phase, words) for one in found),
            f"{name} is {phase}: {words}",
        )
        return next(one for one in found if one["metadata"]["name"] == name)

    async def jobs(self, holds: Callable[[list[Object]], bool], what: str = "") -> list[Object]:
        """Wait until this holds for all jobs."""
        return await self.world.until(JOB, holds, what)

    async def running(self, *instances: str) -> list[Object]:
        """Wait until pods of the jobs of these instances run, and of no other."""
        found = await self.world.until(
            POD,
            lambda found: sorted(of(one) for one in found if runs(one)) == sorted(instances),
            f"jobs of {instances} run",
        )
        # One that has ended may still be there.
        return [one for one in found if runs(one)]

    async def end(self, instance: str, code: int = 0, log: bytes | None = b"") -> None:
        """The pod of an instance's job ends; without a log its kubelet has none."""
        found = await self.world.until(POD, lambda found: any(of(one) == instance and runs(one) for one in found))
        pod = await self.whole(next(one for one in found if of(one) == instance and runs(one)))
        if log is not None:
            self.logs.written[f"{self.world.namespace}/{pod['metadata']['name']}/work"] = log
        status = pod_status.failed(pod, code) if code else pod_status.succeeded(pod)
        await self.nodes.become(pod, dated(pod, status))

    async def stays(self, kind: Kind, before: list[Object]) -> None:
        """These objects, and no other, for a while: whatever would come comes within milliseconds."""
        for _ in range(15):
            assert uids(await self.world.objects(kind)) == uids(before)
            await asyncio.sleep(0.1)

    async def whole(self, pod: Object) -> Object:
        """All of a pod: the launcher reads little of it."""
        return await self.kube.get(f"/api/v1/namespaces/{self.world.namespace}/pods/{pod['metadata']['name']}")

    async def told(self, *words: str) -> Object:
        """Wait until the configuration's status says these words."""
        found = await self.world.until(
            CONFIGURATION, lambda found: all(word in str(found[0].get("status")) for word in words), str(words)
        )
        status: Object = found[0]["status"]
        return status


def of(one: Object) -> str:
    """Whose it is."""
    return str(one["metadata"].get("labels", {}).get(OF_INSTANCE))


def runs(pod: Object) -> bool:
    """Whether a pod runs, and will."""
    return pod["status"].get("phase") == "Running" and "deletionTimestamp" not in pod["metadata"]


def uids(objects: list[Object]) -> dict[str, str]:
    """Lives of names."""
    return {one["metadata"]["name"]: one["metadata"]["uid"] for one in objects}


def dated(pod: Object, status: Object) -> Object:
    """A status of a pod that has started when it was made."""
    return {**status, "startTime": pod["metadata"]["creationTimestamp"]}


def _is(one: Object, name: str, phase: str, words: tuple[str, ...]) -> bool:
    status = one.get("status", {})
    said = str(status.get("conditions"))
    return one["metadata"]["name"] == name and status.get("phase") == phase and all(word in said for word in words)


@asynccontextmanager
async def site(kube: Api, namespace: str, bus: Bus, folder: Path) -> AsyncIterator[Site]:
    """All of it, without a launcher."""
    access = from_files([kube.access.write(folder / "kubeconfig")])
    async with KubernetesCluster(access) as cluster, Logs(folder) as logs:
        await ensure(cluster, install=True)
        async with (
            Kubelets(kube, "node-a", binds=True, logs_port=logs.port) as nodes,
            world(bus, cluster, namespace) as made,
        ):
            yield Site(made, kube, nodes, logs)
