"""A device that comes ashore over TLS: whom it believes, by authorities or by the hashes in its rendezvous info."""

import datetime as dt
import hashlib
import ipaddress
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from ashore import cbor
from ashore.fdo import rvinfo
from ashore.fdo.types import To2Address
from ashore.fdo.types import Transport as Scheme
from ashore_device.device import Device, Settings
from ashore_device.errors import OnboardingError, TransportError
from ashore_device.fetching import Fetcher
from ashore_device.initialise import Request
from ashore_device.onboard import Options
from ashore_device.pinning import Pins
from ashore_device.transport import HttpTransport, Tls
from tests.contract.device_world import World, serve
from tests.unit.device.web import Web, http
from tests.unit.device.web import serve as serve_web

DAY = dt.timedelta(days=1)
NOW = dt.datetime.now(dt.UTC)
LOOPBACK = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))


class Party(NamedTuple):
    """A certificate with its key."""

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(Encoding.DER)

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(Encoding.PEM)

    @property
    def pin(self) -> str:
        """Its hash as rendezvous info has it."""
        return cbor.dumps([-16, hashlib.sha256(self.der).digest()]).hex()


def party(
    name: str, issuer: Party | None = None, *, ca: bool = False, until: dt.timedelta = DAY, san: str = "127.0.0.1"
) -> Party:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW - 3 * DAY)
        .not_valid_after(NOW + until)
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(san))]), critical=False)
    )
    return Party(key, builder.sign(issuer.key if issuer else key, hashes.SHA256()))


ROOT = party("root", ca=True)
MIDDLE = party("middle", ROOT, ca=True)
SERVER = party("server", MIDDLE)
STRANGER = party("stranger", ca=True)
ALONE = party("alone")


def tls(folder: Path, *chain: Party) -> ssl.SSLContext:
    """A server with this chain, its own certificate first."""
    (folder / "chain.pem").write_bytes(b"".join(one.pem for one in chain))
    key = chain[0].key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (folder / "key.pem").write_bytes(key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "chain.pem", folder / "key.pem")
    return context


@asynccontextmanager
async def server(folder: Path, *chain: Party) -> AsyncIterator[Web]:
    async with serve_web(lambda _: http(b"answer", message_type=31), tls(folder, *chain)) as web:
        yield web


async def ask(web: Web, pins: Pins, given: Tls | None = None) -> int:
    async with HttpTransport(tls=given) as transport:
        return (await transport.pinned(pins).post(web.url, 30, b"body", None)).number


async def refused(web: Web, pins: Pins, text: str, given: Tls | None = None) -> None:
    before = len(web.requests)
    with pytest.raises(TransportError, match=text):
        await ask(web, pins, given)
    assert len(web.requests) == before, "nothing of FDO was said"


async def test_a_server_is_believed_by_the_hash_of_its_certificate_alone(tmp_path: Path) -> None:
    expired = party("expired", until=-DAY, san="192.0.2.1")
    for chain in ((ALONE,), (SERVER, MIDDLE), (expired,)):
        async with server(tmp_path, *chain) as web:
            assert await ask(web, Pins(server=chain[0].pin)) == 31
            await refused(web, Pins(), "CERTIFICATE_VERIFY_FAILED")


async def test_a_stronger_hash_is_a_hash_as_well(tmp_path: Path) -> None:
    pin = cbor.dumps([-43, hashlib.sha384(ALONE.der).digest()]).hex()
    async with server(tmp_path, ALONE) as web:
        assert await ask(web, Pins(server=pin)) == 31


async def test_another_certificate_is_refused_even_from_a_trusted_authority(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_bytes(ROOT.pem)
    async with server(tmp_path, SERVER, MIDDLE) as web:
        for given in (None, Tls(ca_file=tmp_path / "ca.pem"), Tls(insecure=True)):
            await refused(web, Pins(server=ALONE.pin), "is not the one that the rendezvous info names", given)


@pytest.mark.parametrize("authority", [ROOT, MIDDLE])
async def test_a_server_is_believed_by_the_hash_of_its_authority(tmp_path: Path, authority: Party) -> None:
    async with server(tmp_path, SERVER, MIDDLE, ROOT) as web:
        assert await ask(web, Pins(authority=authority.pin)) == 31
        assert await ask(web, Pins(SERVER.pin, authority.pin)) == 31
        await refused(web, Pins(ALONE.pin, authority.pin), "is not the one")


async def test_an_authority_that_the_device_has_need_not_be_shown(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_bytes(STRANGER.pem + ROOT.pem)
    async with server(tmp_path, SERVER, MIDDLE) as web:
        assert await ask(web, Pins(authority=ROOT.pin), Tls(ca_file=tmp_path / "ca.pem")) == 31
        await refused(web, Pins(authority=ROOT.pin), "no authority of the server is the one")
        await refused(web, Pins(authority=STRANGER.pin), "CERTIFICATE_VERIFY_FAILED", Tls(ca_file=tmp_path / "ca.pem"))


async def test_to_show_the_right_authority_is_not_to_be_signed_by_it(tmp_path: Path) -> None:
    async with server(tmp_path, ALONE, ROOT) as web:
        await refused(web, Pins(authority=ROOT.pin), "CERTIFICATE_VERIFY_FAILED")


@pytest.mark.parametrize(
    "wrong", [party("late", MIDDLE, until=-DAY), party("elsewhere", MIDDLE, san="192.0.2.1")], ids=["late", "elsewhere"]
)
async def test_by_its_authority_a_server_must_still_have_the_right_name_and_date(tmp_path: Path, wrong: Party) -> None:
    async with server(tmp_path, wrong, MIDDLE, ROOT) as web:
        await refused(web, Pins(authority=ROOT.pin), "CERTIFICATE_VERIFY_FAILED")


@pytest.mark.parametrize("pin", ["80", "", "zz", cbor.dumps([5, bytes(32)]).hex(), cbor.dumps([-999, bytes(32)]).hex()])
async def test_a_hash_that_cannot_be_read_is_no_reason_to_believe_anybody(tmp_path: Path, pin: str) -> None:
    async with server(tmp_path, ALONE) as web:
        await refused(web, Pins(server=pin), "cannot be read|is not the one")
        await refused(web, Pins(authority=pin), "cannot be read|no authority")


async def test_a_server_that_is_away_is_told_as_that(tmp_path: Path) -> None:
    async with HttpTransport() as transport:
        for pins in (Pins(server=ALONE.pin), Pins(authority=ROOT.pin)):
            with pytest.raises(TransportError, match="cannot be reached"):
                await transport.pinned(pins).post("https://127.0.0.1:1", 30, b"", None)


async def test_connections_to_a_pinned_server_are_shared_and_kept(tmp_path: Path) -> None:
    async with server(tmp_path, SERVER, MIDDLE, ROOT) as web, HttpTransport() as transport:
        for _ in range(5):
            await transport.pinned(Pins(authority=ROOT.pin)).post(web.url, 30, b"", None)
        assert web.connections == 1, "the one that only saw the certificates was given up in its handshake"


# The whole way.


def directive(port: int, **hashes: str) -> rvinfo.Directive:
    return rvinfo.Directive(ip="127.0.0.1", protocol="https", device_port=port, **hashes)  # type: ignore[arg-type]


@asynccontextmanager
async def device(folder: Path, given: Tls | None) -> AsyncIterator[Device]:
    options = Options(first_delay=0.001, longest_delay=0.002, rounds=1, done_pauses=(0.0,))
    async with HttpTransport(tls=given) as transport, Fetcher() as fetcher:
        yield Device(folder / "device", transport, fetcher, settings=Settings(options=options))


async def live(world: World, port: int, folder: Path, given: Tls | None) -> str:
    """DI over plain HTTP at the factory, then the onboarding."""
    async with serve(world) as factory, device(folder, given) as one:
        world.addresses = [To2Address(bytes([127, 0, 0, 1]), None, factory, Scheme.HTTP)]
        await one.initialise(f"http://127.0.0.1:{factory}", Request(serial="S-1", device_info="test"))
        return (await one.onboard()).owner_url


@pytest.mark.parametrize("trust", ["ca file", "server", "authority"])
async def test_a_device_comes_ashore_by_a_rendezvous_over_tls(tmp_path: Path, trust: str) -> None:
    (tmp_path / "ca.pem").write_bytes(ROOT.pem)
    given = Tls(ca_file=tmp_path / "ca.pem") if trust == "ca file" else None
    hashes_of = {"ca file": {}, "server": {"sv_cert_hash": SERVER.pin}, "authority": {"cl_cert_hash": ROOT.pin}}
    world = World()
    async with serve(world, tls=tls(tmp_path, SERVER, MIDDLE, ROOT)) as port:
        world.directives = [directive(port, **hashes_of[trust])]
        assert (await live(world, port, tmp_path, given)).startswith("http://127.0.0.1:")
    assert world.numbers.count(30) == 1


async def test_a_false_rendezvous_hears_nothing_of_the_device(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_bytes(ROOT.pem)
    world = World()
    async with serve(world, tls=tls(tmp_path, SERVER, MIDDLE, ROOT)) as port:
        world.directives = [directive(port, sv_cert_hash=ALONE.pin)]
        with pytest.raises(OnboardingError, match="is not the one that the rendezvous info names"):
            await live(world, port, tmp_path, Tls(ca_file=tmp_path / "ca.pem"))
    assert 30 not in world.numbers


async def test_an_owner_that_is_reached_past_the_rendezvous_is_held_to_the_hash_as_well(tmp_path: Path) -> None:
    world = World()
    async with serve(world, tls=tls(tmp_path, ALONE)) as port:
        world.directives = [
            rvinfo.Directive(ip="127.0.0.1", protocol="https", device_port=port, rv_bypass=True, sv_cert_hash=ALONE.pin)
        ]
        assert await live(world, port, tmp_path, None) == f"https://127.0.0.1:{port}"
