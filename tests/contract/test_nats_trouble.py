"""The bus when its server is away, comes late, dies and comes back."""

import asyncio
import os
import signal
import subprocess
import sys

import pytest

from ashore.bus import Bus, BusUnavailable
from ashore.bus.nats import connect
from ashore.bus.server import EmbeddedServer
from tests.bus_kit import Seen, consuming, echo, join, joined, never, publish, redirected, take, until
from tests.conftest import ServerFactory


async def test_without_a_server_a_bus_is_made_and_its_calls_fail_soon() -> None:
    bus = await connect("nats://127.0.0.1:1", name="owner")
    calls = (
        publish(bus, redirected()),
        bus.get("rendezvous-blob.a"),
        bus.keys(">"),
        bus.check(),
        bus.declare(),
        bus.request("replica.owner.a", b"", timeout=60),
    )
    async with asyncio.timeout(10):
        results = await asyncio.gather(*calls, return_exceptions=True)
    assert {type(result) for result in results} == {BusUnavailable}
    assert "127.0.0.1:1" in str(results[0])
    await bus.close()


async def test_what_waits_for_a_server_begins_when_it_starts(make_nats_server: ServerFactory) -> None:
    server = make_nats_server()
    server.start()
    server.stop()
    seen = Seen()
    bus = await join(server, "admin")
    async with await bus.serve("replica.owner.a", echo), consuming(bus, seen):
        server.start()
        await _declared(bus)
        await publish(bus, redirected())
        await until(lambda: len(seen.subjects) == 1)
        assert await bus.request("replica.owner.a", b"abc", timeout=5) == b"cba"
    await bus.close()


async def _declared(bus: Bus) -> None:
    async with asyncio.timeout(20):
        while True:
            try:
                return await bus.declare()
            except BusUnavailable:
                await asyncio.sleep(0.1)


async def test_a_bus_can_be_closed_while_it_looks_for_its_server(make_nats_server: ServerFactory) -> None:
    server = make_nats_server()
    server.start()
    for delay in (0, 0.001, 0.01, 0.1):
        bus = await join(server, "admin")
        _kill(server)
        await asyncio.sleep(delay)
        async with asyncio.timeout(10):
            await bus.close()
        server._relaunch()


async def test_a_request_that_the_server_takes_to_its_grave_fails_at_once(make_nats_server: ServerFactory) -> None:
    server = make_nats_server()
    server.start()
    async with joined(server, "admin", "admin") as [bus, other], await other.serve("replica.owner.a", never):
        asking = asyncio.create_task(bus.request("replica.owner.a", b"", timeout=60))
        await asyncio.sleep(0.2)
        _kill(server)
        await until(asking.done)
        with pytest.raises(BusUnavailable, match="ended"):
            await asking


async def test_nothing_acknowledged_is_lost_when_the_server_is_killed(make_nats_server: ServerFactory) -> None:
    server = make_nats_server()
    server.start()
    seen, writer = Seen(), _Writer()
    followed: list[int] = []
    async with joined(server, "admin", "admin") as [bus, other]:
        await bus.declare()
        following = asyncio.create_task(_follow(other, followed))
        async with consuming(other, seen):
            writing = [asyncio.create_task(writer.run(bus, lane)) for lane in range(8)]
            for _ in range(2):
                await asyncio.sleep(0.5)
                _kill(server)
                await asyncio.sleep(0.3)
                await asyncio.to_thread(server._relaunch)
                await writer.goes_on()
            writer.enough = True
            await asyncio.gather(*writing)
            await until(lambda: len(set(seen.subjects)) == len(followed) == len(writer.acknowledged))
        following.cancel()
        found = await take(other.follow([">"], replay=True), len(writer.acknowledged))
    stored = [subject for _, subject in found]
    assert sorted(stored) == sorted(writer.acknowledged), "each exactly once, however often it was repeated"
    assert followed == [sequence for sequence, _ in found], "in order, none twice, none left out"


class _Writer:
    """Publishes until it is enough, and notes what was acknowledged."""

    def __init__(self) -> None:
        self.acknowledged: list[str] = []
        self.enough = False

    async def goes_on(self) -> None:
        goal = len(self.acknowledged) + 100
        await until(lambda: len(self.acknowledged) >= goal)

    async def run(self, bus: Bus, lane: int) -> None:
        number = lane * 1_000_000
        while not self.enough:
            try:
                await publish(bus, redirected(number))
            except BusUnavailable:
                continue
            self.acknowledged.append(redirected(number).subject)
            number += 1


async def _follow(bus: Bus, found: list[int]) -> None:
    async for sequence, _ in bus.follow([">"], replay=True):
        found.append(sequence)


def _kill(server: EmbeddedServer) -> None:
    os.kill(server.pid, signal.SIGKILL)
    assert server._process is not None
    server._process.wait()


def test_a_process_ends_although_nobody_closed_its_bus(make_nats_server: ServerFactory) -> None:
    server = make_nats_server()
    server.start()
    script = f"""
import asyncio
from ashore.bus.nats import connect

async def main():
    for url in ("nats://127.0.0.1:1", "{server.url}"):
        await connect(url, name="stranger")

asyncio.run(main())
"""
    done = subprocess.run([sys.executable, "-c", script], timeout=20, check=True, capture_output=True, text=True)
    assert done.stderr == ""
