"""The broker launcher, put together."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from ashore.bus import Bus
from ashore.service import App, Context
from ashore.telemetry import Metrics
from ashore_broker_launcher.admission.checks import Rules
from ashore_broker_launcher.cluster import Change, Cluster, ClusterError, Conflict, Kind, NotFound, Unreachable
from ashore_broker_launcher.config import BrokerLauncherSettings
from ashore_broker_launcher.launchers.opening import opened
from ashore_broker_launcher.reconciling.numbers import Numbers
from ashore_broker_launcher.reconciling.parts import Parts
from ashore_broker_launcher.reconciling.queue import Item, WorkQueue
from ashore_broker_launcher.reconciling.reconciler import Reconciler
from ashore_broker_launcher.reconciling.recorder import Recorder
from ashore_broker_launcher.reconciling.view import View


def put_together(
    settings: BrokerLauncherSettings, bus: Bus, cluster: Cluster, metrics: Metrics, replica: str
) -> tuple[Parts, Reconciler]:
    """All parts of a launcher on this bus and this cluster."""

    def hear(kind: Kind, change: Change) -> None:
        reconciler.hear(kind, change)

    async def look(item: Item) -> float | None:
        return await reconciler.look(item)

    parts = Parts(
        site=settings.site,
        namespace=settings.namespace,
        bus=bus,
        cluster=cluster,
        view=View(cluster, hear),
        queue=WorkQueue(look),
        recorder=Recorder(cluster, replica, time.time),
        numbers=Numbers(metrics.registry),
        rules=Rules(manifest_kinds=settings.manifest_kinds),
        clock=time.time,
    )
    parts.numbers.waiting.set_function(lambda: len(parts.queue))
    reconciler = Reconciler(parts)
    return parts, reconciler


@asynccontextmanager
async def build(context: Context[BrokerLauncherSettings]) -> AsyncIterator[App]:
    """Everything that the broker launcher consists of, until the block ends."""
    settings = context.settings
    async with opened(settings, context.replica) as launcher:
        parts, reconciler = put_together(settings, context.bus, launcher.cluster, context.metrics, context.replica)

        async def lead() -> None:
            await launcher.lead(reconciler.lead)

        async def reflected() -> None:
            """Raise Unreachable as long as the cluster has not been read."""
            if not parts.view.is_synced():
                raise Unreachable("the cluster has not been read yet")

        yield App(
            tasks=[*reconciler.tasks(), lead, *launcher.tasks],
            checks={"cluster": reflected},
            problems={NotFound: 404, Conflict: 409, Unreachable: 503, ClusterError: 502},
        )
