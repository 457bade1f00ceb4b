"""Handlers outside the agent's process: registered, configured, heard, lost and found again, all over NATS."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec

from ashore.bus import NoResponder
from ashore.bus.nats import NatsBus
from ashore.bus.server import EmbeddedServer
from tests.bus_kit import until
from tests.contract.discovery.agents import agent, ask, hearing

LOOK_FOR = {"name": "tags", "handler": "rfid", "details": {"antenna": 3}}


class Elsewhere:
    """A handler in another process, as one writes it in any language."""

    def __init__(self, bus: NatsBus, name: str = "rfid", **fields: Any) -> None:
        self.bus = bus
        self.registration = {"name": name, "heartbeat_seconds": 0.2, **fields}
        self.configured: list[dict[str, Any]] = []
        self.problem = ""
        self._report = ""

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Elsewhere"]:
        async with await self.bus.serve(
            f"discovery-handler.s1.n1.{self.registration['name']}.configure", self._configure
        ):
            welcome = await self.register()
            assert welcome["accepted"], welcome
            beat = asyncio.create_task(self._beat())
            try:
                yield self
            finally:
                beat.cancel()

    async def register(self) -> dict[str, Any]:
        welcome = await self._ask("discovery-agent.s1.n1.register", self.registration)
        self._report = welcome["report"]
        return welcome

    async def report(self, *sightings: dict[str, Any], **fields: Any) -> dict[str, Any]:
        return await self._ask(self._report, {"sightings": list(sightings), **fields})

    async def _configure(self, body: bytes) -> bytes:
        self.configured = msgspec.json.decode(body)["configurations"]
        return msgspec.json.encode({"problem": self.problem})

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(0.1)
            try:
                await self.bus.request(self._report, b"{}", timeout=5)
            except NoResponder:
                await self.register()

    async def _ask(self, subject: str, question: object) -> dict[str, Any]:
        async with asyncio.timeout(10):
            while True:
                try:
                    body = await self.bus.request(subject, msgspec.json.encode(question), timeout=5)
                    return msgspec.json.decode(body, type=dict[str, Any])
                except NoResponder:
                    await asyncio.sleep(0.05)


async def test_a_handler_in_any_language_is_configured_and_heard(
    nats_bus: NatsBus, nats_server: EmbeddedServer, tmp_path: Path
) -> None:
    async with (
        hearing(nats_bus) as ear,
        agent(nats_server, tmp_path, LOOK_FOR),
        Elsewhere(nats_bus).running() as rfid,
    ):
        await until(lambda: rfid.configured == [{"antenna": 3}])
        assert await rfid.report({"id": "tag-1", "facts": {"epc": "e280"}}) == {"taken": 1, "problem": ""}
        event = await ear.until("appeared", "rfid:tag-1")
        assert event.matches[0].properties == {"EPC": "e280"}
        await rfid.report({"id": "tag-1", "kind": "gone"})
        await ear.until("disappeared", "rfid:tag-1")


async def test_what_a_complete_report_leaves_out_is_gone(
    nats_bus: NatsBus, nats_server: EmbeddedServer, tmp_path: Path
) -> None:
    async with (
        hearing(nats_bus) as ear,
        agent(nats_server, tmp_path, LOOK_FOR),
        Elsewhere(nats_bus, exhaustive=True).running() as rfid,
    ):
        await rfid.report({"id": "tag-1"}, {"id": "tag-2"}, complete=True)
        await ear.until("appeared", "tag-2")
        await rfid.report({"id": "tag-2"}, complete=True)
        await ear.until("disappeared", "tag-1")
    assert ear.changes("tag-2") == ["appeared"]


async def test_a_silent_handler_is_lost_and_its_devices_are_unknown(
    nats_bus: NatsBus, nats_server: EmbeddedServer, tmp_path: Path
) -> None:
    async with hearing(nats_bus) as ear, agent(nats_server, tmp_path, LOOK_FOR):
        async with Elsewhere(nats_bus).running() as rfid:
            await rfid.report({"id": "tag-1"})
            await ear.until("appeared", "tag-1")
        await ear.until("unknown", "tag-1")
        async with Elsewhere(nats_bus).running() as rfid:
            await rfid.report({"id": "tag-1"})
            await ear.until("changed", "tag-1")
    assert "disappeared" not in ear.changes("tag-1")


async def test_a_handler_goes_on_with_an_agent_that_was_restarted(
    nats_bus: NatsBus, nats_server: EmbeddedServer, tmp_path: Path
) -> None:
    async with hearing(nats_bus) as ear:
        async with agent(nats_server, tmp_path, LOOK_FOR):
            rfid = Elsewhere(nats_bus)
            running = rfid.running()
            await running.__aenter__()
            await rfid.report({"id": "tag-1"})
            await ear.until("appeared", "tag-1")
        async with agent(nats_server, tmp_path, LOOK_FOR) as found:
            await until(lambda: found.agent.listeners.of("rfid") is not None)
            await rfid.report({"id": "tag-1"}, {"id": "tag-2"})
            await ear.until("appeared", "tag-2")
            await running.__aexit__(None, None, None)
    assert ear.changes("tag-1").count("appeared") == 1
    assert "disappeared" not in ear.changes("tag-1")


async def test_what_a_handler_cannot_do_is_told(nats_bus: NatsBus, nats_server: EmbeddedServer, tmp_path: Path) -> None:
    async with agent(nats_server, tmp_path, LOOK_FOR):
        rfid = Elsewhere(nats_bus)
        rfid.problem = "there is no antenna 3"
        async with rfid.running():
            reasons: list[str] = []
            async with asyncio.timeout(10):
                while not any("there is no antenna 3" in reason for reason in reasons):
                    reasons = [one["reason"] for one in (await ask(nats_bus, "health"))["sources"]]
                    await asyncio.sleep(0.05)


async def test_nonsense_gets_an_answer_and_no_handler(
    nats_bus: NatsBus, nats_server: EmbeddedServer, tmp_path: Path
) -> None:
    async with agent(nats_server, tmp_path):
        for wrong in ({"name": "A B"}, {"name": "x", "colour": "red"}, {"name": "udev"}, []):
            rfid = Elsewhere(nats_bus)
            rfid.registration = wrong  # type: ignore[assignment]
            welcome = await rfid.register()
            assert not welcome["accepted"]
            assert welcome["reason"]
        async with Elsewhere(nats_bus).running() as rfid:
            receipt = await rfid.report({"id": "x", "facts": {"a": {"b": "c"}}})
            assert receipt["problem"]
