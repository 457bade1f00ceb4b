"""What the rendezvous knows and shows: registrations, and the rules that say whose devices may be registered.

Everything here is pure. The protocol's own structures are in `ashore.fdo`.
"""

import hashlib
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Annotated, Final, Literal, NamedTuple

import msgspec
from msgspec import Meta

from ashore import cbor
from ashore.fdo import rvinfo
from ashore.fdo.errors import AddressError, FdoError, MessageBodyError, OwnerSignError
from ashore.fdo.messages import OwnerSign
from ashore.fdo.types import To2Address
from ashore.fdo.voucher import Voucher

RuleKind = Literal["owner", "manufacturer", "voucher"]
Verdict = Literal["allow", "deny"]
MAX_ADDRESSES: Final = 64
MAX_TO1D: Final = 16 * 1024
"""Bytes of a signed blob; the store takes 64 KiB for all that is kept of a registration."""


class Rule(msgspec.Struct, kw_only=True):
    """What an operator has decided, as it is stored."""

    verdict: Verdict
    comment: str = ""
    set_by: str = ""
    set_at: datetime


class RuleView(Rule, kw_only=True):
    """A rule with whom it is about."""

    kind: RuleKind
    id: Annotated[str, Meta(description="SHA-256 of the key's SubjectPublicKeyInfo in hex, or a device's GUID.")]


class RulePage(msgspec.Struct):
    """A page of rules, and the keys that are admitted without one."""

    items: list[RuleView]
    next: str | None = None
    trusted_keys: Annotated[list[str], Meta(description="From the setting ASHORE_TRUSTED_KEYS.")] = []


class RuleOrder(msgspec.Struct, forbid_unknown_fields=True):
    """A decision."""

    verdict: Verdict
    comment: Annotated[str, Meta(max_length=500)] = ""


class Blob(msgspec.Struct, array_like=True, frozen=True):
    """What is kept of a registration: all that TO1 needs, and nothing of the voucher beside."""

    to1d: bytes
    """The signed blob, to the byte as the owner sent it."""
    device_key: bytes
    """SubjectPublicKeyInfo, DER."""
    keys: list[str]
    """Fingerprints of every key in the voucher: the manufacturer's first, the present owner's last."""
    header: bytes
    """SHA-256 of the voucher's header: it names one voucher, whoever holds it."""
    addresses: list[str]
    registered_at: int
    expires_at: int

    @property
    def owner(self) -> str:
        """Who has registered."""
        return self.keys[-1]

    @property
    def seconds(self) -> int:
        """For how long it was granted."""
        return self.expires_at - self.registered_at

    def encode(self) -> bytes:
        """The stored form."""
        return cbor.dumps(msgspec.to_builtins(self, builtin_types=(bytes,)))

    @classmethod
    def decode(cls, data: bytes) -> "Blob":
        """Read the stored form."""
        return msgspec.convert(cbor.loads(data), Blob)


class RegistrationView(msgspec.Struct, kw_only=True):
    """A registration as people see it."""

    guid: str
    owner_key: str
    manufacturer_key: str
    sales: Annotated[int, Meta(description="How often the voucher was extended.")]
    addresses: list[str]
    registered_at: datetime
    expires_at: datetime


class RegistrationPage(msgspec.Struct):
    """A page of registrations, by GUID."""

    items: list[RegistrationView]
    next: str | None = None


class Claim(NamedTuple):
    """Who wants to register what, before any of it is proven."""

    guid: str
    manufacturer: str
    """Fingerprint."""
    owner: str
    """The present one's fingerprint."""

    @property
    def subjects(self) -> list[tuple[RuleKind, str]]:
        """Whom a rule must name to admit the registration."""
        return [("voucher", self.guid), ("manufacturer", self.manufacturer), ("owner", self.owner)]


def read_claim(message: OwnerSign) -> Claim:
    """What a registration says of itself; raise FdoError where it cannot be read.

    Of a stranger's voucher no more is read than that: the keys of 255 former owners would be work for 6 ms.
    """
    try:
        content = cbor.loads(message.to0d)
    except cbor.CborError as error:
        raise MessageBodyError(f"to0d cannot be read: {error}") from error
    match content:
        case [item, _, _]:
            voucher = Voucher.of(item)
        case _:
            raise MessageBodyError("to0d is not voucher, seconds and nonce")
    manufacturer, owner = voucher.header.public_key, voucher.owner_public_key
    return Claim(voucher.guid.hex(), manufacturer.fingerprint(), owner.fingerprint())


def header_digest(voucher: Voucher) -> bytes:
    """What names a voucher."""
    return hashlib.sha256(voucher.header_bytes).digest()


def check_succession(guid: str, present: Blob, new: Blob) -> None:
    """Raise OwnerSignError unless a live registration may make room for a new one.

    A former owner's voucher stays valid for ever, so the last to come must not simply win. What may follow is the same
    voucher, sold on; any voucher of the same owner; or one that begins with that owner's key, which has onboarded the
    device and sold it on.
    """
    if present.header == new.header:
        follows = new.keys[: len(present.keys)] == present.keys
    else:
        follows = new.keys[0] == present.owner
    if follows or new.owner == present.owner:
        return
    raise OwnerSignError(
        f"this device is registered by another owner, {present.owner}, whom this voucher does not follow; "
        f"if that one has given it up, the rendezvous' operator runs `ashore rendezvous forget {guid}`"
    )


def moment(seconds: float) -> datetime:
    """A time for people, from seconds since 1970."""
    return datetime.fromtimestamp(seconds, UTC)


def urls(addresses: Sequence[To2Address]) -> list[str]:
    """The addresses as URLs, best first; raise OwnerSignError or AddressError where they are of no use."""
    found = [url for address in addresses for url in _urls(address)]
    if not 1 <= len(found) <= MAX_ADDRESSES:
        raise OwnerSignError(f"the blob names {len(found)} addresses; from 1 to {MAX_ADDRESSES} are accepted")
    return found


def _urls(address: To2Address) -> Iterable[str]:
    scheme = address.protocol.name.lower()
    try:
        ip = None if address.ip is None else rvinfo.unpacked(address.ip)
    except ValueError as error:
        raise AddressError("an IP address has 4 or 16 bytes") from error
    if not address.dns and ip is None:
        raise AddressError("an address has neither a DNS name nor an IP address")
    hosts = [address.dns, f"[{ip}]" if ip and ":" in ip else ip]
    return [f"{scheme}://{host}:{address.port}" for host in hosts if host]


class NotAdmittedError(FdoError):
    """Nobody has allowed this registration."""

    code = OwnerSignError.code


def denied(kind: RuleKind, name: str, comment: str) -> NotAdmittedError:
    """The answer to one whom a rule denies."""
    return NotAdmittedError(f"the rendezvous' operator denies the {kind} {name}{f': {comment}' if comment else ''}")


def unknown(claim: Claim) -> NotAdmittedError:
    """The answer to one whom nothing allows: what the operator must do."""
    return NotAdmittedError(
        "this rendezvous registers only devices that its operator allows; to allow this one, run "
        f"`ashore rendezvous allow manufacturer {claim.manufacturer}` for all devices of their maker, "
        f"`ashore rendezvous allow owner {claim.owner}` for all of their owner, "
        f"or `ashore rendezvous allow voucher {claim.guid}` for this one"
    )
