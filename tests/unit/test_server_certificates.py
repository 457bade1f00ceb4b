"""The authority and the servers' certificates: made once, renewed in time, private."""

import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from ashore import certificates
from ashore.certificates import CertificateError, ServerAuthority
from ashore.files import FilesError
from ashore.server_certificates import ServerCertificates

NOW = datetime(2026, 5, 1, tzinfo=UTC)


def kept(folder: Path, now: datetime = NOW) -> ServerCertificates:
    return ServerCertificates(folder, lambda: now)


def certificate(folder: Path, server: str = "owner") -> x509.Certificate:
    return x509.load_pem_x509_certificate((folder / f"{server}.pem").read_bytes())


def test_the_authority_is_made_once_and_signs_nothing_but_servers(tmp_path: Path) -> None:
    first = kept(tmp_path).authority
    assert kept(tmp_path, NOW + timedelta(days=4000)).authority == first
    authority = x509.load_pem_x509_certificate(first.encode())
    limits = authority.extensions.get_extension_for_class(x509.BasicConstraints)
    assert (limits.critical, limits.value.ca, limits.value.path_length) == (True, True, 0)
    assert isinstance(authority.public_key(), ec.EllipticCurvePublicKey)
    assert authority.not_valid_after_utc > NOW + timedelta(days=19 * 365)
    assert b"PRIVATE" not in first.encode()


def test_nobody_else_can_read_a_private_key(tmp_path: Path) -> None:
    kept(tmp_path / "tls").keep("owner", [])
    assert stat.S_IMODE((tmp_path / "tls").stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "tls").iterdir()} == {0o600}


def test_an_authority_that_others_can_read_is_refused(tmp_path: Path) -> None:
    kept(tmp_path)
    (tmp_path / "ca.pem").chmod(0o644)
    with pytest.raises(FilesError, match="chmod 600"):
        kept(tmp_path)


def test_a_server_is_found_on_its_own_machine_by_its_name_and_where_it_is_said_to_be(tmp_path: Path) -> None:
    kept(tmp_path).keep("owner", ["onboarding.example.com", "192.0.2.7", "2001:DB8::7"])
    assert set(certificates.hosts(certificate(tmp_path))) == {
        "localhost", "127.0.0.1", "::1", "owner", "onboarding.example.com", "192.0.2.7", "2001:db8::7",
    }  # fmt: skip


def test_a_certificate_is_kept_until_less_than_a_third_of_its_life_is_left(tmp_path: Path) -> None:
    assert kept(tmp_path).keep("owner", ["2001:DB8::7", "Example.COM", "fe80::1%eth0"])
    first, authority = certificate(tmp_path), kept(tmp_path).authority
    assert not kept(tmp_path, NOW + timedelta(days=240)).keep("owner", ["2001:db8::7", "example.com", "fe80::1%eth0"])
    assert certificate(tmp_path) == first

    later = NOW + timedelta(days=250)
    assert kept(tmp_path, later).keep("owner", [])

    renewed = certificate(tmp_path)
    assert renewed.not_valid_after_utc == later + timedelta(days=365)
    assert renewed.public_key() != first.public_key()
    # Names that were given once stay.
    assert set(certificates.hosts(renewed)) == set(certificates.hosts(first))
    assert kept(tmp_path).authority == authority


def test_a_new_name_makes_a_new_certificate(tmp_path: Path) -> None:
    kept(tmp_path).keep("owner", ["one.example"])
    assert kept(tmp_path).keep("owner", ["two.example"])
    assert {"one.example", "two.example"} <= set(certificates.hosts(certificate(tmp_path)))


def test_a_certificate_of_another_authority_is_replaced(tmp_path: Path) -> None:
    kept(tmp_path).keep("owner", ["one.example"])
    (tmp_path / "ca.pem").unlink()
    assert kept(tmp_path).keep("owner", [])
    certificate(tmp_path).verify_directly_issued_by(x509.load_pem_x509_certificate(kept(tmp_path).authority.encode()))


def test_a_damaged_certificate_is_replaced_and_a_damaged_authority_told(tmp_path: Path) -> None:
    kept(tmp_path).keep("owner", [])
    for name in ("owner", "ca"):
        (tmp_path / f"{name}.pem").write_bytes(b"-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n")
    with pytest.raises(CertificateError, match=r"ca\.pem") as caught:
        kept(tmp_path)
    assert "c2VjcmV0" not in str(caught.value)
    (tmp_path / "ca.pem").unlink()
    assert kept(tmp_path).keep("owner", [])


def test_a_key_and_the_certificate_of_another_are_refused(tmp_path: Path) -> None:
    key, other = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path = tmp_path / "ca.pem"
    path.touch(mode=0o600)
    path.write_bytes(pem + ServerAuthority.create(other, "x", NOW).certificate.public_bytes(Encoding.PEM))
    with pytest.raises(CertificateError, match="of that key"):
        kept(tmp_path)


@pytest.mark.parametrize("host", ["", "two words", "schön.example", "http://owner", "owner:8042", "*", "-x", "a..b"])
def test_what_is_no_host_name_is_refused(tmp_path: Path, host: str) -> None:
    with pytest.raises(CertificateError, match="neither an address nor a host name"):
        kept(tmp_path).keep("owner", [host])


def test_a_certificate_never_outlives_its_authority(tmp_path: Path) -> None:
    kept(tmp_path)
    nearly_over = NOW + timedelta(days=20 * 365 - 30)
    kept(tmp_path, nearly_over).keep("owner", [])
    authority = x509.load_pem_x509_certificate(kept(tmp_path).authority.encode())
    assert certificate(tmp_path).not_valid_after_utc == authority.not_valid_after_utc
