"""The streams as `ashore.events` declares them, on a real server."""

import asyncio

import pytest

from ashore import events
from ashore.bus import ServerTooOld, StoreFull
from ashore.bus.nats import NatsBus, connect
from ashore.bus.server import EmbeddedServer
from tests.bus_kit import ask, joined, stream_part


@pytest.fixture
def declared(nats_bus: NatsBus, nats_server: EmbeddedServer) -> EmbeddedServer:
    return nats_server


async def test_what_operators_have_tuned_is_left_as_it_is(declared: EmbeddedServer) -> None:
    async with joined(declared, "admin") as [admin]:
        await _update(admin, "FACTS", {"max_age": 3600 * 10**9})
        await admin.declare()
        assert (await stream_part(admin, "FACTS", "config"))["max_age"] == 3600 * 10**9


async def test_what_the_contract_needs_is_put_right(declared: EmbeddedServer) -> None:
    async with joined(declared, "admin") as [admin]:
        await _update(admin, "FACTS", {"subjects": ["voucher-issued.>", "of-a-later-release.>"]})
        await _update(admin, "PRESENCE", {"max_msgs_per_subject": 1})
        await admin.declare()
        assert set((await stream_part(admin, "FACTS", "config"))["subjects"]) == {
            *events.FACTS.subjects,
            "of-a-later-release.>",
        }
        assert (await stream_part(admin, "PRESENCE", "config"))["max_msgs_per_subject"] == 5


async def test_a_full_store_refuses_new_values_and_keeps_the_old(declared: EmbeddedServer) -> None:
    async with joined(declared, "admin", "rendezvous") as [admin, rendezvous]:
        await _update(admin, "RENDEZVOUS", {"max_bytes": 64 * 1024})
        puts = [rendezvous.put(f"rendezvous-blob.{number}", b"x" * 4096, ttl=60) for number in range(20)]
        results = await asyncio.gather(*puts, return_exceptions=True)
        assert {type(result) for result in results} == {int, StoreFull}
        assert await rendezvous.get("rendezvous-blob.0") == b"x" * 4096


async def _update(bus: NatsBus, stream: str, changes: dict[str, object]) -> None:
    answer = await ask(bus, f"STREAM.UPDATE.{stream}", {**await stream_part(bus, stream, "config"), **changes})
    assert "error" not in answer


async def test_to_declare_what_is_declared_changes_nothing(declared: EmbeddedServer) -> None:
    async with joined(declared, "admin", "owner") as [admin, owner]:
        before = [await stream_part(admin, stream.name, "config") for stream in events.STREAMS]
        await admin.declare()
        async with asyncio.timeout(1):
            await owner.declare()
        assert [await stream_part(admin, stream.name, "config") for stream in events.STREAMS] == before


async def test_a_bus_refuses_to_declare_on_a_server_too_old() -> None:
    async def pretend(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b'INFO {"version":"2.9.10","headers":true,"max_payload":1048576}\r\n')
        while line := await reader.readline():
            if line.startswith(b"PING"):
                writer.write(b"PONG\r\n")
        writer.close()

    old = await asyncio.start_server(pretend, "127.0.0.1", 0)
    async with old:
        bus = await connect(f"nats://127.0.0.1:{old.sockets[0].getsockname()[1]}", name="owner")
        with pytest.raises(ServerTooOld, match=r"'2\.9\.10'.*needs 2\.12"):
            await bus.declare()
        await bus.close()
