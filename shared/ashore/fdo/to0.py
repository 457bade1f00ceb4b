"""TO0: an owner tells the rendezvous where its device shall find it (FDO 1.1, section 5.3).

Hello(20) -> HelloAck(21) -> OwnerSign(22) -> AcceptOwner(23).
"""

from typing import NamedTuple

import msgspec

from ashore import cbor, cose
from ashore.cose import Sign1, Signer
from ashore.fdo import voucher as vouchers
from ashore.fdo.codec import convert, plain
from ashore.fdo.errors import FdoError, InvalidMessageError, MessageBodyError, OwnerSignError
from ashore.fdo.messages import AcceptOwner, HelloAck, OwnerSign
from ashore.fdo.types import Hash, Nonce, To2Address, Uint32, digest
from ashore.fdo.voucher import Voucher


class To1d(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """`to1dBlobPayload`: what the owner signs and the device gets."""

    addresses: list[To2Address]
    to0d_hash: Hash


class Registration(NamedTuple):
    """What the rendezvous has learnt and proven."""

    voucher: Voucher
    to1d: Sign1
    addresses: list[To2Address]
    wait_seconds: int
    """What the owner asks for."""


# The owner's side.


def owner_sign(
    message: HelloAck, voucher: Voucher, wait_seconds: int, addresses: list[To2Address], signer: Signer
) -> OwnerSign:
    """HelloAck(21) -> OwnerSign(22). The blob is signed by the key that ends the voucher: the device checks that."""
    to0d = cbor.dumps([voucher.item(), wait_seconds, message.nonce])
    to1d = To1d(addresses, digest(voucher.hash_type, to0d))
    return OwnerSign(to0d, cose.sign1(signer, cbor.dumps(plain(to1d))))


# The rendezvous' side.


def accept_owner(message: OwnerSign, nonce: bytes) -> Registration:
    """OwnerSign(22): prove the registration, in this order; the rendezvous then decides whether it wants it.

    1. The nonce is the one of message 21.
    2. The blob is about this `to0d`.
    3. The voucher holds, and has been extended at least once.
    4. The blob is signed by the voucher's last owner.
    """
    voucher, wait_seconds, given = _read_to0d(message.to0d)
    if given != nonce:  # 1
        raise InvalidMessageError("the registration carries another nonce than the one that was given")
    to1d = _read_to1d(message.to1d)
    if not to1d.to0d_hash.matches(message.to0d):  # 2
        raise OwnerSignError("the signed blob is about another voucher than the one beside it")
    if not voucher.entries:
        raise OwnerSignError("the voucher has not been extended: the manufacturer must sell it to its owner first")
    vouchers.verify(voucher)  # 3
    try:
        message.to1d.verify(voucher.owner_key)  # 4
    except cose.CoseError as error:
        raise OwnerSignError(f"the blob is not signed by the voucher's owner: {error}") from error
    return Registration(voucher, message.to1d, to1d.addresses, wait_seconds)


def accepted(wait_seconds: int) -> AcceptOwner:
    """OwnerSign(22) -> AcceptOwner(23)."""
    return AcceptOwner(wait_seconds)


def read_addresses(to1d: Sign1) -> list[To2Address]:
    """Where the owner listens, from a blob whose signature has been, or will be, checked."""
    return _read_to1d(to1d).addresses


def _read_to0d(to0d: bytes) -> tuple[Voucher, int, bytes]:
    try:
        match cbor.loads(to0d):
            case [voucher, wait_seconds, nonce]:
                return Voucher.of(voucher), convert(wait_seconds, Uint32), convert(nonce, Nonce)
    except cbor.CborError as error:
        raise MessageBodyError(f"to0d cannot be read: {error}") from error
    raise MessageBodyError("to0d is not voucher, seconds and nonce")


def _read_to1d(to1d: Sign1) -> To1d:
    try:
        return convert(cbor.loads(to1d.payload), To1d)
    except (cbor.CborError, FdoError) as error:
        raise OwnerSignError(f"the signed blob cannot be read: {error}") from error
