"""The launcher's management API as the service builds it, on a bus and a cluster in memory."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from secrets import token_hex
from typing import Any

import httpx

from ashore.bus.memory import MemoryBus
from ashore.events import Event
from ashore.http.api import api
from ashore.http.auth import Auth, Principal, digest
from ashore.telemetry import Metrics
from ashore_broker_launcher.api import Api
from ashore_broker_launcher.app import put_together
from ashore_broker_launcher.cluster import Cluster, Kind
from ashore_broker_launcher.config import BrokerLauncherSettings
from ashore_broker_launcher.launchers.dry_run.memory import MemoryCluster
from tests.bus_kit import publish
from tests.launcher_kit import SECONDS, Object, configuration, raise_crashed

READER, WRITER = "reader", "writer"
PLACE = "default"
JOB_SPEC: Object = {
    "template": {"spec": {"containers": [{"name": "b", "image": "example/b"}], "restartPolicy": "Never"}}
}


class Managed:
    """A launcher that leads, and its API."""

    def __init__(self, cluster: Cluster, place: str) -> None:
        self.bus = MemoryBus()
        self.cluster = cluster
        self.place = place or PLACE
        settings = BrokerLauncherSettings(namespace=place)
        self.parts, self.reconciler = put_together(settings, self.bus, cluster, Metrics(), replica="one")
        tokens = [
            (digest(READER), Principal(READER, frozenset({"read"}))),
            (digest(WRITER), Principal(WRITER, frozenset({"read", "write"}))),
        ]
        routes = Api(self.parts, lambda: True).routes()
        self._application = api(routes, auth=Auth(tokens), title="broker-launcher", version="0")
        self.http = self.opened_by(WRITER)

    def opened_by(self, token: str) -> httpx.AsyncClient:
        """A client with this token."""
        return httpx.AsyncClient(
            transport=httpx.ASGITransport(app=self._application),
            base_url="http://launcher/api/v1",
            headers={"Authorization": f"Bearer {token}"},
        )

    async def tell(self, event: Event) -> None:
        """Let an agent say this."""
        await publish(self.bus, event, token_hex(8))

    async def apply(self, name: str = "cams", **spec: Any) -> httpx.Response:
        """Apply a configuration, whatever comes of it."""
        return await self.http.put(f"/configurations/{self.place}/{name}", json=configuration(self.place, name, **spec))

    async def applied(self, name: str = "cams", **spec: Any) -> Object:
        """Apply a configuration that is well."""
        return good(await self.apply(name, **spec))

    async def get(self, path: str, **query: str | int) -> Any:
        """What is there."""
        return good(await self.http.get(path, params=query))

    async def until(self, path: str, holds: Callable[[Any], object]) -> Any:
        """What is there, as soon as this holds."""
        async with asyncio.timeout(SECONDS):
            while True:
                answer = await self.http.get(path)
                if answer.status_code == 200 and holds(answer.json()):
                    return answer.json()
                await asyncio.sleep(0.01)

    async def explained(self, body: Object, devices: int = 1) -> Object:
        """The explanation of a configuration, as soon as it is about so many devices."""
        async with asyncio.timeout(SECONDS):
            while True:
                told: Object = good(await self.http.post("/configurations/explain", json=body))
                if len(told["devices"]) == devices:
                    return told
                await asyncio.sleep(0.01)

    async def listed(self, path: str, count: int = 1) -> list[Object]:
        """A list, as soon as it has so many."""
        page = await self.until(path, lambda found: len(found["items"]) == count)
        return list(page["items"])

    async def play(self, kind: Kind, name: str, **status: Any) -> None:
        """Be the kubelet, or one of the cluster's own controllers."""
        metadata = {"namespace": self.place, "name": name}
        body = {"apiVersion": kind.api_version, "kind": kind.name, "metadata": metadata, "status": status}
        await self.cluster.apply_status(kind, body, manager="kubelet")


@asynccontextmanager
async def managed(cluster: Cluster | None = None, place: str = "") -> AsyncIterator[Managed]:
    """A launcher at work, for the length of a block; with a place it looks at that namespace only."""
    made = Managed(cluster or MemoryCluster(), place)
    await made.bus.declare()
    work = (made.parts.view.run, *made.reconciler.tasks(), made.reconciler.lead)
    tasks = [asyncio.ensure_future(task()) for task in work]
    try:
        async with made.http:
            yield made
        raise_crashed(tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def good(answer: httpx.Response) -> Any:
    """What a request that must succeed brings."""
    assert answer.status_code == 200, answer.text
    return answer.json()


def refused(answer: httpx.Response, status: int) -> Object:
    """The problem of a request that must fail; it has a remedy."""
    assert answer.status_code == status, answer.text
    problem: Object = answer.json()
    assert problem["remedy"], problem
    return problem
