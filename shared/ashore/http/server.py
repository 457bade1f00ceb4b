"""The HTTP server below everything: uvicorn, bounded against hostile clients, and told when to stop by its caller.

uvicorn's parser knows no limit to headers and no time limit for a request that is still arriving, and loses the body
of a request that offers HTTP/2, as Java's client does with every first one. Its handling of signals is left out, since
a service drains more than its HTTP connections.
"""

import contextlib
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, cast

import httptools
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEADER_LIMIT: Final = 16_384
READ_SECONDS: Final = 30.0
"""How long a request may take to arrive; a larger body gets a second more for each 16 kB that came."""

KEEP_ALIVE_SECONDS: Final = 75
_SLOWEST_RATE: Final = 16_384
_MOST_CONNECTIONS: Final = 10_000
_TICKS_PER_SWEEP: Final = 10
_BACKLOG: Final = 2_048
_MALFORMED: Final = b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
_TOO_LARGE: Final = b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
_TOO_SLOW: Final = b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


class _Refusal(Exception):  # noqa: N818 - it never leaves this module
    """Raised inside the parser, to stop it."""


class BoundedProtocol(HttpToolsProtocol):
    """uvicorn's httptools protocol with a limit to headers and to the time in which a request arrives.

    The parser stops after the headers of a request that offers another protocol. None is ever taken up here, so the
    body of such a request, `unread` bytes long, is read without the parser.
    """

    reading_since: float = 0.0
    """When the request that is arriving began; 0 between requests."""
    received: int = 0
    unparsed: int = 0
    unread: int = 0
    read_seconds: float = READ_SECONDS

    def connection_made(self, transport: Any) -> None:
        """Start the clock: a client that connects and says nothing has to go as well."""
        super().connection_made(transport)
        self.reading_since = self.loop.time()

    def data_received(self, data: bytes) -> None:
        """Parse; hang up where a header does not end."""
        self._unset_keepalive_if_required()
        self.unparsed += len(data)
        try:
            while data:
                data = self._read_past_parser(data) if self.unread else self._parse(data)
        except httptools.HttpParserError:
            self.hang_up(_TOO_LARGE if self.unparsed > HEADER_LIMIT else _MALFORMED)
            return
        if self.unparsed > HEADER_LIMIT:
            self.hang_up(_TOO_LARGE)

    def _parse(self, data: bytes) -> bytes:
        """Parse all of it, or up to the body of a request that offers another protocol."""
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as offer:
            return data[offer.args[0] :]
        return b""

    def _read_past_parser(self, data: bytes) -> bytes:
        part, rest = data[: self.unread], data[self.unread :]
        self.unread -= len(part)
        self.on_body(part)
        if not self.unread:
            self.on_message_complete()
        return rest

    def on_message_begin(self) -> None:
        """A request begins."""
        super().on_message_begin()
        self.reading_since = self.loop.time()
        self.received = 0

    def on_headers_complete(self) -> None:
        """The headers are all there."""
        if self.unparsed > HEADER_LIMIT and self._header_size() > HEADER_LIMIT:
            raise _Refusal
        self.unparsed = 0
        super().on_headers_complete()
        if self.parser.should_upgrade():
            self.unread = self._declared_length()

    def on_body(self, body: bytes) -> None:
        """A part of the body came."""
        self.unparsed = 0
        self.received += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is all there, unless the parser only thinks so."""
        if self.unread:
            return
        super().on_message_complete()
        self.unparsed = 0
        self.reading_since = 0.0
        if self.cycle.response_complete and self.timeout_keep_alive_task is None:
            # It was refused early, and the rest of its body has only now been skipped.
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )

    def is_overdue(self, now: float) -> bool:
        """Whether the request that is arriving takes too long."""
        allowed = self.read_seconds + self.received / _SLOWEST_RATE
        return self.reading_since > 0.0 and now - self.reading_since > allowed

    def hang_up(self, last_words: bytes) -> None:
        """Close the connection, with an answer where none is under way."""
        if self.cycle is None or self.cycle.response_complete or not self.cycle.response_started:
            self.transport.write(last_words)
        self.transport.close()

    def _declared_length(self) -> int:
        headers = dict(self.headers)
        if b"transfer-encoding" in headers:
            raise _Refusal
        return int(headers.get(b"content-length", b"0"))

    def _header_size(self) -> int:
        return len(self.url) + sum(len(name) + len(value) for name, value in self.headers)


class Server(uvicorn.Server):
    """A uvicorn server that leaves signals to its caller and hangs up on requests that never arrive."""

    def __init__(self, config: uvicorn.Config, started: Callable[[], None] | None) -> None:
        super().__init__(config)
        self._on_started = started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept connections, then say so."""
        await super().startup(sockets)
        if self._on_started is not None:
            self._on_started()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Catch none: the service sets `should_exit`."""
        yield

    async def on_tick(self, counter: int) -> bool:
        """Ten times a second; once a second look for overdue requests."""
        if counter % _TICKS_PER_SWEEP == 0:
            self._sweep()
        return await super().on_tick(counter)

    def _sweep(self) -> None:
        # One pass over all connections a second is cheaper than a timer for every request.
        for connection in list(self.server_state.connections):
            protocol = cast("BoundedProtocol", connection)
            if protocol.is_overdue(protocol.loop.time()):
                protocol.hang_up(_TOO_SLOW)


def server(
    app: ASGIApp,
    *,
    drain_seconds: int = 10,
    certificate: Path | None = None,
    key: Path | None = None,
    started: Callable[[], None] | None = None,
    read_seconds: float = READ_SECONDS,
) -> Server:
    """A server for `app`, to be run on bound sockets by `serve(sockets=...)`; OSError for a certificate of no use."""
    config = uvicorn.Config(
        cast("Any", app),
        loop="none",
        http=type("Protocol", (BoundedProtocol,), {"read_seconds": read_seconds}),
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        date_header=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=drain_seconds,
        limit_concurrency=_MOST_CONNECTIONS,
        ssl_certfile=certificate,
        ssl_keyfile=key,
    )
    config.load()
    return Server(config, started)


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
