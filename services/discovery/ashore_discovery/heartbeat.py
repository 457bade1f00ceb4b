"""What the agent says of itself: that it is alive, how it works, and when a snapshot is complete."""

import asyncio
import gc
import importlib.metadata
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Final

from ashore.bus import BusError
from ashore.events import AgentAlive, HandlerState
from ashore.memory import give_back, settle
from ashore_discovery.agent import Agent
from ashore_discovery.api import HealthAnswer
from ashore_discovery.configurations.sources import Sources
from ashore_discovery.health import Health, SourceReport, worst
from ashore_discovery.listening.catalogue import Catalogue
from ashore_discovery.publishing import Publisher, moment

FIRST_LOOK_SECONDS: Final = 5.0
"""The first snapshot waits so long for listeners to look around."""
_PAGE_BYTES: Final = 4096
_MANY: Final = 100
_LOOK_SECONDS: Final = 0.05


class Heart:
    """Beats for as long as the agent lives."""

    def __init__(
        self,
        agent: Agent,
        publisher: Publisher,
        health: Health,
        sources: Sources,
        catalogue: Catalogue,
        *,
        clock: Callable[[], float],
        interval: float,
    ) -> None:
        self._agent = agent
        self._publisher = publisher
        self._health = health
        self._sources = sources
        self._catalogue = catalogue
        self._clock = clock
        self._interval = interval
        self._started = moment(clock())
        self._release = importlib.metadata.version("ashore-discovery")
        self._count = 0
        self._settled = 0
        """So many devices were there when memory was given back."""

    async def beat(self) -> None:
        """Say that we are alive; after an absence of the bus say everything."""
        await self._look_around()
        await self._agent.tell_untold()
        settle()
        self._settled = len(self._agent.tracker.registry.devices)
        while True:
            self._give_back_after_much()
            if await self._say() and self._publisher.away:
                await self._agent.tell_all()
                await self._say()
            await asyncio.sleep(self._interval)

    def _give_back_after_much(self) -> None:
        """Many devices that came or went have left holes in memory, a sixth of the agent."""
        count = len(self._agent.tracker.registry.devices)
        if abs(count - self._settled) >= _MANY and not len(self._publisher):
            self._settled = count
            gc.collect()
            give_back()

    async def _look_around(self) -> None:
        end = time.monotonic() + FIRST_LOOK_SECONDS
        while not self._agent.looked_around() and time.monotonic() < end:  # noqa: ASYNC110 - many things together
            await asyncio.sleep(_LOOK_SECONDS)

    async def _say(self) -> bool:
        self._count += 1
        self.measure()
        alive = AgentAlive(
            site=self._agent.place.site,
            node=self._agent.place.node,
            epoch=self._publisher.complete,
            interval_seconds=self._interval,
            release=self._release,
            started_at=self._started,
            devices=len(self._agent.tracker.registry.devices),
            handlers=self._handlers(),
        )
        try:
            await self._publisher.send(alive, f"{alive.node}/alive/{self._started}/{self._count}")
        except BusError as error:
            self._publisher.trouble(error)
            return False
        return True

    def measure(self) -> None:
        """Bring the gauges up to date."""
        numbers = self._health.numbers
        states = Counter(device.state for device in self._agent.tracker.registry.devices.values())
        for state in ("present", "suspect", "absent", "unknown"):
            numbers.devices.labels(state).set(states[state])
        numbers.waiting.set(len(self._publisher))

    def answer(self) -> HealthAnswer:
        """How the agent works, for people."""
        return HealthAnswer(
            site=self._agent.place.site,
            node=self._agent.place.node,
            release=self._release,
            epoch=self._publisher.epoch,
            complete=self._publisher.complete,
            unpublished=len(self._publisher),
            devices=len(self._agent.tracker.registry.devices),
            memory_mb=round(memory_mb(), 1),
            sources=self._reports(),
            configurations=[one.name for one in self._sources.configurations()],
            problems={**self._sources.problems, **self._agent.problems},
            handlers=self._catalogue.names(),
        )

    def _reports(self) -> list[SourceReport]:
        tracker = self._agent.tracker
        found = []
        for one in self._health.sources():
            gate = tracker.quarantines.get(one.source)
            found.append(one.report(tracker.registry.counts[one.source], gate.refused if gate else 0))
        return found

    def _handlers(self) -> list[HandlerState]:
        found: list[HandlerState] = []
        sources = self._health.sources()
        for name in sorted({one.source.partition("/")[0] for one in sources}):
            own = [one for one in sources if one.source.partition("/")[0] == name]
            mode, reason = worst([one.state() for one in own])
            devices = sum(self._agent.tracker.registry.counts[one.source] for one in own)
            found.append(HandlerState(name=name, mode=mode, reason=reason, devices=devices))
        return found


def memory_mb() -> float:
    """Resident memory of this process."""
    try:
        pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    except (OSError, ValueError, IndexError):
        return 0.0
    return pages * _PAGE_BYTES / 1e6
