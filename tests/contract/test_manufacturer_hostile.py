"""Whatever is wrong with a message of DI, the manufacturer says so, and makes no voucher of it."""

from collections.abc import Awaitable, Callable

import pytest

from ashore import cbor
from ashore.fdo.messages import ErrorMessage
from ashore.http.fdo import FdoReply
from tests.alterations import Alteration, alterations
from tests.contract.manufacturer_kit import Factory, Newcomer, made
from tests.contract.refusing import altered_tokens, quietly, told

__all__ = ["made"]

Said = Callable[[Factory, Newcomer, Alteration | None], Awaitable[FdoReply]]


async def introduced(made: Factory, newcomer: Newcomer, alteration: Alteration | None = None) -> FdoReply:
    body = newcomer.app_start()
    return await made.send(10, alteration.of(body) if alteration else body)


async def finished(made: Factory, newcomer: Newcomer, alteration: Alteration | None = None) -> FdoReply:
    first = await introduced(made, newcomer)
    body = newcomer.set_hmac(first)
    return await made.send(12, alteration.of(body) if alteration else body, first.token)


async def counts(made: Factory) -> tuple[int, int]:
    return await made.database.read(
        lambda connection: tuple(
            connection.exec_driver_sql(f"SELECT count(*) FROM {table}").scalar_one() for table in ("vouchers", "outbox")
        )
    )


@pytest.mark.parametrize(("number", "say"), [(10, introduced), (12, finished)])
async def test_every_wrong_message_is_refused_and_leaves_nothing_behind(made: Factory, number: int, say: Said) -> None:
    newcomer = Newcomer()
    await made.initialise(newcomer)
    sample = newcomer.app_start() if number == 10 else newcomer.set_hmac(await introduced(made, newcomer))
    vouchers, events = await counts(made)
    taken = 0
    with quietly():
        for one in alterations(sample):
            code = told(await say(made, newcomer, one), number, one.name)
            taken += code is None and number == 12
    # A serial number or an HMAC is what the device says it is.
    assert 0 <= taken < 60
    assert await counts(made) == (vouchers + taken, events + taken)
    await made.initialise(newcomer)


async def test_a_wrong_token_is_refused_and_the_right_one_goes_on(made: Factory) -> None:
    newcomer = Newcomer()
    first = await introduced(made, newcomer)
    body = newcomer.set_hmac(first)
    with quietly():
        for token in altered_tokens(first.token):
            reply = await made.send(12, body, token)
            assert told(reply, 12, token) == 1
    assert (await counts(made)) == (0, 0)
    assert (await made.send(12, body, first.token)).number == 13
    assert told(await made.send(12, body, first.token), 12, "a token that was used") == 1


@pytest.mark.parametrize("number", [10, 12])
async def test_a_report_of_an_error_is_taken_whatever_is_in_it(made: Factory, number: int) -> None:
    report = ErrorMessage(100, number + 1, "no space left\x00\u2028\U0001f4a9", -(1 << 63), None).encode()
    newcomer = Newcomer()
    with quietly():
        for one in alterations(report):
            first = await introduced(made, newcomer)
            reply = await made.send(255, one.of(report), first.token)
            assert (reply.number, reply.status, reply.token) == (255, 200, None), one.name
    assert await counts(made) == (0, 0)
    await made.initialise(newcomer)


@pytest.mark.parametrize("number", [*range(0, 256, 5), 11, 13, 12])
async def test_every_other_message_is_refused(made: Factory, number: int) -> None:
    if number != 10:
        assert told(await made.send(number, cbor.dumps([])), min(number, 255), "a number") in (1, 100, 101)
