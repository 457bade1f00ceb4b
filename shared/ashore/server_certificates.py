"""The files of TLS in a data folder: the authority (CA), made once, and the servers' certificates, renewed in time.

`ca.pem` holds the authority's private key and certificate, `<server>.pem` those of one server. Key and certificate
share a file, so that replacing it is one step and nobody ever reads a key with the certificate of another. A
certificate is made anew when less than a third of its life is left, when it lacks a host name, or when another
authority has signed it; the authority stays, and with it whatever clients trust. Own certificates are no business of
this folder: the settings name their files.
"""

import ipaddress
import secrets
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from ashore import certificates, files
from ashore.certificates import CertificateError, ServerAuthority

AUTHORITY: Final = "ca"
HERE: Final = ("localhost", "127.0.0.1", "::1")
"""Every server is also found from its own machine."""
_RENEWED_BELOW: Final = 1 / 3


class ServerCertificates:
    """One folder of them; two processes that start with it empty end with the same authority."""

    def __init__(self, directory: Path, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._directory = directory
        self._clock = clock
        self._authority = self._load()

    @property
    def authority(self) -> str:
        """The authority's certificate in PEM: what clients must trust. It is public."""
        return self._authority.certificate.public_bytes(Encoding.PEM).decode("ascii")

    def path(self, server: str) -> Path:
        """Where key and certificate of a server are."""
        return self._directory / f"{server}.pem"

    def keep(self, server: str, hosts: Iterable[str]) -> bool:
        """Make or renew a server's certificate, if need be; tell whether it was. Raise CertificateError, FilesError.

        Names that it had it keeps, since who once gave them may not know that they must be given again.
        """
        wanted = dict.fromkeys(map(_plain, [*HERE, server, *hosts]))
        present = self._present(server)
        if present is not None:
            names = set(certificates.hosts(present))
            if names >= set(wanted) and not self._is_old(present):
                return False
            wanted |= dict.fromkeys(certificates.hosts(present))
        key = ec.generate_private_key(ec.SECP256R1())
        made = self._authority.issue(key.public_key(), wanted, subject=f"ashore {server}", now=self._clock())
        return files.replace_private(self.path(server), _pem(key, made))

    def _load(self) -> ServerAuthority:
        path = self.path(AUTHORITY)
        pem = files.read_or_create(path, self._make)
        try:
            key = load_pem_private_key(pem, password=None)
            certificate = x509.load_pem_x509_certificate(pem)
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            # What the library says of the file is left out: it may quote from it.
            raise CertificateError(f"{path} does not hold a private key and its certificate in PEM") from error
        if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != certificate.public_key():
            raise CertificateError(f"{path} must hold an elliptic curve key and the certificate of that key")
        return ServerAuthority(key, certificate)

    def _make(self) -> bytes:
        key = ec.generate_private_key(ec.SECP256R1())
        # Who trusts several stacks sees several authorities, which need names of their own.
        name = f"ashore CA {secrets.token_hex(4)}"
        return _pem(key, ServerAuthority.create(key, name, self._clock()).certificate)

    def _present(self, server: str) -> x509.Certificate | None:
        """The certificate that is there; None where it is missing, damaged, or of another authority."""
        try:
            certificate = x509.load_pem_x509_certificate(files.read_private(self.path(server)))
        except (FileNotFoundError, ValueError):
            return None
        return certificate if self._authority.has_issued(certificate) else None

    def _is_old(self, certificate: x509.Certificate) -> bool:
        life = certificate.not_valid_after_utc - certificate.not_valid_before_utc
        return certificate.not_valid_after_utc - self._clock() < life * _RENEWED_BELOW


def _plain(host: str) -> str:
    """One spelling for each name and address."""
    try:
        # A zone (`fe80::1%eth0`) means something on one machine only, and has no place in a certificate.
        return str(ipaddress.ip_address(host.partition("%")[0]))
    except ValueError:
        return host.lower()


def _pem(key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()) + certificate.public_bytes(Encoding.PEM)
