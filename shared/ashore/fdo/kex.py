"""Key exchange between device and owner (FDO 1.1, section 3.6).

The owner speaks first (`xA` in message 61) and keeps a secret until the device has answered (`xB` in message 64). Both
sides then have the same `Shared`, from which `derive` makes the session's keys. Randomness comes in through `Entropy`.
"""

import hmac
from enum import StrEnum
from typing import Final, NamedTuple, Protocol

from cryptography.hazmat.primitives.asymmetric import ec, rsa

from ashore import cose
from ashore.fdo.ciphers import CipherSuite, SessionKeys, SvkLength, svk_size
from ashore.fdo.errors import InvalidMessageError, MessageBodyError
from ashore.fdo.kex_groups import PRIMES


class KexSuite(StrEnum):
    """`KexSuiteNames` as they stand on the wire."""

    DHKEXID14 = "DHKEXid14"
    DHKEXID15 = "DHKEXid15"
    ASYMKEX2048 = "ASYMKEX2048"
    ASYMKEX3072 = "ASYMKEX3072"
    ECDH256 = "ECDH256"
    ECDH384 = "ECDH384"


class Entropy(Protocol):
    """Where randomness comes from: the operating system, or a test."""

    def random(self, size: int) -> bytes:
        """`size` unpredictable bytes."""

    def ec_key(self, curve: ec.EllipticCurve) -> ec.EllipticCurvePrivateKey:
        """A fresh key on the curve."""


class Shared(NamedTuple):
    """What both sides know after the exchange: the shared secret and the random that goes into the context."""

    secret: bytes
    context: bytes = b""


class OwnerSecret(NamedTuple):
    """What the owner keeps between 61 and 64: its key, exponent or nothing, and its random."""

    key: ec.EllipticCurvePrivateKey | int | None
    random: bytes
    number: int = 0
    """Of a key on a curve, where it was worked out: on P-384 that costs as much as a third of a signature."""


_CURVES: Final[dict[KexSuite, tuple[ec.EllipticCurve, int]]] = {
    KexSuite.ECDH256: (ec.SECP256R1(), 16),
    KexSuite.ECDH384: (ec.SECP384R1(), 48),
}
_GROUPS: Final = {KexSuite.DHKEXID14: (2048, 32), KexSuite.DHKEXID15: (3072, 96)}
_ASYMMETRIC: Final = {KexSuite.ASYMKEX2048: 32, KexSuite.ASYMKEX3072: 96}
_GENERATOR: Final = 2


def suits(suite: KexSuite, owner: cose.PublicKey) -> bool:
    """Whether the exchange goes with the owner's key (section 3.6.5)."""
    if isinstance(owner, rsa.RSAPublicKey):
        weak = owner.key_size == 2048  # noqa: PLR2004  # the size is the name
        return suite in (
            (KexSuite.DHKEXID14, KexSuite.ASYMKEX2048) if weak else (KexSuite.DHKEXID15, KexSuite.ASYMKEX3072)
        )
    return suite is (KexSuite.ECDH256 if owner.key_size == 256 else KexSuite.ECDH384)  # noqa: PLR2004  # P-256


def owner_start(suite: KexSuite, entropy: Entropy) -> tuple[bytes, OwnerSecret]:
    """`xA` and what must be kept to understand `xB`."""
    if suite in _CURVES:
        curve, size = _CURVES[suite]
        key = entropy.ec_key(curve)
        random = entropy.random(size)
        while random[0] == 0:
            # The C client trims leading zeros of the owner's random and would then derive other keys.
            random = entropy.random(size)
        numbers = key.private_numbers()
        return _ecdh_parameter(numbers.public_numbers, random), OwnerSecret(key, random, numbers.private_value)
    if suite in _GROUPS:
        bits, size = _GROUPS[suite]
        exponent = int.from_bytes(entropy.random(size), "big")
        return _minimal(pow(_GENERATOR, exponent, PRIMES[bits])), OwnerSecret(exponent, b"")
    random = entropy.random(_ASYMMETRIC[suite])
    return random, OwnerSecret(None, random)


def owner_finish(suite: KexSuite, secret: OwnerSecret, xb: bytes, signer: cose.Signer) -> Shared:
    """The shared secret, from the device's `xB`."""
    match secret.key:
        case int(exponent):
            return _dh_shared(_GROUPS[suite][0], exponent, xb)
        case None:
            try:
                return Shared(signer.decrypt(xb), secret.random)
            except cose.CoseError as error:
                raise InvalidMessageError(str(error)) from error
    public, random = _read_ecdh(suite, xb)
    return Shared(secret.key.exchange(ec.ECDH(), public) + random + secret.random)


def device_answer(suite: KexSuite, xa: bytes, owner: cose.PublicKey, entropy: Entropy) -> tuple[bytes, Shared]:
    """`xB` and the shared secret, from the owner's `xA`."""
    if suite in _CURVES:
        public, owner_random = _read_ecdh(suite, xa)
        curve, size = _CURVES[suite]
        key, random = entropy.ec_key(curve), entropy.random(size)
        return (
            _ecdh_parameter(key.public_key().public_numbers(), random),
            Shared(key.exchange(ec.ECDH(), public) + random + owner_random),
        )
    if suite in _GROUPS:
        bits, size = _GROUPS[suite]
        exponent = int.from_bytes(entropy.random(size), "big")
        return _minimal(pow(_GENERATOR, exponent, PRIMES[bits])), _dh_shared(bits, exponent, xa)
    if not isinstance(owner, rsa.RSAPublicKey):
        raise InvalidMessageError("asymmetric key exchange needs an RSA owner key")
    random = entropy.random(_ASYMMETRIC[suite])
    return owner.encrypt(random, cose.oaep()), Shared(random, xa)


def derive(suite: CipherSuite, shared: Shared, svk_length: SvkLength) -> SessionKeys:
    """The session's keys: SP 800-108 in counter mode, with FDO's label and context (section 3.6.4)."""
    facts = suite.facts
    size = facts.key + svk_size(suite, svk_length)
    tail = b"FIDO-KDF\x00AutomaticOnboardTunnel" + shared.context + (8 * size).to_bytes(2, "big")
    output = b""
    counter = 0
    while len(output) < size:
        counter += 1
        output += hmac.digest(shared.secret, bytes([counter]) + tail, facts.prf)
    return SessionKeys(suite, output[: facts.key], output[facts.key : size])


def _ecdh_parameter(point: ec.EllipticCurvePublicNumbers, random: bytes) -> bytes:
    """Length-prefixed x, y and random (section 3.6.3)."""
    width = (point.curve.key_size + 7) // 8
    parts = (point.x.to_bytes(width, "big"), point.y.to_bytes(width, "big"), random)
    return b"".join(len(part).to_bytes(2, "big") + part for part in parts)


def _read_ecdh(suite: KexSuite, parameter: bytes) -> tuple[ec.EllipticCurvePublicKey, bytes]:
    """The peer's point and random; a coordinate may be short, as the C client drops leading zeros."""
    parts: list[bytes] = []
    rest = parameter
    while rest:
        size = int.from_bytes(rest[:2], "big")
        parts.append(rest[2 : 2 + size])
        if len(rest) < 2 + size or len(parts) > 3:  # noqa: PLR2004  # x, y, random
            raise MessageBodyError("the key exchange parameter is cut short")
        rest = rest[2 + size :]
    curve, longest = _CURVES[suite]
    match parts:
        case [x, y, random] if len(random) <= longest:
            numbers = ec.EllipticCurvePublicNumbers(int.from_bytes(x, "big"), int.from_bytes(y, "big"), curve)
            try:
                return numbers.public_key(), random
            except ValueError as error:
                raise InvalidMessageError("the key exchange parameter is no point of the curve") from error
    raise MessageBodyError("the key exchange parameter is not x, y and a random")


def _dh_shared(bits: int, exponent: int, peer: bytes) -> Shared:
    """Padded to the modulus, as go-fdo has it. The checks are those of SP 800-56A, sections 5.6.2.3.2 and 5.7.1.1."""
    modulus = PRIMES[bits]
    public = int.from_bytes(peer, "big")
    if not _GENERATOR <= public <= modulus - 2:
        raise InvalidMessageError("the Diffie-Hellman parameter is outside its group")
    secret = pow(public, exponent, modulus)
    if secret in (0, 1, modulus - 1):
        raise InvalidMessageError("the Diffie-Hellman parameter leads to a trivial secret")
    return Shared(secret.to_bytes(bits // 8, "big"))


def _minimal(number: int) -> bytes:
    return number.to_bytes((number.bit_length() + 7) // 8, "big")
