"""Asking a device of UPnP whether it lives: a search at its own address, and a knock at the door of its description."""

import asyncio
import socket
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from typing import Final

from ashore_discovery.handlers.addresses import with_port
from ashore_discovery.handlers.ssdp import description, messages
from ashore_discovery.limits import Network

_FIRST_WAY: Final = 0.15


class Asking:
    """The questions of one listener, and who waits for their answers."""

    def __init__(self, network: Network, interface: str, seconds: float) -> None:
        self._network = network
        self._interface = interface
        self._seconds = seconds
        self.sockets: dict[str, socket.socket] = {}
        """By group: what sends to it, and hears the answers."""
        self._waiting: dict[str, list[asyncio.Future[bool]]] = {}

    def heard(self, udn: str) -> bool:
        """It has said something; the answer is whether somebody waited for that."""
        waiting = self._waiting.get(udn, ())
        for one in waiting:
            if not one.done():
                one.set_result(True)
        return bool(waiting)

    def send(self, target: str, group: str, address: str, wait: int) -> bool:
        """Search at an address, or at a whole group; the answer is whether that could be sent."""
        six = ":" in address
        host = with_port(address, messages.PORT)
        try:
            whom = (
                (address, messages.PORT, 0, socket.if_nametoindex(self._interface)) if six else (address, messages.PORT)
            )
            self.sockets[group].sendto(messages.search(target, host, wait), whom)
        except (OSError, KeyError):
            return False
        return True

    async def answers(self, udn: str, addresses: Sequence[str], locations: Sequence[str]) -> bool | None:
        """Whether it answers; None where nothing can be sent."""
        answer: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(udn, []).append(answer)
        try:
            if not self._ask_at(udn, addresses):
                return None
            async with asyncio.timeout(self._seconds):
                return await self._first(answer, self._open(locations, addresses))
        except TimeoutError:
            return False
        finally:
            self._waiting[udn].remove(answer)
            if not self._waiting[udn]:
                del self._waiting[udn]

    async def _first(self, answer: "asyncio.Future[bool]", other: Coroutine[object, object, bool]) -> bool:
        """Whether one of the two ways says yes; the second is tried only where the first is silent."""
        done, _ = await asyncio.wait([answer], timeout=_FIRST_WAY)
        if done:
            other.close()
            return True
        knock = asyncio.create_task(other)
        try:
            for one in asyncio.as_completed([answer, knock]):
                if await one:
                    return True
        finally:
            knock.cancel()
        return False

    async def _open(self, locations: Sequence[str], addresses: Sequence[str]) -> bool:
        for location in locations:
            with suppress(description.DescriptionError, OSError):
                place = description.where(location, addresses, self._network, self._interface)
                _, writer = await asyncio.open_connection(place.host, place.port)
                writer.close()
                return True
        return False

    def _ask_at(self, udn: str, addresses: Sequence[str]) -> bool:
        sent = False
        for address in addresses:
            group = messages.GROUPS_6[0] if ":" in address else messages.GROUP_4
            sent = self.send(f"uuid:{udn}", group, address, 1) or sent
        return sent
