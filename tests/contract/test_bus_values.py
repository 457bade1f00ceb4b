"""What every bus does with values that expire, and with requests between replicas."""

import asyncio

import pytest

from ashore.bus import MAX_REQUEST_BYTES, Bus, BusRefused, BusUnavailable, Conflict, NoResponder, RequestFailed
from tests.bus_kit import BLOB, Setup, echo, never


async def test_a_value_that_was_put_can_be_read_by_others(bus_setup: Setup) -> None:
    assert await bus_setup.bus.get(BLOB) is None
    await bus_setup.bus.put(BLOB, b"one", ttl=60)
    assert await bus_setup.other.get(BLOB) == b"one"
    await bus_setup.bus.put(BLOB, b"two", ttl=60)
    assert await bus_setup.other.get(BLOB) == b"two"


async def test_an_empty_value_is_a_value(bus: Bus) -> None:
    await bus.put(BLOB, b"", ttl=60)
    assert await bus.get(BLOB) == b""


async def test_a_value_expires(bus_setup: Setup) -> None:
    await bus_setup.bus.put(BLOB, b"brief", ttl=1)
    await bus_setup.bus.put(BLOB + "0", b"for ever", ttl=None)
    await bus_setup.elapse(1)
    assert await bus_setup.bus.get(BLOB) is None
    assert await bus_setup.bus.keys("rendezvous-blob.>") == [BLOB + "0"]


async def test_to_put_again_begins_a_new_life(bus_setup: Setup) -> None:
    await bus_setup.bus.put(BLOB, b"one", ttl=1)
    await bus_setup.bus.put(BLOB, b"two", ttl=60)
    await bus_setup.elapse(1)
    assert await bus_setup.bus.get(BLOB) == b"two"


async def test_only_the_expected_revision_is_replaced(bus: Bus) -> None:
    revision = await bus.put(BLOB, b"one", ttl=60, expected=0)
    with pytest.raises(Conflict):
        await bus.put(BLOB, b"other", ttl=60, expected=0)
    await bus.put(BLOB, b"two", ttl=60, expected=revision)
    with pytest.raises(Conflict):
        await bus.put(BLOB, b"late", ttl=60, expected=revision)
    assert await bus.get(BLOB) == b"two"


async def test_of_many_who_put_over_the_same_revision_one_wins(bus_setup: Setup) -> None:
    both = [bus_setup.bus, bus_setup.other] * 10
    tries = (bus.put(BLOB, bytes([index]), ttl=60, expected=0) for index, bus in enumerate(both))
    results = await asyncio.gather(*tries, return_exceptions=True)
    assert sum(isinstance(result, int) for result in results) == 1
    assert sum(isinstance(result, Conflict) for result in results) == 19


async def test_an_expired_value_is_as_if_it_had_never_been(bus_setup: Setup) -> None:
    await bus_setup.bus.put(BLOB, b"one", ttl=1)
    await bus_setup.elapse(1)
    await bus_setup.bus.put(BLOB, b"two", ttl=60, expected=0)


async def test_a_deleted_value_is_as_if_it_had_never_been(bus: Bus) -> None:
    await bus.put(BLOB, b"one", ttl=60)
    await bus.delete(BLOB)
    assert await bus.get(BLOB) is None
    assert await bus.keys("rendezvous-blob.*") == []
    await bus.put(BLOB, b"two", ttl=60, expected=0)
    assert await bus.get(BLOB) == b"two"


async def test_to_delete_what_is_not_there_is_no_error(bus: Bus) -> None:
    await bus.delete(BLOB)


async def test_keys_are_those_that_match(bus: Bus) -> None:
    for subject in ("rendezvous-rule.a", "rendezvous-blob.b", "rendezvous-blob.a", "rendezvous-blob.a"):
        await bus.put(subject, b"x", ttl=60)
    assert await bus.keys("rendezvous-blob.*") == ["rendezvous-blob.a", "rendezvous-blob.b"]
    assert await bus.keys("rendezvous-rule.>") == ["rendezvous-rule.a"]


@pytest.mark.parametrize(
    ("subject", "size", "ttl"),
    [
        (BLOB, 64 * 1024 + 1, 60),
        (BLOB, 1, 0),
        (BLOB, 1, -5),
        ("voucher-issued.a", 1, 60),
        ("elsewhere.a", 1, 60),
    ],
)
async def test_what_cannot_be_a_value_is_refused(bus: Bus, subject: str, size: int, ttl: int) -> None:
    with pytest.raises(BusRefused):
        await bus.put(subject, b"x" * size, ttl=ttl)


async def test_a_request_is_answered_by_who_serves_the_subject(bus_setup: Setup) -> None:
    async with await bus_setup.bus.serve("replica.owner.a", echo), await bus_setup.bus.serve("replica.owner.b", echo):
        answers = await asyncio.gather(
            *(bus_setup.other.request("replica.owner.a", f"{n:03}".encode(), timeout=5) for n in range(200))
        )
    assert answers == [f"{n:03}"[::-1].encode() for n in range(200)]


async def test_without_a_server_the_answer_is_no_responder_at_once(bus_setup: Setup) -> None:
    async with asyncio.timeout(5):
        with pytest.raises(NoResponder):
            await bus_setup.bus.request("replica.owner.gone", b"", timeout=60)


async def test_who_has_closed_does_not_respond(bus_setup: Setup) -> None:
    async with await bus_setup.bus.serve("replica.owner.a", echo):
        await bus_setup.other.request("replica.owner.a", b"", timeout=5)
    await asyncio.sleep(0.05)
    with pytest.raises(NoResponder):
        await bus_setup.other.request("replica.owner.a", b"", timeout=5)


async def test_a_handler_that_fails_fails_the_request(bus_setup: Setup) -> None:
    async def broken(_: bytes) -> bytes:
        raise KeyError("secret")

    async with await bus_setup.bus.serve("replica.owner.a", broken):
        with pytest.raises(RequestFailed, match="KeyError") as failure:
            await bus_setup.other.request("replica.owner.a", b"", timeout=5)
    assert "secret" not in str(failure.value)


async def test_an_answer_that_does_not_come_is_a_bus_that_is_unavailable(bus_setup: Setup) -> None:
    async with await bus_setup.bus.serve("replica.owner.a", never):
        with pytest.raises(BusUnavailable, match=r"0\.1 s"):
            await bus_setup.other.request("replica.owner.a", b"", timeout=0.1)


async def test_a_large_message_of_fdo_fits_into_a_request(bus_setup: Setup) -> None:
    body = bytes(range(256)) * (MAX_REQUEST_BYTES // 256)
    async with await bus_setup.bus.serve("replica.owner.a", echo):
        assert await bus_setup.other.request("replica.owner.a", body, timeout=5) == body[::-1]
        with pytest.raises(BusRefused, match="at most"):
            await bus_setup.other.request("replica.owner.a", body + b"x", timeout=5)
