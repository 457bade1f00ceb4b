"""A launcher at work on a bus and a cluster, and ways to see what it does."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import aclosing, asynccontextmanager
from secrets import token_hex
from typing import Any

from ashore.bus import Bus
from ashore.events import AgentAlive, DeviceSeen, Event, open_event
from ashore.telemetry import Metrics
from ashore_broker_launcher.app import put_together
from ashore_broker_launcher.cluster import CONFIGURATION, INSTANCE, POD, Cluster, Kind, NotFound
from ashore_broker_launcher.config import BrokerLauncherSettings
from ashore_broker_launcher.reconciling.parts import Parts
from tests.bus_kit import publish
from tests.unit.launcher.kit import alive, seen

Object = dict[str, Any]
SECONDS = 60


def configuration(namespace: str, name: str = "cams", **spec: Any) -> Object:
    """A configuration with a broker pod, unless the spec says otherwise."""
    container = {"name": "b", "image": "example/b", "resources": {"limits": {"{{PLACEHOLDER}}": "1"}}}
    return {
        "apiVersion": "akri.sh/v0",
        "kind": "Configuration",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "capacity": 2,
            "discoveryHandler": {"name": "debugEcho", "discoveryDetails": "descriptions: [foo0]\n"},
            "brokerSpec": {"brokerPodSpec": {"containers": [container]}},
            **spec,
        },
    }


class World:
    """One bus, one cluster, one namespace; launchers come and go."""

    def __init__(self, bus: Bus, cluster: Cluster, namespace: str) -> None:
        self.bus = bus
        self.cluster = cluster
        self.namespace = namespace
        self.told: list[Event] = []
        self._revision = 0

    async def configure(self, name: str = "cams", **spec: Any) -> Object:
        """Apply a configuration."""
        return await self.cluster.apply(CONFIGURATION, configuration(self.namespace, name, **spec), manager="user")

    async def see(self, key: str = "serial-k5qm", **about: Any) -> DeviceSeen:
        """Let an agent tell a device."""
        self._revision += 1
        about.setdefault("configurations", (f"{self.namespace}.cams",))
        event = seen(key, revision=self._revision, **about)
        await publish(self.bus, event, token_hex(8))
        return event

    async def live(self, node: str = "node-a", epoch: int = 1, interval: float = 10) -> AgentAlive:
        """Let an agent say that it is alive."""
        event = alive(node, epoch, interval)
        await publish(self.bus, event, token_hex(8))
        return event

    async def objects(self, kind: Kind) -> list[Object]:
        """All objects of a kind in this world."""
        return await self.cluster.list(kind, namespace=self.namespace)

    async def names(self, kind: Kind) -> list[str]:
        """Their names."""
        return sorted(one["metadata"]["name"] for one in await self.objects(kind))

    async def get(self, kind: Kind, name: str) -> Object | None:
        """One of them."""
        try:
            return await self.cluster.get(kind, self.namespace, name)
        except NotFound:
            return None

    async def until(self, kind: Kind, holds: Callable[[list[Object]], bool], what: str = "") -> list[Object]:
        """Wait until this holds for all objects of a kind."""
        found: list[Object] = []
        try:
            async with asyncio.timeout(SECONDS):
                while not holds(found := await self.objects(kind)):  # noqa: ASYNC110 - it happens elsewhere
                    await asyncio.sleep(0.02)
        except TimeoutError:
            shown = [(one["metadata"]["name"], one.get("spec"), one.get("status")) for one in found]
            raise AssertionError(f"{what or kind.plural}: {shown}") from None
        return found

    async def count(self, kind: Kind, number: int) -> list[Object]:
        """Wait until there are so many, none of them about to go."""
        return await self.until(
            kind, lambda found: len(found) == number and not any("deletionTimestamp" in o["metadata"] for o in found)
        )

    async def hear(self, *names: str) -> None:
        """Wait until events of these names have been told, each as often as it is named."""
        async with asyncio.timeout(SECONDS):
            while not all(self.times(name) >= names.count(name) for name in names):  # noqa: ASYNC110 - as above
                await asyncio.sleep(0.02)

    def times(self, name: str) -> int:
        """How often an event of this name was told."""
        return sum(one.name == name for one in self.told)

    async def listen(self) -> None:
        """Note what is told of this world."""
        subjects = ["instance-added.>", "instance-changed.>", "instance-removed.>"]
        subjects += ["workload-launched.>", "workload-failed.>", "workload-finished.>", "workload-stopped.>"]
        async with aclosing(self.bus.follow(subjects, replay=True)) as events:
            async for _, envelope in events:
                event = open_event(envelope)
                if getattr(event, "namespace", "") == self.namespace:
                    self.told.append(event)

    @asynccontextmanager
    async def launcher(self, *, clock: Callable[[], float] = time.time, **settings: Any) -> AsyncIterator[Parts]:
        """A launcher at work, for the length of a block."""
        chosen = BrokerLauncherSettings(namespace=self.namespace, **settings)
        parts, reconciler = put_together(chosen, self.bus, self.cluster, Metrics(), "test", clock)
        tasks = [asyncio.ensure_future(task()) for task in (parts.view.run, *reconciler.tasks(), reconciler.lead)]
        try:
            yield parts
            raise_crashed(tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


def raise_crashed(tasks: Iterable["asyncio.Future[None]"]) -> None:
    """A task that has ended has crashed."""
    for task in tasks:
        if task.done():
            task.result()


@asynccontextmanager
async def world(bus: Bus, cluster: Cluster, namespace: str) -> AsyncIterator[World]:
    """A world whose events are noted."""
    made = World(bus, cluster, namespace)
    listening = asyncio.create_task(made.listen())
    try:
        yield made
    finally:
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)


__all__ = ["CONFIGURATION", "INSTANCE", "POD", "World", "configuration", "world"]
