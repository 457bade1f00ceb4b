"""The broker launcher, put together."""

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from ashore.bus import Bus
from ashore.http.server import bind
from ashore.service import App, Context, StartError
from ashore.telemetry import Metrics
from ashore_broker_launcher.admission.checks import Rules
from ashore_broker_launcher.api import Api
from ashore_broker_launcher.cluster import Change, Cluster, ClusterError, Conflict, Kind, NotFound, Refused, Unreachable
from ashore_broker_launcher.config import BrokerLauncherSettings
from ashore_broker_launcher.launchers.opening import Opened, opened
from ashore_broker_launcher.reconciling.numbers import Numbers
from ashore_broker_launcher.reconciling.parts import ALWAYS, Parts
from ashore_broker_launcher.reconciling.queue import Item, WorkQueue
from ashore_broker_launcher.reconciling.reconciler import Reconciler
from ashore_broker_launcher.reconciling.recorder import Recorder
from ashore_broker_launcher.reconciling.view import View

if TYPE_CHECKING:
    from ashore_broker_launcher.admission.serving import Webhook


def put_together(
    settings: BrokerLauncherSettings,
    bus: Bus,
    cluster: Cluster,
    metrics: Metrics,
    replica: str,
    clock: Callable[[], float] = time.time,
) -> tuple[Parts, Reconciler]:
    """All parts of a launcher on this bus and this cluster; by the clock it starts jobs and tells since when."""

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
        recorder=Recorder(cluster, replica, clock),
        numbers=Numbers(metrics.registry),
        rules=rules_of(settings),
        clock=clock,
    )
    parts.numbers.waiting.set_function(lambda: len(parts.queue))
    reconciler = Reconciler(parts)
    return parts, reconciler


def rules_of(settings: BrokerLauncherSettings) -> Rules:
    """What configurations may say."""
    return Rules(manifest_kinds=settings.manifest_kinds, shared_namespaces=settings.shared_namespaces)


@asynccontextmanager
async def build(context: Context[BrokerLauncherSettings]) -> AsyncIterator[App]:
    """Everything that the broker launcher consists of, until the block ends."""
    settings = context.settings
    async with opened(settings, context.replica) as launcher:
        parts, reconciler = put_together(settings, context.bus, launcher.cluster, context.metrics, context.replica)
        webhook = make_webhook(settings, launcher)

        async def lead() -> None:
            await launcher.ready()
            await launcher.lead(reconciler.lead)

        async def reflect() -> None:
            await launcher.ready()
            await parts.view.run()

        async def is_read() -> None:
            await launcher.check()
            if not parts.view.is_synced(*ALWAYS):
                raise Unreachable("the cluster has not been read yet")

        yield App(
            routes=Api(parts, launcher.leads).routes(),
            tasks=[
                reflect,
                lead,
                *reconciler.tasks(),
                *launcher.tasks,
                *((webhook.look_after, webhook.serve) if webhook else ()),
            ],
            checks={"cluster": is_read, **({"webhook": webhook.check} if webhook else {})},
            problems={NotFound: 404, Conflict: 409, Refused: 422, Unreachable: 503, ClusterError: 502},
        )


def make_webhook(settings: BrokerLauncherSettings, launcher: Opened) -> "Webhook | None":
    """The admission webhook, where the settings want one and somebody could ask it; raise StartError."""
    if settings.webhook_port is None or launcher.checker is None:
        return None
    # Certificates take 10 MB of libraries, which a launcher without a webhook does without.
    from ashore_broker_launcher.admission.certificate import WebhookCertificate  # noqa: PLC0415
    from ashore_broker_launcher.admission.serving import Webhook  # noqa: PLC0415
    from ashore_broker_launcher.admission.webhook import WebhookApi  # noqa: PLC0415

    namespace = settings.webhook_host.split(".")[1]
    hosts = [settings.webhook_host, settings.webhook_host.removesuffix(".svc")]
    folder = settings.data_dir / "webhook"
    try:
        listener = bind(settings.host, settings.webhook_port)
    except OSError as error:
        place = f"{settings.host}:{settings.webhook_port}"
        raise StartError(f"cannot listen on {place} ({error.strerror}): set ASHORE_WEBHOOK_PORT") from error
    certificate = WebhookCertificate(launcher.cluster, folder, namespace=namespace, hosts=hosts)
    return Webhook(WebhookApi(rules_of(settings), launcher.checker), certificate, listener)
