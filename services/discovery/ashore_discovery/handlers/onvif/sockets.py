"""The group of WS-Discovery on one interface, and a socket of its own for questions, to which their answers come.

Answers do not come to port 3702: other programs of this machine may listen there, and the kernel gives a datagram that
is for one machine to only one of them.
"""

import asyncio
import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from ashore_discovery.handlers.datagrams import Datagram, asking_socket, group_socket
from ashore_discovery.handlers.onvif.wsdiscovery import GROUP_IPV4, GROUP_IPV6, PORT

_HOPS: Final = 1
"""WS-Discovery stays on the network where it is asked."""


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
        self._index = socket.if_nametoindex(self._interface)
        await self._add(group_socket(GROUP_IPV4, PORT, self._interface))
        self._asking[4] = await self._add(asking_socket(socket.AF_INET, self._interface, hops=_HOPS))
        if ipv6:
            try:
                await self._add(group_socket(GROUP_IPV6, PORT, self._interface))
                self._asking[6] = await self._add(asking_socket(socket.AF_INET6, self._interface, hops=_HOPS))
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
        self._heard(Datagram(data, addr[0].partition("%")[0], addr[1], self._clock()))

    def error_received(self, exc: Exception) -> None:
        """A neighbour that is not there: its silence is noticed anyway."""

    async def _add(self, made: socket.socket) -> asyncio.DatagramTransport:
        try:
            transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(lambda: self, sock=made)
        except OSError:
            made.close()
            raise
        self._transports.append(transport)
        return transport


def carries(interface: str | None) -> bool:
    """Whether our own plug is in; otherwise silence says nothing."""
    folder = Path(f"/sys/class/net/{interface}")
    try:
        return not interface or (folder / "carrier").read_text("ascii").strip() == "1"
    except (OSError, ValueError):
        # It reads as an error while the interface is down; a container without /sys cannot tell.
        return not folder.exists()
