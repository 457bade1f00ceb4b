"""TO2, the owner's side: the device proves itself, gets a new credential and its service info (FDO 1.1, section 5.5).

HelloDevice(60) -> ProveOVHdr(61), [GetOVNextEntry(62) -> OVNextEntry(63)], ProveDevice(64) -> SetupDevice(65),
DeviceServiceInfoReady(66) -> OwnerServiceInfoReady(67), [DeviceServiceInfo(68) -> OwnerServiceInfo(69)],
Done(70) -> Done2(71). The device's side is `to2_device`.

Up to 63 the session is a `Hello`, small enough to be sealed into a token; from 64 it is a `Session`.
"""

from typing import Final, NamedTuple

import msgspec
from cryptography.hazmat.primitives.asymmetric import ec

from ashore import cbor, cose
from ashore.cose import Signer
from ashore.fdo import eat, kex
from ashore.fdo.ciphers import CipherSuite, SessionKeys, SvkLength
from ashore.fdo.codec import plain
from ashore.fdo.errors import InvalidMessageError, MessageBodyError, NotFoundError, VoucherError
from ashore.fdo.kex import Entropy, KexSuite, OwnerSecret
from ashore.fdo.messages import (
    DEFAULT_SERVICE_INFO_SIZE,
    DeviceServiceInfoReady,
    Done,
    Done2,
    GetOVNextEntry,
    HelloDevice,
    OVNextEntry,
    OwnerServiceInfoReady,
    ProveDevice,
    ProveOVHdr,
    SetupDevice,
)
from ashore.fdo.rvinfo import RvInfo
from ashore.fdo.to1 import check_sig_info
from ashore.fdo.types import PROTOCOL_VERSION, Hash, PublicKey, digest
from ashore.fdo.voucher import Voucher, VoucherHeader

CUPH_NONCE: Final = 256
CUPH_OWNER_KEY: Final = 257
MAX_MESSAGE_SIZE: Final = 65_535
"""The longest message that we take, bytes."""
_KEX_SUITES: Final = tuple(KexSuite)


class Hello(NamedTuple):
    """What the owner must remember between 61 and 64."""

    guid: bytes
    kex_suite: KexSuite
    cipher_suite: CipherSuite
    nonce_prove_dv: bytes
    secret: OwnerSecret


class Replacement(NamedTuple):
    """The credential that a device leaves with."""

    guid: bytes
    rv_info: RvInfo
    owner: PublicKey

    def keeps(self, voucher: Voucher) -> bool:
        """Whether it is the old one: same GUID, rendezvous and owner, so the credential is reused (section 7)."""
        return (
            self.guid == voucher.guid
            and self.rv_info == voucher.header.rv_info
            and self.owner.key() == voucher.owner_key
        )


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """What the owner remembers from 64 on."""

    voucher: Voucher
    keys: SessionKeys
    nonce_prove_dv: bytes
    nonce_setup_dv: bytes
    replacement: Replacement
    reuse: bool
    hmac: Hash | None = None
    """Of the new voucher's header; None where the credential is reused."""
    device_max_size: int = DEFAULT_SERVICE_INFO_SIZE
    """Bytes of service info that the device takes in one message."""


def prove_ov_hdr(
    message: HelloDevice, body: bytes, voucher: Voucher, signer: Signer, nonce: bytes, entropy: Entropy
) -> tuple[Hello, ProveOVHdr]:
    """HelloDevice(60) -> ProveOVHdr(61). `body` is message 60 as received: its hash goes back.

    Raise VoucherError where the voucher cannot be used, InvalidMessageError where the device asks for algorithms that
    do not go with its key or the owner's.
    """
    owner = voucher.owner_public_key
    if not voucher.entries:
        raise VoucherError("the voucher has not been extended to an owner; sell the device first")
    if signer.public_key != owner.key():
        raise VoucherError("the voucher belongs to another owner's key")
    check_sig_info(message.sig_info, voucher.device_key)
    if not kex.suits(message.kex_suite, signer.public_key):
        raise InvalidMessageError(
            f"key exchange {message.kex_suite} does not go with the owner's key, {owner.type.name}"
        )
    xa, secret = kex.owner_start(message.kex_suite, entropy)
    proof = [
        voucher.header_bytes,
        len(voucher.entries),
        voucher.hmac.array(),
        message.nonce,
        message.sig_info.array(),
        xa,
        digest(voucher.hash_type, body).array(),
        MAX_MESSAGE_SIZE,
    ]
    # The order of the labels is the deterministic one, and the C client wants exactly these two.
    unprotected: dict[int, object] = {CUPH_NONCE: nonce, CUPH_OWNER_KEY: owner.array()}
    hello = Hello(message.guid, message.kex_suite, message.cipher_suite, nonce, secret)
    return hello, ProveOVHdr(cose.sign1(signer, cbor.dumps(proof), unprotected))


def ov_next_entry(message: GetOVNextEntry, voucher: Voucher) -> OVNextEntry:
    """GetOVNextEntry(62) -> OVNextEntry(63)."""
    if message.entry >= len(voucher.entries):
        raise InvalidMessageError(f"entry {message.entry} does not exist: the voucher has {len(voucher.entries)}")
    return OVNextEntry(message.entry, voucher.entries[message.entry])


def setup_device(
    message: ProveDevice,
    hello: Hello,
    voucher: Voucher,
    signer: Signer,
    replacement: Replacement,
    svk_length: SvkLength = SvkLength.GO,
) -> tuple[Session, SetupDevice]:
    """ProveDevice(64) -> SetupDevice(65). From here on the messages are encrypted."""
    match eat.check(message.sign1, voucher.device_key, hello.guid, hello.nonce_prove_dv):
        case [bytes(xb)]:
            pass
        case _:
            raise MessageBodyError("the device's proof lacks its half of the key exchange")
    match message.sign1.unprotected.get(eat.UNPROTECTED_NONCE):
        case bytes(nonce_setup_dv) if len(nonce_setup_dv) == len(hello.nonce_prove_dv):
            pass
        case _:
            raise MessageBodyError("the device's proof lacks the nonce for message 65")
    shared = kex.owner_finish(hello.kex_suite, hello.secret, xb, signer)
    session = Session(
        voucher=voucher,
        keys=kex.derive(hello.cipher_suite, shared, svk_length),
        nonce_prove_dv=hello.nonce_prove_dv,
        nonce_setup_dv=nonce_setup_dv,
        replacement=replacement,
        reuse=replacement.keeps(voucher),
    )
    payload = [plain(replacement.rv_info), replacement.guid, nonce_setup_dv, replacement.owner.array()]
    return session, SetupDevice(cose.sign1(signer, cbor.dumps(payload)))


def owner_ready(
    message: DeviceServiceInfoReady, session: Session, max_size: int | None
) -> tuple[Session, OwnerServiceInfoReady]:
    """DeviceServiceInfoReady(66) -> OwnerServiceInfoReady(67)."""
    if not session.reuse and (message.hmac is None or message.hmac.type < 0):
        raise InvalidMessageError("the device was given a new credential, but sent no HMAC for it")
    ready = msgspec.structs.replace(
        session,
        hmac=None if session.reuse else message.hmac,
        device_max_size=message.max_size or DEFAULT_SERVICE_INFO_SIZE,
    )
    return ready, OwnerServiceInfoReady(max_size)


def done2(message: Done, session: Session) -> tuple[Voucher | None, Done2]:
    """Done(70) -> Done2(71): the voucher of the new credential, None where it is reused. Store it before 71 is sent."""
    if message.nonce != session.nonce_prove_dv:
        raise InvalidMessageError("message 70 carries another nonce than the one of message 61")
    return _new_voucher(session), Done2(session.nonce_setup_dv)


def _new_voucher(session: Session) -> Voucher | None:
    if session.hmac is None:
        return None
    old = session.voucher.header
    header = VoucherHeader(
        PROTOCOL_VERSION,
        session.replacement.guid,
        session.replacement.rv_info,
        old.device_info,
        session.replacement.owner,
        old.chain_hash,
    )
    return Voucher(header.encode(), header, session.hmac, session.voucher.chain)


def pack_hello(hello: Hello) -> bytes:
    """The session before 64, small enough for a token."""
    match hello.secret.key:
        case None:
            key = b""
        case int(exponent):
            key = exponent.to_bytes((exponent.bit_length() + 7) // 8, "big")
        case private:
            number = hello.secret.number or private.private_numbers().private_value
            key = number.to_bytes((private.key_size + 7) // 8, "big")
    return cbor.dumps(
        [
            hello.guid,
            _KEX_SUITES.index(hello.kex_suite),
            int(hello.cipher_suite),
            hello.nonce_prove_dv,
            key,
            hello.secret.random,
        ]
    )


def unpack_hello(data: bytes) -> Hello:
    """Undo `pack_hello`. The data was sealed by this owner, so its shape is trusted."""
    match cbor.loads(data):
        case [bytes(guid), int(kex_index), int(cipher), bytes(nonce), bytes(key), bytes(random)]:
            suite = _KEX_SUITES[kex_index]
            return Hello(guid, suite, CipherSuite(cipher), nonce, OwnerSecret(_unpack_key(suite, key), random))
    raise NotFoundError("the session token holds no session")


def _unpack_key(suite: KexSuite, key: bytes) -> ec.EllipticCurvePrivateKey | int | None:
    if not key:
        return None
    if suite is KexSuite.ECDH256:
        return ec.derive_private_key(int.from_bytes(key, "big"), ec.SECP256R1())
    if suite is KexSuite.ECDH384:
        return ec.derive_private_key(int.from_bytes(key, "big"), ec.SECP384R1())
    return int.from_bytes(key, "big")
