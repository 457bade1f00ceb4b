"""The search for servers: discovery servers are asked for lists, and each server is asked whether it is there.

There is one loop for each discovery server, so that one that is slow, away or lying keeps nobody waiting but itself;
and one that asks the servers that are there again, more often.
"""

import asyncio
import random
from collections.abc import Iterable, Sequence
from typing import Any, Final

from ashore_discovery.handler import Context
from ashore_discovery.handlers.opcua import hello
from ashore_discovery.handlers.opcua.book import Book, Described, Key, Known
from ashore_discovery.handlers.opcua.details import OpcuaSettings, Plan, Question
from ashore_discovery.handlers.opcua.places import DEFAULT_PORT, Place, Target, announced, parse
from ashore_discovery.handlers.opcua.resolver import Resolver
from ashore_discovery.handlers.pauses import rest
from ashore_discovery.model import Sighting, Swept

_AT_ONCE: Final = 16
"""So many servers are asked at the same time, in each loop."""
_MOST_WAITING: Final = 1000


class Search:
    """Asks, and says what is seen."""

    def __init__(self, context: Context, settings: OpcuaSettings, client: Any) -> None:
        self.said: asyncio.Queue[Sighting | Swept] = asyncio.Queue(_MOST_WAITING)
        self.book = Book()
        self._context = context
        self._settings = settings
        self._client = client
        self._resolver = Resolver(context.network, context.clock, settings.answer_seconds)
        self._loops: dict[Question, asyncio.Task[None]] = {}
        self._scan_now = asyncio.Event()
        self._at: dict[str, Target] = {}
        """Where discovery servers were reached last."""
        self._away: dict[str, str] = {}
        """Discovery servers that have not answered, and why."""
        self._begun: dict[str, float] = {}
        """Discovery servers whose whole lists were looked through since the last sweep, and from when on."""

    def ask(self, plan: Plan) -> None:
        """Ask exactly these discovery servers from now on."""
        for question in set(self._loops) - set(plan):
            self._loops.pop(question).cancel()
        urls = {question.url for question in plan}
        self._away = {url: why for url, why in self._away.items() if url in urls}
        self._begun.clear()
        keys = {Key(question.url, network=False) for question in plan}
        unwanted = self.book.keep(keys | {Key(question.url, network=True) for question in plan if question.network})
        if unwanted:
            self._context.spawn(self._say_unwanted(unwanted))
        for question in plan:
            if question not in self._loops:
                self._loops[question] = self._context.spawn(self._ask_again(question))
        self._report()

    def scan(self) -> None:
        """Ask all of them now."""
        self._scan_now.set()
        self._scan_now = asyncio.Event()

    def is_itself(self, url: str, target: Target) -> bool:
        """Whether the discovery server is the server itself."""
        at = self._at.get(url)
        return (at is not None and at[:2] == target[:2]) or url == target.url

    async def check_again(self) -> None:
        """Ask those that are there whether they still are, without end."""
        slots = asyncio.Semaphore(_AT_ONCE)
        while True:
            await asyncio.sleep(self._jittered(self._settings.check_seconds))
            await self._check_all([known for known in self.book.servers.values() if known.alive], set(), slots)

    async def _ask_again(self, question: Question) -> None:
        slots = asyncio.Semaphore(_AT_ONCE)
        while True:
            scan_now = self._scan_now
            await self._discover(question, slots)
            self._report()
            await self._swept()
            await rest(self._jittered(self._settings.scan_seconds), scan_now)

    async def _discover(self, question: Question, slots: asyncio.Semaphore) -> None:
        """Ask one discovery server, and then all that it names, and those that it does not name any more."""
        begun = self._context.clock()
        asked = parse(question.url) or Place("", DEFAULT_PORT, "")
        try:
            named = await self._named(question, asked, slots)
        except self._client.AskError as error:
            self._begun.pop(question.url, None)
            self._away[question.url] = str(error)
            self.book.answering.discard(question.url)
            if question.url not in self.book.servers:
                # A server that was its own discovery server before the agent was restarted: it is probed now.
                await self.said.put(Sighting(id=question.url, kind="missed", cause="no-answer"))
            return
        self._away.pop(question.url, None)
        self.book.answering.add(question.url)
        found = {known.place.url: known for known in named}
        found |= {url: known for url, known in self.book.servers.items() if question.url in known.sources()}
        await self._check_all(found.values(), {question.url}, slots)
        self._begun[question.url] = begun

    async def _named(self, question: Question, asked: Place, slots: asyncio.Semaphore) -> list[Known]:
        most, seconds = self._settings.most_servers, self._settings.answer_seconds
        target = await self._discovery_server(asked)
        await self._context.pace()
        listed = await self._client.find_servers(target, seconds, most)
        places = ((announced(one.urls, asked), one) for one in listed if one.serves)
        named = self.book.named(
            Key(question.url, network=False), asked, [(place, one) for place, one in places if place is not None]
        )
        self._at[question.url] = target
        if question.network:
            named += await self._heard_of(question, asked, target, slots)
        return named

    async def _heard_of(
        self, question: Question, asked: Place, target: Target, slots: asyncio.Semaphore
    ) -> list[Known]:
        """Who was heard of by multicast, each with what it says of itself: a record has no ApplicationUri."""
        await self._context.pace()
        try:
            records = await self._client.find_on_network(
                target, self._settings.answer_seconds, self._settings.most_servers
            )
        except self._client.AskError as error:
            # Whoever is no discovery server need not have this service, and what was heard before goes its way.
            self._context.log.debug("no servers on the network", url=question.url, reason=str(error))
            return []
        places = [(place, one) for one in records if (place := announced(one.urls, asked)) is not None]
        found = await asyncio.gather(*(self._introduced(place, one, asked, slots) for place, one in places))
        return self.book.named(Key(question.url, network=True), asked, [one for one in found if one is not None])

    async def _introduced(
        self, place: Place, record: Described, asked: Place, slots: asyncio.Semaphore
    ) -> tuple[Place, Described] | None:
        """A server that only its name is known of; None where it does not answer, or is no server."""
        known = self.book.servers.get(place.url)
        if known is not None and known.server.uri:
            return place, known.server
        async with slots:
            await self._context.pace()
            reached = await self._reach(place, asked, None)
            if reached is None:
                return None
            try:
                listed = await self._client.find_servers(reached, self._settings.answer_seconds, _AT_ONCE)
            except self._client.AskError:
                return place, record
        own = next((one for one in listed if (where := announced(one.urls, place)) and where.port == place.port), None)
        return (place, own) if own is not None and own.serves else None

    async def _check_all(self, servers: Iterable[Known], fresh: set[str], slots: asyncio.Semaphore) -> None:
        # Who has never answered waits behind those who have, so that dead entries of a list delay nobody.
        order = sorted(servers, key=lambda known: (not known.alive, known.tried and known.target is None))
        await asyncio.gather(*(self._check(known, fresh, slots) for known in order))

    async def _check(self, known: Known, fresh: set[str], slots: asyncio.Semaphore) -> None:
        async with slots:
            await self._context.pace()
            reached = await self._reach(known.place, known.asked, known.target)
        is_fresh = not fresh.isdisjoint(known.sources())
        sighting = self.book.checked(known, reached, self._context.clock(), is_fresh)
        if sighting is not None:
            await self.said.put(sighting)

    async def _reach(self, place: Place, asked: Place, before: Target | None) -> Target | None:
        """Where the server answers, of all places where it may be spoken to; where it did before comes first."""
        host, addresses = await self._resolver.followed(place, asked)
        url = place.at(host)
        for address in sorted(addresses, key=lambda one: before is None or one != before.address):
            target = Target(address, place.port, url)
            if await hello.ask(target) == "answers":
                return target
        return None

    async def _discovery_server(self, asked: Place) -> Target:
        addresses = await self._resolver.addresses(asked.host)
        for address in addresses[:-1]:
            target = Target(address, asked.port, asked.url)
            if await hello.ask(target) == "answers":
                return target
        if not addresses:
            raise self._client.AskError(f"{asked.url}: nobody knows the name {asked.host}")
        return Target(addresses[-1], asked.port, asked.url)

    async def _swept(self) -> None:
        """Once all lists were looked through, nobody else is there."""
        if self._begun and self._begun.keys() == {question.url for question in self._loops}:
            begun = min(self._begun.values())
            self._begun.clear()
            await self.said.put(Swept(begun=begun))

    async def _say_unwanted(self, servers: Sequence[Known]) -> None:
        for known in servers:
            await self.said.put(Sighting(id=known.place.url, kind="gone", cause="not-looked-for"))

    def _jittered(self, seconds: float) -> float:
        return seconds * (1 + self._settings.jitter * (2 * random.random() - 1))  # noqa: S311 - only to be out of step

    def _report(self) -> None:
        away = [f"no answer from {reason}" for reason in self._away.values()]
        self._context.report("degraded" if away else "polling", "; ".join(away[:3]))
