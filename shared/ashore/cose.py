"""The part of COSE (RFC 9052, RFC 9053) that FDO 1.1 uses: Sign1, with ECDSA and RSA, and COSE_Key.

Sign1 keeps the bytes it was made of, so that a verified structure is the received one. The encrypted structures stand
with the ciphers in `ashore.fdo.ciphers`, because they are bound to the session's keys. External data is empty
everywhere in FDO 1.1.
"""

from collections.abc import Mapping
from typing import Final, Protocol

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from ashore import cbor, ecdsa

ES256: Final = -7
ES384: Final = -35
PS256: Final = -37
PS384: Final = -38
RS256: Final = -257
RS384: Final = -258

ALGORITHM: Final = 1
"""Header label `alg`."""

PublicKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey
PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey

UNREADABLE: Final = (ValueError, TypeError, UnsupportedAlgorithm, x509.InvalidVersion)
"""What cryptography raises for a key or a certificate that it cannot read; the last two are no ValueErrors."""

_HASHES: Final = {
    ES256: hashes.SHA256(),
    ES384: hashes.SHA384(),
    PS256: hashes.SHA256(),
    PS384: hashes.SHA384(),
    RS256: hashes.SHA256(),
    RS384: hashes.SHA384(),
}
_EC_ALGORITHMS: Final = {"secp256r1": ES256, "secp384r1": ES384}
_RSA_ALGORITHMS: Final = {2048: (RS256, PS256), 3072: (RS384, PS384)}
_PROTECTED: Final = {algorithm: cbor.dumps({ALGORITHM: algorithm}) for algorithm in _HASHES}
_ALGORITHM_OF: Final = {protected: algorithm for algorithm, protected in _PROTECTED.items()}
_CONTEXT: Final = b"\x84" + cbor.dumps("Signature1")
_SHORTEST_MISSING: Final = 4
"""How many leading zero bytes a sloppy signer may have dropped; two happen once in 65,536 signatures."""


class CoseError(ValueError):
    """The structure is not what COSE says, or does not verify."""


class Signer(Protocol):
    """A private key that may live anywhere: in a file, in an HSM, in a TPM."""

    @property
    def algorithm(self) -> int:
        """The COSE algorithm of its signatures."""

    @property
    def public_key(self) -> PublicKey:
        """The public half."""

    @property
    def chain(self) -> tuple[bytes, ...]:
        """Its certificates, DER, leaf first; empty where it has none."""

    def sign(self, data: bytes) -> bytes:
        """The signature over `data` in COSE's form: r and s of fixed width, or an RSA signature."""

    def decrypt(self, ciphertext: bytes) -> bytes:
        """Undo RSA-OAEP with SHA-256; raise CoseError where the key cannot."""


class Sign1:
    """COSE_Sign1, tag 18. Not a tuple or a Struct, so that msgspec leaves its decoding to `of`."""

    __slots__ = ("payload", "protected", "signature", "unprotected")

    def __init__(self, protected: bytes, unprotected: dict[int, object], payload: bytes, signature: bytes) -> None:
        self.protected = protected
        self.unprotected = unprotected
        self.payload = payload
        self.signature = signature

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sign1) and self.encode() == other.encode()

    def __hash__(self) -> int:
        return hash(self.signature)

    @classmethod
    def of(cls, value: object) -> "Sign1":
        """Take a decoded CBOR item; raise CoseError unless it is a tagged Sign1 with its payload inside."""
        match value:
            case cbor.Tag(tag=cbor.COSE_SIGN1, value=(bytes(protected), unprotected, bytes(payload), bytes(signature))):
                return cls(protected, _header(unprotected), payload, signature)
        raise CoseError("not a COSE_Sign1 structure (tag 18 with four items)")

    def item(self) -> cbor.Tag:
        """The CBOR item, ready to be encoded."""
        return cbor.Tag(cbor.COSE_SIGN1, [self.protected, self.unprotected, self.payload, self.signature])

    def encode(self) -> bytes:
        """The bytes; those that were received, where it was received."""
        return cbor.dumps(self.item())

    def verify(self, key: PublicKey) -> None:
        """Raise CoseError unless `key` made the signature, by an algorithm that suits the key."""
        algorithm = _ALGORITHM_OF.get(self.protected)
        if algorithm is None or algorithm not in algorithms(key):
            raise CoseError("the signature's algorithm does not suit the signer's key")
        data = _to_be_signed(self.protected, self.payload)
        if isinstance(key, rsa.RSAPublicKey):
            _verify_rsa(key, algorithm, self.signature, data)
        else:
            _verify_ec(key, self.signature, data)


def sign1(signer: Signer, payload: bytes, unprotected: dict[int, object] | None = None) -> Sign1:
    """Sign `payload`; the map in `unprotected` must be in deterministic order already."""
    protected = _PROTECTED[signer.algorithm]
    return Sign1(protected, unprotected or {}, payload, signer.sign(_to_be_signed(protected, payload)))


def algorithms(key: PublicKey) -> tuple[int, ...]:
    """The signature algorithms that FDO pairs with a key, the preferred one first; raise CoseError for other keys."""
    if isinstance(key, rsa.RSAPublicKey):
        found = _RSA_ALGORITHMS.get(key.key_size)
        if found is None:
            raise CoseError(f"RSA keys have 2048 or 3072 bits here, not {key.key_size}")
        return found
    algorithm = _EC_ALGORITHMS.get(key.curve.name)
    if algorithm is None:
        raise CoseError(f"the curves are P-256 and P-384, not {key.curve.name}")
    return (algorithm,)


def decrypt_oaep(key: PrivateKey, ciphertext: bytes) -> bytes:
    """Undo RSA-OAEP with SHA-256 (FDO 1.1, section 3.6.2)."""
    if not isinstance(key, rsa.RSAPrivateKey):
        raise CoseError("asymmetric key exchange needs an RSA owner key")
    try:
        return key.decrypt(ciphertext, oaep())
    except ValueError as error:
        raise CoseError("the key exchange parameter cannot be decrypted") from error


def oaep() -> padding.OAEP:
    """RSA-OAEP with SHA-256."""
    return padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None)


class KeySigner:
    """A Signer whose private key is in memory."""

    def __init__(self, key: PrivateKey, chain: tuple[bytes, ...] = ()) -> None:
        self._key = key
        self.public_key: PublicKey = key.public_key()
        self.algorithm = algorithms(self.public_key)[0]
        self.chain = chain
        self._sign = _rsa_signer(key, self.algorithm) if isinstance(key, rsa.RSAPrivateKey) else _ec_signer(key)

    def sign(self, data: bytes) -> bytes:
        """Sign in COSE's form."""
        return self._sign(data)

    def decrypt(self, ciphertext: bytes) -> bytes:
        """Undo RSA-OAEP with SHA-256."""
        return decrypt_oaep(self._key, ciphertext)


def encode_key(key: PublicKey) -> dict[int, object]:
    """COSE_Key of an EC2 or RSA key, labels in deterministic order, coordinates padded (RFC 9053, section 7.1.1)."""
    if isinstance(key, rsa.RSAPublicKey):
        numbers = key.public_numbers()
        return {1: 3, -1: _minimal(numbers.n), -2: _minimal(numbers.e)}
    point = key.public_numbers()
    width = (key.curve.key_size + 7) // 8
    curve = 1 if key.curve.name == "secp256r1" else 2
    return {1: 2, -1: curve, -2: point.x.to_bytes(width, "big"), -3: point.y.to_bytes(width, "big")}


def decode_key(value: object) -> PublicKey:
    """The key in a COSE_Key; a coordinate may lack its leading zeros, as the Go library writes it."""
    match _header(value):
        case {-1: int(curve), -2: bytes(x), -3: bytes(y)} if curve in (1, 2):
            return _point(ec.SECP256R1() if curve == 1 else ec.SECP384R1(), x, y)
        case {1: 3, -1: bytes(n), -2: bytes(e)}:
            return _rsa_key(n, e)
    raise CoseError("not a COSE_Key of an elliptic curve or RSA")


def _point(curve: ec.EllipticCurve, x: bytes, y: bytes) -> ec.EllipticCurvePublicKey:
    try:
        return ec.EllipticCurvePublicNumbers(int.from_bytes(x, "big"), int.from_bytes(y, "big"), curve).public_key()
    except ValueError as error:
        raise CoseError("the point is not on the curve") from error


def _rsa_key(n: bytes, e: bytes) -> rsa.RSAPublicKey:
    try:
        return rsa.RSAPublicNumbers(int.from_bytes(e, "big"), int.from_bytes(n, "big")).public_key()
    except ValueError as error:
        raise CoseError(f"the numbers are no RSA key: {error}") from error


def _header(value: object) -> dict[int, object]:
    if isinstance(value, Mapping):  # a dict, or what cbor2 freezes below a tag
        return dict(value)
    raise CoseError("a header is not a map")


def _minimal(number: int) -> bytes:
    return number.to_bytes((number.bit_length() + 7) // 8, "big")


def _to_be_signed(protected: bytes, payload: bytes) -> bytes:
    """Sig_structure of RFC 9052, section 4.4, with empty external data."""
    return _CONTEXT + cbor.dumps(protected) + b"\x40" + cbor.dumps(payload)


def _rsa_signer(key: rsa.RSAPrivateKey, algorithm: int) -> ecdsa.Sign:
    return lambda data: key.sign(data, _rsa_padding(algorithm), _HASHES[algorithm])


def _ec_signer(key: ec.EllipticCurvePrivateKey) -> ecdsa.Sign:
    sign, width = ecdsa.signer(key), (key.key_size + 7) // 8

    def signed(data: bytes) -> bytes:
        r, s = decode_dss_signature(sign(data))
        return r.to_bytes(width, "big") + s.to_bytes(width, "big")

    return signed


def _rsa_padding(algorithm: int) -> padding.AsymmetricPadding:
    if algorithm in (PS256, PS384):
        return padding.PSS(padding.MGF1(_HASHES[algorithm]), padding.PSS.DIGEST_LENGTH)
    return padding.PKCS1v15()


def _verify_rsa(key: rsa.RSAPublicKey, algorithm: int, signature: bytes, data: bytes) -> None:
    try:
        key.verify(signature, data, _rsa_padding(algorithm), _HASHES[algorithm])
    except InvalidSignature as error:
        raise CoseError("the signature does not verify") from error


def _verify_ec(key: ec.EllipticCurvePublicKey, signature: bytes, data: bytes) -> None:
    """Try r and s at their fixed width; where bytes are missing, try each split that a sloppy signer may have made.

    The C client drops leading zeros of r and of s, so about one signature in a hundred is a byte short.
    """
    width = (key.key_size + 7) // 8
    missing = 2 * width - len(signature)
    if not 0 <= missing <= _SHORTEST_MISSING:
        raise CoseError(f"an ECDSA signature of this key has {2 * width} bytes, not {len(signature)}")
    for short in range(missing + 1):
        split = width - short
        r, s = int.from_bytes(signature[:split], "big"), int.from_bytes(signature[split:], "big")
        if ecdsa.verifies(key, encode_dss_signature(r, s), data):
            return
    raise CoseError("the signature does not verify")
