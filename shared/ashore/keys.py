"""Private keys in a folder: made at the first start, loaded once, used as objects.

A service asks its FileKeyStore for a `cose.Signer` by role and kind of key; behind that port a PKCS#11 module or a TPM
can stand later. Files are `<role>-<kind>.pem` (mode 0600) with the certificates beside them in `<role>-<kind>.crt`. An
operator may put own keys and chains there instead. RSA keys take 60 to 160 ms to make, so each key is made when it is
first asked for.
"""

import re
import secrets
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal, get_args

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from ashore import cose, files
from ashore.certificates import DeviceAuthority, self_signed

KeyKind = Literal["p256", "p384", "rsa2048", "rsa3072"]
KINDS: Final[tuple[KeyKind, ...]] = get_args(KeyKind)

_ALGORITHMS: Final[dict[KeyKind, int]] = {
    "p256": cose.ES256,
    "p384": cose.ES384,
    "rsa2048": cose.RS256,
    "rsa3072": cose.RS384,
}
SESSION_KEY_SIZE: Final = 32

_SESSION_KEY: Final = re.compile(r"[0-9a-fA-F]{64}")
_ROLE: Final = re.compile(r"[a-z][a-z0-9-]*")


class KeysError(Exception):
    """A key file cannot be used; the text names it, says why and what to do."""


class FileKeyStore:
    """The keys of one folder; two processes that start with it empty end with the same keys."""

    def __init__(self, directory: Path, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._directory = directory
        self._clock = clock
        self._signers: dict[tuple[str, KeyKind], cose.KeySigner] = {}
        self._authorities: dict[KeyKind, DeviceAuthority] = {}

    def signer(self, role: str, kind: KeyKind) -> cose.KeySigner:
        """The key of a role, with its certificates; made where it is missing."""
        signer = self._signers.get((role, kind))
        if signer is None:
            signer = self._signers[role, kind] = self._load_signer(role, kind)
        return signer

    def device_authority(self, kind: KeyKind) -> DeviceAuthority:
        """The authority for devices' certificates whose own key is of this kind; made where it is missing."""
        authority = self._authorities.get(kind)
        if authority is None:
            authority = self._authorities[kind] = self._load_authority(kind)
        return authority

    def session_key(self, given: str | None = None) -> bytes:
        """The key that seals session tokens: 64 hex digits where the settings give it, else a file made once."""
        path = self._directory / "session.key"
        text = given or self._keep(path, lambda: secrets.token_hex(SESSION_KEY_SIZE).encode()).decode(
            "ascii", "replace"
        )
        if not _SESSION_KEY.fullmatch(text.strip()):
            raise KeysError(f"the session key (ASHORE_SESSION_KEY or {path}) is not {2 * SESSION_KEY_SIZE} hex digits")
        return bytes.fromhex(text.strip())

    def _load_signer(self, role: str, kind: KeyKind) -> cose.KeySigner:
        key = self._private_key(role, kind)
        chain = self._certificates(
            role, kind, key, lambda: self_signed(key, f"ashore {role} {kind}", self._clock()).public_bytes(Encoding.PEM)
        )
        return cose.KeySigner(key, tuple(certificate.public_bytes(Encoding.DER) for certificate in chain))

    def _load_authority(self, kind: KeyKind) -> DeviceAuthority:
        key = self._private_key("device-ca", kind)

        def make() -> bytes:
            authority = DeviceAuthority.create(key, f"ashore device CA {kind}", self._clock())
            return x509.load_der_x509_certificate(authority.certificate).public_bytes(Encoding.PEM)

        return DeviceAuthority(key, self._certificates("device-ca", kind, key, make)[0])

    def _private_key(self, role: str, kind: KeyKind) -> cose.PrivateKey:
        path = self._path(role, kind, "pem")
        pem = self._keep(path, lambda: _encode(_generate(kind)))
        try:
            key = load_pem_private_key(pem, password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise KeysError(f"{path} is not a private key in PEM without a password: {error}") from error
        return _of_kind(path, kind, key)

    def _certificates(
        self, role: str, kind: KeyKind, key: cose.PrivateKey, make: Callable[[], bytes]
    ) -> list[x509.Certificate]:
        """The chain beside a key. Whichever process made it, it is of the one key that all of them have."""
        path = self._path(role, kind, "crt")
        try:
            pem = path.read_bytes() if path.exists() else self._keep(path, make)
            chain = x509.load_pem_x509_certificates(pem)
        except (OSError, ValueError) as error:
            raise KeysError(f"{path} is not a chain of certificates in PEM: {error}") from error
        if chain[0].public_key() != key.public_key():
            raise KeysError(
                f"{path} is not the certificate of {path.with_suffix('.pem')}: put the one that belongs there"
            )
        return chain

    def _keep(self, path: Path, make: Callable[[], bytes]) -> bytes:
        try:
            return files.read_or_create(path, make)
        except files.FilesError as error:
            raise KeysError(str(error)) from error

    def _path(self, role: str, kind: KeyKind, suffix: str) -> Path:
        if not _ROLE.fullmatch(role):
            raise ValueError(f"'{role}' cannot be part of a file name")
        return self._directory / f"{role}-{kind}.{suffix}"


def _generate(kind: KeyKind) -> cose.PrivateKey:
    if kind == "p256":
        return ec.generate_private_key(ec.SECP256R1())
    if kind == "p384":
        return ec.generate_private_key(ec.SECP384R1())
    return rsa.generate_private_key(65_537, int(kind.removeprefix("rsa")))


def _encode(key: cose.PrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _of_kind(path: Path, kind: KeyKind, key: object) -> cose.PrivateKey:
    if isinstance(key, (ec.EllipticCurvePrivateKey, rsa.RSAPrivateKey)):
        try:
            if cose.algorithms(key.public_key())[0] == _ALGORITHMS[kind]:
                return key
        except cose.CoseError as error:
            raise KeysError(f"{path} cannot be used: {error}") from error
    raise KeysError(f"{path} does not hold a {kind} key, as its name says")
