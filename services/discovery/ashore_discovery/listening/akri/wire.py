"""gRPC as far as the bridge needs it: one call of `Discover`, with a limit for each of its messages."""

import asyncio
import socket
from collections.abc import AsyncGenerator, Callable
from typing import Final

from grpclib.client import Channel, UnaryStreamMethod
from grpclib.config import Configuration
from grpclib.const import Status
from grpclib.exceptions import GRPCError
from grpclib.protocol import H2Protocol

from ashore.grpc import Bytes, CallError, plain, receive
from ashore_discovery.listening.akri.endpoints import Door, EndpointError

CONNECT_SECONDS: Final = 5.0
LARGEST_LIST: Final = 4 * 1024 * 1024
PING_SECONDS: Final = 310.0
"""grpc's servers close a connection that is pinged more often than every five minutes."""
_KEEPALIVE: Final = ((socket.TCP_KEEPIDLE, 10), (socket.TCP_KEEPINTVL, 5), (socket.TCP_KEEPCNT, 3))


class DetailsError(CallError):
    """The handler cannot use the details; it is well otherwise."""


class Line(Channel):
    """A connection to one endpoint."""

    def __init__(self, find: Callable[[], Door]) -> None:
        config = Configuration(
            _keepalive_time=PING_SECONDS, _http2_max_pings_without_data=0, http2_stream_window_size=1024 * 1024
        )
        super().__init__(codec=Bytes(), config=config)
        self._find = find

    async def _create_connection(self) -> H2Protocol:
        # Where the door leads is looked up each time: a link may have been laid in its place meanwhile.
        door = self._find()
        loop = asyncio.get_running_loop()
        if door.path:
            _, protocol = await loop.create_unix_connection(self._protocol_factory, door.path)
            return protocol
        transport, protocol = await loop.create_connection(self._protocol_factory, door.host, door.port)
        connected = transport.get_extra_info("socket")
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in _KEEPALIVE:
            connected.setsockopt(socket.IPPROTO_TCP, option, value)
        return protocol


async def discover(line: Line, request: bytes, opened: Callable[[], None]) -> AsyncGenerator[bytes, None]:
    """Ask, say that it was asked, and yield each list; raise CallError when it is over, for whatever reason."""
    method: UnaryStreamMethod[bytes, bytes] = UnaryStreamMethod(line, "/v0.DiscoveryHandler/Discover", bytes, bytes)
    try:
        async with method.open() as call:
            async with asyncio.timeout(CONNECT_SECONDS):
                await call.send_message(request, end=True)
            opened()
            await call.recv_initial_metadata()
            # Only the wrapper tells whoever waits that the connection is lost.
            while (body := await receive(call._stream, LARGEST_LIST, call._wrapper)) is not None:  # noqa: SLF001
                yield body
            # Without an end to this, one who leaves the trailers out would be waited for.
            async with asyncio.timeout(CONNECT_SECONDS):
                await call.recv_trailing_metadata()
    except GRPCError as error:
        kind = DetailsError if error.status is Status.INVALID_ARGUMENT else CallError
        raise kind(plain(f"{error.status.name}: {error.message}")) from error
    except (CallError, EndpointError):
        raise
    except TimeoutError as error:
        raise CallError("it takes too long to answer") from error
    except OSError as error:
        raise CallError(error.strerror or str(error)) from error
    except Exception as error:  # whatever h2 and grpclib make of strangers
        raise CallError(plain(f"{type(error).__name__}: {error}")) from error
    raise CallError("it has ended the stream")
