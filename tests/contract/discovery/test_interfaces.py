"""A handler that listens on networks runs once for each interface, and an interface that is down takes nothing away."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest

from ashore.bus.memory import MemoryBus
from ashore_discovery.agent import Agent, Place
from ashore_discovery.health import Health
from ashore_discovery.interfaces import interface_changes, interfaces_up
from ashore_discovery.listening.catalogue import Catalogue
from ashore_discovery.listening.tools import Tools
from ashore_discovery.publishing import Publisher
from tests.bus_kit import until
from tests.contract.discovery.bad_handlers import Base, Nothing
from tests.discovery_kit import Clock, configuration


class Wire(Base):
    """Sees one device on each interface."""

    name = "wire"
    per_interface = True

    @classmethod
    def plan(cls, details: Sequence[Nothing]) -> None:
        return None

    async def run(self, plan: None) -> AsyncIterator[Any]:  # type: ignore[override]
        from ashore_discovery.model import Sighting, Swept

        yield Sighting(id=f"on-{self.context.interface}")
        yield Swept(begun=0)
        await asyncio.Event().wait()


class Deaf(Wire):
    """Sees nothing on any interface."""

    name = "deaf"

    async def run(self, plan: None) -> AsyncIterator[Any]:  # type: ignore[override]
        from ashore_discovery.model import Swept

        yield Swept(begun=0)
        await asyncio.Event().wait()


def made(health: Health) -> Agent:
    clock = Clock()
    catalogue = Catalogue([])
    catalogue.add(Wire)
    catalogue.add(Deaf)
    publisher = Publisher(MemoryBus(), "/test", clock)
    return Agent(Place(site="s", node="n"), catalogue, Tools(clock=clock), publisher, health)


async def test_each_interface_has_its_listener() -> None:
    agent = made(Health(CollectorRegistry(), Clock()))

    def states() -> dict[str, str]:
        return {key.presences[0].facet.id: key.state for key in agent.tracker.registry.devices.values()}

    look_for = [configuration("things", "wire")]
    try:
        await agent.configure(look_for, {}, ["eth0", "eth1"])
        await until(lambda: states() == {"on-eth0": "present", "on-eth1": "present"})
        await agent.configure(look_for, {}, ["eth0"])
        assert states() == {"on-eth0": "present", "on-eth1": "unknown"}
        await agent.configure(look_for, {"wire": {"interfaces": ["eth[1-9]"]}}, ["eth0", "eth1"])
        await until(lambda: states() == {"on-eth1": "present"})
        await agent.configure(look_for, {"wire": {"interfaces": ["*"], "colour": "red"}}, ["eth0", "eth1"])
        assert any("colour" in text for text in agent.problems["handlers"])
        assert states() == {"on-eth1": "present"}
        await agent.configure([], {}, ["eth0", "eth1"])
        assert states() == {}
    finally:
        await agent.stop()


async def test_an_interface_that_is_no_more_leaves_nothing_behind_where_nothing_was_seen() -> None:
    """A node of Kubernetes has another one with each pod."""
    registry = CollectorRegistry()
    health = Health(registry, Clock())
    agent = made(health)
    look_for = [configuration("things", "wire"), configuration("nothing", "deaf")]
    try:
        await agent.configure(look_for, {}, ["lo", "veth-gone"])
        await until(lambda: len(agent.tracker.registry.devices) == 2)
        await agent.configure(look_for, {}, [])
        # The loopback exists and is down, so to say; and behind the other one a device may still be.
        assert [one.source for one in health.sources()] == ["deaf/lo", "wire/lo", "wire/veth-gone"]
        assert {one.state()[0] for one in health.sources()} == {"stopped"}
        assert "deaf/veth-gone" not in agent.tracker.quarantines
        assert b"deaf/veth-gone" not in generate_latest(registry)
        assert b"wire/veth-gone" in generate_latest(registry)
    finally:
        await agent.stop()


async def test_the_interfaces_of_this_machine_are_told_at_once() -> None:
    async with aclosing(interface_changes()) as found:
        assert await anext(found) == interfaces_up()
    assert "lo" not in interfaces_up()
