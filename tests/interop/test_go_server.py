"""Our device against go-fdo-server, unmodified: DI, TO1, TO2 and every FSIM that the server knows.

Needs the server's binary in ASHORE_GO_FDO_SERVER. The server looks for new vouchers every ten seconds, so a run takes
about that long for each pair of keys.
"""

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ashore.fdo.ciphers import CipherSuite
from ashore.fdo.kex import KexSuite
from ashore_device.device import Device, Settings
from ashore_device.fetching import Fetcher
from ashore_device.initialise import Request
from ashore_device.onboard import Onboarded, Options
from ashore_device.progress import Progress
from ashore_device.transport import HttpTransport
from tests.interop.go_servers import GoServers, free_port

BINARY = os.environ.get("ASHORE_GO_FDO_SERVER", "")
pytestmark = [
    pytest.mark.interop,
    pytest.mark.skipif(not BINARY, reason="ASHORE_GO_FDO_SERVER names no go-fdo-server binary"),
]

SCRIPT = b'#!/bin/sh\nset -eu\nmkdir -p out\nprintf "%s on %s" "$1" "$DEVICE_SERIAL" > out/result.txt\necho said\necho warned >&2\n'
LARGE = os.urandom(300_000)


class Shop:
    """One set of servers, and the devices that go there."""

    def __init__(self, servers: GoServers, folder: Path, transport: HttpTransport, fetcher: Fetcher) -> None:
        self.servers, self._folder, self._transport, self._fetcher = servers, folder, transport, fetcher
        self.events: list[Progress] = []

    def device(self, serial: str, **options: object) -> Device:
        settings = Settings(options=Options(rounds=20, **options))
        return Device(
            self._folder / serial, self._transport, self._fetcher, settings=settings, report=self.events.append
        )

    async def bring(self, device: Device, request: Request) -> Onboarded:
        record = await device.initialise(self.servers.url("manufacturing"), request)
        await self.servers.sell(record.guid)
        return await device.onboard()


async def serve_file(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % len(LARGE) + LARGE)
    await writer.drain()
    writer.close()


def fsims(folder: Path, web_port: int) -> list[object]:
    (folder / "script.sh").write_bytes(SCRIPT)
    (folder / "large.bin").write_bytes(LARGE)
    (folder / "uploads").mkdir()
    download = {
        "dir": str(folder),
        "files": [{"src": "script.sh", "dst": "go.sh"}, {"src": "large.bin", "dst": "a/b.bin"}],
    }
    script = {"cmd": "sh", "args": ["go.sh", "ran"], "return_stdout": True, "return_stderr": True}
    failing = {"cmd": "false", "may_fail": True}
    checksum = hashlib.sha384(LARGE).hexdigest()
    wget = {
        "files": [{"url": f"http://127.0.0.1:{web_port}/x", "dst": "w.bin", "length": len(LARGE), "checksum": checksum}]
    }
    upload = {
        "dir": str(folder / "uploads"),
        "files": [{"src": "out/result.txt"}, {"src": "a/b.bin", "dst": "deep/b.bin"}],
    }
    return [
        {"fsim": "fdo.download", "params": download},
        {"fsim": "fdo.command", "params": script},
        {"fsim": "fdo.command", "params": failing},
        {"fsim": "fdo.wget", "params": wget},
        {"fsim": "fdo.upload", "params": upload},
    ]


async def open_shop(tmp_path: Path, kind: str, *, reuse: bool = False, with_fsims: bool = True) -> AsyncIterator[Shop]:
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


@pytest.fixture(params=["p256", "p384"])
async def shop(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[tuple[Shop, str]]:
    async for opened in open_shop(tmp_path, request.param):
        yield opened, request.param


async def test_a_device_is_initialised_and_onboarded_and_does_all_that_it_is_told(shop: tuple[Shop, str]) -> None:
    opened, kind = shop
    device = opened.device("S-1")
    done = await opened.bring(device, Request(kind=kind, serial="S-1", device_info="gotest"))
    assert done.confirmed
    assert not done.reused
    assert done.guid != done.old_guid
    assert device.show().state == "onboarded"
    files = device.files
    assert (files / "go.sh").read_bytes() == SCRIPT
    assert (files / "a/b.bin").read_bytes() == LARGE
    assert (files / "w.bin").read_bytes() == LARGE
    uploads = next((opened.servers._folder / "uploads").iterdir())
    assert (uploads / "result.txt").read_text() == "ran on S-1"
    assert (uploads / "deep/b.bin").read_bytes() == LARGE
    assert [known["to2_completed"] for known in await opened.servers.devices()] == [True]
