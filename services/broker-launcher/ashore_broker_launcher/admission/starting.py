"""Puts the webhook together from the settings; whoever has none of it need not import what makes certificates."""

from collections.abc import Awaitable, Callable
from typing import NamedTuple

from ashore.http.health import Check
from ashore.http.server import bind
from ashore.service import StartError
from ashore_broker_launcher.admission.certificate import WebhookCertificate
from ashore_broker_launcher.admission.checks import Rules
from ashore_broker_launcher.admission.serving import Webhook
from ashore_broker_launcher.admission.webhook import WebhookApi
from ashore_broker_launcher.cluster import Cluster
from ashore_broker_launcher.config import BrokerLauncherSettings

_FOLDER = "webhook"


class Started(NamedTuple):
    """What a service must run and check for the webhook."""

    tasks: tuple[Callable[[], Awaitable[None]], ...]
    check: Check


def start(settings: BrokerLauncherSettings, port: int, cluster: Cluster, rules: Rules) -> Started:
    """Listen for the API server; raise StartError."""
    try:
        listener = bind(settings.host, port)
    except OSError as error:
        place = f"{settings.host}:{port}"
        raise StartError(f"cannot listen on {place} ({error.strerror}): set ASHORE_WEBHOOK_PORT") from error
    service, namespace, _ = settings.webhook_host.split(".")
    certificate = WebhookCertificate(
        cluster,
        settings.data_dir / _FOLDER,
        namespace=namespace,
        hosts=[settings.webhook_host, f"{service}.{namespace}", f"{settings.webhook_host}.cluster.local"],
    )
    webhook = Webhook(WebhookApi(rules, cluster), certificate, listener)
    return Started((webhook.look_after, webhook.serve), webhook.check)
