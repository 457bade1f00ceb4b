"""Datagrams for handlers that speak to groups: sockets on one interface, and an inbox that a flood cannot fill.

Sockets are bound to the group itself, so that they hear nothing else, and other programs of the node keep what is sent
to its port. Everything that comes from outside is counted by its sender before anybody looks into it.
"""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Final, NamedTuple

import structlog

from ashore_discovery.handler import uncounted
from ashore_discovery.limits import PerSender

LARGEST: Final = 8192
"""No protocol here says more in one datagram."""
_MOST_WAITING: Final = 2048
_PER_SECOND: Final = 100.0
_BURST: Final = 400
_TELL_SECONDS: Final = 10.0
_IP_MULTICAST_ALL: Final = 49
_IPV6_MULTICAST_ALL: Final = 29
_BUFFER: Final = 1024 * 1024


class Datagram(NamedTuple):
    """What has come, from whom, and when."""

    body: bytes
    address: str
    """Without a scope."""
    port: int
    at: float


class Inbox(asyncio.DatagramProtocol):
    """Datagrams of any number of sockets, in the order in which they came."""

    def __init__(
        self,
        clock: Callable[[], float],
        log: structlog.typing.FilteringBoundLogger,
        dropped: Callable[[str], None] = uncounted,
    ) -> None:
        self._log = log
        self._count = dropped
        self._told_at = float("-inf")
        self._clock = clock
        self._queue: asyncio.Queue[Datagram] = asyncio.Queue(_MOST_WAITING)
        self._senders = PerSender(_PER_SECOND, _BURST, clock)
        self.dropped = 0

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        """Keep it, unless it is too large, or one too many of its sender."""
        address = addr[0].partition("%")[0]
        if len(data) > LARGEST or self._queue.full() or not self._senders.take(address):
            self.drop(address, "too large, or too many")
            return
        self._queue.put_nowait(Datagram(data, address, addr[1], self._clock()))

    def drop(self, address: str, why: str) -> None:
        """Count a datagram that is not used, and say so now and then."""
        self.dropped += 1
        self._count(f"datagram of {address}: {why}")
        now = self._clock()
        if now - self._told_at > _TELL_SECONDS:
            self._told_at = now
            self._log.warning("datagrams dropped", dropped=self.dropped, latest_from=address, reason=why[:300])

    def error_received(self, exc: Exception) -> None:
        """Somebody's port is closed, which his silence says as well."""

    async def get(self) -> Datagram:
        """The next one."""
        return await self._queue.get()


def group_socket(group: str, port: int, interface: str) -> socket.socket:
    """A socket that hears what is sent to the group on this interface; raise OSError."""
    index = socket.if_nametoindex(interface)
    if ":" in group:
        with _made(socket.AF_INET6) as made:
            made.bind((group, port, 0, index))
            made.setsockopt(socket.IPPROTO_IPV6, _IPV6_MULTICAST_ALL, 0)
            joining = socket.inet_pton(socket.AF_INET6, group) + struct.pack("@I", index)
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, joining)
            return made
    with _made(socket.AF_INET) as made:
        made.bind((group, port))
        # Otherwise it would hear what programs of this machine have joined on other interfaces.
        made.setsockopt(socket.IPPROTO_IP, _IP_MULTICAST_ALL, 0)
        joining = socket.inet_aton(group) + bytes(4) + struct.pack("@i", index)
        made.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, joining)
        return made


def asking_socket(family: socket.AddressFamily, interface: str, *, hops: int = 2) -> socket.socket:
    """A socket that sends to groups on this interface and hears the answers; raise OSError."""
    index = socket.if_nametoindex(interface)
    with _made(family) as made:
        if family == socket.AF_INET:
            made.bind(("", 0))
            chosen = bytes(8) + struct.pack("@i", index)
            made.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, chosen)
            made.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, hops)
        else:
            made.bind(("::", 0))
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, hops)
        return made


def keep_to(made: socket.socket, interface: str) -> None:
    """Have a socket hear and send on this interface only, as far as the kernel lets us: older ones want root for it."""
    with suppress(PermissionError):
        made.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode() + b"\0")


@asynccontextmanager
async def receiving(made: socket.socket, inbox: Inbox) -> AsyncIterator[asyncio.DatagramTransport]:
    """Let what comes to the socket into the inbox, until the end of the block."""
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(lambda: inbox, sock=made)
    try:
        yield transport
    finally:
        transport.close()


@contextmanager
def _made(family: socket.AddressFamily) -> Iterator[socket.socket]:
    """A socket, closed where it cannot be made ready."""
    made = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        yield made
    except OSError:
        made.close()
        raise
