"""Whatever is wrong with a message of TO0 or TO1, the rendezvous says so, and what is registered stays as it is."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import NamedTuple

import pytest

from ashore import cbor, cose
from ashore.cose import KeySigner
from ashore.fdo import to1
from ashore.fdo.messages import ErrorMessage, OwnerSign, ProveToRV, To0Hello
from ashore.fdo.types import HashType, digest
from ashore.fdo.voucher import Voucher
from ashore.http.fdo import FdoReply
from tests import fdo_kit
from tests.alterations import alterations
from tests.contract.refusing import altered_tokens, quietly, told
from tests.contract.rendezvous_kit import Rendezvous, made, owner_sign, proof

__all__ = ["made"]


class Known(NamedTuple):
    """A device that is registered."""

    device: fdo_kit.Device
    voucher: Voucher
    owner: KeySigner


@pytest.fixture
async def known(made: Rendezvous) -> Known:
    known = Known(*fdo_kit.owned(sales=2))
    await made.accepted(known.voucher, known.owner)
    return known


Body = Callable[[Rendezvous, Known], Awaitable[tuple[bytes, str | None]]]


async def hello(made: Rendezvous, known: Known) -> tuple[bytes, str | None]:
    return To0Hello().encode(), None


async def signed(made: Rendezvous, known: Known) -> tuple[bytes, str | None]:
    ack, token = await made.hello()
    return owner_sign(ack, known.voucher, known.owner).encode(), token


async def greeting(made: Rendezvous, known: Known) -> tuple[bytes, str | None]:
    return to1.hello_rv(known.device.credential.guid, known.device.signer).encode(), None


async def proven(made: Rendezvous, known: Known) -> tuple[bytes, str | None]:
    first = await made.greet(known.device)
    return proof(first, known.device), first.token


STEPS = [(20, hello), (22, signed), (30, greeting), (32, proven)]


@pytest.mark.parametrize(("number", "body"), STEPS)
async def test_every_wrong_message_is_refused_and_changes_nothing(
    made: Rendezvous, known: Known, number: int, body: Body
) -> None:
    sample, _ = await body(made, known)
    registered = await made.registrations.find(known.voucher.guid.hex())
    with quietly():
        for one in alterations(sample):
            content, token = await body(made, known)
            told(await made.send(number, one.of(content), token), number, one.name)
    now = await made.registrations.find(known.voucher.guid.hex())
    assert (now.header, now.keys, now.addresses) == (registered.header, registered.keys, registered.addresses)
    assert await made.redirect(known.device) == fdo_kit.ADDRESSES
    assert await made.accepted(known.voucher, known.owner)


async def test_every_wrong_proof_is_refused_although_it_is_signed(made: Rendezvous, known: Known) -> None:
    sample, _ = await proven(made, known)
    with quietly():
        for one in alterations(ProveToRV.decode(sample).sign1.payload):
            content, token = await proven(made, known)
            payload = one.of(ProveToRV.decode(content).sign1.payload)
            body = cose.sign1(known.device.signer, payload).encode()
            told(await made.send(32, body, token), 32, one.name)
    assert await made.redirect(known.device) == fdo_kit.ADDRESSES


async def test_every_wrong_blob_is_refused_although_it_is_signed(made: Rendezvous, known: Known) -> None:
    sample, _ = await signed(made, known)
    with quietly():
        for one in alterations(OwnerSign.decode(sample).to1d.payload):
            content, token = await signed(made, known)
            message = OwnerSign.decode(content)
            message.to1d = cose.sign1(known.owner, one.of(message.to1d.payload))
            told(await made.send(22, message.encode(), token), 22, one.name)
    assert await made.accepted(known.voucher, known.owner)


async def test_every_wrong_entry_is_refused_although_it_is_signed(made: Rendezvous, known: Known) -> None:
    seller = fdo_kit.signer("owner 0", "p256")
    last = known.voucher.entries[-1]
    with quietly():
        for one in alterations(last.payload):
            ack, token = await made.hello()
            entries = (*known.voucher.entries[:-1], cose.sign1(seller, one.of(last.payload)))
            to0d = cbor.dumps([replace(known.voucher, entries=entries).item(), 3600, ack.nonce])
            to1d = cbor.dumps([[[None, "owner.example", 8042, 3]], digest(HashType.SHA256, to0d).array()])
            message = OwnerSign(to0d, cose.sign1(known.owner, to1d))
            told(await made.send(22, message.encode(), token), 22, one.name)
    assert await made.accepted(known.voucher, known.owner)


@pytest.mark.parametrize(("number", "body"), [(22, signed), (32, proven)])
async def test_a_wrong_token_is_refused(made: Rendezvous, known: Known, number: int, body: Body) -> None:
    content, token = await body(made, known)
    other = (await made.greet(known.device)).token if number == 22 else (await made.hello())[1]
    with quietly():
        for wrong in [*altered_tokens(token), other]:
            assert told(await made.send(number, content, wrong), number, wrong) == 1
    assert told(await made.send(number, content, token), number, token) is None
    assert told(await made.send(number, content, token), number, "a token that was used") == 1


@pytest.mark.parametrize(("number", "body"), [(22, signed), (32, proven)])
async def test_a_report_of_an_error_is_taken_whatever_is_in_it(
    made: Rendezvous, known: Known, number: int, body: Body
) -> None:
    report = ErrorMessage(100, number - 1, "no\x00\u2028\U0001f4a9", 1 << 62, None).encode()
    with quietly():
        for one in alterations(report):
            _, token = await body(made, known)
            reply: FdoReply = await made.send(255, one.of(report), token)
            assert (reply.number, reply.status, reply.token) == (255, 200, None), one.name
    assert await made.redirect(known.device) == fdo_kit.ADDRESSES


@pytest.mark.parametrize("number", [0, 10, 12, 21, 23, 31, 33, 60, 62, 64, 66, 68, 70, 128, 254])
async def test_a_message_of_another_service_is_refused(made: Rendezvous, number: int) -> None:
    assert told(await made.send(number, cbor.dumps([])), number, "a number") == 101
