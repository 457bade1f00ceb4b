"""ECDSA as FDO uses it, by AWS-LC where it is installed (extra `fast`), otherwise by the OpenSSL of `cryptography`.

On P-384 AWS-LC signs and verifies three times as fast, and these are half of what such an onboarding costs (ADR 0013).
Keys are those of `cryptography` everywhere else, and a signature is the same to whoever reads it.
"""

import hashlib
from collections.abc import Callable
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

try:
    from awscrt import crypto as aws
except ImportError:
    aws = None  # type: ignore[assignment]  # it may be missing

FAST: Final = aws is not None

Sign = Callable[[bytes], bytes]
"""From data to its signature, DER."""

_SCHEMES: Final = {"secp256r1": ec.ECDSA(hashes.SHA256()), "secp384r1": ec.ECDSA(hashes.SHA384())}
_DIGESTS: Final = {"secp256r1": hashlib.sha256, "secp384r1": hashlib.sha384}


def signer(key: ec.EllipticCurvePrivateKey, *, fast: bool = FAST) -> Sign:
    """Make what signs with a key on P-256 or P-384, with the hash of the curve's strength (RFC 9053, section 2.1)."""
    if not fast:
        scheme = _SCHEMES[key.curve.name]
        return lambda data: key.sign(data, scheme)
    digest = _DIGESTS[key.curve.name]
    quick = aws.EC.new_key_from_der_data(
        key.private_bytes(Encoding.DER, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    )
    return lambda data: bytes(quick.sign(digest(data).digest()))


def verifies(key: ec.EllipticCurvePublicKey, signature: bytes, data: bytes, *, fast: bool = FAST) -> bool:
    """Whether a signature, DER, over data was made with the private half of a key on P-256 or P-384."""
    if fast:
        quick = aws.EC.new_key_from_der_data(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))
        return bool(quick.verify(_DIGESTS[key.curve.name](data).digest(), signature))
    try:
        key.verify(signature, data, _SCHEMES[key.curve.name])
    except InvalidSignature:
        return False
    return True
