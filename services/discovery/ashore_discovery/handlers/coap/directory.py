"""A resource directory: servers register with it, and it tells who is there, now and later (RFC 9176, section 6)."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

from ashore_discovery.handlers.coap.book import Peer, Registered, peer_of
from ashore_discovery.handlers.coap.exchange import Exchange, Observation, UnansweredError
from ashore_discovery.handlers.coap.links import Link, LinkError, parse

_RENEW_SECONDS: Final = 60.0
"""An observation that was lost on the way is only noticed by asking again."""
_FIRST_PAUSE: Final = 2.0
_LONGEST_PAUSE: Final = 60.0
_ENDPOINTS: Final = "core.rd-lookup-ep"
_RESOURCES: Final = "core.rd-lookup-res"

Listed = dict[Peer, Registered]
Tell = Callable[[str, Listed], Awaitable[None]]
Complain = Callable[[str, str], None]


class Directory:
    """One directory."""

    def __init__(self, url: str, exchange: Exchange, tell: Tell, complain: Complain) -> None:
        self._url = url
        self._exchange = exchange
        self._tell = tell
        self._complain = complain
        self._is_lost = False
        self._links: dict[tuple[str, ...], tuple[Link, ...]] = {}

    async def follow(self) -> None:
        """Tell all that it says, without end; while it says nothing, nobody is believed to have left it."""
        peer = peer_of(self._url)
        pause = _FIRST_PAUSE
        while peer is not None:
            try:
                endpoints, resources = await self._places(peer)
                async with self._exchange.observing(peer, endpoints) as observation:
                    await self._listen(peer, observation, resources)
            except (UnansweredError, LinkError) as error:
                if not self._is_lost:
                    self._is_lost, pause = True, _FIRST_PAUSE
                self._complain(self._url, f"the directory {self._url} cannot be followed: {error}")
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    async def _listen(self, peer: Peer, observation: Observation, resources: str) -> None:
        while True:
            listed = parse(await observation.now())
            await self._tell(self._url, await self._read(peer, listed, resources))
            self._is_lost = False
            self._complain(self._url, "")
            with suppress(TimeoutError):
                async with asyncio.timeout(_RENEW_SECONDS):
                    await observation.changed()

    async def _places(self, peer: Peer) -> tuple[str, str]:
        """Where it tells of servers, and of what they have."""
        links = parse(await self._exchange.get(peer, ".well-known/core", "rt=core.rd-lookup*"))
        found = {word: link.target for link in links for word in link.words("rt")}
        if _ENDPOINTS not in found:
            raise UnansweredError(f"{peer.name} is no directory that can be looked up")
        return found[_ENDPOINTS], found.get(_RESOURCES, "")

    async def _read(self, peer: Peer, listed: list[Link], resources: str) -> Listed:
        found: Listed = {}
        known, self._links = self._links, {}
        for link in listed:
            where = peer_of(link.attributes.get("base", ""))
            endpoint, sector = link.attributes.get("ep", ""), link.attributes.get("d", "")
            if where is None or not endpoint:
                continue
            # Who registers anew gets another place, so what was read for this one still holds.
            key = (link.target, endpoint, sector)
            if key not in known and resources:
                known[key] = await self._has(peer, resources, endpoint, sector)
            self._links[key] = known.get(key, ())
            found[where] = Registered(endpoint, sector, self._url, self._links[key])
        return found

    async def _has(self, peer: Peer, resources: str, endpoint: str, sector: str) -> tuple[Link, ...]:
        if "&" in endpoint + sector:
            return ()
        query = f"ep={endpoint}" + (f"&d={sector}" if sector else "")
        with suppress(UnansweredError, LinkError):
            return tuple(parse(await self._exchange.get(peer, resources, query)))
        return ()
