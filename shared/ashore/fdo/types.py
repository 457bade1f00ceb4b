"""The base types of FDO 1.1 (section 3.3) and the numbers that stand for algorithms, key types and transports.

Each is a msgspec Struct in array form, so that `msgspec.convert` checks types and lengths and `array` gives the CBOR
item back. Values that a peer signed are kept as they came.
"""

import hashlib
import hmac
from enum import IntEnum
from functools import lru_cache
from typing import Annotated, Final

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key

from ashore import cbor, cose
from ashore.fdo.errors import MessageBodyError

PROTOCOL_VERSION: Final = 101
"""FDO 1.1."""

Guid = Annotated[bytes, msgspec.Meta(min_length=16, max_length=16)]
Nonce = Annotated[bytes, msgspec.Meta(min_length=16, max_length=16)]
Uint8 = Annotated[int, msgspec.Meta(ge=0, le=0xFF)]
Uint16 = Annotated[int, msgspec.Meta(ge=0, le=0xFFFF)]
Uint32 = Annotated[int, msgspec.Meta(ge=0, le=0xFFFFFFFF)]


class HashType(IntEnum):
    """Hash and HMAC algorithms (section 3.3.2)."""

    SHA256 = -16
    SHA384 = -43
    HMAC_SHA256 = 5
    HMAC_SHA384 = 6


class KeyType(IntEnum):
    """`pkType` (section 3.3.4)."""

    RSA2048RESTR = 1
    RSAPKCS = 5
    RSAPSS = 6
    SECP256R1 = 10
    SECP384R1 = 11


class KeyEncoding(IntEnum):
    """`pkEnc` (section 3.3.4); 0 is for EPID, which nobody ships any more."""

    X509 = 1
    X5CHAIN = 2
    COSEKEY = 3


class Transport(IntEnum):
    """`TransportProtocol` of RVTO2Addr (section 3.3.15); not the numbers of RVProtocol."""

    TCP = 1
    TLS = 2
    HTTP = 3
    COAP = 4
    HTTPS = 5
    COAPS = 6


_DIGESTS: Final = {
    HashType.SHA256: "sha256",
    HashType.SHA384: "sha384",
    HashType.HMAC_SHA256: "sha256",
    HashType.HMAC_SHA384: "sha384",
}


class Hash(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """`Hash` and `HMac`: an algorithm and its value (section 3.3.2)."""

    type: HashType
    value: Annotated[bytes, msgspec.Meta(min_length=32, max_length=48)]

    def array(self) -> list[object]:
        """The CBOR item."""
        return [int(self.type), self.value]

    def matches(self, *parts: bytes) -> bool:
        """Whether this is the hash of the parts put together, compared in constant time."""
        return self.type < 0 and digest(self.type, *parts).matches_value(self.value)

    def matches_value(self, value: bytes) -> bool:
        """Whether `value` is this hash or MAC, compared in constant time."""
        return hmac.compare_digest(self.value, value)

    def authenticates(self, secret: bytes, data: bytes) -> bool:
        """Whether this is the HMAC of `data` under `secret`, compared in constant time."""
        return self.type > 0 and mac(self.type, secret, data).matches_value(self.value)


def digest(kind: HashType, *parts: bytes) -> Hash:
    """The hash of the parts put together."""
    return Hash(kind, hashlib.new(_DIGESTS[kind], b"".join(parts)).digest())


def mac(kind: HashType, secret: bytes, data: bytes) -> Hash:
    """The HMAC of `data` under `secret`."""
    return Hash(kind, hmac.digest(secret, data, _DIGESTS[kind]))


def strength(device: cose.PublicKey, owner: cose.PublicKey) -> HashType:
    """The hash for a device and its owner: SHA-384 only where both keys are as strong (section 3.3.2)."""
    strong = all(cose.algorithms(key)[0] in (cose.ES384, cose.RS384) for key in (device, owner))
    return HashType.SHA384 if strong else HashType.SHA256


def hmac_type(kind: HashType) -> HashType:
    """The HMAC that goes with a hash."""
    return HashType.HMAC_SHA384 if kind is HashType.SHA384 else HashType.HMAC_SHA256


class SigInfo(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """`eASigInfo` and `eBSigInfo`: how the device signs (section 3.3.5)."""

    type: int
    info: bytes

    def array(self) -> list[object]:
        """The CBOR item."""
        return [self.type, self.info]


class PublicKey(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """`PublicKey`: type, encoding and body as received (section 3.3.4)."""

    type: KeyType
    encoding: KeyEncoding
    body: bytes | list[bytes] | dict[int, int | bytes]

    def array(self) -> list[object]:
        """The CBOR item, to the byte as received."""
        return [int(self.type), int(self.encoding), self.body]

    def encode(self) -> bytes:
        """The CBOR encoding: what the hash of a public key is taken of."""
        return cbor.dumps(self.array())

    def key(self) -> cose.PublicKey:
        """The key itself, checked against the declared type; raise MessageBodyError where they differ."""
        return _key(self.encode())

    def fingerprint(self) -> str:
        """How the key is named (see `fingerprint`); raise MessageBodyError as `key` does."""
        return _fingerprint(self.encode())


@lru_cache(maxsize=512)
def _key(encoded: bytes) -> cose.PublicKey:
    """Parsed once: the same few keys of manufacturers and owners come with every device."""
    declared: PublicKey = msgspec.convert(cbor.loads(encoded), PublicKey)
    try:
        key = _parse(declared)
        if declared.type not in key_types(key):
            raise MessageBodyError(f"the public key is not of the declared type {declared.type.name}")
    except cose.UNREADABLE as error:
        raise MessageBodyError(f"the public key cannot be read: {error}") from error
    return key


def _parse(public_key: PublicKey) -> cose.PublicKey:
    match public_key.encoding, public_key.body:
        case KeyEncoding.X509, bytes(der):
            return _supported(load_der_public_key(der))
        case KeyEncoding.X5CHAIN, [bytes(der), *_]:
            return _supported(x509.load_der_x509_certificate(der).public_key())
        case KeyEncoding.COSEKEY, dict(labels):
            return cose.decode_key(labels)
    raise MessageBodyError("the public key's body does not suit its encoding")


def key_types(key: cose.PublicKey) -> tuple[KeyType, ...]:
    """The key types that a key may be declared as, the usual one first."""
    match cose.algorithms(key)[0]:
        case cose.ES256:
            return (KeyType.SECP256R1,)
        case cose.ES384:
            return (KeyType.SECP384R1,)
        case cose.RS256:
            return (KeyType.RSA2048RESTR, KeyType.RSAPKCS, KeyType.RSAPSS)
    return (KeyType.RSAPKCS, KeyType.RSAPSS)


def encode_public_key(
    key: cose.PublicKey, encoding: KeyEncoding, chain: tuple[bytes, ...] = (), kind: KeyType | None = None
) -> PublicKey:
    """Encode a key as a peer asks for it; X5Chain without certificates becomes X509, which every peer reads."""
    kind = kind if kind in key_types(key) else key_types(key)[0]
    if encoding is KeyEncoding.X5CHAIN and chain:
        return PublicKey(kind, KeyEncoding.X5CHAIN, list(chain))
    if encoding is KeyEncoding.COSEKEY:
        return PublicKey(kind, KeyEncoding.COSEKEY, cose.encode_key(key))  # type: ignore[arg-type]  # ints and bytes
    return PublicKey(kind, KeyEncoding.X509, spki(key))


def spki(key: cose.PublicKey) -> bytes:
    """SubjectPublicKeyInfo, DER: the one form in which we compare keys."""
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def fingerprint(key: cose.PublicKey) -> str:
    """SHA-256 of the SubjectPublicKeyInfo, hex: how owners and manufacturers are named in events and lists."""
    return hashlib.sha256(spki(key)).hexdigest()


@lru_cache(maxsize=512)
def _fingerprint(encoded: bytes) -> str:
    return fingerprint(_key(encoded))


def storable(text: str) -> str:
    """The text as databases and screens can hold it: NUL, which a careless device may send, becomes its symbol."""
    return text.replace("\0", "\u2400")


class To2Address(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """`RVTO2Addr`: where an owner listens (section 3.3.15)."""

    ip: Annotated[bytes, msgspec.Meta(min_length=4, max_length=16)] | None
    dns: Annotated[str, msgspec.Meta(max_length=255)] | None
    port: Uint16
    protocol: Transport

    def array(self) -> list[object]:
        """The CBOR item."""
        return [self.ip, self.dns, self.port, int(self.protocol)]


def _supported(key: object) -> cose.PublicKey:
    if isinstance(key, (ec.EllipticCurvePublicKey, rsa.RSAPublicKey)):
        return key
    raise MessageBodyError("only elliptic curve and RSA keys are used in FDO")
