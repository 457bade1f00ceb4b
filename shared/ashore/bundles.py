"""Bundles of public keys: a PEM text with a block for each kind of key that an owner or a manufacturer has."""

import re
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

from ashore import cose
from ashore.certificates import CertificateError, supported

# Up to the next dash and no further: a text full of beginnings is not read to its end for each of them.
_BLOCK: Final = re.compile(rb"-----BEGIN (PUBLIC KEY|CERTIFICATE)-----[^-]+-----END \1-----")


class BundleError(ValueError):
    """The text holds no public key, or one that FDO does not use."""


def read(text: bytes) -> list[cose.PublicKey]:
    """The keys of all `PUBLIC KEY` and `CERTIFICATE` blocks, in order; raise BundleError where there is none."""
    blocks = [(match[1], match[0]) for match in _BLOCK.finditer(text)]
    if not blocks:
        raise BundleError("the text holds no PEM block labelled PUBLIC KEY or CERTIFICATE")
    try:
        return [_key(label, block) for label, block in blocks]
    except (CertificateError, *cose.UNREADABLE) as error:
        raise BundleError(f"a key of the bundle cannot be used: {error}") from error


def of_kind(keys: list[cose.PublicKey], like: cose.PublicKey) -> cose.PublicKey | None:
    """The first key of the same kind as another."""
    return next((key for key in keys if cose.algorithms(key) == cose.algorithms(like)), None)


def to_pem(key: cose.PublicKey) -> str:
    """One block."""
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def _key(label: bytes, block: bytes) -> cose.PublicKey:
    if label == b"CERTIFICATE":
        return supported(x509.load_pem_x509_certificate(block).public_key())
    return supported(load_pem_public_key(block))
