"""What reads bytes from outside in FDO, as functions that must take any bytes at all: messages, vouchers, keys, tokens.

A reader raises what it documents, which is caught here, and nothing else. Conversations of service info are in
`conversations`.
"""

import os
import random
from contextlib import suppress
from functools import cache
from typing import Final
from urllib.parse import urlsplit

from cryptography.hazmat.primitives.asymmetric import ec, rsa

from ashore import bundles, cbor, certificates, cose
from ashore.fdo import ciphers, di, kex, rvinfo, to0, to2, to2_device, voucher
from ashore.fdo.ciphers import CipherSuite, SessionKeys, SvkLength
from ashore.fdo.codec import Message, convert
from ashore.fdo.credential import Credential
from ashore.fdo.errors import FdoError, MessageBodyError, SignatureError, VoucherError
from ashore.fdo.kex import KexSuite, OwnerSecret, Shared
from ashore.fdo.messages import (
    MESSAGES,
    AppStart,
    ErrorMessage,
    OwnerSign,
    ProveDevice,
    ProveOVHdr,
    RVRedirect,
    SetCredentials,
    SetupDevice,
)
from ashore.fdo.rvinfo import RvInfo
from ashore.fdo.types import HashType, KeyEncoding, KeyType, PublicKey, SigInfo, digest, mac
from ashore.http import wire
from ashore.http.fdo import FdoEndpoint, FdoReply, FdoRequest
from ashore.http.jobs import Ready
from ashore.http.reading import Reader, Refusal
from ashore.sessions import Sealer, SessionError
from ashore_manufacturer.protocol import read_device_key
from ashore_rendezvous.model import read_claim
from tests.fuzz.recordings import recorded

_GUID: Final = bytes(16)
_NONCE: Final = bytes(range(16))
_SUITES: Final = tuple(CipherSuite)
_KEX: Final = tuple(KexSuite)
_LONGEST_HEADERS: Final = 1 << 16


def cbor_item(data: bytes) -> None:
    """One item of CBOR; what can be read is written back to the byte."""
    with suppress(cbor.CborError):
        assert cbor.dumps(cbor.loads(data)) == data


def fdo_message(data: bytes) -> None:
    """A message of FDO, its number in the first byte, and what its receiver does with it before it knows the sender."""
    kind = MESSAGES.get(data[0] if data else 0)
    if kind is None:
        return
    try:
        message = kind.decode(data[1:])
    except MessageBodyError:
        return
    # The last item of message 255 may be missing.
    assert kind is ErrorMessage or message.encode() == data[1:]
    with suppress(FdoError):
        _use(message)


def _use(message: Message) -> None:
    match message:
        case AppStart():
            info = di.read_info(message)
            read_device_key(info)
        case SetCredentials():
            header = di.read_header(message.header)
            _use_directives(header.rv_info)
            header.public_key.key()
        case OwnerSign():
            read_claim(message)
            to0.accept_owner(message, _NONCE)
        case RVRedirect():
            to0.read_addresses(message.sign1)


def voucher_file(data: bytes) -> None:
    """A file with vouchers, in CBOR or in PEM: each is proven, and shown to people."""
    with suppress(VoucherError):
        for one in voucher.read(data):
            assert b"-----BEGIN " in data or one.encode() == data
            _use_directives(one.header.rv_info)
            for certificate in one.chain:
                certificates.serial_number(certificate)
            with suppress(FdoError):
                voucher.verify(one)
            with suppress(FdoError):
                one.owner_key  # noqa: B018 - it is read when it is asked for


def public_key(data: bytes) -> None:
    """A key as a voucher has it: the item as a whole, and each encoding with these bytes for a body."""
    bodies: list[object] = [[10, 1, data], [10, 2, [data]], [1, 1, data], [1, 3, {1: 3, -1: data, -2: b"\x01\x00\x01"}]]
    bodies += [[10, 3, {1: 2, 3: -7, -1: 1, -2: data[:32], -3: data[32:]}]]
    with suppress(cbor.CborError):
        bodies.append(cbor.loads(data))
    for body in bodies:
        with suppress(MessageBodyError):
            convert(body, PublicKey).key()


def cose_key(data: bytes) -> None:
    """A COSE_Key; what can be read is a key that can be written and read again."""
    with suppress(cbor.CborError):
        item = cbor.loads(data)
        with suppress(cose.CoseError):
            key = cose.decode_key(item)
            assert cose.decode_key(cose.encode_key(key)) == key


def key_bundle(data: bytes) -> None:
    """A bundle of public keys, and a bare request or certificate in DER."""
    with suppress(bundles.BundleError):
        bundles.read(data)
    with suppress(certificates.CertificateError):
        certificates.requested_key(data)
    certificates.serial_number(data)


def rendezvous_info(data: bytes) -> None:
    """RendezvousInfo: where it leads a device, and an owner."""
    with suppress(cbor.CborError, MessageBodyError):
        _use_directives(convert(cbor.loads(data), RvInfo))


def _use_directives(info: RvInfo) -> None:
    for directive in rvinfo.decode(info):
        for url in (*directive.urls(), *directive.urls(owner=True)):
            parts = urlsplit(url)
            assert parts.port, url
            assert parts.hostname, url
            assert (parts.username, parts.path, parts.query, parts.fragment) == (None, "", "", ""), url


def encrypted(data: bytes) -> None:
    """An encrypted message, its suite in the first byte; also as what a peer has really authenticated."""
    suite, body = _SUITES[data[0] % len(_SUITES) if data else 0], data[1:]
    keys = _session(suite)
    with suppress(SignatureError, MessageBodyError):
        keys.decrypt(body)
    kind = suite.facts.mac
    if kind is not None:
        protected = ciphers._MAC_PROTECTED[kind]
        tag = mac(kind, keys.svk, ciphers._mac0_structure(protected, body)).value
        with suppress(SignatureError, MessageBodyError):
            keys.decrypt(cbor.dumps(cbor.Tag(cbor.COSE_MAC0, [protected, {}, body, tag])))


@cache
def _session(suite: CipherSuite) -> SessionKeys:
    return kex.derive(suite, Shared(bytes(32)), SvkLength.GO)


def key_exchange(data: bytes) -> None:
    """The peer's half of a key exchange, its suite in the first byte, for the owner and for the device."""
    suite, half = _KEX[data[0] % len(_KEX) if data else 0], data[1:]
    with suppress(FdoError):
        kex.owner_finish(suite, _owner_secret(suite), half, _signer(suite))
    with suppress(FdoError):
        kex.device_answer(suite, half, _signer(suite).public_key, _Entropy())


def proven_device(data: bytes) -> None:
    """What a device has really signed in message 64, with these bytes for its claims."""
    device = _signer(KexSuite.ECDH256)
    hello = to2.Hello(_GUID, KexSuite.ECDH256, CipherSuite.A128GCM, _NONCE, to2.OwnerSecret(_curve_key(), bytes(16)))
    token = cose.sign1(device, data, {-259: _NONCE})
    with suppress(FdoError):
        to2.setup_device(ProveDevice(token), hello, _Proven(device.public_key), device, _NOTHING)


def proven_owner(data: bytes) -> None:
    """What an owner has really signed in messages 61 and 65, with these bytes for the payload."""
    owner = _signer(KexSuite.ECDH256)
    public = PublicKey(KeyType.SECP256R1, KeyEncoding.COSEKEY, cose.encode_key(owner.public_key))
    hello = to2.HelloDevice(1, _GUID, _NONCE, KexSuite.ECDH256, CipherSuite.A128GCM, SigInfo(cose.ES256, b""))
    credential = Credential(
        device_info="x", guid=_GUID, rv_info=[], public_key_hash=digest(HashType.SHA256, b""), hmac_secret=bytes(32)
    )
    signed = cose.sign1(owner, data, {to2.CUPH_NONCE: _NONCE, to2.CUPH_OWNER_KEY: public.array()})
    with suppress(FdoError):
        to2_device.prove_owner(ProveOVHdr(signed), to2_device.Asked(hello, hello.encode()), credential, None)
    joined = to2_device.Joined(_session(CipherSuite.A128GCM), _NONCE, _NONCE, public, _HEADER)
    with suppress(FdoError):
        setup = to2_device.accept_setup(SetupDevice(signed), joined, credential, 1300, allow_reuse=True)
        _use_directives(setup.credential.rv_info)


def sealed_token(data: bytes) -> None:
    """The token of a session, as it comes out of a header."""
    token = data.decode("latin-1")
    sealer = Sealer(bytes(32))
    with suppress(SessionError):
        sealer.open("owner 6", token, now=0)


def http_request(data: bytes) -> None:
    """Requests on one connection to the devices' door, in two parts; a parser that fails must not be ours."""
    endpoint = FdoEndpoint(_answer)

    def begin(reader: Reader) -> Ready:
        headers = dict(reader.headers)
        path = reader.target.partition(b"?")[0].decode("latin-1")
        endpoint.admit(reader.method(), path, headers, "192.0.2.1")
        return Ready(_Line(), wire.FULL, keep_alive=reader.keep_alive(headers))

    reader = Reader(begin, lambda: 0.0)
    half = len(data) // 2
    refusal = _refusal(reader, [data[:half], data[half:]])
    assert refusal is None or refusal.answer is not wire.FAILED
    assert sum(len(name) + len(value) for name, value in reader.headers) < _LONGEST_HEADERS


def _refusal(reader: Reader, parts: list[bytes]) -> Refusal | None:
    try:
        for part in parts:
            reader.feed(part)
    except Refusal as refusal:
        return refusal
    return None


class _Line:
    """A connection on which nothing is answered."""

    def submit(self, job: object) -> None:
        """Never its turn."""


async def _answer(request: FdoRequest) -> FdoReply:
    return FdoReply(request.number, b"")


class _Entropy:
    """Entropy that is the same each time, so that what has failed fails again."""

    def random(self, size: int) -> bytes:
        return random.Random(size).randbytes(size)

    def ec_key(self, curve: ec.EllipticCurve) -> ec.EllipticCurvePrivateKey:
        return ec.derive_private_key(7, curve)


class _Proven:
    """As much of a voucher as message 64 looks at."""

    def __init__(self, device_key: cose.PublicKey) -> None:
        self.device_key = device_key


class _Nothing:
    def keeps(self, _voucher: object) -> bool:
        return False

    rv_info: Final[RvInfo] = []
    guid = _GUID
    owner = PublicKey(KeyType.SECP256R1, KeyEncoding.X509, b"")


_NOTHING: Final = _Nothing()


def _curve_key() -> ec.EllipticCurvePrivateKey:
    return ec.derive_private_key(11, ec.SECP256R1())


@cache
def _owner_secret(suite: KexSuite) -> OwnerSecret:
    return kex.owner_start(suite, _Entropy())[1]


@cache
def _signer(suite: KexSuite) -> cose.KeySigner:
    if suite is KexSuite.ECDH384:
        return cose.KeySigner(ec.derive_private_key(11, ec.SECP384R1()))
    if suite is KexSuite.ECDH256:
        return cose.KeySigner(_curve_key())
    bits = 2048 if suite in (KexSuite.DHKEXID14, KexSuite.ASYMKEX2048) else 3072
    return cose.KeySigner(rsa.generate_private_key(65537, bits))


def _numbered(number: int) -> list[bytes]:
    return [bytes([number]) + body for body in recorded(f"{number}_*.cbor")]


def _vouchers() -> list[bytes]:
    found = list(recorded("voucher*.cbor"))
    return [*found, *(voucher.to_pem(voucher.Voucher.decode(one)).encode() for one in found[:2])]


def _keys() -> list[PublicKey]:
    return [voucher.Voucher.decode(one).header.public_key for one in recorded("voucher.cbor")]


def _ders() -> list[bytes]:
    chains = [voucher.Voucher.decode(one).chain for one in recorded("voucher.cbor")]
    requests = [di.read_info(AppStart.decode(one)).csr for one in recorded("10_*.cbor")]
    return [*requests, *(der for chain in chains for der in chain)]


def _halves() -> list[bytes]:
    # A number has no form that a fuzzer would have to find, so a small one will do.
    halves = (b"\x05" if "DH" in suite[:2] else kex.owner_start(suite, _Entropy())[0] for suite in _KEX)
    return [bytes([number]) + half for number, half in enumerate(halves)]


def _ciphertexts() -> list[bytes]:
    found = []
    for number, suite in enumerate(_SUITES):
        keys = _session(suite)
        body = keys.encrypt(b"\x80", bytes(keys.iv_size))
        inner = [cbor.loads(body).value[2]] if suite.facts.mac else []
        found += [bytes([number]) + part for part in (body, *inner)]
    return found


def _infos() -> list[bytes]:
    known = [voucher.Voucher.decode(one).header.rv_info for one in recorded("voucher.cbor")]
    every = rvinfo.Directive(
        dns="a", ip="10.0.0.1", protocol="https", medium=1, device_port=1, wifi_ssid="x", rv_bypass=True,
        delay_seconds=3, sv_cert_hash=cbor.dumps([-16, bytes(32)]).hex(), ext_rv=["y"],
    )  # fmt: skip
    return [cbor.dumps(info) for info in (*known, rvinfo.encode([every]))]


def _payloads(number: int) -> list[bytes]:
    kind = MESSAGES[number]
    return [kind.decode(one).sign1.payload for one in recorded(f"{number}_*.cbor")]


_HEADER: Final = voucher.Voucher.decode(next(recorded("voucher.cbor"))).header
_REQUEST: Final = (
    b"POST /fdo/101/msg/60 HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer %b\r\nContent-Length: 1\r\n\r\n\x80"
)
_TOKEN: Final = Sealer(bytes(32), os.urandom).seal("owner 6", b"\x80", expires_at=1 << 32).encode()

FDO_TARGETS: Final = {
    cbor_item: [*recorded("68_*.encrypted.cbor"), *recorded("voucher.cbor")],
    fdo_message: [body for number in MESSAGES for body in _numbered(number)],
    voucher_file: _vouchers(),
    public_key: [*(key.encode() for key in _keys()), *(key.body for key in _keys() if isinstance(key.body, bytes))],
    cose_key: [cbor.dumps(cose.encode_key(key.key())) for key in _keys()],
    key_bundle: [*_ders(), *(bundles.to_pem(key.key()).encode() for key in _keys())],
    rendezvous_info: _infos(),
    encrypted: _ciphertexts(),
    key_exchange: _halves(),
    proven_device: _payloads(64),
    proven_owner: [*_payloads(61), *_payloads(65)],
    sealed_token: [_TOKEN],
    http_request: [_REQUEST % _TOKEN, _REQUEST.replace(b"Content-Length: 1", b"Transfer-Encoding: chunked") % b"x"],
}
"""Each with something to begin with."""
