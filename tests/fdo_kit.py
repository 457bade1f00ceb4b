"""Devices, owners and vouchers for tests: real keys, real certificates, nothing pretended."""

import functools
import os
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from ashore import cose
from ashore.fdo import di, rvinfo, to0, to2, to2_device
from ashore.fdo import voucher as vouchers
from ashore.fdo.ciphers import CipherSuite
from ashore.fdo.credential import Credential
from ashore.fdo.kex import KexSuite
from ashore.fdo.types import KeyEncoding, To2Address, Transport, encode_public_key, key_types
from ashore.fdo.voucher import Voucher

KINDS = ("p256", "p384", "rsa2048", "rsa3072")
KEX = {"p256": KexSuite.ECDH256, "p384": KexSuite.ECDH384, "rsa2048": KexSuite.DHKEXID14, "rsa3072": KexSuite.DHKEXID15}
RV_INFO = rvinfo.encode([rvinfo.Directive(dns="rv.example", protocol="http", device_port=8040, owner_port=8040)])
ADDRESSES = [To2Address(None, "owner.example", 8042, Transport.HTTP)]


class SystemEntropy:
    """The operating system's randomness."""

    def random(self, size: int) -> bytes:
        return os.urandom(size)

    def ec_key(self, curve: ec.EllipticCurve) -> ec.EllipticCurvePrivateKey:
        return ec.generate_private_key(curve)


ENTROPY = SystemEntropy()


def private_key(kind: str) -> cose.PrivateKey:
    match kind:
        case "p256":
            return ec.generate_private_key(ec.SECP256R1())
        case "p384":
            return ec.generate_private_key(ec.SECP384R1())
        case "rsa2048":
            return rsa.generate_private_key(65537, 2048)
    return rsa.generate_private_key(65537, 3072)


@functools.cache
def signer(role: str, kind: str) -> cose.KeySigner:
    """The key of a role, made once per test run, with a self-signed certificate as its chain."""
    key = private_key(kind)
    return cose.KeySigner(key, (certificate(f"{role} {kind}", key.public_key(), f"{role} {kind}", key),))


def certificate(subject: str, public: cose.PublicKey, issuer: str, issuer_key: cose.PrivateKey) -> bytes:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + timedelta(days=36500))
        .add_extension(x509.BasicConstraints(ca=subject == issuer, path_length=None), critical=True)
    )
    return builder.sign(issuer_key, hashes.SHA384()).public_bytes(Encoding.DER)


@functools.cache
def device_ca() -> tuple[cose.PrivateKey, bytes]:
    key = private_key("p384")
    return key, certificate("device CA", key.public_key(), "device CA", key)


class Device(NamedTuple):
    """A device after DI."""

    signer: cose.KeySigner
    credential: Credential


def initialise(
    device_kind: str = "p256",
    owner_kind: str | None = None,
    encoding: KeyEncoding = KeyEncoding.X509,
    rv_info: rvinfo.RvInfo = RV_INFO,
    serial: str = "SN-1",
    certify: Callable[[cose.PublicKey], Sequence[bytes]] | None = None,
) -> tuple[Device, Voucher]:
    """DI from both sides: a device, and its voucher in the manufacturer's hand."""
    owner_kind = owner_kind or device_kind
    device = cose.KeySigner(private_key(device_kind))
    manufacturer = signer("manufacturer", owner_kind)
    info = di.ManufacturingInfo(key_types(device.public_key)[0], encoding, serial, "gotest", b"csr")
    received = di.read_info(type(di.app_start(info)).decode(di.app_start(info).encode()))
    ca_key, ca_certificate = device_ca()
    chain = (certificate(serial, device.public_key, "device CA", ca_key), ca_certificate)
    if certify is not None:
        chain = tuple(certify(device.public_key))
    public = encode_public_key(manufacturer.public_key, encoding, manufacturer.chain)
    session, reply = di.set_credentials(received, os.urandom(16), rv_info, public, chain, device.public_key)
    credential, set_hmac = di.set_hmac(reply, device.public_key, os.urandom(32))
    voucher, _ = di.done(session, set_hmac)
    return Device(device, credential), voucher


def sell(voucher: Voucher, seller: cose.KeySigner, buyer: cose.KeySigner) -> Voucher:
    """One sale; the buyer's key is encoded as the header's."""
    public = encode_public_key(buyer.public_key, voucher.header.public_key.encoding, buyer.chain)
    return vouchers.extend(voucher, seller, public)


def owned(
    device_kind: str = "p256", owner_kind: str | None = None, encoding: KeyEncoding = KeyEncoding.X509, sales: int = 1
) -> tuple[Device, Voucher, cose.KeySigner]:
    """A device whose voucher has been sold `sales` times; the last buyer's key comes with it."""
    owner_kind = owner_kind or device_kind
    device, voucher = initialise(device_kind, owner_kind, encoding)
    seller = signer("manufacturer", owner_kind)
    for number in range(sales):
        buyer = signer(f"owner {number}", owner_kind)
        voucher, seller = sell(voucher, seller, buyer), buyer
    return device, Voucher.decode(voucher.encode()), seller


def register(voucher: Voucher, owner: cose.KeySigner, nonce: bytes) -> to0.OwnerSign:
    return to0.owner_sign(to0.HelloAck(nonce), voucher, 3600, ADDRESSES, owner)


class Handshake(NamedTuple):
    """Both sides of TO2 as they stand after SetupDevice(65)."""

    owner: to2.Session
    joined: to2_device.Joined
    setup: to2_device.Setup


def handshake(
    device: Device,
    voucher: Voucher,
    owner: cose.KeySigner,
    *,
    kex: KexSuite = KexSuite.ECDH256,
    cipher: CipherSuite = CipherSuite.A128GCM,
    replacement: to2.Replacement | None = None,
    to1d: cose.Sign1 | None = None,
) -> Handshake:
    """TO2 from 60 to 66, every message through its encoding, the session before 64 through its packed form."""
    asked = to2_device.hello_device(device.credential, device.signer, kex, cipher, os.urandom(16))
    received = to2.HelloDevice.decode(asked.body)
    hello, prove = to2.prove_ov_hdr(received, asked.body, voucher, owner, os.urandom(16), ENTROPY)
    proving = to2_device.prove_owner(to2.ProveOVHdr.decode(prove.encode()), asked, device.credential, to1d)
    while (request := to2_device.get_next_entry(proving)) is not None:
        entry = to2.ov_next_entry(to2.GetOVNextEntry.decode(request.encode()), voucher)
        proving = to2_device.prove_entry(to2.OVNextEntry.decode(entry.encode()), proving)
    joined, proof = to2_device.prove_device(proving, asked, device.signer, ENTROPY)
    hello = to2.unpack_hello(to2.pack_hello(hello))
    replacement = replacement or to2.Replacement(os.urandom(16), RV_INFO, voucher.owner_public_key)
    session, setup = to2.setup_device(to2.ProveDevice.decode(proof.encode()), hello, voucher, owner, replacement)
    body = session.keys.encrypt(setup.encode(), os.urandom(session.keys.iv_size))
    setup = to2.SetupDevice.decode(joined.keys.decrypt(body))
    accepted = to2_device.accept_setup(setup, joined, device.credential, 1300, allow_reuse=True)
    return Handshake(session, joined, accepted)
