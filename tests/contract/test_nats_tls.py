"""NATS over TLS: who is let in, who is turned away, and that a client never settles for less."""

import asyncio
import contextlib
import json
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ashore.bus import BusUnavailable, NotPermitted
from ashore.bus.nats import connect
from ashore.bus.server import EmbeddedServer
from ashore.bus.server_config import Unencrypted
from ashore.tls import TlsError, client_context
from tests.bus_kit import BLOB, echo, join, joined, publish, redirected, take
from tests.conftest import ServerFactory
from tests.tls_kit import Certified, certified


@pytest.fixture
def own(tmp_path: Path) -> Certified:
    return certified(tmp_path / "tls")


@pytest.fixture
def server(make_nats_server: ServerFactory, own: Certified) -> EmbeddedServer:
    server = make_nats_server(certificate=own.certificate)
    server.start()
    return server


async def refusal(server: EmbeddedServer, url: str, tls: ssl.SSLContext | None) -> str:
    """Why the server cannot be used so."""
    bus = await connect(url, name="admin", seed_file=str(server.seed_file("admin")), tls=tls)
    try:
        with pytest.raises(BusUnavailable) as caught:
            await bus.check()
    finally:
        await bus.close()
    return str(caught.value)


async def test_who_believes_the_authority_uses_the_bus_and_rights_hold(server: EmbeddedServer, own: Certified) -> None:
    assert server.url.startswith("tls://")
    async with joined(server, "admin", "rendezvous", "owner", "cli", tls=own.client) as [admin, rendezvous, owner, cli]:
        await admin.declare()
        assert await publish(rendezvous, redirected()) == 1
        assert await take(cli.follow([">"], replay=True), 1) == [(1, redirected().subject)]
        await rendezvous.put(BLOB, b"blob", ttl=60)
        with pytest.raises(NotPermitted):
            await owner.get(BLOB)
        with pytest.raises(NotPermitted):
            await publish(owner, redirected(2))
        async with await owner.serve("replica.owner.a", echo):
            with pytest.raises(NotPermitted):
                await rendezvous.request("replica.owner.a", b"yours", timeout=5)


async def test_who_believes_another_authority_does_not_join(server: EmbeddedServer, tmp_path: Path) -> None:
    other = certified(tmp_path / "other")
    assert "CERTIFICATE_VERIFY_FAILED" in await refusal(server, server.url, other.client)


async def test_who_believes_only_the_systems_authorities_does_not_join(server: EmbeddedServer) -> None:
    assert "CERTIFICATE_VERIFY_FAILED" in await refusal(server, server.url, None)


async def test_the_certificate_must_be_for_the_name_in_the_url(own: Certified, tmp_path: Path) -> None:
    async with EmbeddedServer(
        tmp_path / "elsewhere", host="127.0.0.2", port=0, monitor_port=0, certificate=own.certificate
    ) as server:
        assert "not valid for '127.0.0.2'" in await refusal(server, server.url, own.client)


async def test_who_speaks_plain_text_is_turned_away(server: EmbeddedServer) -> None:
    host, _, port = server.url.removeprefix("tls://").rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    assert json.loads((await reader.readline()).removeprefix(b"INFO "))["tls_required"] is True
    writer.write(b'CONNECT {"verbose":false}\r\nPING\r\n')
    rest = b""
    with contextlib.suppress(ConnectionError):
        rest = await reader.read()
    assert b"PONG" not in rest
    writer.close()


async def test_an_old_protocol_is_refused(server: EmbeddedServer, own: Certified) -> None:
    old = own.client
    old.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        old.maximum_version = ssl.TLSVersion.TLSv1_1
    old.set_ciphers("DEFAULT:@SECLEVEL=0")
    assert "VERSION" in (await refusal(server, server.url, old)).upper()


@contextlib.asynccontextmanager
async def impostor(sent: list[bytes]) -> AsyncIterator[int]:
    """A server that speaks plain text, and notes what it is told."""

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        info = {"server_id": "x", "version": "2.15.1", "nonce": "abc", "auth_required": True, "max_payload": 1 << 20}
        writer.write(b"INFO " + json.dumps(info).encode() + b"\r\n")
        sent.append(await reader.read(4096))
        writer.close()

    async with await asyncio.start_server(greet, "127.0.0.1", 0) as listener:
        yield listener.sockets[0].getsockname()[1]


async def test_a_client_tells_nothing_to_an_impostor_without_tls(server: EmbeddedServer, own: Certified) -> None:
    sent: list[bytes] = []
    async with impostor(sent) as port:
        assert "plain text" in await refusal(server, f"tls://127.0.0.1:{port}", own.client)
    assert set(sent) == {b""}


async def test_the_bus_is_found_again_after_a_restart(server: EmbeddedServer, own: Certified) -> None:
    bus = await join(server, "admin", own.client)
    await bus.declare()
    await publish(bus, redirected(1))
    server.stop()
    server.start()
    async with asyncio.timeout(20):
        while True:
            try:
                await publish(bus, redirected(2))
                break
            except BusUnavailable:
                await asyncio.sleep(0.1)
    assert [sequence for sequence, _ in await take(bus.follow([">"], replay=True), 2)] == [1, 2]
    await bus.close()


async def test_an_mqtt_client_speaks_tls_and_no_plain_text(
    make_nats_server: ServerFactory, own: Certified, unused_tcp_port: int
) -> None:
    make_nats_server(certificate=own.certificate, mqtt_port=unused_tcp_port).start()
    connect_packet = b"\x10\x10\x00\x04MQTT\x04\x02\x00\x3c\x00\x04test"
    reader, writer = await asyncio.open_connection("127.0.0.1", unused_tcp_port, ssl=own.client)
    writer.write(connect_packet)
    # CONNACK with return code 5: it was understood, and lacks the password.
    assert await reader.read(4) == b"\x20\x02\x00\x05"
    writer.close()
    reader, writer = await asyncio.open_connection("127.0.0.1", unused_tcp_port)
    writer.write(connect_packet)
    with contextlib.suppress(ConnectionError):
        assert not (await reader.read(4)).startswith(b"\x20")
    writer.close()


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "nats.example"])
def test_no_server_listens_beyond_this_machine_without_a_certificate(tmp_path: Path, host: str) -> None:
    with pytest.raises(Unencrypted, match="certificate"):
        EmbeddedServer(tmp_path / "nats", host=host, port=0, monitor_port=0).start()


@pytest.mark.parametrize("text", ["no PEM", "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----", "schön"])
def test_authorities_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(TlsError, match="PEM"):
        client_context(text)
