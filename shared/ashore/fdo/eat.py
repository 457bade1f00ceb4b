"""The Entity Attestation Token with which a device proves itself (FDO 1.1, section 3.3.6)."""

from typing import Final

from ashore import cbor, cose
from ashore.cose import Sign1, Signer
from ashore.fdo.errors import GuidError, InvalidMessageError, MessageBodyError, SignatureError

NONCE: Final = 10
UEID: Final = 256
FDO: Final = -257
UNPROTECTED_NONCE: Final = -259
"""`EUPHNonce`: label of the nonce in the unprotected header of message 64."""
_RAND: Final = b"\x01"
"""The kind of UEID that a GUID is."""


def prove(
    signer: Signer, guid: bytes, nonce: bytes, claim: list[object] | None = None, setup_nonce: bytes | None = None
) -> Sign1:
    """The token of a device, with FDO's own claim where the message has one."""
    claims: dict[int, object] = {NONCE: nonce, UEID: _RAND + guid}
    if claim is not None:
        claims[FDO] = claim
    unprotected: dict[int, object] = {} if setup_nonce is None else {UNPROTECTED_NONCE: setup_nonce}
    return cose.sign1(signer, cbor.dumps(claims), unprotected)


def check(token: Sign1, key: cose.PublicKey, guid: bytes, nonce: bytes) -> object:
    """FDO's own claim, or None; raise unless `key` signed the token for this GUID and this nonce."""
    try:
        token.verify(key)
        claims = cbor.loads(token.payload)
    except cose.CoseError as error:
        raise SignatureError(f"the device's proof is not signed by the device in the voucher: {error}") from error
    except cbor.CborError as error:
        raise MessageBodyError(f"the device's proof cannot be read: {error}") from error
    match claims:
        case {10: bytes(given), 256: bytes(ueid), **others}:
            pass
        case _:
            raise MessageBodyError("the device's proof lacks its nonce or its GUID")
    if given != nonce:
        raise InvalidMessageError("the device's proof carries another nonce than the one that it was given")
    if ueid != _RAND + guid:
        raise GuidError("the device's proof is about another GUID")
    return others.get(FDO)
