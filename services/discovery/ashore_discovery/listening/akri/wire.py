"""gRPC as far as the bridge needs it: one call of `Discover`, and its messages in bytes with a limit for each.

grpclib reads a message of any length that its sender promises, so messages are read here, from the stream below it.
"""

import asyncio
import re
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Final

from grpclib.client import Channel, UnaryStreamMethod
from grpclib.config import Configuration
from grpclib.const import Status
from grpclib.encoding.base import CodecBase
from grpclib.exceptions import GRPCError
from grpclib.protocol import H2Protocol, Stream

from ashore_discovery.listening.akri.endpoints import Door, EndpointError

CONNECT_SECONDS: Final = 5.0
MESSAGE_SECONDS: Final = 30.0
"""A message that has begun must have ended by then; between two of them any time may pass."""
LARGEST_LIST: Final = 4 * 1024 * 1024
PING_SECONDS: Final = 310.0
"""grpc's servers close a connection that is pinged more often than every five minutes."""
_HEAD: Final = 5
_KEEPALIVE: Final = ((socket.TCP_KEEPIDLE, 10), (socket.TCP_KEEPINTVL, 5), (socket.TCP_KEEPCNT, 3))


class CallError(Exception):
    """The call is over; the text says why."""


class DetailsError(CallError):
    """The handler cannot use the details; it is well otherwise."""


class Bytes(CodecBase):
    """Messages stay as they are: they are read and written elsewhere."""

    __content_subtype__ = "proto"

    def encode(self, message: Any, message_type: Any) -> bytes:
        """As it is."""
        del message_type
        return bytes(message)

    def decode(self, data: bytes, message_type: Any) -> Any:
        """As it is."""
        del message_type
        return data


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
        raise kind(_plain(f"{error.status.name}: {error.message}")) from error
    except (CallError, EndpointError):
        raise
    except TimeoutError as error:
        raise CallError("it takes too long to answer") from error
    except OSError as error:
        raise CallError(error.strerror or str(error)) from error
    except Exception as error:  # whatever h2 and grpclib make of strangers
        raise CallError(_plain(f"{type(error).__name__}: {error}")) from error
    raise CallError("it has ended the stream")


async def receive(stream: Stream, largest: int, wrapper: AbstractContextManager[Any] | None = None) -> bytes | None:
    """The next message, None after the last; raise CallError where it is too large or is compressed."""
    with wrapper or nullcontext():
        head = await _whole(stream.recv_data(_HEAD))
        if not head:
            return None
        size = int.from_bytes(head[1:])
        if head[0]:
            raise CallError("its messages are compressed, which nobody has asked for")
        if size > largest:
            raise CallError(f"a message of {size} bytes, and {largest} are taken")
        async with asyncio.timeout(MESSAGE_SECONDS):
            return await _whole(stream.recv_data(size))


async def _whole(reading: Awaitable[bytes]) -> bytes:
    try:
        return await reading
    except AssertionError as error:
        raise CallError("it has ended in the middle of a message") from error


def _plain(text: str) -> str:
    """Words of a stranger, for a log and for health."""
    return re.sub(r"[^\x20-\x7e]+", " ", text)[:300]
