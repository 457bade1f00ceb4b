"""The handler `mdns`: services that announce themselves, and that are asked whether they are still there."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from contextlib import aclosing, suppress
from typing import Final, cast

from zeroconf import current_time_millis

from ashore_discovery.handler import Context, Handler, Seen
from ashore_discovery.handlers.mdns.asking import Asking
from ashore_discovery.handlers.mdns.book import Book
from ashore_discovery.handlers.mdns.details import MdnsDetails, MdnsSettings, problems_of, refusal, types_of
from ashore_discovery.handlers.mdns.ear import ALL_TYPES, Ear, News, addresses_of
from ashore_discovery.handlers.mdns.rounds import Rounds
from ashore_discovery.handlers.mdns.service import (
    Service,
    endpoints_of,
    facts_of,
    identity_of,
    properties_of,
)
from ashore_discovery.model import Facet, Learnt, Offer, Refusal, Sighting, Swept

Types = frozenset[str]
FIRST_LOOK_SECONDS: Final = 1.0
"""Responders answer a question to everybody within 120 ms; the second question is sent within a second."""
LOOK_SECONDS: Final = 3.0
"""How often it is looked at what changes without a sound: the interface's own addresses, types that are new."""
ASK_PAUSES: Final = (0.1, 0.4, 1.5)
"""How long answers are waited for after each question for what an announcement has left out."""
CALL_SECONDS: Final = 0.5
MOST_WAITING: Final = 20_000


class Mdns(Handler[MdnsDetails, Types]):
    """Services on a network."""

    name = "mdns"
    summary = "Services on a network that announce themselves: mDNS and DNS-SD"
    details_type = MdnsDetails
    settings_type = MdnsSettings
    shared = True
    per_interface = True
    announced = True
    # A probe keeps its own, much shorter time; this is for one that waits for its turn.
    probe_timeout = 5.0

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._settings = cast(MdnsSettings, context.settings)
        self._news: asyncio.Queue[Sighting] = asyncio.Queue(MOST_WAITING)
        self._book = Book(self._settings.most_services, context.dropped)
        self._ear = Ear(self.interface, self._book, self._heard)
        self._asking = Asking(self.interface, context.network.allows)
        self._rounds = Rounds(self._book, self._asking, context.pace, self._tell, current_time_millis)
        self._full = False

    @classmethod
    def plan(cls, details: Sequence[MdnsDetails]) -> Types:
        """All service types that configurations ask for."""
        return types_of(details)

    def replan(self, plan: Types) -> bool:
        """Other types are asked for without a restart."""
        self._want(plan)
        for service in list(self._book.services.values()):
            if not service.types & (self._ear.wanted | self._ear.learnt):
                self._book.forget(service.id)
                self._tell(News(service, "gone", "not-looked-for", current_time_millis()))
        self.context.spawn(self._ear.browse())
        return True

    def _want(self, plan: Types) -> None:
        self._ear.wanted = plan | ({ALL_TYPES} if self._settings.all_types else frozenset())

    async def scan(self) -> None:
        """Ask for all types once more, and every known device whether it is there."""
        await self._ear.browse(again=True)
        self._rounds.everybody()

    async def run(self, plan: Types) -> Seen:
        """Listen on the interface as soon as it has an address."""
        self._want(plan)
        await self._asking.open()
        try:
            if self._settings.check_seconds:
                self.context.spawn(self._rounds.keep(self._settings.check_seconds))
            while not (addresses := addresses_of(self.interface)):
                self.context.report("degraded", f"{self.interface} has no address yet")
                await asyncio.sleep(FIRST_LOOK_SECONDS)
            async with self._ear.listening(addresses), aclosing(self._listen()) as found:
                async for item in found:
                    yield item
        finally:
            self._asking.close()

    async def _listen(self) -> Seen:
        begun = self.context.clock()
        self.context.report("events", "")
        await self._ear.browse()
        loop = asyncio.get_running_loop()
        look, swept = loop.time() + FIRST_LOOK_SECONDS, False
        while True:
            item = await self._next(look)
            if item is not None:
                yield item
                continue
            look = loop.time() + LOOK_SECONDS
            if not swept:
                swept = True
                yield Swept(begun=begun)
            self._report()
            await self._ear.adapt()
            await self._ear.browse()

    async def _next(self, until: float) -> Sighting | None:
        """The next sighting; None when it is time to look after other things."""
        if asyncio.get_running_loop().time() >= until:
            return None
        with suppress(asyncio.QueueEmpty):
            return self._news.get_nowait()
        with suppress(TimeoutError):
            async with asyncio.timeout_at(until):
                return await self._news.get()
        return None

    def _heard(self, news: News) -> None:
        self._rounds.heard(news.service)
        self._tell(news)

    def _tell(self, news: News) -> None:
        """Queue a sighting. Where nobody takes them, the latest are lost rather than the agent's memory."""
        if self._news.full():
            self.context.dropped(f"{news.service.id}: more is heard than can be said")
            return
        late = max(0.0, current_time_millis() - news.millis) / 1000
        self._news.put_nowait(_sighting(news, self.context.clock() - late))

    def _report(self) -> None:
        if bool(self._book.refused) is self._full:
            return
        self._full, self._book.refused = bool(self._book.refused), 0
        most = self._settings.most_services
        if self._full:
            self.context.report("degraded", f"there are more than {most} services, and the rest is not looked at")
        else:
            self.context.report("events", "")

    async def probe(self, facet: Facet) -> bool | None:
        """Ask the device itself; where it has never answered to a question of its own, ask everybody."""
        service = self._book.services.get(facet.id) or _recalled(facet)
        if service is None:
            return None
        alive = await self._rounds.probe(service)
        return alive if alive or self._rounds.answers(service) else await self._call(service)

    async def _call(self, service: Service) -> bool:
        """Ask everybody for it, and listen whether it says anything."""
        before = self._ear.last_heard(service.id)
        self._ear.ask(service)
        await asyncio.sleep(CALL_SECONDS)
        return self._ear.last_heard(service.id) > before

    async def enrich(self, facet: Facet) -> Learnt | None:
        """Ask for what the announcement has left out. The answers are records like others, so `run` yields them."""
        for pause in ASK_PAUSES:
            service = self._book.services.get(facet.id)
            if service is None or service.complete:
                break
            await self.context.pace()
            self._ear.ask(service)
            await asyncio.sleep(pause)
        return None

    @classmethod
    def problems(cls, details: MdnsDetails) -> Iterable[str]:
        """Service types that are none, and rules that say nothing."""
        return problems_of(details)

    @classmethod
    def offer(cls, details: MdnsDetails, facet: Facet, others: Callable[[], Iterable[Facet]]) -> Offer | Refusal:
        """A service of a type that is wanted, for which the filters hold."""
        del others
        why = refusal(details, facet.facts)
        return Refusal(why) if why is not None else Offer(properties=properties_of(facet.facts))


def _sighting(news: News, wire_at: float) -> Sighting:
    service = news.service
    if news.kind != "seen":
        return Sighting(id=service.id, kind=news.kind, cause=news.cause, wire_at=wire_at)
    return Sighting(
        id=service.id,
        cause=news.cause,
        facts=facts_of(service),
        identity=identity_of(service),
        endpoints=endpoints_of(service),
        wire_at=wire_at,
    )


def _recalled(facet: Facet) -> Service | None:
    """A service that an earlier run of the agent has seen."""
    facts = facet.facts
    name, kind, addresses = facts.get("name"), facts.get("type"), facts.get("addresses")
    if not isinstance(name, str) or not isinstance(kind, str):
        return None
    known = addresses if isinstance(addresses, list) else []
    return Service(name=name, type=kind, host=str(facts.get("host", "")), addresses=known)
