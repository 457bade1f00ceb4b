"""The group of WS-Discovery on one interface, and a socket of its own for questions, to which their answers come.

Answers do not come to port 3702: other programs of this machine may listen there, and the kernel gives a datagram that
is for one machine to only one of them.
"""

import asyncio
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from ashore_discovery.handlers.onvif.wsdiscovery import GROUP_IPV4, GROUP_IPV6, PORT

_IP_MULTICAST_ALL: Final = 49
_IPV6_MULTICAST_ALL: Final = 29
_HOPS: Final = 1
_BUFFER: Final = 1024 * 1024


class Datagram(NamedTuple):
    """What has come, from where, and when."""

    data: bytes
    sender: str
    """The address, without a scope."""
    at: float


class Sockets(asyncio.DatagramProtocol):
    """All sockets of a listener."""

    def __init__(self, interface: str, clock: Callable[[], float], heard: Callable[[Datagram], None]) -> None:
        self._interface = interface
        self._index = 0
        self._clock = clock
        self._heard = heard
        self._transports: list[asyncio.DatagramTransport] = []
        self._asking: dict[int, asyncio.DatagramTransport] = {}

    async def open(self, *, ipv6: bool) -> str:
        """Open them; raise OSError where not even IPv4 can be heard. The answer is what does not work, if anything."""
        self._index = socket.if_nametoindex(self._interface) if self._interface else 0
        await self._add(_socket(socket.AF_INET), self._join_ipv4)
        self._asking[4] = await self._add(_socket(socket.AF_INET), self._ask_ipv4)
        if ipv6:
            try:
                await self._add(_socket(socket.AF_INET6), self._join_ipv6)
                self._asking[6] = await self._add(_socket(socket.AF_INET6), self._ask_ipv6)
            except OSError as error:
                return f"no IPv6 here: {error}"
        return ""

    def close(self) -> None:
        """Close them."""
        for transport in self._transports:
            transport.close()

    def ask_all(self, data: bytes) -> None:
        """Ask the group, over IPv4 and IPv6."""
        self.ask(data, GROUP_IPV4)
        self.ask(data, GROUP_IPV6)

    def ask(self, data: bytes, address: str) -> None:
        """Ask one; who cannot be reached will not answer, and that is said elsewhere."""
        version = 6 if ":" in address else 4
        transport = self._asking.get(version)
        if transport is None or transport.is_closing():
            return
        where = (address, PORT, 0, self._index) if version == 6 else (address, PORT)  # noqa: PLR2004
        with suppress(OSError):
            transport.sendto(data, where)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        """See asyncio.DatagramProtocol."""
        self._heard(Datagram(data, addr[0].partition("%")[0], self._clock()))

    def error_received(self, exc: Exception) -> None:
        """A neighbour that is not there: its silence is noticed anyway."""

    async def _add(self, sock: socket.socket, configure: Callable[[socket.socket], None]) -> asyncio.DatagramTransport:
        try:
            configure(sock)
            transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(lambda: self, sock=sock)
        except OSError:
            sock.close()
            raise
        self._transports.append(transport)
        return transport

    def _join_ipv4(self, sock: socket.socket) -> None:
        # Otherwise it would hear what programs of this machine have joined on other interfaces.
        sock.setsockopt(socket.IPPROTO_IP, _IP_MULTICAST_ALL, 0)
        sock.bind((GROUP_IPV4, PORT))
        membership = struct.pack("4s4si", socket.inet_aton(GROUP_IPV4), bytes(4), self._index)
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, membership)

    def _ask_ipv4(self, sock: socket.socket) -> None:
        sock.bind(("", 0))
        out = struct.pack("4s4si", bytes(4), bytes(4), self._index)
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, out)
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, _HOPS)

    def _join_ipv6(self, sock: socket.socket) -> None:
        sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_MULTICAST_ALL, 0)
        sock.bind((GROUP_IPV6, PORT, 0, self._index))
        membership = socket.inet_pton(socket.AF_INET6, GROUP_IPV6) + struct.pack("@I", self._index)
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, membership)

    def _ask_ipv6(self, sock: socket.socket) -> None:
        sock.bind(("::", 0))
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, self._index)
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, _HOPS)


def carries(interface: str | None) -> bool:
    """Whether our own plug is in; otherwise silence says nothing."""
    folder = Path(f"/sys/class/net/{interface}")
    try:
        return not interface or (folder / "carrier").read_text("ascii").strip() == "1"
    except (OSError, ValueError):
        # It reads as an error while the interface is down; a container without /sys cannot tell.
        return not folder.exists()


def _socket(family: socket.AddressFamily) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
    if family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    return sock
