"""The listener of one of Akri's handlers: its lists become sightings, by the rules of departure that hold for all.

What a new list leaves out is gone. A stream that ends says nothing about devices: with the last one they are unknown,
as with any listener that is lost, and so are those that only this one has listed while others go on. Akri deletes them.
"""

import asyncio
import datetime as dt
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import suppress
from typing import ClassVar, Final, cast

import msgspec

from ashore_discovery.configurations.schema import ConfigurationError
from ashore_discovery.handler import Context, Handler, HandlerError, Limits, Seen
from ashore_discovery.limits import Pace
from ashore_discovery.listening.akri.calls import Call, Calls
from ashore_discovery.listening.akri.details import AkriSettings, Anything, Query, query_of
from ashore_discovery.listening.akri.endpoints import FORGET_SECONDS, Book, Family
from ashore_discovery.listening.akri.lists import Difference, ListError, Listing, Lists, Stream, Whole
from ashore_discovery.listening.akri.messages import MOST_DEVICES
from ashore_discovery.model import MOST_FACTS, Facet, Facts, Offer, Refusal, Sighting, Swept

Plan = frozenset[Query]
_LARGEST_FACTS: Final = 56 * 1024
_PER_SECOND: Final = 800.0
_BURST: Final = 4000
_LOOK_SECONDS: Final = 1.0
_TOGETHER_SECONDS: Final = 0.01
"""The streams of a process that dies end one after the other."""


class Akri(Handler[Anything, Plan]):
    """One of Akri's handlers; `kind_of` makes a class for each that has registered."""

    summary: ClassVar[str] = "One of Akri's own handlers, which has registered over gRPC"
    details_type: ClassVar[type[msgspec.Struct]] = Anything
    settings_type: ClassVar[type[msgspec.Struct]] = AkriSettings
    raw: ClassVar[bool] = True
    exhaustive: ClassVar[bool] = True
    # A whole list may be new at once. It speaks more slowly than it is heard, so that nothing of a list is dropped.
    limits: ClassVar[Limits] = Limits(burst=MOST_DEVICES)
    family: ClassVar[Family]
    book: ClassVar[Book]

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._settings = cast(AkriSettings, context.settings)
        self._lists = Lists()
        self._plan: Plan = frozenset()
        self._pace = Pace(_PER_SECOND, _BURST, context.clock)
        self._calls = Calls(
            self.family, self.book.places, clock=context.clock, secret=context.secret, spawn=context.spawn
        )

    @classmethod
    def plan(cls, details: Sequence[Anything]) -> Plan:
        """Every question once."""
        return frozenset(query_of(one.raw) for one in details)

    @classmethod
    def problems(cls, details: Anything) -> Iterable[str]:
        """What is wrong with Akri's own form."""
        try:
            query_of(details.raw)
        except ConfigurationError as error:
            return error.problems
        return ()

    def replan(self, plan: Plan) -> bool:
        """Other questions are other streams; the rest goes on."""
        self._plan = plan
        self._calls.news.set()
        return True

    async def probe(self, facet: Facet) -> bool | None:
        """Whether a list has it now; None where the only one that had it was lost."""
        if self._lists.lives(facet.id):
            return True
        return None if self._lists.knows(facet.id) or not self._settled() else False

    async def run(self, plan: Plan) -> Seen:
        """Follow all lists, until nobody is at the other end any more."""
        self._plan, begun, swept, alive = plan, self.context.clock(), False, False
        self.family.running = True
        try:
            while True:
                async for sighting in self._look():
                    yield sighting
                if alive and not self._answered():
                    raise HandlerError(self._reason())
                alive = self._answered()
                if not swept and self._settled():
                    swept = True
                    yield Swept(begun=begun)
                self._report()
                await self._wait()
        finally:
            self.family.running = False
            self._calls.close()

    async def _wait(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(_LOOK_SECONDS):
                await self._calls.news.wait()
            if self._calls.losing:
                await asyncio.sleep(_TOGETHER_SECONDS)

    async def _look(self) -> AsyncIterator[Sighting]:
        """Everything that is different since the last time."""
        self._calls.news.clear()
        self._forget()
        streams = [Stream(endpoint, query) for endpoint in self.family.endpoints for query in self._plan]
        for stream in self._calls.arrange(streams):
            async for one in self._say(self._lists.drop(stream), "not-looked-for", 0.0):
                yield one
        if self._settings.silence_seconds:
            for stream in self._calls.silent(self._settings.silence_seconds):
                async for one in self._say(self._lists.take(stream, Whole()), "silent", 0.0):
                    yield one
        for stream, whole in self._calls.taken():
            async for one in self._say(self._difference(stream, whole), "listed", whole.at if whole else 0.0):
                yield one

    def _difference(self, stream: Stream, whole: Whole | None) -> Difference:
        if whole is None:
            return self._lists.lose(stream)
        try:
            return self._lists.take(stream, whole)
        except ListError as error:
            self._calls.refuse(stream, str(error))
            return self._lists.lose(stream)

    async def _say(self, difference: Difference, cause: str, at: float) -> AsyncIterator[Sighting]:
        for id_ in difference.gone:
            yield Sighting(id=id_, kind="gone", cause="missing" if cause == "listed" else cause, wire_at=at)
        for id_ in difference.doubted:
            yield Sighting(id=id_, kind="missed", cause="endpoint-lost")
        for id_ in difference.seen:
            await self._pace()
            listing = self._lists.listing(id_)
            yield Sighting(id=id_, cause=cause, facts=_facts(listing), record=listing, wire_at=at)

    def _forget(self) -> None:
        """Let go of an endpoint that is away while another of the same name answers: a pod that got a new address."""
        now = self.context.clock()
        if not any(call.alive for call in self._calls.calls.values()):
            return
        for endpoint in list(self.family.endpoints.values()):
            if endpoint.failing_since is not None and now - endpoint.failing_since > FORGET_SECONDS:
                self.book.forget(self.family, endpoint)

    def _answered(self) -> bool:
        """Whether somebody is at the other end, if only to refuse."""
        return any(call.alive or call.state == "refused" for call in self._calls.calls.values())

    def _settled(self) -> bool:
        """Whether every stream has said what it sees, if only by its silence: Akri's own say nothing of nothing."""
        calls = self._calls.calls.values()
        return bool(calls) and not self._calls.waiting and all(call.state == "listed" for call in calls)

    def _report(self) -> None:
        if not self._answered():
            self.context.report("degraded", f"nobody answers; {self._reason()}")
            return
        well = all(call.alive and not call.unusable for call in self._calls.calls.values())
        self.context.report("events" if well else "degraded", self._reason())

    def _reason(self) -> str:
        """Name, scope, and each stream, for people."""
        scope = "shared" if self.family.shared else "local"
        told = [f"{stream.endpoint} {self._told(stream, call)}" for stream, call in self._calls.calls.items()]
        return "; ".join([f"Akri's '{self.family.name}', {scope}", *told])

    def _told(self, stream: Stream, call: Call) -> str:
        parts = [f"{call.state}: {call.reason}" if call.reason else call.state]
        if call.listed_at is not None:
            at = dt.datetime.fromtimestamp(call.listed_at, dt.UTC)
            parts.append(f"last list at {at:%H:%M:%S}Z, {self._lists.count(stream)} devices")
        if call.unusable:
            parts.append(f"cannot be used: {call.unusable}")
        return ", ".join(parts)

    @classmethod
    def offer(cls, details: Anything, facet: Facet, others: Callable[[], Iterable[Facet]]) -> Offer | Refusal:
        """A configuration wants what the handler has listed for it."""
        del others
        if not isinstance(facet.record, Listing):
            return Refusal("it has not been listed since the agent was started")
        listed = facet.record.by_query.get(query_of(details.raw))
        if listed is None:
            return Refusal("the handler does not list it for these details")
        return Offer(properties=listed.properties, device_nodes=listed.device_nodes, mounts=listed.mounts)


def _facts(listing: Listing) -> Facts:
    """The properties of all queries, as far as a sighting holds them."""
    facts: Facts = {}
    for one in listing.by_query.values():
        more: Facts = {**one.properties, **facts}
        if len(more) <= MOST_FACTS and len(msgspec.json.encode(more)) <= _LARGEST_FACTS:
            facts = more
    return facts


def kind_of(family: Family, book: Book) -> type[Akri]:
    """The class of a family; a new one makes a new listener."""
    return type("Akri", (Akri,), {"name": family.token, "shared": family.shared, "family": family, "book": book})
