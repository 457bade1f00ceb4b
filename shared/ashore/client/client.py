"""The clients of all services, over one set of connections."""

import ssl
from functools import cached_property
from pathlib import Path
from typing import Self

import httpx

from ashore.client.connection import Connection
from ashore.client.context import LAUNCHER, Context
from ashore.client.errors import ClientError
from ashore.client.launcher import LauncherClient
from ashore.client.manufacturer import ManufacturerClient
from ashore.client.owner import OwnerClient
from ashore.client.rendezvous import RendezvousClient
from ashore.tls import TlsError, client_context

_CONNECT_SECONDS = 3.0
_ANSWER_SECONDS = 60.0


class Client:
    """All services of one context: `async with Client(context) as client`."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self._http = httpx.AsyncClient(
            verify=_tls(context),
            timeout=httpx.Timeout(_ANSWER_SECONDS, connect=_CONNECT_SECONDS),
            # The services are neighbours; the environment's proxies are for the internet.
            trust_env=False,
            headers={"User-Agent": "ashore-client"},
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_exception: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close all connections."""
        await self._http.aclose()

    @cached_property
    def manufacturer(self) -> ManufacturerClient:
        """The manufacturer service."""
        return ManufacturerClient(self.connection("manufacturer"))

    @cached_property
    def rendezvous(self) -> RendezvousClient:
        """The rendezvous service."""
        return RendezvousClient(self.connection("rendezvous"))

    @cached_property
    def owner(self) -> OwnerClient:
        """The owner service."""
        return OwnerClient(self.connection("owner"))

    @cached_property
    def launcher(self) -> LauncherClient:
        """The broker launcher."""
        return LauncherClient(self.connection(LAUNCHER))

    def connection(self, service: str) -> Connection:
        """What all services have in common, for one of them by its name."""
        return Connection(self._http, service, self.context.services[service])


def _tls(context: Context) -> ssl.SSLContext | bool:
    """How to check certificates; nothing where no URL is https, since loading the authorities takes its time."""
    if not any(place.url.startswith("https:") for place in context.services.values()):
        return False
    return client_tls(context.ca_file)


def client_tls(ca_file: Path | None) -> ssl.SSLContext:
    """Whom to believe: the authorities in this file, or the system's; raise ClientError where the file is of no use."""
    try:
        return client_context(ca_file.read_text("ascii") if ca_file else None)
    except (OSError, UnicodeDecodeError, TlsError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it holds no certificates in PEM"
        raise ClientError(
            f"the authorities in {ca_file} cannot be used: {reason}", remedy="set ASHORE_CA_FILE to another file"
        ) from error
