"""Keys and certificates of a control plane for tests: what signs tokens, and by what an admin logs in without one."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID


def write_token_key(folder: Path) -> None:
    """`sa.key` and `sa.pub`, for tokens of service accounts."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    (folder / "sa.key").write_bytes(_pem(key))
    (folder / "sa.pub").write_bytes(public)


def write_client_certificates(folder: Path) -> None:
    """`client-ca.crt`, whom the API server believes, and `client.pem`, an admin's certificate and key."""
    authority, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    root = _certificate(authority, authority, "clients", "clients", is_authority=True)
    client = _certificate(authority, key, "clients", "admin-by-certificate", is_authority=False)
    (folder / "client-ca.crt").write_bytes(root)
    (folder / "client.pem").write_bytes(client + _pem(key))


def _certificate(
    signer: ec.EllipticCurvePrivateKey, key: ec.EllipticCurvePrivateKey, issuer: str, name: str, *, is_authority: bool
) -> bytes:
    now = datetime.now(UTC)
    # The organization is the group in the eyes of an API server.
    group = [] if is_authority else [x509.NameAttribute(NameOID.ORGANIZATION_NAME, "system:masters")]
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([*group, x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
    )
    if not is_authority:
        usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])
        builder = builder.add_extension(usage, critical=False)
    return builder.sign(signer, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def _pem(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
