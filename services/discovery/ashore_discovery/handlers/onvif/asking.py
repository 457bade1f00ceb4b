"""Is it there? Asked directly, and by name over the group; and over HTTP, since not every device answers the former."""

import asyncio
import uuid
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Final

from ashore_discovery.handlers.onvif import wsdiscovery
from ashore_discovery.handlers.onvif.camera import Camera
from ashore_discovery.handlers.onvif.knowing import Known
from ashore_discovery.handlers.onvif.post import Place
from ashore_discovery.handlers.onvif.sockets import Datagram, Sockets

FIRST_SECONDS: Final = 0.2
"""So long a direct question alone is waited for; on a network at work its answer takes a millisecond."""
_VIDEO: Final = "NetworkVideoTransmitter"


class Asking:
    """Questions that are under way."""

    def __init__(self, sockets: Sockets, clock: Callable[[], float]) -> None:
        self._sockets = sockets
        self._clock = clock
        self._waiting: dict[str, tuple[bytes, asyncio.Future[bool]]] = {}
        self._named: dict[str, set[asyncio.Future[bool]]] = {}

    def heard(self, datagram: Datagram) -> bool:
        """Whether it is an answer that somebody here waits for; it is not even parsed."""
        answered = wsdiscovery.relates_to(datagram.data)
        found = self._waiting.get(answered)
        if found is None:
            return False
        epr, future = found
        # Another device may have got the address of the one that was asked.
        if epr in datagram.data.lower() and not future.done():
            future.set_result(True)
        return True

    def spoke(self, epr: str) -> None:
        """A device was heard, by whatever message."""
        for future in self._named.get(epr, ()):
            if not future.done():
                future.set_result(True)

    async def directly(self, known: Known, seconds: float) -> bool:
        """Whether it answers WS-Discovery when it alone is asked."""
        future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        names = self._ask(known, future, group=True)
        try:
            return await _within(future, seconds)
        finally:
            self._forget(names)

    async def alive(self, known: Known, places: Iterable[Place], seconds: float) -> bool:
        """Whether it answers in any way."""
        future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        names = self._ask(known, future, group=False)
        try:
            if await _within(future, min(FIRST_SECONDS, seconds)):
                return True
            names += self._ask(known, future, group=True)
            return await self._any(future, list(places)[:2], seconds - FIRST_SECONDS)
        finally:
            self._forget(names)

    async def speaks(self, epr: str, seconds: float) -> bool:
        """Whether it answers when everybody is asked."""
        future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._named.setdefault(epr, set()).add(future)
        self._sockets.ask_all(wsdiscovery.probe(new_id()))
        try:
            return await _within(future, seconds)
        finally:
            self._named[epr].discard(future)
            if not self._named[epr]:
                del self._named[epr]

    def _ask(self, known: Known, future: "asyncio.Future[bool]", *, group: bool) -> list[str]:
        name = new_id()
        self._waiting[name] = (known.epr.lower().encode(), future)
        if group:
            self._sockets.ask_all(wsdiscovery.resolve(name, known.epr, known.version))
        if known.address:
            types = f"dn:{_VIDEO}" if _VIDEO in known.target.types else ""
            self._sockets.ask(wsdiscovery.probe(name, types, known.version), known.address)
        return [name]

    def _forget(self, names: list[str]) -> None:
        for name in names:
            del self._waiting[name]

    async def _any(self, future: "asyncio.Future[bool]", places: list[Place], seconds: float) -> bool:
        """The first yes."""

        async def over_http(where: Place) -> bool:
            return await Camera(where, (), clock=self._clock, pace=_at_once).answers()

        waits: set[asyncio.Future[bool]] = {future, *(asyncio.ensure_future(over_http(where)) for where in places)}
        tasks = set(waits) - {future}
        try:
            async with asyncio.timeout(seconds):
                while waits:
                    done, waits = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
                    if any(one.result() for one in done):
                        return True
        except TimeoutError:
            pass
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        return False


def new_id() -> str:
    """The name of a message of ours."""
    return f"urn:uuid:{uuid.uuid4()}"


async def _at_once() -> None:
    """Whether it is there is asked within a second or not at all; how often, its caller limits."""


async def _within(future: "asyncio.Future[bool]", seconds: float) -> bool:
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            return await asyncio.shield(future)
    return False
