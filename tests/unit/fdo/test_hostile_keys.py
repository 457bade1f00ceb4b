"""Keys and certificates that cryptography reads but does not know: they are refused like those that are junk."""

import base64
from dataclasses import replace

import msgspec
import pytest

from ashore import bundles, certificates, cose
from ashore.fdo import voucher as vouchers
from ashore.fdo.errors import MessageBodyError, VoucherError
from ashore.fdo.types import HashType, KeyEncoding, KeyType, PublicKey, digest, spki
from ashore.fdo.voucher import Voucher
from tests import fdo_kit as kit
from tests.contract.manufacturer_kit import signing_request

VERSION_3 = bytes.fromhex("a003020102")
VERSION_2 = bytes.fromhex("a003020101")
P256 = bytes.fromhex("06082a8648ce3d030107")
PRIME192V2 = bytes.fromhex("06082a8648ce3d030102")
EC_KEY = bytes.fromhex("06072a8648ce3d0201")
NOBODYS_KEY = bytes.fromhex("06072a8648ce3d0209")
ES384 = bytes.fromhex("06082a8648ce3d040303")
NOBODYS_SIGNATURE = bytes.fromhex("06082a8648ce3d040309")

CERTIFICATE = kit.signer("owner 0", "p256").chain[0]
KEY = spki(kit.signer("owner 0", "p256").public_key)
ODD_KEYS = [KEY.replace(P256, PRIME192V2), KEY.replace(EC_KEY, NOBODYS_KEY)]
ODD_CERTIFICATES = [
    CERTIFICATE.replace(VERSION_3, VERSION_2),
    CERTIFICATE.replace(P256, PRIME192V2),
    CERTIFICATE.replace(EC_KEY, NOBODYS_KEY),
]


def pem(label: str, der: bytes) -> bytes:
    return f"-----BEGIN {label}-----\n{base64.b64encode(der).decode()}\n-----END {label}-----\n".encode()


@pytest.mark.parametrize("der", ODD_KEYS, ids=["curve", "kind"])
def test_a_key_of_an_unknown_kind_is_refused(der: bytes) -> None:
    with pytest.raises(MessageBodyError, match="cannot be read"):
        PublicKey(KeyType.SECP256R1, KeyEncoding.X509, der).key()
    with pytest.raises(bundles.BundleError):
        bundles.read(pem("PUBLIC KEY", der))


@pytest.mark.parametrize("der", ODD_CERTIFICATES, ids=["version", "curve", "kind"])
def test_a_certificate_of_an_unknown_kind_is_refused(der: bytes) -> None:
    with pytest.raises(MessageBodyError, match="cannot be read"):
        PublicKey(KeyType.SECP256R1, KeyEncoding.X5CHAIN, [der]).key()
    with pytest.raises(bundles.BundleError):
        bundles.read(pem("CERTIFICATE", der))


@pytest.mark.parametrize("filling", [" ", "A", "-----BEGIN PUBLIC KEY-----\n"])
def test_a_long_text_that_only_begins_like_a_key_is_read_once_and_no_more(filling: str) -> None:
    with pytest.raises(bundles.BundleError, match="no PEM block"):
        bundles.read(f"-----BEGIN PUBLIC KEY-----\n{filling * 100_000}".encode())


def test_a_certificate_of_an_unknown_version_names_no_device() -> None:
    assert certificates.serial_number(ODD_CERTIFICATES[0]) == ""


@pytest.mark.parametrize(
    "change", [(b"\x02\x01\x00", b"\x02\x01\x02"), (P256, PRIME192V2), (EC_KEY, NOBODYS_KEY)], ids=str
)
def test_a_signing_request_of_an_unknown_kind_is_refused(change: tuple[bytes, bytes]) -> None:
    request = signing_request(kit.private_key("p256"))
    altered = request.replace(*change, 1)
    assert altered != request
    with pytest.raises(certificates.CertificateError, match="cannot be read"):
        certificates.requested_key(altered)


@pytest.mark.parametrize(
    ("index", "known", "odd"),
    [
        (0, VERSION_3, VERSION_2),
        (1, VERSION_3, VERSION_2),
        (0, P256, PRIME192V2),
        (0, ES384, NOBODYS_SIGNATURE),
        (1, EC_KEY, NOBODYS_KEY),
    ],
    ids=str,
)
def test_a_device_with_a_certificate_of_an_unknown_kind_is_refused(index: int, known: bytes, odd: bytes) -> None:
    voucher = kit.owned()[1]
    chain = list(voucher.chain)
    chain[index] = chain[index].replace(known, odd)
    assert chain[index] != voucher.chain[index]
    with pytest.raises(VoucherError):
        vouchers.verify(_with_chain(voucher, tuple(chain)))


def _with_chain(voucher: Voucher, chain: tuple[bytes, ...]) -> Voucher:
    """With a header that knows the chain, as a manufacturer would make it that means it ill."""
    header = msgspec.structs.replace(voucher.header, chain_hash=digest(HashType.SHA256, *chain))
    return replace(voucher, chain=chain, header=header, header_bytes=header.encode(), entries=())


@pytest.mark.parametrize(
    ("n", "e"), [(b"", b""), (b"\xff" * 256, b"\x02"), (b"\x01", b"\xff" * 300)], ids=["nothing", "even", "longer"]
)
def test_numbers_that_are_no_rsa_key_are_refused(n: bytes, e: bytes) -> None:
    with pytest.raises(cose.CoseError):
        cose.decode_key({1: 3, -1: n, -2: e})
