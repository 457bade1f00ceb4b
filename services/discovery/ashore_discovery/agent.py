"""The one place where the layers meet: sightings go in at the top, events come out below, and the clock is here.

    listener -> sighting -> tracker (which device, is it there) -> matcher (who wants it) -> event

Everything from a sighting to its event happens at once, in one call without a wait in between: that is where the
milliseconds are won.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, Final

import msgspec
import structlog

from ashore.events import DeviceSeen, handler_token
from ashore_discovery.configurations.document import Configuration, JsonObject
from ashore_discovery.configurations.schema import ConfigurationError, read
from ashore_discovery.health import Health
from ashore_discovery.listening.catalogue import Catalogue, NoSuchHandlerError
from ashore_discovery.listening.listener import Listener
from ashore_discovery.listening.listeners import Listeners
from ashore_discovery.listening.tools import Tools
from ashore_discovery.matching.desk import ConfigurationDesk, Wanted
from ashore_discovery.model import Lost, Sighting, SightingError, Swept
from ashore_discovery.publishing import Publisher, moment
from ashore_discovery.store import State, keep, restore
from ashore_discovery.tracking.device import View
from ashore_discovery.tracking.outcomes import Ask, Change, ChangeKind, Outcomes
from ashore_discovery.tracking.rulings import Ruling, Rulings
from ashore_discovery.tracking.tracker import Tracker

_FEW: Final = 4
MOST_QUESTIONS: Final = 64
"""So many probes and questions are under way at once; the others wait."""

log: structlog.typing.FilteringBoundLogger = structlog.get_logger()


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Where the agent is."""

    site: str
    node: str


def steady_clock() -> Callable[[], float]:
    """Seconds since 1970 by a clock that nobody sets: a corrected time must not end a thousand graces at once."""
    offset = time.time() - time.monotonic()
    return lambda: offset + time.monotonic()


class Agent:
    """One node's agent."""

    def __init__(
        self,
        place: Place,
        catalogue: Catalogue,
        tools: Tools,
        publisher: Publisher,
        health: Health,
        *,
        everything: bool = False,
    ) -> None:
        self.place = place
        self.desk = ConfigurationDesk(place.node)
        self.tracker = Tracker(place.node, self.desk, everything=everything)
        self.problems: dict[str, list[str]] = {}
        """By configuration: why it cannot be used."""
        self.changed: Callable[[], None] = lambda: None
        """Called after each change of what the bus is told."""
        self._catalogue = catalogue
        self._clock = tools.clock
        self._publisher = publisher
        self._health = health
        self.listeners = Listeners(tools, self, health)
        self._untold: set[str] = set()
        self._questions = asyncio.Semaphore(MOST_QUESTIONS)
        # Whoever must prove to be there at all keeps nobody waiting who is missed.
        self._proofs = asyncio.Semaphore(MOST_QUESTIONS)
        self._asking: set[asyncio.Task[None]] = set()
        self._alarm: asyncio.TimerHandle | None = None
        self._swept: set[str] = set()
        self._wants: list[Wanted] | None = None
        self._configured = False

    # What listeners say.

    def opened(self, listener: Listener) -> None:
        """See `Keeper.opened`."""
        self.tracker.open(listener.source, listener.kind.limits)

    def heard(self, listener: Listener, item: Sighting | Swept | Lost) -> bool:
        """See `Sink.heard`."""
        now = self._clock()
        if isinstance(item, Swept):
            self._swept.add(listener.source)
            self._take(self.tracker.swept(listener.source, item.begun, now, within=item.within))
            return False
        if isinstance(item, Lost):
            self._take(self.tracker.lost(listener.source, item.cause, now, within=item.within))
            return False
        if not listener.hears(item):
            listener.health.dropped("more sightings than this listener may report")
            return False
        try:
            item.check()
        except SightingError as error:
            listener.health.dropped(str(error))
            return False
        listener.health.seen()
        outcomes = self.tracker.see(listener.source, listener.manners, item, now)
        self._take(outcomes)
        # One event is sent as fast as can be; a hundred are faster together.
        return bool(outcomes) and len(self._publisher) <= _FEW

    def lost(self, listener: Listener, cause: str) -> None:
        """See `Sink.lost`."""
        self._take(self.tracker.lost(listener.source, cause, self._clock()))

    def closed(self, listener: Listener) -> None:
        """See `Keeper.closed`."""
        self._take(self.tracker.closed(listener.source, self._clock()))

    def has_seen(self, listener: Listener) -> bool:
        """See `Keeper.has_seen`."""
        return self.tracker.registry.counts[listener.source] > 0

    # What is to be looked for.

    async def configure(
        self,
        configurations: Sequence[Configuration],
        settings: Mapping[str, JsonObject],
        interfaces: Sequence[str],
        rulings: Sequence[Ruling] = (),
    ) -> None:
        """Look for this from now on. What cannot be used is told in `problems`, and harms nothing else."""
        self.problems = self._rule(Rulings(rulings))
        wanted = [one for one in map(self._wanted, configurations) if one is not None]
        if wanted != self._wants:
            # Not where only interfaces have changed: on a node with many devices it takes a while.
            self._wants = wanted
            self.desk.use(wanted)
            self._take(self.tracker.rematch(self._clock()))
        self._close_unasked({handler_token(one.handler) for one in configurations})
        problems = await self.listeners.arrange(wanted, settings, interfaces)
        self._configured = True
        if problems:
            self.problems["handlers"] = problems
        for name, sentences in self.problems.items():
            for sentence in sentences:
                log.warning("configuration cannot be used", configuration=name, reason=sentence)

    def _rule(self, rulings: Rulings) -> dict[str, list[str]]:
        if rulings != self.tracker.registry.rulings:
            self._take(self.tracker.rule(rulings, self._clock()))
        return rulings.problems

    def _close_unasked(self, handlers: set[str]) -> None:
        """An earlier run may have told of devices for which nobody listens any more."""
        for source in self.tracker.registry.sources():
            if source.partition("/")[0] not in handlers and self.listeners.of(source) is None:
                self._take(self.tracker.closed(source, self._clock()))

    def _wanted(self, configuration: Configuration) -> Wanted | None:
        try:
            kind = self._catalogue.load(configuration.handler)
            written = {"raw": configuration.details} if kind.raw else configuration.details
            details = read(kind.details_type, written, "details")
            problems = [*configuration.problems(), *kind.problems(details)]
        except NoSuchHandlerError as error:
            problems = [str(error)]
        except ConfigurationError as error:
            problems = error.problems
        if problems:
            self.problems[configuration.name] = problems
            return None
        return Wanted(configuration=configuration, handler=kind, details=details)

    # What is told.

    def restore(self, state: State) -> None:
        """Go on where an earlier run has ended."""
        self._publisher.epoch = max(self._publisher.epoch, state.epoch)
        for kept in state.devices:
            device = restore(kept)
            self._untold.add(device.key)
            self.tracker.restore(device, self._clock())
        self._wind()

    def state(self, configurations: list[Configuration], rulings: dict[str, Ruling]) -> State:
        """What a later run must know."""
        return keep(self.tracker.registry.devices.values(), self._publisher.epoch, configurations, rulings)

    def looked_around(self) -> bool:
        """Whether every listener has said once what is there."""
        if not self._configured:
            return False
        running = {one.source for one in self._health.sources() if one.state()[0] in ("starting", "events", "polling")}
        return running <= self._swept

    async def tell_untold(self) -> None:
        """After the start: say under the new epoch what an earlier run has told and what has not changed since."""
        await self._publisher.tell_all(self._told(self._untold))
        self._untold.clear()

    async def tell_all(self) -> None:
        """After an absence of the bus: say everything under a new epoch."""
        self._publisher.away = False
        self._publisher.begin_epoch()
        self._untold.clear()
        await self._publisher.tell_all(self._told(set(self.tracker.registry.devices)))

    def _told(self, keys: set[str]) -> list[DeviceSeen]:
        devices = (self.tracker.registry.devices.get(key) for key in keys)
        views = [device.told for device in devices if device is not None and device.told is not None]
        return [self._event("changed", view, 0.0, snapshot=True) for view in views]

    async def stop(self) -> None:
        """End all listeners and questions."""
        if self._alarm is not None:
            self._alarm.cancel()
        await self.listeners.stop()
        for task in self._asking:
            task.cancel()
        await asyncio.gather(*self._asking, return_exceptions=True)

    def _take(self, outcomes: Outcomes) -> None:
        for one in outcomes:
            if isinstance(one, Change):
                self._untold.discard(one.view.key)
                self._publisher.put(self._event(one.kind, one.view, one.wire_at), self._timer(one))
            else:
                self._spawn(self._ask(one))
        if outcomes:
            self.changed()
        self._wind()

    def _timer(self, change: Change) -> Callable[[], None]:
        """What notes how long it took from the wire to the bus."""
        device = self.tracker.registry.devices.get(change.view.key)
        source = device.presences[0].facet.source if device and device.presences else change.view.handler
        health = self._health.find(source)
        if health is None or not change.wire_at:
            return lambda: None
        return lambda: health.published(max(0.0, self._clock() - change.wire_at))

    def _event(self, kind: ChangeKind, view: View, wire_at: float, *, snapshot: bool = False) -> DeviceSeen:
        now = moment(self._clock())
        return DeviceSeen(
            site=self.place.site,
            node=self.place.node,
            handler=view.handler,
            key=view.key,
            change=kind,
            state="gone" if kind == "disappeared" else view.state,
            epoch=self._publisher.epoch,
            revision=view.revision,
            cause=view.cause,
            snapshot=snapshot,
            shared=view.shared,
            flapping=view.flapping,
            facts=view.facts,
            endpoints=view.endpoints,
            facets=view.facets,
            aliases=view.aliases,
            matches=view.matches,
            wire_at=moment(wire_at) if wire_at else now,
            seen_at=now,
        )

    async def _ask(self, ask: Ask) -> None:
        listener = self.listeners.of(ask.facet.source)
        async with self._proofs if ask.what == "prove" else self._questions:
            if ask.what != "enrich":
                alive = await listener.probe(ask.facet) if listener else None
                self._take(self.tracker.probed(ask.facet, alive, self._clock()))
            else:
                learnt = await listener.enrich(ask.facet) if listener else None
                self._take(self.tracker.enriched(ask.facet, learnt, self._clock()))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work, name="ask")
        self._asking.add(task)
        task.add_done_callback(self._asking.discard)

    def _wind(self) -> None:
        """Wake up when the tracker is due."""
        if self._alarm is not None:
            self._alarm.cancel()
        due = self.tracker.due()
        delay = None if due is None else max(0.0, due - self._clock())
        self._alarm = None if delay is None else asyncio.get_running_loop().call_later(delay, self._ring)

    def _ring(self) -> None:
        self._alarm = None
        self._take(self.tracker.pass_time(self._clock()))
