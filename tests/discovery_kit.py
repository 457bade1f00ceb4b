"""What the tests of discovery share: a clock that is turned by hand, a tracker on it, and a handler without an agent.

stage = Stage(configuration("cameras", "onvif"))     the tracker and the matcher, pure
async with listening(Mdns, details, settings) as heard:     one real handler: heard.until("seen", "my-service")
"""

import asyncio
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from typing import Any

import msgspec
import structlog

from ashore.events import Mode
from ashore_discovery.configurations.document import Configuration
from ashore_discovery.handler import Context, Handler, Limits
from ashore_discovery.limits import Network, Pace
from ashore_discovery.matching.desk import AnyHandler, ConfigurationDesk, Wanted
from ashore_discovery.model import Facet, Identity, Lost, Sighting, Swept
from ashore_discovery.tracking.outcomes import Ask, Change, Outcomes
from ashore_discovery.tracking.presence import Manners
from ashore_discovery.tracking.tracker import Tracker

NOON = 1_800_000_000.0


class Clock:
    """A clock that only moves when it is told to."""

    def __init__(self, now: float = NOON) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


class Anything(msgspec.Struct, frozen=True, kw_only=True):
    """Details of a configuration that takes whatever the handler sees."""


class Plain(Handler[Anything, None]):
    """A handler that wants everything, for tests of what stands above handlers."""

    name = "plain"
    summary = "Everything"
    details_type = Anything
    shared = True

    @classmethod
    def plan(cls, details: Sequence[Anything]) -> None:
        return None


def configuration(name: str = "everything", handler: str = "plain", **fields: Any) -> Configuration:
    return msgspec.convert({"name": name, "handler": handler, **fields}, Configuration)


class Stage:
    """The tracker and the matcher on a clock that is turned by hand."""

    def __init__(
        self,
        *configurations: Configuration,
        handler: AnyHandler = Plain,
        limits: Limits | None = None,
        everything: bool = False,
        **manners: Any,
    ) -> None:
        self.clock = Clock()
        self.desk = ConfigurationDesk("node-1")
        self.tracker = Tracker("node-1", self.desk, everything=everything)
        self.manners = Manners(handler=handler.name, shared=handler.shared, **manners)
        self.handler = handler
        self.told: list[tuple[str, str, str]] = []
        """(kind, key, cause) of every change, in order."""
        self.changes: list[Change] = []
        self.asked: list[Ask] = []
        self.configure(*(configurations or (configuration(),)))
        self.tracker.open("plain", limits or Limits())

    def configure(self, *configurations: Configuration) -> list[str]:
        handler = self.handler
        wanted = [
            Wanted(configuration=one, handler=handler, details=msgspec.convert(one.details, handler.details_type))
            for one in configurations
        ]
        self.desk.use(wanted)
        return self._take(self.tracker.rematch(self.clock.now))

    def see(
        self,
        name: str = "cam-1",
        kind: str = "seen",
        *,
        source: str = "plain",
        identity: Identity | None = None,
        address: str = "",
        ttl: float | None = None,
        cause: str = "",
        **facts: Any,
    ) -> list[str]:
        """A sighting; the answer is the kinds of the changes that it causes."""
        found: Identity = dict(identity or {})
        if address:
            found["address"] = address
        sighting = Sighting(
            id=name, kind=kind, facts=facts, identity=found, ttl=ttl, cause=cause or kind, wire_at=self.clock.now
        )  # type: ignore[arg-type]
        return self._take(self.tracker.see(source, self._manners(source), sighting, self.clock.now))

    def swept(self, begun: float, source: str = "plain", within: str = "") -> list[str]:
        return self._take(self.tracker.swept(source, begun, self.clock.now, within=within))

    def lost(self, source: str = "plain", within: str = "") -> list[str]:
        return self._take(self.tracker.lost(source, "listener-lost", self.clock.now, within=within))

    def closed(self, source: str = "plain") -> list[str]:
        return self._take(self.tracker.closed(source, self.clock.now))

    def answer(self, alive: bool | None, name: str | None = None) -> list[str]:
        """Answer the first question that waits, or the one about this facet."""
        ask = next(one for one in self.asked if name is None or one.facet.id == name)
        self.asked.remove(ask)
        return self._take(self.tracker.probed(ask.facet, alive, self.clock.now))

    def wait(self, seconds: float) -> list[str]:
        """Let time pass, as the agent does: whenever the tracker is due."""
        end, kinds = self.clock.now + seconds, []
        while (due := self.tracker.due()) is not None and due <= end:
            self.clock.now = max(self.clock.now, due)
            kinds += self._take(self.tracker.pass_time(self.clock.now))
        self.clock.now = end
        return kinds

    def facet(self, name: str = "cam-1", source: str = "plain") -> Facet:
        found = self.tracker.registry.find(source, name)
        assert found is not None
        return found[1].facet

    def key(self, name: str = "cam-1", source: str = "plain") -> str:
        found = self.tracker.registry.find(source, name)
        assert found is not None
        return found[0].key

    def take(self, outcomes: Outcomes) -> list[str]:
        return self._take(outcomes)

    def _manners(self, source: str) -> Manners:
        name = source.partition("/")[0]
        return self.manners if name == self.manners.handler else msgspec.structs.replace(self.manners, handler=name)

    def _take(self, outcomes: Outcomes) -> list[str]:
        changes = [one for one in outcomes if isinstance(one, Change)]
        self.asked += [one for one in outcomes if isinstance(one, Ask)]
        self.changes += changes
        self.told += [(one.kind, one.view.key, one.view.cause) for one in changes]
        return [one.kind for one in changes]


class Heard:
    """What a handler has said, and how it says it is."""

    def __init__(self, handler: Handler[Any, Any]) -> None:
        self.handler = handler
        self.sightings: list[Sighting] = []
        self.sweeps: list[Swept] = []
        self.losses: list[Lost] = []
        self.modes: list[tuple[Mode, str]] = []
        self.failed: BaseException | None = None
        self._more = asyncio.Event()

    def facet(self, sighting: Sighting) -> Facet:
        """What the layers above would give to `offer`, `probe` and `enrich`."""
        return Facet(
            source=self.handler.name,
            handler=self.handler.name,
            id=sighting.id,
            facts=sighting.facts,
            identity=sighting.identity,
            endpoints=sighting.endpoints,
            record=sighting.record,
        )

    def note(self, item: Sighting | Swept | Lost) -> None:
        if isinstance(item, Swept):
            self.sweeps.append(item)
        elif isinstance(item, Lost):
            self.losses.append(item)
        else:
            item.check()
            self.sightings.append(item)
        self._more.set()

    async def until(self, kind: str, name: str | None = None, *, after: int = 0, seconds: float = 20) -> Sighting:
        """The first sighting of that kind, and of that name if one is given, from the `after`th on."""
        async with asyncio.timeout(seconds):
            while True:
                for one in self.sightings[after:]:
                    if one.kind == kind and name in (None, one.id):
                        return one
                await self._wait()

    async def swept(self, count: int = 1, *, seconds: float = 20) -> None:
        async with asyncio.timeout(seconds):
            while len(self.sweeps) < count:
                await self._wait()

    async def _wait(self) -> None:
        self._more.clear()
        if self.failed is not None:
            raise self.failed
        await self._more.wait()

    def end(self, task: "asyncio.Task[None]") -> None:
        if not task.cancelled():
            self.failed = task.exception()
        self._more.set()


@asynccontextmanager
async def listening(
    kind: AnyHandler,
    *details: msgspec.Struct,
    settings: msgspec.Struct | None = None,
    interface: str | None = None,
    clock: Any = None,
) -> AsyncIterator[Heard]:
    """Run one handler with these details, without an agent; what it yields is checked as the agent checks it."""
    import time

    beside: set[asyncio.Task[None]] = set()
    clock = clock or time.time

    def spawn(work: Coroutine[object, object, None]) -> "asyncio.Task[None]":
        task = asyncio.create_task(work)
        beside.add(task)
        task.add_done_callback(beside.discard)
        return task

    context = Context(
        settings=settings or kind.settings_type(),
        interface=interface,
        clock=clock,
        report=lambda mode, reason: heard.modes.append((mode, reason)),
        spawn=spawn,
        secret=lambda reference: reference,
        network=Network(),
        pace=Pace(1000, 1000, clock),
        log=structlog.get_logger(),
    )
    handler = kind(context)
    heard = Heard(handler)

    async def listen() -> None:
        async with aclosing(handler.run(kind.plan(details))) as found:
            async for item in found:
                heard.note(item)

    task = asyncio.create_task(listen())
    task.add_done_callback(heard.end)
    try:
        yield heard
    finally:
        for one in (task, *beside):
            one.cancel()
        with suppress(asyncio.CancelledError):
            await asyncio.gather(task, *beside, return_exceptions=True)
