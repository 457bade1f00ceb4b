"""Dead letters that are tried again: by the subscriber that failed, and by nobody else."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from ashore import events
from ashore.bus import Bus, BusRefused, Letter, LetterGone, NotPermitted, RetryFailed
from ashore.bus.nats import NatsBus, jetstream
from ashore.bus.permissions import USERS
from ashore.bus.server import EmbeddedServer
from tests.bus_kit import QUICK, Seen, Setup, ask, consuming, joined, publish, redirected, until


async def letters(bus: Bus) -> list[Letter]:
    return [one async for one in bus.letters()]


async def parked(bus: Bus, count: int) -> list[Letter]:
    """Wait until so many dead letters are there."""
    async with asyncio.timeout(20):
        while len(found := await letters(bus)) < count:  # noqa: ASYNC110 - it happens at the server
            await asyncio.sleep(0.02)
    return found


def sick(*numbers: int, times: int = QUICK.max_deliver) -> Seen:
    """A handler that fails at these events as long as the bus tries, and works from then on."""
    return Seen(failures=dict.fromkeys(numbers, times))


async def test_dead_letters_are_listed_with_who_why_and_how_often(bus: Bus) -> None:
    assert await letters(bus) == []
    for number in (1, 2, 3):
        await publish(bus, redirected(number))
    async with consuming(bus, sick(1, 3)):
        found = await parked(bus, 2)
    assert [one.number for one in found] == [1, 2]
    assert {one.letter.durable for one in found} == {"owner"}
    assert {one.letter.reason for one in found} == {"RuntimeError: the disk is on fire"}
    assert {one.letter.attempts for one in found} == {QUICK.max_deliver}
    assert {one.letter.envelope.subject for one in found if one.letter.envelope} == {
        redirected(1).subject,
        redirected(3).subject,
    }
    assert [one.number async for one in bus.letters(2)] == [2]


async def test_a_retry_reaches_the_one_who_failed_and_nobody_else(bus_setup: Setup) -> None:
    bus = bus_setup.bus
    await publish(bus, redirected(1))
    failing, other = sick(1), Seen()
    async with consuming(bus, failing), consuming(bus, other, durable="manufacturer"):
        [letter] = await parked(bus, 1)
        await until(lambda: len(other.attempts) == 1)
        await bus_setup.other.retry(letter)
        assert failing.subjects == [redirected(1).subject]
        assert await letters(bus) == []
        await asyncio.sleep(0.1)
    assert (len(failing.attempts), len(other.attempts)) == (QUICK.max_deliver + 1, 1)


async def test_a_retry_that_fails_says_why_and_leaves_the_letter(bus: Bus) -> None:
    await publish(bus, redirected(1))
    failing = sick(1, times=QUICK.max_deliver + 1)
    async with consuming(bus, failing):
        [letter] = await parked(bus, 1)
        with pytest.raises(RetryFailed, match="the disk is on fire"):
            await bus.retry(letter)
        assert await letters(bus) == [letter]
        await bus.retry(letter)
        assert await letters(bus) == []


async def test_a_retry_that_nobody_listens_for_says_so(bus: Bus) -> None:
    await publish(bus, redirected(1))
    async with consuming(bus, sick(1)):
        [letter] = await parked(bus, 1)
    await asyncio.sleep(0.1)
    with pytest.raises(RetryFailed, match="start that service"):
        await bus.retry(letter)
    assert await letters(bus) == [letter]


async def test_of_several_replicas_one_tries_again(bus_setup: Setup) -> None:
    await publish(bus_setup.bus, redirected(1))
    shared = sick(1)
    async with consuming(bus_setup.bus, shared), consuming(bus_setup.other, shared):
        [letter] = await parked(bus_setup.bus, 1)
        await bus_setup.bus.retry(letter)
        await asyncio.sleep(0.1)
    assert len(shared.attempts) == QUICK.max_deliver + 1


async def test_what_was_no_event_cannot_be_tried_again(bus: Bus) -> None:
    await bus.publish(redirected(1).subject, b"nonsense", id="1")
    async with consuming(bus, Seen()):
        [letter] = await parked(bus, 1)
        with pytest.raises(RetryFailed, match="no whole event"):
            await bus.retry(letter)


async def test_a_dropped_letter_is_gone_and_the_others_stay(bus: Bus) -> None:
    for number in (1, 2, 3):
        await publish(bus, redirected(number))
    failing = sick(1, 2, 3)
    async with consuming(bus, failing):
        first, second, third = await parked(bus, 3)
        await bus.drop(second.number)
        assert await letters(bus) == [first, third]
        with pytest.raises(LetterGone):
            await bus.drop(second.number)
        with pytest.raises(LetterGone):
            await bus.drop(99)
        with pytest.raises(LetterGone, match="somebody else was faster"):
            await bus.retry(second)
    assert len(failing.attempts) == 3 * QUICK.max_deliver, "and the handler has not seen it again"


@asynccontextmanager
async def one_letter(server: EmbeddedServer) -> AsyncIterator[tuple[NatsBus, NatsBus, Letter, Seen]]:
    """The owner's bus and the command line's, a letter of the owner, and its handler, which works by now."""
    async with joined(server, "owner", "rendezvous", "cli") as [owner, rendezvous, cli]:
        await publish(rendezvous, redirected(1))
        failing = sick(1)
        async with consuming(owner, failing):
            [letter] = await parked(cli, 1)
            yield owner, cli, letter, failing


async def test_with_its_rights_the_command_line_lists_retries_and_drops(
    nats_bus: NatsBus, nats_server: EmbeddedServer
) -> None:
    async with one_letter(nats_server) as (_, cli, letter, failing):
        await cli.retry(letter)
        assert failing.subjects == [redirected(1).subject]
        assert await letters(cli) == []
        await nats_bus.publish(letter.letter.subject, events.encode(wrapped(letter)), id="again")
        [again] = await letters(cli)
        await cli.drop(again.number)
        assert await letters(cli) == []


def wrapped(letter: Letter) -> events.Envelope:
    return events.envelope(letter.letter, source="/owner", id="again", time=letter.parked_at)


async def test_an_order_to_retry_carries_no_event_of_its_own(nats_bus: NatsBus, nats_server: EmbeddedServer) -> None:
    async with one_letter(nats_server) as (_, cli, letter, failing):
        assert letter.letter.envelope is not None
        forged = events.envelope(redirected(666), source="/x", id="x", time=letter.parked_at)
        body = b'{"number": 7, "envelope": ' + events.encode(forged) + b"}"
        assert await cli.request("retry.owner.device-redirected", body, timeout=5) == b'{"reason":"","gone":true}'
        assert redirected(666).subject not in failing.attempts


@pytest.mark.parametrize("user", [user.name for user in USERS if not user.admin and not user.amends])
async def test_nobody_else_orders_a_retry_or_deletes_a_letter(
    nats_bus: NatsBus, nats_server: EmbeddedServer, user: str
) -> None:
    async with one_letter(nats_server) as (_, cli, letter, _), joined(nats_server, user) as [bus]:
        with pytest.raises(NotPermitted):
            await bus.retry(letter)
        with pytest.raises(NotPermitted):
            await ask(bus, "STREAM.MSG.DELETE.DEAD_LETTERS", {"seq": letter.number})
        assert await letters(cli) == [letter]


async def test_the_command_line_deletes_nothing_else(nats_bus: NatsBus, nats_server: EmbeddedServer) -> None:
    async with joined(nats_server, "cli") as [cli]:
        for stream in ("FACTS", "RENDEZVOUS", "PRESENCE"):
            with pytest.raises(NotPermitted):
                await ask(cli, f"STREAM.MSG.DELETE.{stream}", {"seq": 1})


async def test_a_service_reads_its_own_letters_and_no_others(nats_bus: NatsBus, nats_server: EmbeddedServer) -> None:
    async with joined(nats_server, "owner") as [owner]:
        connection = await owner._link.connection(5)
        for subjects in ("dead-letter.manufacturer.voucher-issued", "dead-letter.>"):
            with pytest.raises(NotPermitted):
                await make(connection, f"x.{subjects}", {"name": "x", "filter_subject": subjects})
        with pytest.raises(BusRefused):
            # The name of its own letters in the request, the filter of others within.
            await make(connection, "x.dead-letter.owner.a", {"name": "x", "filter_subject": "dead-letter.>"})


async def make(connection: object, place: str, config: dict[str, object]) -> None:
    request = {"stream_name": "DEAD_LETTERS", "config": {"ack_policy": "none", **config}}
    await jetstream.call(connection, f"CONSUMER.CREATE.DEAD_LETTERS.{place}", request)  # type: ignore[arg-type]
