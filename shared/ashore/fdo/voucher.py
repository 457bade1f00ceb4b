"""The ownership voucher: from the manufacturer to the last owner, one signature per sale (FDO 1.1, section 3.4).

A Voucher is immutable and keeps the bytes of every signed part. `verify` proves everything that can be proven without
the device's secret; the HMAC is for the device alone.
"""

import base64
import hashlib
import itertools
import re
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final, Self

import msgspec
from cryptography import x509
from cryptography.exceptions import InvalidSignature

from ashore import cbor, cose
from ashore.cose import Sign1, Signer
from ashore.fdo.codec import convert, plain
from ashore.fdo.errors import FdoError, VoucherError
from ashore.fdo.rvinfo import RvInfo
from ashore.fdo.types import PROTOCOL_VERSION, Guid, Hash, HashType, PublicKey, digest, fingerprint, strength

MAX_ENTRIES: Final = 255
"""The count is a uint8 in message 61."""
PEM_LABEL: Final = "OWNERSHIP VOUCHER"
# One way to match each text, for files come from strangers: what is left of spaces the decoder passes over.
_PEM: Final = re.compile(rf"-----BEGIN {PEM_LABEL}-----([A-Za-z0-9+/=\s]+)-----END {PEM_LABEL}-----")


class VoucherHeader(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """`OVHeader` (section 3.4.2)."""

    version: int
    guid: Guid
    rv_info: RvInfo
    device_info: str
    public_key: PublicKey
    """The manufacturer's, or after an onboarding the owner's."""
    chain_hash: Hash | None

    def encode(self) -> bytes:
        """What the HMAC and the first entry's hash are taken of."""
        return cbor.dumps(plain(self))


class EntryPayload(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """`OVEntryPayload` (section 3.4.2)."""

    previous_hash: Hash
    header_hash: Hash
    extra: bytes | None
    public_key: PublicKey


@dataclass(frozen=True)
class Voucher:
    """An ownership voucher, parsed. What is derived from it is worked out once."""

    header_bytes: bytes
    header: VoucherHeader
    hmac: Hash
    chain: tuple[bytes, ...]
    """The device's certificates, DER, leaf first."""
    entries: tuple[Sign1, ...] = ()

    @classmethod
    def of(cls, value: object) -> Self:
        """Take a decoded CBOR item; raise VoucherError unless it has the shape of a voucher."""
        match value:
            case [int(version), bytes(header), hmac, [*chain], [*entries]] if version == PROTOCOL_VERSION:
                pass
            case [int(version), *_] if version != PROTOCOL_VERSION:
                raise VoucherError(f"the voucher is of protocol version {version}; only 101 (FDO 1.1) is supported")
            case [_, _, _, None, _]:
                raise VoucherError("the voucher has no device certificates; EPID devices are not supported")
            case _:
                raise VoucherError("a voucher is an array of version, header, HMAC, certificates and entries")
        if len(entries) > MAX_ENTRIES:
            raise VoucherError(f"the voucher has {len(entries)} entries; FDO allows {MAX_ENTRIES}")
        try:
            return cls(
                header,
                convert(cbor.loads(header), VoucherHeader),
                convert(hmac, Hash),
                tuple(convert(chain, list[bytes])),
                tuple(Sign1.of(entry) for entry in entries),
            )
        except (FdoError, ValueError) as error:
            raise VoucherError(f"the voucher cannot be read: {error}") from error

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Read the CBOR form."""
        try:
            return cls.of(cbor.loads(data))
        except cbor.CborError as error:
            raise VoucherError(f"the voucher cannot be read: {error}") from error

    def item(self) -> list[object]:
        """The CBOR item, every received part to the byte."""
        entries = [entry.item() for entry in self.entries]
        return [PROTOCOL_VERSION, self.header_bytes, self.hmac.array(), list(self.chain), entries]

    def encode(self) -> bytes:
        """The CBOR form."""
        return cbor.dumps(self.item())

    @property
    def guid(self) -> bytes:
        """The device's GUID, 16 bytes."""
        return self.header.guid

    @property
    def digest(self) -> str:
        """SHA-256 of the CBOR form, hex."""
        return hashlib.sha256(self.encode()).hexdigest()

    @cached_property
    def device_key(self) -> cose.PublicKey:
        """The key with which the device proves itself."""
        try:
            key = x509.load_der_x509_certificate(self.chain[0]).public_key()
            cose.algorithms(key)  # type: ignore[arg-type]  # it raises for other kinds of keys
        except (IndexError, AttributeError, *cose.UNREADABLE) as error:
            raise VoucherError(f"the device's certificate cannot be used: {error}") from error
        return key  # type: ignore[return-value]

    @cached_property
    def owner_public_key(self) -> PublicKey:
        """The key of the present owner, as it stands in the voucher."""
        return self.payload(len(self.entries) - 1).public_key if self.entries else self.header.public_key

    @cached_property
    def owner_key(self) -> cose.PublicKey:
        """The key of the present owner."""
        return self.owner_public_key.key()

    @cached_property
    def _payloads(self) -> dict[int, EntryPayload]:
        return {}

    def payload(self, index: int) -> EntryPayload:
        """What entry `index` says."""
        known = self._payloads.get(index)
        if known is None:
            try:
                known = self._payloads[index] = convert(cbor.loads(self.entries[index].payload), EntryPayload)
            except (FdoError, ValueError) as error:
                raise VoucherError(f"entry {index} of the voucher cannot be read: {error}") from error
        return known

    @property
    def public_keys(self) -> list[PublicKey]:
        """The keys of all who have owned the device: the manufacturer's first, the present owner's last."""
        return [self.header.public_key, *(self.payload(index).public_key for index in range(len(self.entries)))]

    @cached_property
    def hash_type(self) -> HashType:
        """The hash of the entries: the first entry's, or the one that device and manufacturer allow."""
        if self.entries:
            return self.payload(0).previous_hash.type
        return strength(self.device_key, self.header.public_key.key())


def verify(voucher: Voucher) -> None:
    """Prove the voucher, in this order; raise VoucherError naming the step that fails.

    1. The hash of the device's certificates stands in the header.
    2. Each certificate of the device is issued by the next.
    3. Each entry is signed by the owner before it, the first by the header's key.
    4. Each entry carries the hash of what came before it, and of GUID and device info.
    5. One hash algorithm is used throughout.
    6. Every owner's key, the last included, can be read.
    """
    _verify_chain_hash(voucher)  # 1
    _verify_chain(voucher)  # 2
    kind = voucher.hash_type
    signer = voucher.header.public_key.key()
    before = entry_seed(voucher)
    for index in range(len(voucher.entries)):
        signer = verify_entry(voucher.entries[index], index, signer, before, voucher.header, kind)  # 3 to 6
        before = voucher.entries[index].encode()


def entry_seed(voucher: Voucher) -> bytes:
    """What the first entry's hash covers: header and HMAC (section 3.4.2)."""
    return voucher.header_bytes + cbor.dumps(voucher.hmac.array())


def verify_entry(
    entry: Sign1, index: int, signer: cose.PublicKey, before: bytes, header: VoucherHeader, kind: HashType
) -> cose.PublicKey:
    """Prove one entry and return the key of the owner whom it names; raise VoucherError."""
    try:
        entry.verify(signer)
        payload = convert(cbor.loads(entry.payload), EntryPayload)
        key = payload.public_key.key()
    except (FdoError, ValueError) as error:
        raise VoucherError(f"entry {index} of the voucher is not valid: {error}") from error
    if payload.previous_hash.type is not kind or payload.header_hash.type is not kind:
        raise VoucherError(f"entry {index} of the voucher uses another hash algorithm than the first")
    if not payload.previous_hash.matches(before):
        raise VoucherError(f"entry {index} of the voucher does not follow what stands before it")
    if not payload.header_hash.matches(header.guid, header.device_info.encode()):
        raise VoucherError(f"entry {index} of the voucher is about another device")
    return key


def extend(voucher: Voucher, signer: Signer, next_owner: PublicKey) -> Voucher:
    """Sell the device on: a new voucher with one more entry, signed by the present owner (section 3.4.2).

    Raise VoucherError where `signer` is not the present owner, or the next owner's key is of another kind: a
    constrained device has the code for one kind of key only.
    """
    if signer.public_key != voucher.owner_key:
        raise VoucherError(
            f"the voucher belongs to the key {fingerprint(voucher.owner_key)[:16]}, "
            f"only that key can extend it, not {fingerprint(signer.public_key)[:16]}"
        )
    manufacturer = voucher.header.public_key.key()
    if cose.algorithms(next_owner.key()) != cose.algorithms(manufacturer):
        raise VoucherError(
            f"the next owner's key is of another kind ({next_owner.type.name}) than the manufacturer's "
            f"({voucher.header.public_key.type.name}); give a key of that kind"
        )
    if len(voucher.entries) == MAX_ENTRIES:
        raise VoucherError(f"the voucher has been sold {MAX_ENTRIES} times, which is as often as FDO allows")
    kind = voucher.hash_type
    before = voucher.entries[-1].encode() if voucher.entries else entry_seed(voucher)
    header_hash = digest(kind, voucher.guid, voucher.header.device_info.encode())
    payload = EntryPayload(digest(kind, before), header_hash, None, next_owner)
    return replace(voucher, entries=(*voucher.entries, cose.sign1(signer, cbor.dumps(plain(payload)))))


def to_pem(voucher: Voucher) -> str:
    """The text form that every FDO stack reads."""
    text = base64.b64encode(voucher.encode()).decode()
    lines = "\n".join(text[start : start + 64] for start in range(0, len(text), 64))
    return f"-----BEGIN {PEM_LABEL}-----\n{lines}\n-----END {PEM_LABEL}-----\n"


def read(data: bytes) -> list[Voucher]:
    """All vouchers in a file: one in CBOR, or any number in PEM blocks; raise VoucherError where there is none."""
    if b"-----BEGIN " not in data:
        return [Voucher.decode(data)]
    blocks = _PEM.findall(data.decode("ascii", "replace"))
    if not blocks:
        raise VoucherError(f"the text holds no block labelled {PEM_LABEL}")
    try:
        return [Voucher.decode(base64.b64decode(block)) for block in blocks]
    except ValueError as error:
        raise VoucherError(f"a PEM block is not base64: {error}") from error


def _verify_chain_hash(voucher: Voucher) -> None:
    expected = voucher.header.chain_hash
    if expected is None or not voucher.chain:
        raise VoucherError("the voucher has no device certificates, or no hash of them")
    if not expected.matches(*voucher.chain):
        raise VoucherError("the device's certificates are not those that the manufacturer put into the header")


def _verify_chain(voucher: Voucher) -> None:
    try:
        chain = [x509.load_der_x509_certificate(der) for der in voucher.chain]
        for certificate, issuer in itertools.pairwise(chain):
            certificate.verify_directly_issued_by(issuer)
    except (InvalidSignature, *cose.UNREADABLE) as error:
        raise VoucherError(f"the device's certificate chain does not hold: {error or 'a bad signature'}") from error
    cose.algorithms(voucher.device_key)
