"""Datagrams for handlers that speak to groups: sockets on one interface, and an inbox that a flood cannot fill.

Sockets are bound to the group itself, so that they hear nothing else, and other programs of the node keep what is sent
to its port. Everything that comes from outside is counted by its sender before anybody looks into it.
"""

import asyncio
import ipaddress
import socket
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final, NamedTuple

import structlog

from ashore_discovery.limits import Pace

LARGEST: Final = 8192
"""No protocol here says more in one datagram."""
_MOST_WAITING: Final = 2048
_MOST_SENDERS: Final = 1024
_PER_SECOND: Final = 100.0
_BURST: Final = 400
_HOPS: Final = 2
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

    def __init__(self, clock: Callable[[], float], log: structlog.typing.FilteringBoundLogger) -> None:
        self._log = log
        self._told_at = float("-inf")
        self._clock = clock
        self._queue: asyncio.Queue[Datagram] = asyncio.Queue(_MOST_WAITING)
        self._senders: dict[str, Pace] = {}
        self.dropped = 0

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        """Keep it, unless it is too large, or one too many of its sender."""
        address = addr[0].partition("%")[0]
        if len(data) > LARGEST or self._queue.full() or not self._pace(address).take():
            self._drop(address)
            return
        self._queue.put_nowait(Datagram(data, address, addr[1], self._clock()))

    def _drop(self, address: str) -> None:
        self.dropped += 1
        now = self._clock()
        if now - self._told_at > _TELL_SECONDS:
            self._told_at = now
            self._log.warning("datagrams dropped: too large, or too many", dropped=self.dropped, latest_from=address)

    def error_received(self, exc: Exception) -> None:
        """Somebody's port is closed, which his silence says as well."""

    async def get(self) -> Datagram:
        """The next one."""
        return await self._queue.get()

    def _pace(self, address: str) -> Pace:
        pace = self._senders.pop(address, None) or Pace(_PER_SECOND, _BURST, self._clock)
        self._senders[address] = pace
        if len(self._senders) > _MOST_SENDERS:
            del self._senders[next(iter(self._senders))]
        return pace


def group_socket(group: str, port: int, interface: str) -> socket.socket:
    """A socket that hears what is sent to the group on this interface; raise OSError."""
    index = socket.if_nametoindex(interface)
    if ipaddress.ip_address(group).version == 4:  # noqa: PLR2004 - the version of IP
        made = _socket(socket.AF_INET)
        made.bind((group, port))
        joining = socket.inet_aton(group) + socket.inet_aton("0.0.0.0") + struct.pack("@i", index)
        made.setsockopt(socket.IPPROTO_IP, _IP_MULTICAST_ALL, 0)
        made.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, joining)
        return made
    made = _socket(socket.AF_INET6)
    made.bind((group, port, 0, index))
    made.setsockopt(socket.IPPROTO_IPV6, _IPV6_MULTICAST_ALL, 0)
    joining = socket.inet_pton(socket.AF_INET6, group) + struct.pack("@I", index)
    made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, joining)
    return made


def asking_socket(family: socket.AddressFamily, interface: str) -> socket.socket:
    """A socket that sends to groups on this interface and hears the answers; raise OSError."""
    index = socket.if_nametoindex(interface)
    made = _socket(family)
    if family == socket.AF_INET:
        made.bind(("", 0))
        chosen = struct.pack("@4s4si", b"", b"", index)
        made.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, chosen)
        made.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, _HOPS)
    else:
        made.bind(("::", 0))
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, _HOPS)
    return made


@asynccontextmanager
async def receiving(made: socket.socket, inbox: Inbox) -> AsyncIterator[asyncio.DatagramTransport]:
    """Let what comes to the socket into the inbox, until the end of the block."""
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(lambda: inbox, sock=made)
    try:
        yield transport
    finally:
        transport.close()


def _socket(family: socket.AddressFamily) -> socket.socket:
    made = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
    if family == socket.AF_INET6:
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    return made
