"""Runs the webhook beside the service's own API: on a port of its own, always over TLS, with its own certificate."""

import asyncio
import socket
from typing import Final

import structlog

from ashore.certificates import CertificateError
from ashore.files import FilesError
from ashore.http.api import Application, api
from ashore.http.auth import Auth
from ashore.http.server import Server
from ashore_broker_launcher.admission.certificate import WebhookCertificate
from ashore_broker_launcher.admission.webhook import WebhookApi
from ashore_broker_launcher.cluster import ClusterError, NotFound

_LOOK_AGAIN_SECONDS: Final = 300.0
"""How soon a certificate that another replica has renewed is taken over, and a webhook that was applied is told."""
_RETRY_SECONDS: Final = 5.0

log: structlog.typing.FilteringBoundLogger = structlog.get_logger()


class Webhook:
    """Two tasks: `look_after` its certificate, and `serve` once there is one."""

    def __init__(self, webhook: WebhookApi, certificate: WebhookCertificate, listener: socket.socket) -> None:
        self._api = webhook
        self._certificate = certificate
        self._listener = listener
        self._certified = asyncio.Event()
        self._told = ""

    async def look_after(self) -> None:
        """Keep the certificate and what the API server knows of it, until cancelled."""
        while True:
            is_well = await self._looked_after()
            await asyncio.sleep(_LOOK_AGAIN_SECONDS if is_well else _RETRY_SECONDS)

    async def serve(self) -> None:
        """Answer, until cancelled."""
        await self._certified.wait()
        routes = api(self._api.routes(), auth=Auth([], enabled=False), title="ashore admission webhook", version="1")
        server = Server(Application(api=routes), context=self._certificate.context)
        log.info("the admission webhook listens", port=self._listener.getsockname()[1])
        await server.serve(self._listener)

    async def check(self) -> None:
        """Ready once it has a certificate; raise ClusterError with what keeps it from having one."""
        if not self._certified.is_set():
            raise ClusterError(self._told or "the admission webhook has no certificate yet")

    async def _looked_after(self) -> bool:
        try:
            if await self._certificate.keep():
                log.info("the admission webhook has a new certificate")
            self._certified.set()
            if await self._certificate.announce():
                log.info("the API server has been told the authority of the admission webhook")
        except NotFound:
            self._complain("no ValidatingWebhookConfiguration names this webhook: apply deploy/kubernetes/webhook.yaml")
            return True
        except (ClusterError, CertificateError, FilesError, OSError) as error:
            self._complain(str(error))
            return False
        self._told = ""
        return True

    def _complain(self, reason: str) -> None:
        if reason != self._told:
            self._told = reason
            log.warning("the admission webhook is not ready", reason=reason)
