"""The discovery agent, put together, from its start to its end (`ashore.edge`)."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Final

import msgspec
import structlog

from ashore import edge
from ashore.bus import Bus
from ashore.files import FilesError, private_directory
from ashore.responder import Answer, Responder, Responses
from ashore.supervise import Supervisor
from ashore.telemetry import METRICS_TYPE, Metrics
from ashore_discovery.agent import Agent, Place, steady_clock
from ashore_discovery.api import Api
from ashore_discovery.config import DiscoverySettings
from ashore_discovery.configurations.sources import Sources
from ashore_discovery.health import Health
from ashore_discovery.heartbeat import Heart, memory_mb
from ashore_discovery.interfaces import interface_changes, interfaces_up
from ashore_discovery.listening.catalogue import Catalogue
from ashore_discovery.listening.remote import Reception
from ashore_discovery.listening.tools import Tools
from ashore_discovery.publishing import Publisher
from ashore_discovery.store import State, Store

if TYPE_CHECKING:
    from ashore_discovery.listening.akri.reception import AkriReception

CLOSE_SECONDS: Final = 3.0
_GATHER_SECONDS: Final = 0.1
"""Changes of configurations that come together are taken together."""

log: structlog.typing.FilteringBoundLogger = structlog.get_logger()


class Discovery:
    """The agent and all that stands around it."""

    def __init__(self, settings: DiscoverySettings, bus: Bus, metrics: Metrics, catalogue: Catalogue) -> None:
        clock = steady_clock()
        self.settings = settings
        self.bus = bus
        self.health = Health(metrics.registry, clock)
        self.publisher = Publisher(bus, f"/discovery/{settings.node}", clock)
        tools = Tools(
            clock=clock,
            secrets=settings.secrets_dir,
            networks=settings.networks,
            questions_per_second=settings.questions_per_second,
        )
        place = Place(site=settings.site, node=settings.node)
        everything = settings.publish == "all"
        self.agent = Agent(place, catalogue, tools, self.publisher, self.health, everything=everything)
        self._changed = asyncio.Event()
        self.sources = Sources(settings.site, bus, settings.configurations, self._changed.set)
        self.store = Store(settings.data_dir, self._state)
        self.agent.changed = self.store.changed
        self.heart = Heart(
            self.agent,
            self.publisher,
            self.health,
            self.sources,
            catalogue,
            clock=clock,
            interval=settings.heartbeat_seconds,
        )
        self.api = Api(self.agent, self.heart.answer)
        self.reception = Reception(bus, settings.site, settings.node, catalogue, self._changed.set)
        self.akri = self._akri(catalogue, tools)
        self._interfaces = interfaces_up()

    def _akri(self, catalogue: Catalogue, tools: Tools) -> "AkriReception | None":
        folder = self.settings.akri_dir
        if folder is None:
            return None
        # gRPC takes memory, and an extra that need not be installed.
        from ashore_discovery.listening.akri.reception import AkriReception  # noqa: PLC0415

        return AkriReception(folder, self.settings.data_dir, tools.network(), catalogue, self._changed.set)

    def begin(self) -> None:
        """Go on where an earlier run has ended."""
        if self.akri is not None:
            self.akri.begin()
        state = self.store.read()
        self.publisher.epoch = state.epoch
        self.publisher.begin_epoch()
        self.agent.restore(state)
        self.sources.begin(state.configurations, state.rulings)

    def _state(self) -> State:
        return self.agent.state(self.sources.from_bus(), self.sources.rulings_from_bus())

    async def look(self) -> None:
        """Look for what the configurations say, whenever they or the interfaces change."""
        while True:
            self._changed.clear()
            found = self.sources
            await self.agent.configure(found.configurations(), found.settings(), self._interfaces, found.rulings())
            self.store.changed()
            await self._changed.wait()
            await asyncio.sleep(_GATHER_SECONDS)

    async def watch_interfaces(self) -> None:
        """Follow the network interfaces."""
        async for found in interface_changes():
            if found != self._interfaces:
                self._interfaces = found
                self._changed.set()

    async def serve(self) -> None:
        """Answer questions on the bus."""
        place = self.agent.place
        async with AsyncExitStack() as stack:
            verbs = self.api.verbs().items()
            served = (self.bus.serve(f"discovery.{place.site}.{place.node}.{verb}", answer) for verb, answer in verbs)
            for serving in await asyncio.gather(*served):
                await stack.enter_async_context(serving)
            await asyncio.Event().wait()

    async def end(self) -> None:
        """End listeners, tell what waits, and remember what was told."""
        await self.agent.stop()
        await self.publisher.close(CLOSE_SECONDS)
        self.store.write()


@asynccontextmanager
async def running(
    settings: DiscoverySettings, bus: Bus, metrics: Metrics, catalogue: Catalogue | None = None
) -> AsyncIterator[Discovery]:
    """An agent at work, until the block ends."""
    private_directory(settings.data_dir)
    found = Discovery(settings, bus, metrics, catalogue or Catalogue())
    found.begin()
    supervisor = Supervisor(metrics)
    responder = Responder(_responses(found, supervisor, metrics))
    port = await responder.start(settings.host, settings.port)
    log.info("listening", url=f"http://{settings.host}:{port}", site=settings.site, node=settings.node)
    tasks = (
        found.look,
        found.heart.beat,
        found.watch_interfaces,
        found.sources.watch_file,
        found.sources.watch_bus,
        found.store.run,
        found.serve,
        found.reception.serve,
        *([found.akri.serve] if found.akri else []),
    )
    try:
        for task in tasks:
            supervisor.start(task)
        yield found
    finally:
        await responder.stop()
        await supervisor.stop()
        await found.end()


def _responses(found: Discovery, supervisor: Supervisor, metrics: Metrics) -> Responses:
    async def healthz() -> Answer:
        # More memory than this is a leak, in whatever library: a fresh start costs no event.
        limit = found.settings.memory_limit_mb
        alive = not limit or memory_mb() < limit
        return Answer(200 if alive else 503, msgspec.json.encode({"alive": alive}))

    async def readyz() -> Answer:
        reasons = await edge.unready(found.bus.check, supervisor.check)
        return Answer(503 if reasons else 200, msgspec.json.encode({"ready": not reasons, "reasons": reasons}))

    async def numbers() -> Answer:
        found.heart.measure()
        return Answer(200, metrics.render(), METRICS_TYPE)

    return {"/healthz": healthz, "/readyz": readyz, "/metrics": numbers}


def run() -> int:
    """Run the agent until it is told to stop; the answer is the process's exit code."""
    return edge.run("discovery", DiscoverySettings, running, told=(FilesError, OSError))
