"""The server with a certificate of its own."""

import asyncio
import datetime as dt
import socket
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from ashore.http.fdo import FdoEndpoint
from ashore.http.server import tls_context
from ashore.http.site import Times
from tests.contract.http_kit import GREETING, Echo, Running, request, running


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A key and its self-signed certificate in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = dt.datetime.now(dt.UTC)
    signed = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path = tmp_path / "server.pem"
    path.write_bytes(pem + signed.public_bytes(serialization.Encoding.PEM))
    return path


@pytest.fixture
async def site(certificate: Path) -> AsyncIterator[Running]:
    secrecy = ssl.create_default_context(cafile=certificate)
    context = tls_context(certificate, None)
    times = Times(read=0.3, sweep=0.05)
    async with running(FdoEndpoint(Echo()), times=times, context=context, secrecy=secrecy) as site:
        yield site


async def test_messages_are_answered_over_tls(site: Running) -> None:
    async with site.connection() as connection:
        for size in (1, 65_535):
            answer = await connection.ask(request("POST", "/fdo/101/msg/60", bytes(size)))
            assert (answer.status, len(answer.body)) == (200, size)


async def test_a_slow_client_is_hung_up_on_over_tls(site: Running) -> None:
    async with site.connection() as connection:
        assert (await connection.ask(GREETING[:-1])).status == 408
        assert await connection.is_closed()


async def test_a_client_without_tls_is_hung_up_on(site: Running) -> None:
    site.secrecy = None
    async with site.connection() as connection:
        connection.send(GREETING)
        assert await connection.is_closed()


async def test_a_client_that_never_ends_tls_does_not_hold_up_a_stop(certificate: Path) -> None:
    secrecy = ssl.create_default_context(cafile=certificate)

    def ask(port: int) -> ssl.SSLSocket:
        # As a pool keeps it: open, and read by nobody.
        client = secrecy.wrap_socket(socket.create_connection(("127.0.0.1", port)), server_hostname="localhost")
        client.sendall(GREETING)
        assert client.recv(4096).startswith(b"HTTP/1.1 200")
        return client

    context = tls_context(certificate, None)
    async with running(FdoEndpoint(Echo()), context=context, secrecy=secrecy, drain_seconds=600) as site:
        idle = await asyncio.to_thread(ask, site.port)
        site.server.stop()
        async with asyncio.timeout(60):
            await site.serving
        idle.close()


def test_a_key_that_needs_a_password_is_refused_and_nobody_is_asked(tmp_path: Path, certificate: Path) -> None:
    key = serialization.load_pem_private_key(certificate.read_bytes(), None)
    secret = serialization.BestAvailableEncryption(b"password")
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, secret)
    (tmp_path / "encrypted.key").write_bytes(pem)
    with pytest.raises(ssl.SSLError):
        tls_context(certificate, tmp_path / "encrypted.key")


@pytest.mark.parametrize("content", [b"", b"no certificate"])
def test_a_file_that_holds_no_certificate_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "server.pem").write_bytes(content)
    with pytest.raises(OSError, match=r".+"):
        tls_context(tmp_path / "server.pem", None)
