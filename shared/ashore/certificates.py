"""X.509 certificates: a service's own keys made presentable, the devices' certificates, and those of TLS.

FDO needs certificates in two places: X5Chain encodings of manufacturer and owner keys, and the device's certificate
chain, whose hash stands in the voucher. No extended key usage is set in those: the Go library's verifier refuses any
that does not allow TLS servers, and absence allows all. Keys and files are the business of `keys.py`; the files of TLS
are that of `server_certificates.py`.
"""

import ipaddress
import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Final, Self

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from ashore import cose

DEVICE_YEARS: Final = 30
AUTHORITY_YEARS: Final = 20
SERVER_DAYS: Final = 365
NO_END: Final = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
"""RFC 5280, section 4.1.2.5: the certificate has no well-defined expiration date."""

_BACKDATED: Final = timedelta(days=1)
_LONGEST_NAME: Final = 64
_PRINTABLE: Final = re.compile(r"[A-Za-z0-9 '()+,./:=?-]{1,64}")
_HOST: Final = re.compile(r"(?=.{1,253}$)[A-Za-z0-9_]([A-Za-z0-9_-]{0,62})(\.[A-Za-z0-9_]([A-Za-z0-9_-]{0,62}))*")


class CertificateError(Exception):
    """A certificate or a signing request cannot be used."""


class DeviceAuthority:
    """The manufacturer's certificate authority, which signs nothing but devices' certificates."""

    def __init__(self, key: cose.PrivateKey, certificate: x509.Certificate) -> None:
        self._key = key
        self._certificate = certificate
        self.certificate = certificate.public_bytes(Encoding.DER)

    @classmethod
    def create(cls, key: cose.PrivateKey, name: str, now: datetime) -> Self:
        """A new authority, for devices' certificates only (path length 0)."""
        return cls(key, _authority(key, name, now, NO_END))

    def issue(self, request: bytes | cose.PublicKey, *, subject: str, now: datetime) -> list[bytes]:
        """The chain [device, authority] in DER, for a signing request in DER or a bare public key.

        The subject is the serial number, and ours to choose: what the request says of it is not looked at, since nobody
        vouches for it. Owners read it from there, where a voucher is all that they have of the device.
        """
        key = requested_key(request) if isinstance(request, bytes) else supported(request)
        end = now + timedelta(days=365 * DEVICE_YEARS + DEVICE_YEARS // 4)
        end = min(end, self._certificate.not_valid_after_utc)
        builder = _leaf(_builder(_named_device(subject), self._certificate.subject, key, now, end), key)
        certificate = _signed(builder, self._key)
        return [certificate.public_bytes(Encoding.DER), self.certificate]


class ServerAuthority:
    """The authority (CA) of the stack, which signs nothing but the certificates of NATS and of the services."""

    def __init__(self, key: cose.PrivateKey, certificate: x509.Certificate) -> None:
        self._key = key
        self.certificate = certificate

    @classmethod
    def create(cls, key: cose.PrivateKey, name: str, now: datetime) -> Self:
        """A new authority, for servers' certificates only (path length 0).

        It has no name constraints: under which names its servers are found is only known later, and changes.
        """
        return cls(key, _authority(key, name, now, now + timedelta(days=365 * AUTHORITY_YEARS)))

    def issue(self, key: cose.PublicKey, hosts: Iterable[str], *, subject: str, now: datetime) -> x509.Certificate:
        """A certificate for a server that is found under these host names and addresses."""
        end = min(now + timedelta(days=SERVER_DAYS), self.certificate.not_valid_after_utc)
        builder = _leaf(_builder(_name(subject), self.certificate.subject, key, now, end), key)
        names = x509.SubjectAlternativeName([_alternative(host) for host in hosts])
        purpose = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
        builder = builder.add_extension(names, critical=False).add_extension(purpose, critical=False)
        return _signed(builder, self._key)

    def has_issued(self, certificate: x509.Certificate) -> bool:
        """Whether this authority's key has signed it."""
        try:
            certificate.verify_directly_issued_by(self.certificate)
        except (ValueError, TypeError, InvalidSignature):
            return False
        return True


def hosts(certificate: x509.Certificate) -> list[str]:
    """The host names and addresses that a certificate is for."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return []
    return [*names.get_values_for_type(x509.DNSName), *map(str, names.get_values_for_type(x509.IPAddress))]


def serial_number(certificate: bytes) -> str:
    """The serial number of the device that a certificate in DER names in its subject (X.520, 6.2.9); empty without."""
    try:
        found = x509.load_der_x509_certificate(certificate).subject.get_attributes_for_oid(NameOID.SERIAL_NUMBER)
    except cose.UNREADABLE:
        return ""
    text = found[0].value if found else ""
    return "".join(letter for letter in text if letter.isprintable()) if isinstance(text, str) else ""


def requested_key(request: bytes) -> cose.PublicKey:
    """The key of a PKCS#10 request in DER that its own signature proves; raise CertificateError otherwise."""
    try:
        csr = x509.load_der_x509_csr(request)
        genuine, key = csr.is_signature_valid, csr.public_key()
    except (InvalidSignature, *cose.UNREADABLE) as error:
        raise CertificateError(f"the certificate signing request cannot be read: {error}") from error
    if not genuine:
        raise CertificateError("the certificate signing request is not signed by its own key")
    return supported(key)


def supported(key: object) -> cose.PublicKey:
    """The key, if FDO can use it; raise CertificateError otherwise."""
    try:
        if isinstance(key, (ec.EllipticCurvePublicKey, rsa.RSAPublicKey)):
            cose.algorithms(key)
            return key
    except cose.CoseError as error:
        raise CertificateError(f"this key cannot be used: {error}") from error
    raise CertificateError("this key cannot be used: FDO has elliptic curve and RSA keys only")


def self_signed(key: cose.PrivateKey, name: str, now: datetime) -> x509.Certificate:
    """A certificate that says no more than the key does, for peers that want keys in X5Chain encoding."""
    subject, public = _name(name), key.public_key()
    return _leaf(_builder(subject, subject, public, now, NO_END), public).sign(key, _hash(public))


def _builder(
    subject: x509.Name, issuer: x509.Name, key: cose.PublicKey, now: datetime, end: datetime
) -> x509.CertificateBuilder:
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key)
    # A verifier whose clock is a little slow must not meet a certificate of the future.
    builder = builder.not_valid_before(now - _BACKDATED).not_valid_after(end).serial_number(x509.random_serial_number())
    return builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)


def _authority(key: cose.PrivateKey, name: str, now: datetime, end: datetime) -> x509.Certificate:
    subject = _name(name)
    builder = _builder(subject, subject, key.public_key(), now, end)
    usage = _usage(key_cert_sign=True, crl_sign=True)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    return builder.add_extension(usage, critical=True).sign(key, _hash(key.public_key()))


def _signed(builder: x509.CertificateBuilder, key: cose.PrivateKey) -> x509.Certificate:
    issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key())
    return builder.add_extension(issuer, critical=False).sign(key, _hash(key.public_key()))


def _alternative(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        pass
    if not _HOST.fullmatch(host):
        raise CertificateError(f"'{host}' is neither an address nor a host name, so no certificate can be for it")
    return x509.DNSName(host)


def _leaf(builder: x509.CertificateBuilder, key: cose.PublicKey) -> x509.CertificateBuilder:
    # An RSA owner key also decrypts, in the ASYMKEX key exchanges.
    usage = _usage(digital_signature=True, key_encipherment=isinstance(key, rsa.RSAPublicKey))
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    return builder.add_extension(usage, critical=True)


def _usage(
    *,
    digital_signature: bool = False,
    key_encipherment: bool = False,
    key_cert_sign: bool = False,
    crl_sign: bool = False,
) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        content_commitment=False,
        key_encipherment=key_encipherment,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=key_cert_sign,
        crl_sign=crl_sign,
        encipher_only=False,
        decipher_only=False,
    )


def _hash(key: cose.PublicKey) -> hashes.SHA256 | hashes.SHA384:
    return hashes.SHA256() if cose.algorithms(key)[0] in (cose.ES256, cose.RS256) else hashes.SHA384()


def _named_device(serial: str) -> x509.Name:
    """Any serial number as a common name, and as what it is where it fits: that attribute has a small alphabet."""
    name = _name(serial)
    if not _PRINTABLE.fullmatch(serial):
        return name
    return x509.Name([*name, x509.NameAttribute(NameOID.SERIAL_NUMBER, serial)])


def _name(text: str) -> x509.Name:
    """A common name of what may be any text: unprintable characters go, and 64 characters are its limit."""
    shown = "".join(letter if letter.isprintable() else "?" for letter in text)[:_LONGEST_NAME]
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, shown or "device")])
