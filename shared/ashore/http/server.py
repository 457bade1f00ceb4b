"""The HTTP server below everything: listens, serves until it is told to stop, and comes to an orderly end.

It is ours because devices pay for every message; decision record 0003 has the figures, and says what would make us go
back to a server of others. Signals are left to the caller, since a service drains more than its HTTP connections.
"""

import asyncio
import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Final

import structlog

from ashore.http.api import Application
from ashore.http.connection import Connection
from ashore.http.crowd import Crowd
from ashore.http.site import Site, Times

MOST_CONNECTIONS: Final = 10_000
_HANDSHAKE_SECONDS: Final = 10.0
_POLL_SECONDS: Final = 0.02
_CANCEL_SECONDS: Final = 1.0
_BACKLOG: Final = 2_048

log: structlog.typing.FilteringBoundLogger = structlog.get_logger()


class Server:
    """Serves an application; `started` is called once connections are accepted."""

    def __init__(
        self,
        application: Application,
        *,
        context: ssl.SSLContext | None = None,
        drain_seconds: float = 10,
        times: Times = Times(),  # noqa: B008 - a tuple, so sharing it is harmless
        most_connections: int = MOST_CONNECTIONS,
        started: Callable[[], None] | None = None,
    ) -> None:
        self._application = application
        self._context = context
        self._drain_seconds = drain_seconds
        self._times = times
        self._crowd = Crowd(most_connections)
        self._started = started
        self._stopping = asyncio.Event()
        self._forced = False

    def stop(self) -> None:
        """Take no more connections and finish what is under way; the second time, do not wait for that."""
        self._forced = self._stopping.is_set()
        self._stopping.set()

    async def serve(self, listener: socket.socket) -> None:
        """Serve until stopped; the listener is closed at the end."""
        loop = asyncio.get_running_loop()
        site = Site(self._application.api, self._application.fdo, loop, self._times)
        accepting = await loop.create_server(
            lambda: Connection(site, self._crowd),
            sock=listener,
            backlog=_BACKLOG,
            ssl=self._context,
            ssl_handshake_timeout=_HANDSHAKE_SECONDS if self._context else None,
        )
        caretaker = loop.create_task(self._crowd.look_after(self._times.sweep), name="http-crowd")
        try:
            if self._started is not None:
                self._started()
            await self._stopping.wait()
            accepting.close()
            await self._drain(site)
        finally:
            accepting.close()
            caretaker.cancel()
            await self._end(site)

    async def _drain(self, site: Site) -> None:
        until = site.loop.time() + self._drain_seconds
        while (self._crowd or site.tasks) and not self._forced and site.loop.time() < until:
            # Again and again, because some were only just accepted.
            for connection in self._crowd:
                connection.drain()
            await asyncio.sleep(_POLL_SECONDS)

    async def _end(self, site: Site) -> None:
        if site.tasks:
            log.warning("requests are cut off", requests=len(site.tasks))
        for connection in self._crowd:
            connection.cut()
        for task in site.tasks:
            task.cancel()
        if site.tasks:
            await asyncio.wait(tuple(site.tasks), timeout=_CANCEL_SECONDS)


def tls_context(certificate: Path, key: Path | None) -> ssl.SSLContext:
    """For a server with this certificate; raise OSError for one of no use."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    # OpenSSL would ask for the password of an encrypted key on the terminal, and wait there.
    context.load_cert_chain(certificate, key, password=lambda: "")
    context.set_alpn_protocols(["http/1.1"])
    return context


def bind(host: str, port: int) -> socket.socket:
    """A listening socket; raise OSError where the address is taken or not ours. `::` listens on IPv4 as well."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio turns Nagle's algorithm off only where the protocol is named, and with it each message waits 40 ms.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listener.bind((host, port))
        listener.listen(_BACKLOG)
        listener.setblocking(False)  # noqa: FBT003 - the standard library's signature
    except OSError:
        listener.close()
        raise
    return listener
