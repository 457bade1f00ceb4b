"""The whole agent on a real NATS server, as its own user: events, inventory, reload, and what it survives."""

import asyncio
from pathlib import Path

import pytest

from ashore.bus.nats import NatsBus
from ashore.bus.server import EmbeddedServer
from tests.bus_kit import join, until
from tests.contract.discovery.agents import ECHO, agent, ask, configure, hearing, names, write_file


async def test_a_device_appears_on_the_bus_with_all_that_a_broker_needs(
    nats_bus: NatsBus, nats_server: EmbeddedServer, tmp_path: Path
) -> None:
    async with hearing(nats_bus) as ear, agent(nats_server, tmp_path, ECHO):
        event = await ear.until("appeared", "foo")
    assert event.subject == f"device-seen.s1.n1.debug-echo.{event.key}"
    assert event.state == "present"
    assert event.facts == {"description": "foo"}
    [match] = event.matches
    assert match.configuration == "words"
    assert match.properties == {"DEBUG_ECHO_DESCRIPTION": "foo"}
    assert match.instance.startswith("words-")


async def test_the_heartbeat_says_how_the_handlers_are(
    nats_bus: NatsBus, nats_server: EmbeddedServer, tmp_path: Path
) -> None:
    async with hearing(nats_bus) as ear, agent(nats_server, tmp_path, ECHO):
        await until(lambda: any(one.epoch and one.devices == 2 for one in ear.alive()))
        await until(lambda: len(ear.alive()) > 2)
    [handler] = ear.alive()[-1].handlers
    assert (handler.name, handler.mode, handler.devices) == ("debug-echo", "polling", 2)


async def test_a_filter_that_changes_restarts_no_listener(
    nats_bus: NatsBus, nats_server: EmbeddedServer, tmp_path: Path
) -> None:
    async with hearing(nats_bus) as ear, agent(nats_server, tmp_path, ECHO) as found:
        await ear.until("appeared", "foo")
        listener = found.agent.listeners.of("debug-echo")
        task = listener and listener._task
        only_foo = {**ECHO, "match": {"fact": "description", "glob": "f*"}}
        write_file(tmp_path / "look-for.yaml", only_foo)
        event = await ear.until("disappeared", "bar")
        assert event.cause == "unmatched"
        again = found.agent.listeners.of("debug-echo")
        assert again is listener
        assert again is not None
        assert again._task is task
        assert ear.changes("foo") == ["appeared"]


async def test_configurations_come_over_the_bus_too(
    nats_bus: NatsBus, nats_server: EmbeddedServer, tmp_path: Path
) -> None:
    async with hearing(nats_bus) as ear, agent(nats_server, tmp_path):
        await configure(nats_bus, "words", ECHO)
        await ear.until("appeared", "foo")
        await configure(nats_bus, "words", None)
        await ear.until("disappeared", "foo")


async def test_a_wrong_configuration_is_told_and_harms_nothing_else(
    nats_bus: NatsBus, nats_server: EmbeddedServer, tmp_path: Path
) -> None:
    wrong = {"name": "wrong", "handler": "debug-echo", "details": {"descripton": ["x"]}}
    unknown = {"name": "unknown", "handler": "telepathy"}
    async with hearing(nats_bus) as ear, agent(nats_server, tmp_path, wrong, unknown, ECHO):
        await ear.until("appeared", "foo")
        health = await ask(nats_bus, "health")
    assert "did you mean 'descriptions'?" in health["problems"]["wrong"][0]
    assert "there is no handler 'telepathy'" in health["problems"]["unknown"][0]


async def test_a_file_that_cannot_be_read_leaves_everything_as_it_was(
    nats_bus: NatsBus, nats_server: EmbeddedServer, tmp_path: Path
) -> None:
    async with hearing(nats_bus) as ear, agent(nats_server, tmp_path, ECHO):
        await ear.until("appeared", "foo")
        (tmp_path / "look-for.yaml").write_text("configurations: [{name: 'x', handler")
        for _ in range(200):
            health = await ask(nats_bus, "health")
            if health["problems"]:
                break
            await asyncio.sleep(0.05)
        assert any("look-for.yaml" in name for name in health["problems"])
        assert ear.changes("foo") == ["appeared"]


async def test_the_inventory_has_what_nobody_wants_and_explains_why(
    nats_bus: NatsBus, nats_server: EmbeddedServer, tmp_path: Path
) -> None:
    only_foo = {**ECHO, "match": {"fact": "description", "equals": "foo"}}
    async with hearing(nats_bus) as ear, agent(nats_server, tmp_path, only_foo):
        await ear.until("appeared", "foo")
        listed = await ask(nats_bus, "list")
        assert names(listed["devices"]) == ["debug-echo:bar", "debug-echo:foo"]
        [bar] = [one for one in listed["devices"] if one["facets"] == ["debug-echo:bar"]]
        explained = await ask(nats_bus, "explain", {"key": bar["key"]})
    [judgement] = explained["judgements"]
    assert judgement == {"configuration": "words", "matched": False, "why": "description is 'bar', not foo"}
    assert not explained["told"]


async def test_a_question_about_nothing_gets_a_remedy(
    nats_bus: NatsBus, nats_server: EmbeddedServer, tmp_path: Path
) -> None:
    async with agent(nats_server, tmp_path, ECHO):
        await asyncio.sleep(0.3)
        answer = await ask(nats_bus, "explain", {"key": "nothing"})
        assert "ashore discovery list" in answer["remedy"]
        assert "ExplainQuestion" in (await ask(nats_bus, "explain", {"kee": "nothing"}))["problem"]


async def test_a_restart_of_the_agent_is_no_event_for_any_device(
    nats_bus: NatsBus, nats_server: EmbeddedServer, tmp_path: Path
) -> None:
    async with hearing(nats_bus) as ear:
        async with agent(nats_server, tmp_path, ECHO):
            await ear.until("appeared", "foo")
            await ear.until("appeared", "bar")
        for _ in range(3):
            told = len(ear.events)
            async with agent(nats_server, tmp_path, ECHO):
                await until(lambda told=told: any(one.epoch for one in ear.alive() if one in ear.events[told:]))
        assert {one.change for one in ear.devices()[2:]} == {"changed"}
        assert all(one.snapshot for one in ear.devices()[2:])
        epochs = [one.epoch for one in ear.devices()]
        assert epochs == sorted(epochs)
        assert len(set(epochs)) == 4


async def test_what_left_while_the_agent_was_away_has_disappeared(
    nats_bus: NatsBus, nats_server: EmbeddedServer, tmp_path: Path
) -> None:
    file = tmp_path / "availability"
    handlers = {"debug-echo": {"availability_file": str(file)}}
    async with hearing(nats_bus) as ear:
        async with agent(nats_server, tmp_path, ECHO, handlers=handlers):
            await ear.until("appeared", "foo")
        file.write_text("OFFLINE")
        async with agent(nats_server, tmp_path, ECHO, handlers=handlers):
            await ear.until("disappeared", "foo")


async def test_configurations_from_the_bus_survive_a_restart(
    nats_bus: NatsBus, nats_server: EmbeddedServer, tmp_path: Path
) -> None:
    async with hearing(nats_bus) as ear:
        async with agent(nats_server, tmp_path):
            await configure(nats_bus, "words", ECHO)
            await ear.until("appeared", "foo")
        async with agent(nats_server, tmp_path) as found:
            await until(lambda: len(found.agent.tracker.registry.devices) == 2)
            await until(lambda: bool(found.publisher.complete))
        assert "disappeared" not in ear.changes()


async def test_a_user_of_the_agents_may_do_nothing_else(nats_bus: NatsBus, nats_server: EmbeddedServer) -> None:
    from ashore.bus import NotPermitted
    from tests.bus_kit import publish, redirected

    bus = await join(nats_server, "discovery")
    try:
        with pytest.raises(NotPermitted):
            await publish(bus, redirected())
    finally:
        await bus.close()
