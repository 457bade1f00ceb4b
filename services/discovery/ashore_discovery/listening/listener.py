"""One running handler: started, watched and restarted. Whatever it does, the agent goes on.

A handler that raises, ends, or yields nothing for longer than it promised is started anew after a pause that grows, and
meanwhile its devices are unknown. What it has spawned ends with it.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Coroutine
from contextlib import aclosing, suppress
from typing import Any, Final, Protocol

import msgspec
import structlog

from ashore.events import Mode
from ashore.supervise import ends_us
from ashore_discovery.handler import Context, Handler, HandlerError
from ashore_discovery.health import SourceHealth
from ashore_discovery.limits import Pace
from ashore_discovery.listening.tools import Tools
from ashore_discovery.matching.desk import AnyHandler
from ashore_discovery.model import Facet, Learnt, Lost, Sighting, Swept
from ashore_discovery.tracking.presence import Manners

FIRST_PAUSE: Final = 1.0
HEALTHY_SECONDS: Final = 60.0
LONGEST_PAUSE: Final = 60.0
ENRICH_SECONDS: Final = 20.0
_STOP_SECONDS: Final = 5.0
_AT_A_STRETCH: Final = 32
_TURNS: Final = 3
"""So many rounds of the event loop an event takes from here to the socket of the bus."""

log: structlog.typing.FilteringBoundLogger = structlog.get_logger()


class Sink(Protocol):
    """Who hears what listeners say. Both return at once."""

    def heard(self, listener: "Listener", item: Sighting | Swept | Lost) -> bool:
        """Something was seen, or part of what the listener listens at is lost.

        The answer is whether there is news that shall be on its way before the next is looked at.
        """
        ...

    def lost(self, listener: "Listener", cause: str) -> None:
        """Nothing will be seen for a while."""
        ...


class Listener:
    """A handler, on one interface or on none in particular."""

    def __init__(
        self,
        kind: AnyHandler,
        interface: str | None,
        settings: msgspec.Struct,
        *,
        tools: Tools,
        sink: Sink,
        health: SourceHealth,
    ) -> None:
        self.kind = kind
        self.interface = interface
        self.settings = settings
        self.source = f"{kind.name}/{interface}" if interface else kind.name
        self.health = health
        self.manners = manners_of(kind)
        self._tools = tools
        self._sink = sink
        self._hearing = Pace(kind.limits.sightings, int(5 * kind.limits.sightings), tools.clock)
        self._plan: object = None
        self._handler: Handler[Any, Any] | None = None
        self._task: asyncio.Task[None] | None = None

    def hears(self, sighting: Sighting) -> bool:
        """Whether there is time for one more. What ends is always heard: it is what nobody says again."""
        return sighting.kind != "seen" or self._hearing.take()

    async def listen(self, plan: object) -> None:
        """Do this from now on; a handler that can take it over goes on, another is started anew."""
        if self._task is not None and plan == self._plan:
            return
        self._plan = plan
        if self._replanned(plan):
            return
        await self.stop()
        self._task = asyncio.create_task(self._keep(), name=f"listen-{self.source}")

    def _replanned(self, plan: object) -> bool:
        try:
            return self._handler is not None and self._handler.replan(plan)
        except Exception as error:  # noqa: BLE001 - it is started anew then
            self.health.dropped(f"replan: {error!r}")
            return False

    async def stop(self) -> None:
        """End it."""
        task, self._task = self._task, None
        if task is None:
            return
        task.cancel()
        _, pending = await asyncio.wait([task], timeout=_STOP_SECONDS)
        if pending:
            log.error("handler does not end", source=self.source)

    async def probe(self, facet: Facet) -> bool | None:
        """Whether the device answers; None where that cannot be told."""
        handler = self._handler
        if handler is None:
            return None
        try:
            async with asyncio.timeout(self.kind.probe_timeout):
                return await handler.probe(facet)
        except TimeoutError:
            return False
        except BaseException as error:  # a probe that is broken says nothing about the device
            if ends_us(error):
                raise
            self.health.dropped(f"probe: {error!r}")
            return None

    async def enrich(self, facet: Facet) -> Learnt | None:
        """What the device says of itself; None where it does not."""
        handler = self._handler
        if handler is None:
            return None
        try:
            async with asyncio.timeout(ENRICH_SECONDS):
                learnt = await handler.enrich(facet)
            if learnt is not None:
                said = Sighting(id=facet.id, facts=learnt.facts, identity=learnt.identity, endpoints=learnt.endpoints)
                said.check()
        except BaseException as error:  # what a device answers when asked is its own affair
            if ends_us(error):
                raise
            self.health.dropped(f"enrich: {error!r}")
            return None
        return learnt

    async def scan(self) -> None:
        """Look around now, where the handler can."""
        if self._handler is not None and self.kind.can("scan"):
            await self._handler.scan()

    async def _keep(self) -> None:
        pause = FIRST_PAUSE
        while True:
            started = time.monotonic()
            reason = await self._once()
            if time.monotonic() - started > HEALTHY_SECONDS:
                pause = FIRST_PAUSE
            self.health.failed(reason)
            log.warning("listener lost", source=self.source, reason=reason, again_in_seconds=pause)
            self._sink.lost(self, "listener-lost")
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    async def _once(self) -> str:
        """Run the handler until it fails; the answer is why."""
        self.health.mode("starting", "")
        try:
            async with asyncio.TaskGroup() as group:
                self._handler = self.kind(self._context(group))
                await self._listen(self._handler)
        # Some libraries derive their errors from BaseException.
        except BaseException as error:
            if ends_us(error):
                raise
            return _reason(error)
        finally:
            self._handler = None
        return "it has ended by itself"

    async def _listen(self, handler: Handler[Any, Any]) -> None:
        count = 0
        async with aclosing(handler.run(self._plan)) as found:
            with suppress(StopAsyncIteration):
                while True:
                    item = await self._next(found)
                    urgent = self._sink.heard(self, item)
                    count += 1
                    # A handler that has much to say at once does not keep the others waiting.
                    for _ in range(_TURNS if urgent else count % _AT_A_STRETCH == 0):
                        await asyncio.sleep(0)
        raise HandlerError("it has ended by itself")

    async def _next(self, found: AsyncIterator[Sighting | Swept | Lost]) -> Sighting | Swept | Lost:
        stalled = asyncio.timeout(self.kind.stall_after)
        try:
            async with stalled:
                return await anext(found)
        except TimeoutError as error:
            # It may have been a timeout of the handler's own.
            if not stalled.expired():
                raise
            raise HandlerError(f"it hangs: nothing for {self.kind.stall_after} s") from error

    def _context(self, group: asyncio.TaskGroup) -> Context:
        def spawn(work: Coroutine[object, object, None]) -> "asyncio.Task[None]":
            task = group.create_task(work, name=f"beside-{self.source}")
            task.add_done_callback(missed)
            return task

        def missed(task: "asyncio.Task[None]") -> None:
            # Nobody has cancelled it: then the group, which takes that for an order, does not notice.
            if task.cancelled() and not task.cancelling():
                group.create_task(_fail(f"{task.get_name()} was given up"))

        def report(mode: Mode, reason: str) -> None:
            self.health.mode(mode, reason)

        return Context(
            settings=self.settings,
            interface=self.interface,
            clock=self._tools.clock,
            report=report,
            spawn=spawn,
            secret=self._tools.secret,
            network=self._tools.network(),
            pace=self._tools.pace(),
            log=log.bind(source=self.source),
            dropped=self.health.dropped,
        )


def manners_of(kind: AnyHandler) -> Manners:
    """What the rules of departure must know of a handler."""
    return Manners(
        handler=kind.name,
        shared=kind.shared,
        exhaustive=kind.exhaustive,
        announced=kind.announced,
        bye_hold=kind.bye_hold,
        patience=kind.patience,
        probes=kind.can("probe"),
        enriches=kind.can("enrich"),
    )


async def _fail(reason: str) -> None:
    raise HandlerError(reason)


def _reason(error: BaseException) -> str:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return str(error) if isinstance(error, HandlerError) else f"{type(error).__name__}: {error}"
