"""The handler `coap`: who answers a question to all servers of CoAP, and who has registered with a directory."""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, cast

from ashore_discovery.handler import Context, Handler, Seen
from ashore_discovery.handlers.coap import messages
from ashore_discovery.handlers.coap.book import Book, Peer, peer_of
from ashore_discovery.handlers.coap.details import CoapDetails, CoapSettings
from ashore_discovery.handlers.coap.directory import Directory, Listed
from ashore_discovery.handlers.coap.exchange import Exchange, UnansweredError
from ashore_discovery.handlers.coap.links import LinkError, parse
from ashore_discovery.handlers.datagrams import Inbox
from ashore_discovery.handlers.globs import fits, misfit, texts
from ashore_discovery.handlers.neighbours import Neighbours
from ashore_discovery.handlers.pauses import rest
from ashore_discovery.handlers.rounds import Rounds
from ashore_discovery.interfaces import interfaces_up
from ashore_discovery.model import Facet, Offer, Refusal, Sighting, Swept

_CORE: Final = ".well-known/core"
_TIMES: Final = 2
_BETWEEN: Final = 1.0
_LEISURE: Final = 5.5
"""So long servers may wait with an answer to a question to all (RFC 7252, section 8.2), and a little more."""
_LOOK_SECONDS: Final = 2.0
_MOST_UNSAID: Final = 1024
_MOST_READING: Final = 8
_PING_SECONDS: Final = 0.5
"""A later answer counts as well, as a sign of life."""


class Coap(Handler[CoapDetails, None]):
    """Servers of CoAP."""

    name = "coap"
    summary = "Constrained devices by CoAP: asked all at once, or told of by a resource directory"
    details_type = CoapDetails
    settings_type = CoapSettings
    shared = True
    # A ping, and a moment more to think about its answer.
    probe_timeout = 0.8

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._settings = cast(CoapSettings, context.settings)
        self._book = Book(Neighbours(context.clock).mac)
        self._out: asyncio.Queue[Sighting | Swept] = asyncio.Queue(_MOST_UNSAID)
        self._scan_now = asyncio.Event()
        self._exchange = Exchange(
            context.network, lambda: Inbox(context.clock, context.log, context.dropped), self._answered, self._heard
        )
        self._reading: set[Peer] = set()
        self._complaints: dict[str, str] = {}
        self._rounds = Rounds(self._settings.check_seconds, self._lives, self._say, self._book.forget)

    @classmethod
    def plan(cls, details: Sequence[CoapDetails]) -> None:
        """All configurations want the same: everybody is asked, and then chosen from."""
        del details

    def replan(self, plan: None) -> bool:
        """Nothing is different."""
        del plan
        return True

    async def scan(self) -> None:
        """Ask everybody now."""
        self._scan_now.set()

    async def run(self, plan: None) -> Seen:
        """Ask everybody from time to time, and follow directories."""
        del plan
        try:
            self._complain("", "")
            for work in (self._polls(), self._rounds.go()):
                self.context.spawn(work)
            while True:
                yield await self._out.get()
        finally:
            await self._exchange.close()

    def _complain(self, about: str, why: str) -> None:
        if self._complaints.get(about) == why:
            return
        self._complaints[about] = why
        reason = "; ".join(filter(None, self._complaints.values()))
        self.context.report("degraded" if reason else "polling", reason)

    async def _polls(self) -> None:
        """Only the first poll is told as a sweep: later, each server is asked by itself."""
        self._scan_now.set()
        begun: float | None = self.context.clock()
        await self._open()
        for url in self._settings.directories:
            self.context.spawn(Directory(url, self._exchange, self._listed, self._complain).follow())
        while True:
            await self._wait()
            await self._poll()
            if begun is not None:
                await self._out.put(Swept(begun=begun))
                begun = None

    async def _wait(self) -> None:
        """Until it is time, or somebody wants it, or there is another interface."""
        until = self.context.clock() + self._settings.scan_seconds
        before = self._exchange.interfaces
        while self.context.clock() < until and not self._scan_now.is_set():
            await rest(min(_LOOK_SECONDS, self._settings.scan_seconds), self._scan_now)
            if await self._open() - before:
                break
        self._scan_now.clear()
        await self._open()

    async def _open(self) -> set[str]:
        patterns = self._settings.interfaces or ["*"]
        wanted = {name for name in interfaces_up() if any(fits(name, one, exactly=True) for one in patterns)}
        await self._exchange.use(wanted, self.context.spawn)
        return wanted

    async def _poll(self) -> None:
        for _ in range(_TIMES):
            await self.context.pace()
            sent = self._exchange.ask_groups(_CORE)
            self._complain("", "" if sent else "there is no interface on which servers could be asked")
            await asyncio.sleep(_BETWEEN)
        await asyncio.sleep(_LEISURE)

    def _answered(self, peer: Peer, message: messages.Message, at: float) -> None:
        """Somebody answers the question to all."""
        if message.code != messages.CONTENT or message.number(messages.CONTENT_FORMAT) != messages.LINK_FORMAT:
            return
        block = message.number(messages.BLOCK2)
        if block is not None and block & 8:
            if peer not in self._reading and len(self._reading) < _MOST_READING:
                self._reading.add(peer)
                self.context.spawn(self._read(peer))
            return
        self._note(peer, message.payload, at)

    async def _read(self, peer: Peer) -> None:
        """What a server has, where it is too much for one answer."""
        try:
            await self.context.pace()
            body = await self._exchange.get(peer, _CORE)
            self._note(peer, body, self.context.clock())
        except UnansweredError as error:
            self.context.log.debug("server says only a part", peer=peer.name, reason=str(error))
        finally:
            self._reading.discard(peer)

    def _note(self, peer: Peer, body: bytes, at: float) -> None:
        try:
            links = parse(body)
        except LinkError as error:
            self.context.dropped(f"{peer.name}: {error}")
            return
        self._put(self._book.answered(peer, links, "answer", at))

    def _heard(self, peer: Peer, at: float) -> None:
        """Any sign of a server that was missed, be it late."""
        server = self._book.servers.get(peer.name)
        if server is not None and self._rounds.missing(peer.name):
            self._put(server.sighting("answer", at))

    def _put(self, sighting: Sighting | None) -> None:
        if sighting is None:
            return
        if self._out.full():
            self.context.dropped(f"{sighting.id}: more is heard than can be said")
            return
        self._note_round(sighting)
        self._out.put_nowait(sighting)

    async def _say(self, sighting: Sighting) -> None:
        self._note_round(sighting)
        await self._out.put(sighting)

    def _note_round(self, sighting: Sighting) -> None:
        server = self._book.servers.get(sighting.id)
        # Who is only in a directory may sleep: that he is listed is the sign that he lives.
        if sighting.kind != "seen" or (server is not None and server.own is not None):
            self._rounds.note(sighting)

    async def _listed(self, directory: str, listed: Listed) -> None:
        """All that a directory has."""
        now = self.context.clock()
        allowed = {peer: one for peer, one in listed.items() if self.context.network.allows(peer.address)}
        for name in set(self._book.listed_by(directory)) - {peer.name for peer in allowed}:
            gone = self._book.unlisted(name, now)
            if gone is not None:
                await self._say(gone)
        for peer, registered in allowed.items():
            seen = self._book.listed(peer, registered, now)
            if seen is not None:
                await self._say(seen)

    async def _lives(self, name: str) -> bool | None:
        peer = peer_of(f"coap://{name}")
        return await self._exchange.ping(peer, _PING_SECONDS) if peer is not None else None

    async def probe(self, facet: Facet) -> bool | None:
        """Ping it. Who is only in a directory may sleep; the directory is believed as long as it can be followed."""
        alive = await self._lives(facet.id)
        server = self._book.servers.get(facet.id)
        if alive is False and server is not None and server.own is None and server.registered is not None:
            return None if self._complaints.get(server.registered.directory) else True
        return alive

    @classmethod
    def offer(cls, details: CoapDetails, facet: Facet, others: Callable[[], Iterable[Facet]]) -> Offer | Refusal:
        """A server that has one fitting thing for each list."""
        del others
        conditions = (
            (details.rt, ("rt",)),
            (details.if_, ("if",)),
            (details.ct, ("ct",)),
            (details.hosts, ("host", "endpoint")),
        )
        # RFC 6690 compares its words byte by byte.
        why = misfit(facet.facts, conditions, exactly=True)
        return Refusal(why) if why is not None else Offer(properties=dict(_properties(facet)))


def _properties(facet: Facet) -> Iterator[tuple[str, str]]:
    yield "COAP_URI", facet.endpoints[0] if facet.endpoints else f"coap://{facet.id}"
    for fact in ("host", "port", "endpoint"):
        if fact in facet.facts:
            yield f"COAP_{fact.upper()}", str(facet.facts[fact])
    yield "COAP_RESOURCES", ",".join(texts(facet.facts.get("resources")))
