"""TO2, the device's side: it proves the voucher and its owner before it tells them anything (FDO 1.1, section 5.5).

The steps mirror `to2`. The device goes through three states: `Asked` after 60, `Proving` while it reads the voucher,
`Joined` once the session has keys.
"""

from typing import Final, NamedTuple

from ashore import cbor, cose
from ashore.cose import Sign1, Signer
from ashore.fdo import eat, kex
from ashore.fdo import voucher as vouchers
from ashore.fdo.ciphers import CipherSuite, SessionKeys, SvkLength
from ashore.fdo.codec import convert
from ashore.fdo.credential import Credential
from ashore.fdo.di import header_hmac, read_header
from ashore.fdo.errors import (
    CredentialReuseError,
    FdoError,
    GuidError,
    InvalidMessageError,
    MessageBodyError,
    SignatureError,
    VoucherError,
)
from ashore.fdo.kex import Entropy, KexSuite
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
from ashore.fdo.to2 import CUPH_NONCE, CUPH_OWNER_KEY, MAX_MESSAGE_SIZE
from ashore.fdo.types import Guid, Hash, HashType, Nonce, PublicKey, SigInfo, digest
from ashore.fdo.voucher import Voucher, VoucherHeader, entry_seed, verify_entry


class Asked(NamedTuple):
    """After HelloDevice(60)."""

    message: HelloDevice
    body: bytes


class Proving(NamedTuple):
    """After ProveOVHdr(61): the header is the device's own, the owner is still to be proven entry by entry."""

    header: VoucherHeader
    owner: PublicKey
    """Who claims to be the owner; the last entry must name the same key."""
    entries: int
    nonce_prove_dv: bytes
    xa: bytes
    hash_type: HashType | None
    signer: cose.PublicKey
    """Who must have signed the next entry."""
    before: bytes
    """What the next entry's hash must cover."""
    next_entry: int = 0


class Joined(NamedTuple):
    """After ProveDevice(64): the session has keys."""

    keys: SessionKeys
    nonce_prove_dv: bytes
    nonce_setup_dv: bytes
    owner: PublicKey
    header: VoucherHeader


class Setup(NamedTuple):
    """After SetupDevice(65): what the device will be when 71 has come."""

    credential: Credential
    message: DeviceServiceInfoReady

    @property
    def reuse(self) -> bool:
        """Whether the device keeps its credential."""
        return self.message.hmac is None


_EXPECTED_PROOF: Final = tuple[bytes, int, Hash, Nonce, SigInfo, bytes, Hash, int]
_SETUP: Final = tuple[RvInfo, Guid, Nonce, PublicKey]


def hello_device(
    credential: Credential, signer: Signer, kex_suite: KexSuite, cipher_suite: CipherSuite, nonce: bytes
) -> Asked:
    """HelloDevice(60)."""
    sig_info = SigInfo(signer.algorithm, b"")
    message = HelloDevice(MAX_MESSAGE_SIZE, credential.guid, nonce, kex_suite, cipher_suite, sig_info)
    return Asked(message, message.encode())


def prove_owner(message: ProveOVHdr, asked: Asked, credential: Credential, to1d: Sign1 | None) -> Proving:
    """ProveOVHdr(61): prove, in this order, what can be proven before the entries are known.

    1. The message is signed by the key that claims to be the owner.
    2. It answers our message 60, by nonce and hash.
    3. The header is about this device, and carries the HMAC that this device made of it.
    4. The manufacturer's key is the one from device initialisation.
    5. The rendezvous' blob, where there was one, is signed by the same owner.
    """
    proof = _read_proof(message)
    header_bytes, entries, hmac, nonce, _, xa, hello_hash, _ = proof
    owner, nonce_prove_dv = _read_unprotected(message)
    _verify(message.sign1, owner, "message 61")  # 1
    if nonce != asked.message.nonce or not hello_hash.matches(asked.body):  # 2
        raise InvalidMessageError("message 61 does not answer the message 60 that was sent")
    header = read_header(header_bytes)
    if header.guid != credential.guid:  # 3
        raise GuidError("the owner's voucher is about another device")
    if not hmac.authenticates(credential.hmac_secret, header_bytes):
        raise VoucherError("the voucher's HMAC was not made by this device")
    if not credential.public_key_hash.matches(header.public_key.encode()):  # 4
        raise VoucherError("the voucher begins with another key than the one known from device initialisation")
    if to1d is not None:
        _verify(to1d, owner, "the rendezvous' blob")  # 5
    if not 0 < entries <= vouchers.MAX_ENTRIES:
        raise VoucherError(f"a voucher with {entries} entries cannot onboard a device")
    seed = entry_seed(Voucher(header_bytes, header, hmac, ()))
    return Proving(header, owner, entries, nonce_prove_dv, xa, None, header.public_key.key(), seed)


def get_next_entry(proving: Proving) -> GetOVNextEntry | None:
    """GetOVNextEntry(62), or None when all entries are proven."""
    return GetOVNextEntry(proving.next_entry) if proving.next_entry < proving.entries else None


def prove_entry(message: OVNextEntry, proving: Proving) -> Proving:
    """OVNextEntry(63): prove the entry; the last one must name the owner of message 61."""
    if message.entry != proving.next_entry:
        raise InvalidMessageError(f"entry {proving.next_entry} was asked for, entry {message.entry} came")
    kind = proving.hash_type or _entry_hash_type(message.sign1)
    key = verify_entry(message.sign1, message.entry, proving.signer, proving.before, proving.header, kind)
    if message.entry == proving.entries - 1 and key != proving.owner.key():
        raise VoucherError("the voucher's last entry names another owner than the one who signed message 61")
    return proving._replace(
        hash_type=kind, signer=key, before=message.sign1.encode(), next_entry=proving.next_entry + 1
    )


def prove_device(
    proving: Proving,
    asked: Asked,
    signer: Signer,
    entropy: Entropy,
    svk_length: SvkLength = SvkLength.GO,
) -> tuple[Joined, ProveDevice]:
    """ProveDevice(64)."""
    hello = asked.message
    nonce = entropy.random(16)
    xb, shared = kex.device_answer(hello.kex_suite, proving.xa, proving.owner.key(), entropy)
    keys = kex.derive(hello.cipher_suite, shared, svk_length)
    token = eat.prove(signer, hello.guid, proving.nonce_prove_dv, [xb], nonce)
    return Joined(keys, proving.nonce_prove_dv, nonce, proving.owner, proving.header), ProveDevice(token)


def accept_setup(
    message: SetupDevice, joined: Joined, credential: Credential, max_size: int, *, allow_reuse: bool
) -> Setup:
    """SetupDevice(65) -> DeviceServiceInfoReady(66): the new credential, to be kept once 71 has come.

    Raise CredentialReuseError where the owner lets the device keep its credential and the device does not want that.
    """
    rv_info, guid, nonce, owner = _read_setup(message)
    _verify(message.sign1, owner, "message 65")
    if nonce != joined.nonce_setup_dv:
        raise InvalidMessageError("message 65 carries another nonce than the one that was sent")
    same_owner = owner.key() == joined.owner.key()
    if guid == credential.guid and rv_info == credential.rv_info and same_owner:
        if not allow_reuse:
            raise CredentialReuseError("the owner wants the credential to be reused, and this device does not allow it")
        return Setup(credential, DeviceServiceInfoReady(None, max_size))
    old = joined.header
    header = VoucherHeader(old.version, guid, rv_info, old.device_info, owner, old.chain_hash)
    kind = credential.public_key_hash.type
    renewed = Credential(
        guid=guid,
        device_info=old.device_info,
        rv_info=rv_info,
        public_key_hash=digest(kind, owner.encode()),
        hmac_secret=credential.hmac_secret,
    )
    hmac = header_hmac(kind, credential.hmac_secret, header.encode())
    return Setup(renewed, DeviceServiceInfoReady(hmac, max_size))


def owner_max_size(message: OwnerServiceInfoReady) -> int:
    """OwnerServiceInfoReady(67): bytes of service info that the owner takes in one message."""
    return message.max_size or DEFAULT_SERVICE_INFO_SIZE


def done(joined: Joined) -> Done:
    """Done(70)."""
    return Done(joined.nonce_prove_dv)


def finish(message: Done2, joined: Joined) -> None:
    """Done2(71): raise InvalidMessageError unless it is the owner's; the new credential is then in force."""
    if message.nonce != joined.nonce_setup_dv:
        raise InvalidMessageError("message 71 carries another nonce than the one of message 64")


def _verify(signed: Sign1, owner: PublicKey, what: str) -> None:
    try:
        signed.verify(owner.key())
    except cose.CoseError as error:
        raise SignatureError(f"{what} is not signed by the owner: {error}") from error


def _read_proof(message: ProveOVHdr) -> tuple[bytes, int, Hash, bytes, SigInfo, bytes, Hash, int]:
    try:
        return convert(cbor.loads(message.sign1.payload), _EXPECTED_PROOF)
    except cbor.CborError as error:
        raise MessageBodyError(f"message 61 cannot be read: {error}") from error


def _read_unprotected(message: ProveOVHdr) -> tuple[PublicKey, bytes]:
    unprotected = message.sign1.unprotected
    owner = convert(unprotected.get(CUPH_OWNER_KEY), PublicKey)
    return owner, convert(unprotected.get(CUPH_NONCE), Nonce)


def _read_setup(message: SetupDevice) -> tuple[RvInfo, bytes, bytes, PublicKey]:
    try:
        return convert(cbor.loads(message.sign1.payload), _SETUP)
    except cbor.CborError as error:
        raise MessageBodyError(f"message 65 cannot be read: {error}") from error


def _entry_hash_type(entry: Sign1) -> HashType:
    """The first entry chooses the hash for all of them."""
    try:
        return convert(cbor.loads(entry.payload), vouchers.EntryPayload).previous_hash.type
    except (cbor.CborError, FdoError) as error:
        raise VoucherError(f"the voucher's first entry cannot be read: {error}") from error
