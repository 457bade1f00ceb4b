"""ONVIF devices that nobody here wrote: ipycam, a camera, and WSDiscovery, which publishes over WS-Discovery.

Both are in an environment of their own, since a camera brings along OpenCV: `ASHORE_TEST_PEERS` names its interpreter,
by default `peers/bin/python` below `ASHORE_CACHE`. Where they are missing the tests are skipped, and say so.
"""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.discovery.namespaces import Host, running

CACHE = Path(os.environ.get("ASHORE_CACHE") or Path.home() / ".cache" / "ashore")
PEERS = Path(os.environ.get("ASHORE_TEST_PEERS") or CACHE / "peers" / "bin" / "python")
SHOUTING = Path(__file__).with_name("shouting.py")

PUBLISHER = """
import sys
from wsdiscovery import QName, Scope
from wsdiscovery.publishing import ThreadedWSPublishing as Publishing

publishing = Publishing()
publishing.start()
kind = QName("http://www.onvif.org/ver10/network/wsdl", "NetworkVideoTransmitter")
scopes = [Scope("onvif://www.onvif.org/name/Foreign")]
publishing.publishService(types=[kind], scopes=scopes, xAddrs=[sys.argv[1]])
print("published", flush=True)
sys.stdin.readline()
publishing.clearLocalServices()
print("left", flush=True)
sys.stdin.readline()
"""


def _has(module: str) -> bool:
    found = f"import importlib.util as u, sys; sys.exit(u.find_spec({module!r}) is None)"
    return PEERS.exists() and subprocess.run([PEERS, "-c", found], check=False).returncode == 0


def needs(module: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(not _has(module), reason=f"there is no {module} in the environment of {PEERS}")


@asynccontextmanager
async def ipycam(host: Host, folder: Path, **fields: object) -> AsyncIterator[asyncio.subprocess.Process]:
    """A camera at port 8080 there; it says goodbye at SIGINT."""
    size = {"main_width": 320, "main_height": 240, "sub_width": 160, "sub_height": 120, "main_fps": 5}
    identity = {"name": "Gate", "manufacturer": "Acme", "model": "M1", "serial_number": "SN-4711"}
    config = {"local_ip": host.address, "firmware_version": "1.2.3", **size, **identity, **fields}
    (folder / "camera.json").write_text(json.dumps(config))
    command = (str(PEERS), "-m", "ipycam", "--source", "video", "--config", "camera.json", "--log-level", "ERROR")
    devnull = asyncio.subprocess.DEVNULL
    async with running(await host.start(*command, cwd=folder, stdout=devnull, stderr=devnull)) as process:
        yield process


@asynccontextmanager
async def publisher(host: Host, xaddr: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """Something that publishes; it says goodbye when it gets a line."""
    pipe, devnull = asyncio.subprocess.PIPE, asyncio.subprocess.DEVNULL
    command = (str(PEERS), "-c", PUBLISHER, xaddr)
    async with running(await host.start(*command, stdin=pipe, stdout=pipe, stderr=devnull)) as process:
        assert process.stdout is not None
        assert await process.stdout.readline() == b"published\n"
        yield process


async def shout(host: Host, kind: str, count: int = 1, **fields: str) -> None:
    """Forged messages from there; see `shouting.py`."""
    words = [f"{name}={value}" for name, value in fields.items()]
    process = await host.start(sys.executable, str(SHOUTING), kind, str(count), *words)
    assert await process.wait() == 0
