"""What the manufacturer knows and shows: vouchers, where devices look for their owner, and to whom they are sold.

Everything here is pure. The protocol's own structures are in `ashore.fdo`.
"""

import ipaddress
from collections.abc import Sequence
from datetime import datetime
from fnmatch import fnmatchcase
from typing import Annotated, Final, Literal, NamedTuple
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from ashore import cbor, cose
from ashore.cose import Signer
from ashore.fdo import voucher as vouchers
from ashore.fdo.codec import convert
from ashore.fdo.rvinfo import Directive, RvInfo
from ashore.fdo.types import Hash, KeyEncoding, KeyType, PublicKey, encode_public_key, fingerprint
from ashore.fdo.voucher import Voucher
from ashore.keys import KeyKind

VoucherState = Literal["issued", "extended"]
"""`issued`: the manufacturer still owns the device. `extended`: the voucher was signed over to a buyer."""
Fingerprint = Annotated[str, Meta(description="SHA-256 of a public key's SubjectPublicKeyInfo, in hex.")]
AUTHORITIES: Final[tuple[KeyKind, ...]] = ("p256", "p384")
"""The kinds of keys with which devices' certificates are signed."""
_KINDS: Final[dict[int, KeyKind]] = {
    cose.ES256: "p256",
    cose.ES384: "p384",
    cose.RS256: "rsa2048",
    cose.RS384: "rsa3072",
}
_PORTS: Final = {"http": 80, "https": 443}
_LONGEST_DNS: Final = 80


class UrlError(ValueError):
    """A URL cannot become a rendezvous directive; the message is the end of a sentence that begins with its source."""


class VoucherSummary(msgspec.Struct, kw_only=True):
    """A voucher in a list."""

    guid: str
    serial: Annotated[str, Meta(description="As the device said it in DI; it may hold any character, or none.")]
    device_info: str
    state: VoucherState
    key_type: Annotated[str, Meta(description="Type of the manufacturer's key in the voucher.")]
    owner_key: Fingerprint
    created_at: datetime
    extended_at: datetime | None = None


class VoucherDetail(VoucherSummary, kw_only=True):
    """A voucher with what it says."""

    digest: Annotated[str, Meta(description="SHA-256 over the voucher's CBOR, in hex.")]
    key_encoding: str
    device_key: Fingerprint
    owners: Annotated[list[Fingerprint], Meta(description="The manufacturer's key first, the present owner's last.")]
    rv_info: list[Directive]


class VoucherPage(msgspec.Struct):
    """A page of vouchers, newest first; search results by serial."""

    items: list[VoucherSummary]
    next: str | None = None


class SaleRule(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Whoever fits is sold to these keys as soon as it is made; the first rule that fits decides."""

    serial: Annotated[str, Meta(max_length=255, description="A pattern with `*`, `?` and `[]`.")] | None = None
    device_info: Annotated[str, Meta(max_length=255, description="A pattern with `*`, `?` and `[]`.")] | None = None
    owner_keys: Annotated[str, Meta(description="PEM bundle of the buyer's public keys, one for each kind.")]

    def fits(self, serial: str, device_info: str) -> bool:
        """Whether a device is meant."""
        return (self.serial is None or fnmatchcase(serial, self.serial)) and (
            self.device_info is None or fnmatchcase(device_info, self.device_info)
        )


class Party:
    """A buyer's keys, the first of each kind, or one of the manufacturer's with its certificates.

    Every form that devices ask for is made once.
    """

    def __init__(self, keys: Sequence[cose.PublicKey], chain: tuple[bytes, ...] = ()) -> None:
        self._keys = {kind_of(key): key for key in reversed(keys)}
        self._chain = chain
        self._encoded: dict[tuple[KeyKind, KeyEncoding, KeyType], PublicKey] = {}
        self.fingerprints = {kind: fingerprint(key) for kind, key in self._keys.items()}

    def encoded(self, kind: KeyKind, encoding: KeyEncoding, key_type: KeyType) -> PublicKey:
        """The key of a kind in the form that a device asks for; raise KeyError where there is none."""
        found = self._encoded.get((kind, encoding, key_type))
        if found is None:
            # No device is known that reads RSA in a COSE_Key; the Go client asks for it, and then fails.
            usable = KeyEncoding.X509 if encoding is KeyEncoding.COSEKEY and kind.startswith("rsa") else encoding
            found = encode_public_key(self._keys[kind], usable, self._chain, key_type)
            self._encoded[kind, encoding, key_type] = found
        return found


class Policy(NamedTuple):
    """What new devices are told, and to whom they are sold."""

    rv_info: RvInfo
    rules: Sequence[tuple[SaleRule, Party]] = ()
    sell_to: Party | None = None

    def buyer(self, serial: str, device_info: str) -> Party | None:
        """Who buys a device; None where it stays the manufacturer's."""
        return next((buyer for rule, buyer in self.rules if rule.fits(serial, device_info)), self.sell_to)


class Sale(NamedTuple):
    """A voucher signed over to a buyer."""

    voucher: Voucher
    owner_key: str
    """Fingerprint of the buyer's key."""


def sell(voucher: Voucher, seller: Signer, buyer: Party) -> Sale | None:
    """Extend a voucher to the buyer's key of the right kind; None where the buyer has none of that kind."""
    kind = kind_of(seller.public_key)
    if kind not in buyer.fingerprints:
        return None
    header = voucher.header.public_key
    # Encoded as the header's key, because a constrained device reads one encoding only.
    key = buyer.encoded(kind, header.encoding, header.type)
    return Sale(vouchers.extend(voucher, seller, key), buyer.fingerprints[kind])


def kind_of(key: cose.PublicKey) -> KeyKind:
    """What kind of key it is."""
    return _KINDS[cose.algorithms(key)[0]]


def kind_for(choice: Literal["match"] | KeyKind, device: cose.PublicKey) -> KeyKind:
    """Which of the manufacturer's keys goes with a device."""
    return kind_of(device) if choice == "match" else choice


def authority_for(device: cose.PublicKey) -> KeyKind:
    """Which authority signs a device's certificate: one that is no weaker than the device's own key."""
    return "p384" if kind_of(device) in ("p384", "rsa3072") else "p256"


def directives(urls: Sequence[str]) -> list[Directive]:
    """RendezvousInfo that leads to these URLs; raise UrlError."""
    if not urls:
        raise UrlError("is empty: devices would never find their owner")
    return [_directive_of(url) for url in urls]


def _directive_of(url: str) -> Directive:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise UrlError(f"has '{url}': {error}") from error
    if parts.scheme not in _PORTS or not host or len(host) > _LONGEST_DNS or parts.path not in ("", "/"):
        raise UrlError(f"has '{url}': expected http://host:port or https://host:port")
    port = port or _PORTS[parts.scheme]
    ip = _is_address(host)
    directive = Directive(
        dns=None if ip else host,
        ip=host if ip else None,
        protocol="http" if parts.scheme == "http" else "https",
        device_port=port,
        owner_port=port,
    )
    if not directive.urls():
        raise UrlError(f"has '{url}': no host has this name or address; give one under which devices reach it")
    return directive


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def check_hashes(given: Sequence[Directive]) -> None:
    """Raise ValueError or MessageBodyError where a certificate's hash is not a Hash in hex."""
    for text in (text for one in given for text in (one.sv_cert_hash, one.cl_cert_hash) if text is not None):
        convert(cbor.loads(bytes.fromhex(text)), Hash)


def dead_end(given: Sequence[Directive]) -> str | None:
    """Why these directives lead a device nowhere, or its owner to no place where the device would ask."""
    ways = [one for one in given if _hosts(one)]
    if not ways:
        return "no device finds its owner by them"
    if any(one.rv_bypass for one in ways) or any(_hosts(one, owner=True) and not one.rv_bypass for one in given):
        return None
    return "no owner can register by them what devices ask for"


def _hosts(given: Directive, *, owner: bool = False) -> list[str]:
    # C clients, and owners of others, take https where no protocol is named.
    return msgspec.structs.replace(given, protocol=given.protocol or "https").urls(owner=owner)


def warnings(given: Sequence[Directive]) -> list[str]:
    """What devices in the field make of these directives, seen in the C and the Go client's code: a sentence each."""
    return [warning for one in enumerate(given, 1) for warning in _warnings(*one)]


def _warnings(number: int, given: Directive) -> list[str]:
    refused = "C clients refuse the whole list and end their initialisation"
    quirks = {
        f"an IPv6 address: {refused}": ":" in (given.ip or ""),
        f"wifi_ssid: {refused}": given.wifi_ssid is not None,
        f"user_input: {refused}": given.user_input,
        f"ext_rv: {refused}": given.ext_rv is not None,
        f"the protocol {given.protocol}: devices skip the directive; use http or https": (
            given.protocol not in (None, *_PORTS)
        ),
        "no protocol: Go clients and our owners cannot use the directive, C clients assume https": (
            given.protocol is None and (given.dns or given.ip) is not None
        ),
        "no device_port: C clients cannot use the directive": (
            given.device_port is None and not given.owner_only and (given.dns or given.ip) is not None
        ),
        "a name or an address that no host has: it leads nobody there": _misleads(given),
        "a link-local address: our owners do not register there": _is_link_local(given.ip) and not given.rv_bypass,
    }
    return [f"directive {number} has {quirk}" for quirk, present in quirks.items() if present]


def _misleads(given: Directive) -> bool:
    reached = msgspec.structs.replace(given, protocol="https", owner_only=False).urls()
    return len(reached) < sum(host is not None for host in (given.dns, given.ip))


def _is_link_local(address: str | None) -> bool:
    return address is not None and ipaddress.ip_address(address).is_link_local
