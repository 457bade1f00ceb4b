"""Our device against go-fdo-server, unmodified: DI, TO1, TO2 and every FSIM that the server knows.

Needs the server's binary in ASHORE_GO_FDO_SERVER. The server looks for new vouchers every ten seconds, so a run takes
about that long for each pair of keys.
"""

import asyncio
import contextlib
import hashlib
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from ashore.fdo.ciphers import CipherSuite
from ashore.fdo.kex import KexSuite
from ashore.keys import KeyKind
from ashore_device.device import Device, Settings
from ashore_device.errors import TransportError
from ashore_device.fetching import Fetcher
from ashore_device.initialise import Request
from ashore_device.onboard import Onboarded, Options
from ashore_device.pinning import Pins
from ashore_device.transport import HttpTransport, Reply, Transport
from tests.interop.go_servers import GoServers, free_port

BINARY = os.environ.get("ASHORE_GO_FDO_SERVER", "")
pytestmark = [
    pytest.mark.interop,
    pytest.mark.skipif(not BINARY, reason="ASHORE_GO_FDO_SERVER names no go-fdo-server binary"),
]

SCRIPT = b"""#!/bin/sh
set -eu
mkdir -p out
printf "%s on %s" "$1" "$DEVICE_SERIAL" > out/result.txt
echo said
echo warned >&2
"""
LARGE = os.urandom(300_000)


class Shop:
    """One set of servers, and the devices that go there."""

    def __init__(self, servers: GoServers, folder: Path, transport: HttpTransport, fetcher: Fetcher) -> None:
        self.servers, self._folder, self._transport, self._fetcher = servers, folder, transport, fetcher

    def device(self, serial: str, transport: Transport | None = None, **options: Any) -> Device:
        settings = Settings(options=Options(rounds=20, **options))
        return Device(self._folder / serial, transport or self._transport, self._fetcher, settings=settings)

    async def bring(self, serial: str, request: Request, **options: Any) -> Onboarded:
        device = self.device(serial, **options)
        record = await device.initialise(
            self.servers.url("manufacturing"), msgspec.structs.replace(request, serial=serial)
        )
        await self.servers.sell(record.guid)
        return await device.onboard()

    def deaf(self) -> Transport:
        """A transport that loses every answer to Done(70)."""
        return DeafTransport(self._transport)


class DeafTransport:
    def __init__(self, transport: HttpTransport) -> None:
        self._transport = transport

    def pinned(self, _pins: Pins) -> "DeafTransport":
        return self

    async def post(self, url_base: str, number: int, body: bytes, token: str | None) -> Reply:
        reply = await self._transport.post(url_base, number, body, token)
        if number == 70:
            raise TransportError("the connection was lost")
        return reply


async def serve_file(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % len(LARGE) + LARGE)
    await writer.drain()
    writer.close()
    await writer.wait_closed()


def fsims(folder: Path, web_port: int) -> list[object]:
    (folder / "script.sh").write_bytes(SCRIPT)
    (folder / "large.bin").write_bytes(LARGE)
    (folder / "uploads").mkdir()
    url, checksum = f"http://127.0.0.1:{web_port}/x", hashlib.sha384(LARGE).hexdigest()
    return [
        step("fdo.download", dir=str(folder), files=[{"src": "script.sh", "dst": "go.sh"}]),
        step("fdo.download", dir=str(folder), files=[{"src": "large.bin", "dst": "a/b.bin"}]),
        step("fdo.command", cmd="sh", args=["go.sh", "ran"], return_stdout=True, return_stderr=True),
        step("fdo.command", cmd="false", may_fail=True),
        step("fdo.wget", files=[{"url": url, "dst": "w.bin", "length": len(LARGE), "checksum": checksum}]),
        step("fdo.upload", dir=str(folder / "uploads"), files=[{"src": "out/result.txt"}]),
        step("fdo.upload", dir=str(folder / "uploads"), files=[{"src": "a/b.bin", "dst": "deep/b.bin"}]),
    ]


def step(fsim: str, **parameters: object) -> object:
    return {"fsim": fsim, "params": parameters}


@contextlib.asynccontextmanager
async def opened(tmp_path: Path, kind: str, *, reuse: bool = False, with_fsims: bool = False) -> AsyncIterator[Shop]:
    web_port = free_port()
    folder = tmp_path / "servers"
    folder.mkdir()
    steps = fsims(folder, web_port) if with_fsims else []
    servers = GoServers(BINARY, folder, kind, steps, reuse=reuse)
    web = await asyncio.start_server(serve_file, "127.0.0.1", web_port)
    try:
        await servers.start()
        async with HttpTransport() as transport, Fetcher() as fetcher:
            yield Shop(servers, tmp_path / "devices", transport, fetcher)
    finally:
        servers.stop()
        web.close()
        await web.wait_closed()


@pytest.mark.parametrize("kind", ["p256", "p384", "rsa2048"])
async def test_a_device_is_onboarded_and_does_all_that_it_is_told(tmp_path: Path, kind: KeyKind) -> None:
    async with opened(tmp_path, kind, with_fsims=True) as shop:
        done = await shop.bring("S-1", Request(kind=kind, device_info="gotest"))
        device = shop.device("S-1")
        assert (done.confirmed, done.reused, device.show().state) == (True, False, "onboarded")
        assert done.guid != done.old_guid
        assert (device.files / "go.sh").read_bytes() == SCRIPT
        assert (device.files / "a/b.bin").read_bytes() == LARGE
        assert (device.files / "w.bin").read_bytes() == LARGE
        uploads = tmp_path / "servers" / "uploads" / done.guid
        assert (uploads / "result.txt").read_text() == "ran on S-1"
        assert (uploads / "deep/b.bin").read_bytes() == LARGE
        assert [known["to2_completed"] for known in await shop.servers.devices()] == [True]
        log = shop.servers.log("owner")
        assert "said" in log
        assert "warned" in log


async def test_every_cipher_and_encoding_that_the_server_knows(tmp_path: Path) -> None:
    ciphers = [cipher for cipher in CipherSuite if "CCM" not in cipher.name]
    async with opened(tmp_path, "p256") as shop:
        x509, cose = Request(device_info="gotest"), Request(device_info="gotest", encoding="cose")
        runs = [shop.bring(f"S-{cipher.name}", x509, cipher=cipher) for cipher in ciphers]
        results = await asyncio.gather(*runs, shop.bring("S-cose", cose))
        assert all(done.confirmed for done in results)


async def test_asymmetric_key_exchange_with_an_rsa_owner(tmp_path: Path) -> None:
    async with opened(tmp_path, "rsa2048") as shop:
        request = Request(kind="rsa2048", device_info="gotest")
        assert (await shop.bring("S-1", request, kex=KexSuite.ASYMKEX2048)).confirmed


async def test_a_credential_is_reused_and_the_device_may_come_back(tmp_path: Path) -> None:
    async with opened(tmp_path, "p256", reuse=True) as shop:
        done = await shop.bring("S-1", Request(device_info="gotest"))
        assert (done.reused, done.guid) == (True, done.old_guid)
        again = await shop.device("S-1").onboard(again=True)
        assert (again.reused, again.guid) == (True, done.guid)


async def test_a_device_whose_last_word_is_lost_settles_for_the_new_credential(tmp_path: Path) -> None:
    """The server keeps no voucher that a device could come back with, and says so with a general error."""
    async with opened(tmp_path, "p256") as shop:
        device = shop.device("S-1", shop.deaf())
        record = await device.initialise(shop.servers.url("manufacturing"), Request(serial="S-1", device_info="gotest"))
        await shop.servers.sell(record.guid)
        done = await device.onboard()
        (known,) = await shop.servers.devices()
        assert (done.confirmed, done.old_guid) == (False, record.guid)
        assert known["guid"] == done.guid
        assert len(device.show().candidates) == 2
