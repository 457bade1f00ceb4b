"""Each user of the bus can do its own work there, and the server really refuses it everything else."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest

from ashore import events
from ashore.bus import BusUnavailable, NotPermitted
from ashore.bus.nats import NatsBus, connect, pull
from ashore.bus.permissions import USERS
from ashore.bus.server import EmbeddedServer
from tests.bus_kit import BLOB, Seen, ask, consuming, echo, joined, publish, redirected, take, until
from tests.conftest import ServerFactory


@pytest.fixture
def declared(nats_bus: NatsBus, nats_server: EmbeddedServer) -> EmbeddedServer:
    return nats_server


async def test_each_service_publishes_its_own_facts(declared: EmbeddedServer) -> None:
    async with joined(declared, "rendezvous") as [rendezvous]:
        assert await publish(rendezvous, redirected()) == 1


@pytest.mark.parametrize("user", ["manufacturer", "owner", "cli"])
async def test_no_service_publishes_the_facts_of_another(declared: EmbeddedServer, user: str) -> None:
    async with joined(declared, user) as [bus]:
        with pytest.raises(NotPermitted, match="administrator"):
            await publish(bus, redirected())


async def test_the_rendezvous_keeps_its_values(declared: EmbeddedServer) -> None:
    async with joined(declared, "rendezvous") as [rendezvous]:
        await rendezvous.put(BLOB, b"blob", ttl=60)
        assert await rendezvous.get(BLOB) == b"blob"
        assert await rendezvous.keys("rendezvous-blob.>") == [BLOB]
        await rendezvous.delete(BLOB)
        assert await rendezvous.get(BLOB) is None


async def test_nobody_else_touches_the_values_of_the_rendezvous(declared: EmbeddedServer) -> None:
    async with joined(declared, "rendezvous", "owner") as [rendezvous, owner]:
        await rendezvous.put(BLOB, b"blob", ttl=60)
        for attempt in (owner.get(BLOB), owner.put(BLOB, b"forged", ttl=60), owner.delete(BLOB)):
            with pytest.raises(NotPermitted):
                await attempt
        assert await rendezvous.get(BLOB) == b"blob"


async def test_a_service_consumes_the_events_that_are_for_it(declared: EmbeddedServer) -> None:
    seen = Seen(failures={1: 2})
    async with joined(declared, "owner", "rendezvous") as [owner, rendezvous]:
        await publish(rendezvous, redirected(1))
        async with consuming(owner, seen):
            await until(lambda: len(seen.subjects) == 1)
            # Only an acknowledgement that was permitted ends it.
            await asyncio.sleep(0.2)
            assert len(seen.attempts) == 3


async def test_a_service_parks_what_it_cannot_handle(declared: EmbeddedServer) -> None:
    async with joined(declared, "owner", "rendezvous", "cli") as [owner, rendezvous, cli]:
        await publish(rendezvous, redirected(1))
        async with consuming(owner, Seen(failures={1: 99})):
            letters = await take(cli.follow(["dead-letter.>"], replay=True), 1)
    assert letters == [(1, "dead-letter.owner.device-redirected")]


@pytest.mark.parametrize(
    ("consumer", "subjects"),
    [
        ("owner-onboarding-failed", "onboarding-failed.>"),
        ("manufacturer-voucher-extended", "voucher-extended.>"),
        ("owner-voucher-extended", "onboarding-failed.>"),
        ("owner-voucher-extended", None),
    ],
    ids=["for another event", "of another service", "its own, another filter", "its own, no filter"],
)
async def test_no_service_consumes_what_is_not_for_it(
    declared: EmbeddedServer, consumer: str, subjects: str | None
) -> None:
    settings = {"durable_name": consumer, **({"filter_subject": subjects} if subjects else {})}
    async with joined(declared, "owner") as [owner]:
        with pytest.raises(NotPermitted):
            await pull.make(await owner._link.connection(5), "FACTS", consumer, settings)


async def test_the_command_line_reads_every_event(declared: EmbeddedServer) -> None:
    async with joined(declared, "rendezvous", "cli") as [rendezvous, cli]:
        await publish(rendezvous, redirected(1))
        assert await take(cli.follow([">"], replay=True), 1) == [(1, redirected(1).subject)]


async def test_the_command_line_neither_changes_nor_empties_the_consumer_of_a_service(
    declared: EmbeddedServer,
) -> None:
    seen = Seen()
    async with joined(declared, "owner", "rendezvous", "cli") as [owner, rendezvous, cli]:
        async with consuming(owner, seen):
            await publish(rendezvous, redirected(1))
            await until(lambda: len(seen.subjects) == 1)
        connection = await cli._link.connection(5)
        for settings in ({}, {"filter_subject": "device-redirected.>"}, {"filter_subjects": ["a.>", "b.>"]}):
            with pytest.raises(NotPermitted):
                await pull.make(connection, "FACTS", "owner-device-redirected", settings)
        with pytest.raises(NotPermitted):
            await ask(cli, "CONSUMER.MSG.NEXT.FACTS.owner-device-redirected", {"batch": 1})
        await publish(rendezvous, redirected(2))
        async with consuming(owner, seen):
            await until(lambda: len(seen.subjects) == 2)


async def test_replicas_ask_one_another_and_no_other_service(declared: EmbeddedServer) -> None:
    async with (
        joined(declared, "owner", "owner", "rendezvous") as [owner, replica, rendezvous],
        await owner.serve("replica.owner.a", echo),
    ):
        assert await replica.request("replica.owner.a", b"mine", timeout=5) == b"enim"
        with pytest.raises(NotPermitted):
            await rendezvous.request("replica.owner.a", b"yours", timeout=5)


@pytest.mark.parametrize("subject", [">", "_INBOX_owner.>", "replica.owner.*", "voucher-issued.>"])
async def test_nobody_overhears_another(declared: EmbeddedServer, subject: str) -> None:
    async with joined(declared, "owner", "owner", "rendezvous") as [owner, replica, rendezvous]:
        connection = await rendezvous._link.connection(5)
        async with connection.listen(subject) as heard, await owner.serve("replica.owner.a", echo):
            await connection.ping()
            await replica.request("replica.owner.a", b"mine", timeout=5)
            await connection.ping()
            assert heard.empty()


@pytest.mark.parametrize("operation", ["CREATE", "UPDATE", "DELETE", "PURGE"])
async def test_only_the_admin_changes_streams(declared: EmbeddedServer, operation: str) -> None:
    async with joined(declared, "rendezvous") as [rendezvous]:
        with pytest.raises(NotPermitted):
            await ask(rendezvous, f"STREAM.{operation}.FACTS")


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
        await until(waiting.done)
        await owner.check()


async def test_a_stranger_is_kept_out(declared: EmbeddedServer) -> None:
    forged = declared.seed_file("owner").read_text()[:-8] + "AAAAAAAA"
    for seed in (None, forged):
        bus = await connect(declared.url, name="stranger", seed=seed)
        with pytest.raises(BusUnavailable):
            await bus.check()
        await bus.close()


async def test_a_user_with_a_key_of_its_own_making_is_kept_out(
    declared: EmbeddedServer, make_nats_server: ServerFactory
) -> None:
    elsewhere = make_nats_server()
    elsewhere.start()
    bus = await connect(declared.url, name="owner", seed_file=str(elsewhere.seed_file("owner")))
    with pytest.raises(BusUnavailable, match="Authorization Violation"):
        await bus.check()
    await bus.close()


def test_every_fact_is_published_by_somebody() -> None:
    published = (*events.FACT_EVENTS, *events.PRESENCE_EVENTS)
    assert {name for user in USERS for name in user.publishes} == {event.name for event in published}


async def test_a_device_plugin_reads_instances_asks_for_slots_and_says_nothing_else(declared: EmbeddedServer) -> None:
    gone = events.InstanceRemoved(
        site="s", namespace="default", configuration="c", instance="c-1", uid="1", cause="deleted"
    )
    async with joined(declared, "broker-launcher", "device-plugin") as [launcher, plugin]:
        await publish(launcher, gone)
        assert [step async for step in _first(plugin, "instance-removed.>")] == [gone.subject]
        async with await launcher.serve("broker-launcher.slots.claim.s", echo):
            assert await plugin.request("broker-launcher.slots.claim.s", b"mine", timeout=5) == b"enim"
        with pytest.raises(NotPermitted):
            await publish(plugin, gone, identity="forged")
        with pytest.raises(NotPermitted):
            await plugin.request("broker-launcher.jobs.rerun", b"", timeout=5)


async def _first(bus: NatsBus, subject: str) -> AsyncIterator[str]:
    async with aclosing(bus.state([subject])) as steps:
        async for step in steps:
            if step is None:
                return
            yield step[1].subject
