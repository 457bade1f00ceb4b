"""Two replicas of the launcher on one cluster: one acts, and when it is gone the other goes on."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from ashore.bus.nats import NatsBus
from ashore.telemetry import Metrics
from ashore_broker_launcher.app import put_together
from ashore_broker_launcher.cluster import INSTANCE, POD
from ashore_broker_launcher.config import BrokerLauncherSettings
from ashore_broker_launcher.crds.install import ensure
from ashore_broker_launcher.launchers.kubernetes.access import from_files
from ashore_broker_launcher.launchers.kubernetes.cluster import KubernetesCluster
from ashore_broker_launcher.launchers.kubernetes.lease import Leadership, Terms
from tests.bus_kit import until
from tests.kube.api import Api
from tests.launcher_kit import World, world

QUICK = Terms(length=2, deadline=1.5, every=0.2)


@pytest.fixture
async def made(kube: Api, kube_namespace: str, nats_bus: NatsBus, tmp_path: Path) -> AsyncIterator[World]:
    """A world on a real API server."""
    async with KubernetesCluster(from_files([kube.access.write(tmp_path / "kubeconfig")])) as cluster:
        await ensure(cluster, install=True)
        async with world(nats_bus, cluster, kube_namespace) as found:
            yield found


class Replica:
    """A launcher that leads when it may."""

    def __init__(self, made: World, name: str) -> None:
        settings = BrokerLauncherSettings(namespace=made.namespace)
        parts, reconciler = put_together(settings, made.bus, made.cluster, Metrics(), name)
        self.leadership = Leadership(made.cluster, made.namespace, "launcher", name, terms=QUICK)
        work = (parts.view.run(), *(task() for task in reconciler.tasks()), self.leadership.run(reconciler.lead))
        self._tasks = [asyncio.ensure_future(one) for one in work]

    async def freeze(self) -> None:
        """Stop at once and for ever, without giving the lead back, as a machine that loses its power does."""
        self.leadership._renewed_at = None
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@asynccontextmanager
async def two(made: World) -> AsyncIterator[tuple[Replica, Replica]]:
    """Two replicas, of which the first leads."""
    first = Replica(made, "first")
    await until(lambda: first.leadership.leads)
    second = Replica(made, "second")
    try:
        yield first, second
    finally:
        await first.freeze()
        await second.freeze()


async def test_one_replica_acts_and_the_other_goes_on_where_it_was_lost(made: World) -> None:
    await made.configure()
    async with two(made) as (first, second):
        await made.live()
        await made.see("serial-1")
        (before,) = await made.count(POD, 1)
        await made.hear("instance-added")
        assert (first.leadership.leads, second.leadership.leads) == (True, False)
        await first.freeze()
        await made.see("serial-2")
        pods = await made.count(POD, 2)
        assert before["metadata"]["uid"] in {one["metadata"]["uid"] for one in pods}
        await made.hear("instance-added", "instance-added")
        assert second.leadership.leads
        assert len(await made.names(INSTANCE)) == 2
    assert made.times("instance-added") == 2
