"""What the tests of the whole agent share: an agent on a real bus, and what the bus hears of it."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from importlib.metadata import EntryPoint
from pathlib import Path
from secrets import token_hex
from typing import Any

import msgspec
import yaml

from ashore.bus import Bus, NoResponder
from ashore.bus.nats import NatsBus
from ashore.bus.server import EmbeddedServer
from ashore.events import AgentAlive, ConfigurationSet, DeviceSeen, Event, open_event
from ashore.telemetry import Metrics
from ashore_discovery.app import Discovery, running
from ashore_discovery.config import DiscoverySettings
from ashore_discovery.listening.catalogue import GROUP, Catalogue
from tests.bus_kit import join, publish, until

ECHO = {"name": "words", "handler": "debug-echo", "details": {"descriptions": ["foo", "bar"]}}


class Ear:
    """Hears what agents say on the bus, from its beginning."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def devices(self, node: str = "n1") -> list[DeviceSeen]:
        return [one for one in self.events if isinstance(one, DeviceSeen) and one.node == node]

    def changes(self, text: str = "", node: str = "n1") -> list[str]:
        """The kinds of the changes of devices that have this text among their facets."""
        return [one.change for one in self.devices(node) if any(text in facet for facet in one.facets)]

    def last(self, node: str = "n1") -> list[DeviceSeen]:
        """The last event of each device: its state, as the stream has it."""
        return list({one.subject: one for one in self.devices(node)}.values())

    def alive(self) -> list[AgentAlive]:
        return [one for one in self.events if isinstance(one, AgentAlive)]

    def states(self, node: str = "n1") -> dict[str, str]:
        """The state of each device by its first facet, as a subscriber knows it."""
        return {one.facets[0].partition(":")[2]: one.state for one in self.devices(node) if one.facets}

    async def until(self, kind: str, text: str = "", *, after: int = 0, seconds: float = 20) -> DeviceSeen:
        def found() -> list[DeviceSeen]:
            return [
                one
                for one in self.devices()[after:]
                if one.change == kind and any(text in facet for facet in one.facets)
            ]

        await until(lambda: bool(found()), seconds=seconds)
        return found()[0]


@asynccontextmanager
async def hearing(bus: Bus) -> AsyncIterator[Ear]:
    ear = Ear()

    async def hear() -> None:
        async with aclosing(bus.follow(["device-seen.>", "agent-alive.>"], replay=True)) as found:
            async for _, envelope in found:
                ear.events.append(open_event(envelope))

    task = asyncio.create_task(hear())
    try:
        yield ear
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def settings(folder: Path, **fields: Any) -> DiscoverySettings:
    given = {"ASHORE_DATA_DIR": str(folder), "ASHORE_HOST": "127.0.0.1", "ASHORE_PORT": "0", "ASHORE_SITE": "s1"}
    given |= {"ASHORE_NODE": "n1", "ASHORE_HEARTBEAT_SECONDS": "0.2"}
    return DiscoverySettings.load(given | {f"ASHORE_{name.upper()}": str(value) for name, value in fields.items()})


def write_file(path: Path, *configurations: dict[str, Any], **handlers: Any) -> Path:
    # Replaced as a whole, as editors do: an agent that looks in between would find half of it.
    draft = path.with_suffix(".draft")
    draft.write_text(yaml.safe_dump({"handlers": handlers, "configurations": list(configurations)}))
    draft.replace(path)
    return path


def catalogue(**handlers: str) -> Catalogue:
    """The installed handlers, and these: `name_with_underscores="module:Class"`."""
    import importlib.metadata

    own = [EntryPoint(name.replace("_", "-"), value, GROUP) for name, value in handlers.items()]
    return Catalogue([*importlib.metadata.entry_points(group=GROUP), *own])


@asynccontextmanager
async def agent(
    server: EmbeddedServer,
    folder: Path,
    *configurations: dict[str, Any],
    handlers: dict[str, Any] | None = None,
    catalogue: Catalogue | None = None,
    **fields: Any,
) -> AsyncIterator[Discovery]:
    """An agent on this server as its own user, with a file that holds these configurations."""
    file = write_file(folder / "look-for.yaml", *configurations, **(handlers or {}))
    bus = await join(server, "discovery")
    try:
        async with running(settings(folder, configurations=file, **fields), bus, Metrics(), catalogue) as found:
            yield found
    finally:
        await bus.close()


async def configure(bus: Bus, name: str, document: object) -> None:
    raw = msgspec.Raw(msgspec.json.encode(document))
    await publish(bus, ConfigurationSet(site="s1", token=name, configuration=raw), identity=token_hex(8))


async def ask(bus: NatsBus, verb: str, question: object = None, *, node: str = "n1") -> dict[str, Any]:
    body = b"" if question is None else msgspec.json.encode(question)
    async with asyncio.timeout(10):
        while True:
            # An agent that has just started is not served yet.
            with suppress(NoResponder):
                answer = await bus.request(f"discovery.s1.{node}.{verb}", body, timeout=5)
                return msgspec.json.decode(answer, type=dict[str, Any])
            await asyncio.sleep(0.05)


def names(found: Sequence[dict[str, Any]]) -> list[str]:
    return sorted(facet for one in found for facet in one["facets"])
