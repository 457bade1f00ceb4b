"""The webhook's certificate: made here, the same for all replicas, renewed in time without a restart.

Authority and server certificate are the two files of `ashore.server_certificates`. A Secret keeps them, so that every
replica proves itself by the authority that the webhook's configuration names; whoever writes it second reads what the
first has written. In the data folder they are only for OpenSSL, which reads files.
"""

import base64
import binascii
import ssl
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from ashore import files
from ashore.certificates import CertificateError
from ashore.http.server import tls_context
from ashore.server_certificates import AUTHORITY, ServerCertificates
from ashore_broker_launcher.cluster import Cluster, ClusterError, Conflict, JsonObject, Kind, NotFound

SECRET: Final = Kind("v1", "Secret", "secrets")
SECRET_NAME: Final = "ashore-broker-launcher-webhook"  # noqa: S105 - the object's name
WEBHOOKS: Final = Kind(
    "admissionregistration.k8s.io/v1",
    "ValidatingWebhookConfiguration",
    "validatingwebhookconfigurations",
    namespaced=False,
)
WEBHOOK_NAME: Final = "ashore-broker-launcher"
_SERVER: Final = "webhook"
_FILES: Final = (f"{AUTHORITY}.pem", f"{_SERVER}.pem")
_ATTEMPTS: Final = 5
_DAMAGED: Final = "holds no usable authority: delete it, and it is made anew"


class WebhookCertificate:
    """Keeps the Secret, the files and the TLS settings of a running server in step."""

    def __init__(
        self,
        cluster: Cluster,
        directory: Path,
        *,
        namespace: str,
        hosts: Sequence[str],
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._cluster = cluster
        self._directory = directory
        self._namespace = namespace
        self._hosts = hosts
        self._clock = clock
        self._context: ssl.SSLContext | None = None
        self._loaded = b""
        self._authority = ""

    @property
    def context(self) -> ssl.SSLContext:
        """For the server; connections that begin later get a renewed certificate. Only after `keep`."""
        assert self._context is not None, "keep() comes first"  # noqa: S101 - a mistake of ours
        return self._context

    async def keep(self) -> bool:
        """Take over, make or renew what is needed; whether it is another certificate than before.

        Raise ClusterError, CertificateError, FilesError.
        """
        for _ in range(_ATTEMPTS):
            try:
                return await self._keep()
            except Conflict:
                # Another replica was faster; what it has written will do.
                continue
        raise CertificateError(f"the Secret {SECRET_NAME} changes all the time: who else writes it?")

    async def announce(self) -> bool:
        """Tell the API server by which authority it knows the webhook; whether that was news to it.

        Raise ClusterError; NotFound where nobody has configured a webhook.
        """
        present = await self._cluster.get(WEBHOOKS, "", WEBHOOK_NAME)
        bundle = base64.b64encode(self._authority.encode()).decode()
        webhooks = present.get("webhooks") or []
        if all(one["clientConfig"].get("caBundle") == bundle for one in webhooks):
            return False
        told = [{**one, "clientConfig": {**one["clientConfig"], "caBundle": bundle}} for one in webhooks]
        await self._cluster.replace(WEBHOOKS, {**present, "webhooks": told})
        return True

    async def _keep(self) -> bool:
        directory = files.private_directory(self._directory)
        secret = await self._secret()
        for name, content in _contents(secret or {}).items():
            files.replace_private(directory / name, content)
        try:
            certificates = ServerCertificates(directory, self._clock)
            certificates.keep(_SERVER, self._hosts)
        except CertificateError as error:
            for name in _FILES:
                (directory / name).unlink(missing_ok=True)
            raise ClusterError(f"the Secret {SECRET_NAME} {_DAMAGED}") from error
        await self._store(secret, {name: files.read_private(directory / name) for name in _FILES})
        self._authority = certificates.authority
        return self._load(certificates.path(_SERVER))

    async def _secret(self) -> JsonObject | None:
        try:
            return await self._cluster.get(SECRET, self._namespace, SECRET_NAME)
        except NotFound:
            return None

    async def _store(self, secret: JsonObject | None, contents: Mapping[str, bytes]) -> None:
        data = {name: base64.b64encode(content).decode() for name, content in contents.items()}
        if secret is None:
            metadata = {"name": SECRET_NAME, "namespace": self._namespace}
            body = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": "Opaque", "data": data}
            await self._cluster.create(SECRET, body)
        elif {name: secret.get("data", {}).get(name) for name in data} != data:
            await self._cluster.replace(SECRET, {**secret, "data": {**(secret.get("data") or {}), **data}})

    def _load(self, path: Path) -> bool:
        content = files.read_private(path)
        if self._context is None:
            self._context = tls_context(path, None)
        elif content == self._loaded:
            return False
        else:
            self._context.load_cert_chain(path)
        self._loaded = content
        return True


def _contents(secret: JsonObject) -> dict[str, bytes]:
    data = secret.get("data") or {}
    try:
        return {name: base64.b64decode(data[name], validate=True) for name in _FILES if name in data}
    except (binascii.Error, ValueError) as error:
        raise ClusterError(f"the Secret {SECRET_NAME} {_DAMAGED}") from error
