"""The bus when its server is away, comes late, dies and comes back."""

import asyncio
import os
import signal
import time
from pathlib import Path

import pytest

from ashore import events
from ashore.bus import Bus, BusUnavailable
from ashore.bus.nats import connect
from ashore.bus.server import EmbeddedServer
from tests.bus_kit import Seen, consuming, echo, join, joined, never, publish, redirected, take, until
from tests.conftest import ServerFactory


async def test_without_a_server_a_bus_is_made_and_its_calls_fail_soon(tmp_path: Path) -> None:
    started = time.monotonic()
    bus = await connect("nats://127.0.0.1:1", name="owner")
    for attempt in (
        publish(bus, redirected()),
        bus.get("rendezvous-blob.a"),
        bus.check(),
        bus.declare(),
        bus.request("a.b", b"", timeout=30),
    ):
        with pytest.raises(BusUnavailable, match=r"127\.0\.0\.1:1"):
            await attempt
    assert time.monotonic() - started < 30
    await bus.close()


async def test_a_bus_finds_the_server_that_starts_after_it(make_nats_server: ServerFactory) -> None:
    server = make_nats_server()
    server.start()
    server.stop()
    bus = await join(server, "admin")
    served = await bus.serve("replica.owner.a", _echo)
    seen: list[str] = []

    async def handler(envelope: events.Envelope) -> None:
        seen.append(envelope.subject)

    consuming = asyncio.create_task(bus.consume("owner", ["device-redirected"], handler))
    server.start()
    await _declared(bus)
    await publish(bus, redirected())
    async with asyncio.timeout(15):
        while not seen:
            await asyncio.sleep(0.05)
    assert await bus.request("replica.owner.a", b"x", timeout=5) == b"x"
    consuming.cancel()
    await asyncio.gather(consuming, return_exceptions=True)
    await served.close()
    await bus.close()


async def _echo(body: bytes) -> bytes:
    return body


async def _declared(bus: Bus) -> None:
    async with asyncio.timeout(15):
        while True:
            try:
                return await bus.declare()
            except BusUnavailable:
                await asyncio.sleep(0.1)


async def test_nothing_acknowledged_is_lost_when_the_server_is_killed(make_nats_server: ServerFactory) -> None:
    server = make_nats_server()
    server.start()
    acknowledged: list[str] = []
    consumed: set[str] = set()
    stop = asyncio.Event()

    async def handler(envelope: events.Envelope) -> None:
        consumed.add(envelope.subject)

    async def publishing(bus: Bus, first: int) -> None:
        number = first
        while not stop.is_set():
            try:
                await publish(bus, redirected(number))
            except BusUnavailable:
                continue
            acknowledged.append(redirected(number).subject)
            number += 1

    async def following(bus: Bus, found: list[int]) -> None:
        async for sequence, _ in bus.follow([">"], replay=True):
            found.append(sequence)

    async with joined(server, "admin", "admin") as [bus, other]:
        await bus.declare()
        followed: list[int] = []
        readers = [
            asyncio.create_task(other.consume("owner", ["device-redirected"], handler)),
            asyncio.create_task(following(other, followed)),
        ]
        writers = [asyncio.create_task(publishing(bus, n * 1_000_000)) for n in range(8)]
        for _ in range(2):
            await asyncio.sleep(0.5)
            before = len(acknowledged)
            os.kill(server.pid, signal.SIGKILL)
            server._process.wait()
            await asyncio.sleep(0.3)
            server._relaunch()
            async with asyncio.timeout(20):
                while len(acknowledged) < before + 100:
                    await asyncio.sleep(0.05)
        stop.set()
        await asyncio.gather(*writers)
        subjects = await stored(bus, len(acknowledged))
        assert sorted(subjects) == sorted(acknowledged), "each exactly once, whatever was repeated"
        async with asyncio.timeout(30):
            while len(consumed) < len(acknowledged) or len(followed) < len(acknowledged):
                await asyncio.sleep(0.05)
        assert followed == sorted(set(followed)), "in order and without repetition"
        for reader in readers:
            reader.cancel()
        await asyncio.gather(*readers, return_exceptions=True)


async def test_a_request_that_the_server_takes_to_its_grave_fails_at_once(make_nats_server: ServerFactory) -> None:
    server = make_nats_server()
    server.start()

    async def never(_: bytes) -> bytes:
        await asyncio.Event().wait()
        return b""

    async with joined(server, "admin", "admin") as [bus, other], await other.serve("replica.owner.a", never):
        asking = asyncio.create_task(bus.request("replica.owner.a", b"", timeout=60))
        await asyncio.sleep(0.2)
        os.kill(server.pid, signal.SIGKILL)
        async with asyncio.timeout(5):
            with pytest.raises(BusUnavailable, match="ended"):
                await asking
