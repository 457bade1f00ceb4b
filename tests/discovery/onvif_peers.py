"""ONVIF devices that nobody here wrote: ipycam, a camera, and WSDiscovery, which publishes over WS-Discovery.

Each is in an environment of its own (`peers.py`), since a camera brings along OpenCV.
"""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.discovery.namespaces import Host, running
from tests.discovery.peers import python_with

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


@asynccontextmanager
async def ipycam(host: Host, folder: Path, **fields: object) -> AsyncIterator[asyncio.subprocess.Process]:
    """A camera at port 8080 there; `leave` has it say goodbye."""
    size = {"main_width": 320, "main_height": 240, "sub_width": 160, "sub_height": 120, "main_fps": 5}
    identity = {"name": "Gate", "manufacturer": "Acme", "model": "M1", "serial_number": "SN-4711"}
    config = {"local_ip": host.address, "firmware_version": "1.2.3", **size, **identity, **fields}
    (folder / "camera.json").write_text(json.dumps(config))
    command = (
        str(python_with("ipycam")),
        "-m",
        "ipycam",
        "--source",
        "video",
        "--config",
        "camera.json",
        "--log-level",
        "ERROR",
    )
    pipe, devnull = asyncio.subprocess.PIPE, asyncio.subprocess.DEVNULL
    unbuffered = {**os.environ, "PYTHONUNBUFFERED": "1"}
    started = await host.start(*command, cwd=folder, stdout=pipe, stderr=devnull, env=unbuffered)
    async with running(started) as process:
        yield process


async def leave(camera: asyncio.subprocess.Process) -> None:
    """Have it say goodbye.

    It says hello, and what it is, long before it is ready; interrupted until then it ends without a word. So its last
    line of advice is waited for.
    """
    assert camera.stdout is not None
    async with asyncio.timeout(20):
        while line := await camera.stdout.readline():
            if line.startswith(b"Upload a video"):
                break
    camera.send_signal(signal.SIGINT)


@asynccontextmanager
async def publisher(host: Host, xaddr: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """Something that publishes; it says goodbye when it gets a line."""
    pipe, devnull = asyncio.subprocess.PIPE, asyncio.subprocess.DEVNULL
    command = (str(python_with("WSDiscovery")), "-c", PUBLISHER, xaddr)
    async with running(await host.start(*command, stdin=pipe, stdout=pipe, stderr=devnull)) as process:
        assert process.stdout is not None
        assert await process.stdout.readline() == b"published\n"
        yield process


async def shout(host: Host, kind: str, count: int = 1, **fields: str) -> None:
    """Forged messages from there; see `shouting.py`."""
    words = [f"{name}={value}" for name, value in fields.items()]
    process = await host.start(sys.executable, str(SHOUTING), kind, str(count), *words)
    assert await process.wait() == 0
