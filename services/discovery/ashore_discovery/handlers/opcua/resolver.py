"""Names to addresses: before anybody is spoken to, and so that what has been checked is what is connected to."""

import asyncio
import socket
from collections.abc import Callable
from typing import Final

from ashore_discovery.handlers.addresses import is_loopback
from ashore_discovery.handlers.opcua.places import Place, is_address
from ashore_discovery.limits import Network

KEPT_SECONDS: Final = 60.0
_AT_ONCE: Final = 4
"""A name server that is away holds a thread for each question."""
_MOST_KEPT: Final = 4096
_MOST_ADDRESSES: Final = 4


class Resolver:
    """Asks the system, and remembers answers for a minute."""

    def __init__(self, network: Network, clock: Callable[[], float], seconds: float) -> None:
        self._network = network
        self._clock = clock
        self._seconds = seconds
        self._slots = asyncio.Semaphore(_AT_ONCE)
        self._kept: dict[str, tuple[float, list[str]]] = {}

    async def addresses(self, host: str) -> list[str]:
        """The addresses of a host, whatever they are; none where its name means nothing here."""
        if is_address(host):
            return [host]
        at, found = self._kept.get(host, (0.0, []))
        if found and 0 <= self._clock() - at < KEPT_SECONDS:
            return found
        found = await self._ask(host)
        if len(self._kept) >= _MOST_KEPT:
            self._kept.clear()
        self._kept[host] = (self._clock(), found)
        return found

    async def followed(self, place: Place, asked: Place) -> tuple[str, list[str]]:
        """The host and addresses under which a server may be spoken to that a discovery server at `asked` has named.

        A name that means nothing here is replaced by the discovery server's host, as Akri does. The operator has named
        that host, so it may be spoken to wherever it is; every other one only where the node allows it.
        """
        trusted = await self.addresses(asked.host)
        if place.host == asked.host:
            return asked.host, trusted
        found = await self.addresses(place.host)
        if not found:
            return asked.host, trusted
        # Our own loopback is spoken to only if that is where the discovery server is.
        ours = any(is_loopback(address) for address in trusted)
        return place.host, [
            address
            for address in found
            if address in trusted or (self._network.allows(address) and (ours or not is_loopback(address)))
        ]

    async def _ask(self, host: str) -> list[str]:
        try:
            async with self._slots, asyncio.timeout(self._seconds):
                loop = asyncio.get_running_loop()
                found = await loop.getaddrinfo(host, None, type=socket.SOCK_STREAM)
        except (OSError, TimeoutError, UnicodeError):
            return []
        return list(dict.fromkeys(str(one[4][0]) for one in found))[:_MOST_ADDRESSES]
