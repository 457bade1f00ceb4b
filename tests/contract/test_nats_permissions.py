"""Each user of the bus can do its own work there, and the server really refuses it everything else."""

import asyncio

import pytest

from ashore import events
from ashore.bus import BusUnavailable, NotPermitted
from ashore.bus.nats import NatsBus, connect
from ashore.bus.server import EmbeddedServer
from tests.bus_kit import BLOB, Seen, ask, consuming, echo, joined, publish, redirected, take, until
from tests.conftest import ServerFactory


@pytest.fixture
async def declared(nats_bus: NatsBus, nats_server: EmbeddedServer) -> EmbeddedServer:
    await nats_bus.declare()
    return nats_server


async def test_each_service_publishes_its_own_facts(declared: EmbeddedServer) -> None:
    async with joined(declared, "rendezvous") as [rendezvous]:
        assert await publish(rendezvous, redirected()) == 1


async def test_a_service_cannot_publish_the_facts_of_another(declared: EmbeddedServer) -> None:
    async with joined(declared, "manufacturer", "owner", "cli") as buses:
        for bus in buses:
            with pytest.raises(NotPermitted, match="administrator"):
                await publish(bus, redirected())


async def test_only_the_rendezvous_touches_its_values(declared: EmbeddedServer) -> None:
    blob = f"rendezvous-blob.{GUID}"
    async with joined(declared, "rendezvous", "owner") as [rendezvous, owner]:
        await rendezvous.put(blob, b"blob", ttl=60)
        assert await rendezvous.get(blob) == b"blob"
        assert await rendezvous.keys("rendezvous-blob.>") == [blob]
        for attempt in (owner.get(blob), owner.put(blob, b"forged", ttl=60), owner.delete(blob)):
            with pytest.raises(NotPermitted):
                await attempt
        assert await rendezvous.get(blob) == b"blob"
        await rendezvous.delete(blob)


async def test_a_service_consumes_its_own_names_with_its_own_durable(declared: EmbeddedServer) -> None:
    seen: list[str] = []

    async def handler(envelope: events.Envelope) -> None:
        seen.append(envelope.subject)
        if len(seen) < 3:
            raise RuntimeError("twice")

    async with joined(declared, "owner", "rendezvous") as [owner, rendezvous]:
        await publish(rendezvous, redirected())
        task = asyncio.create_task(owner.consume("owner", ["device-redirected"], handler))
        async with asyncio.timeout(10):
            while len(seen) < 3:
                await asyncio.sleep(0.02)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_service_parks_what_it_cannot_handle(declared: EmbeddedServer) -> None:
    async def handler(_: events.Envelope) -> None:
        raise RuntimeError("never")

    async with joined(declared, "owner", "rendezvous", "cli") as [owner, rendezvous, cli]:
        await publish(rendezvous, redirected())
        task = asyncio.create_task(owner.consume("owner", ["device-redirected"], handler))
        async with asyncio.timeout(10):
            _, letter = await anext(cli.follow(["dead-letter.>"], replay=True))
        assert letter.subject == "dead-letter.owner.device-redirected"
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_service_cannot_consume_what_is_not_for_it(declared: EmbeddedServer) -> None:
    async with joined(declared, "rendezvous", "owner") as [rendezvous, owner]:
        for bus, durable, name in (
            (rendezvous, "rendezvous", "voucher-extended"),
            (rendezvous, "owner", "voucher-extended"),
        ):
            connection = await bus._link.connection()
            with pytest.raises(NotPermitted):
                await _make_consumer(connection, f"{durable}-{name}", f"{name}.>")
        # The right to one's own consumer is for its own filter only.
        connection = await owner._link.connection()
        with pytest.raises(NotPermitted):
            await _make_consumer(connection, "owner-voucher-extended", "onboarding-failed.>")


async def _make_consumer(connection: object, name: str, subject_filter: str) -> None:
    from ashore.bus.nats import pull

    await pull.make(connection, "FACTS", name, {"durable_name": name, "filter_subject": subject_filter})


async def test_nobody_listens_to_the_answers_or_requests_of_another(declared: EmbeddedServer) -> None:
    async def echo(body: bytes) -> bytes:
        return body

    async with joined(declared, "owner", "owner", "rendezvous") as [owner, replica, rendezvous]:
        async with await owner.serve("replica.owner.a", echo):
            assert await replica.request("replica.owner.a", b"mine", timeout=5) == b"mine"
            with pytest.raises(NotPermitted):
                await rendezvous.request("replica.owner.a", b"yours", timeout=5)
        heard = []
        connection = await rendezvous._link.connection()
        for subject in (">", "_INBOX_owner.>", "replica.owner.*"):
            async with connection.listen(subject) as queue:
                await connection.ping()
                await publish(rendezvous, redirected())
                async with await owner.serve("replica.owner.a", echo):
                    await replica.request("replica.owner.a", b"mine", timeout=5)
                await connection.ping()
                heard += [queue.get_nowait() for _ in range(queue.qsize())]
        assert heard == []


async def test_only_the_admin_changes_streams(declared: EmbeddedServer) -> None:
    async with joined(declared, "rendezvous") as [rendezvous]:
        connection = await rendezvous._link.connection()
        for operation in ("CREATE", "UPDATE", "DELETE", "PURGE"):
            with pytest.raises(NotPermitted):
                await connection.request(f"$JS.API.STREAM.{operation}.FACTS", b"{}", seconds=5)


async def test_a_service_waits_until_the_admin_has_declared_the_streams(make_nats_server: ServerFactory) -> None:
    server = make_nats_server()
    server.start()
    async with joined(server, "owner", "admin") as [owner, admin]:
        with pytest.raises(BusUnavailable, match="FACTS"):
            await owner.check()
        waiting = asyncio.create_task(owner.declare())
        await asyncio.sleep(0.2)
        assert not waiting.done()
        await admin.declare()
        async with asyncio.timeout(10):
            await waiting
        await owner.check()


async def test_a_stranger_is_kept_out(declared: EmbeddedServer) -> None:
    for seed in (None, declared.seed_file("owner").read_text()[:-8] + "AAAAAAAA"):
        bus = await connect(declared.url, name="stranger", seed=seed)
        with pytest.raises(BusUnavailable):
            await bus.check()
        await bus.close()
