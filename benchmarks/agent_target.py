"""A discovery agent as it runs in production: a process of its own beside a NATS server, and two who subscribe.

One subscribes to the subject, as a dashboard does; one reads the stream, as our own clients do: there an event counts
when it is on disk and has arrived.
"""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import nats
from nats.aio.msg import Msg

from ashore.bus.nats import connect
from ashore.bus.server import EmbeddedServer
from ashore.client.discovery import DiscoveryClient
from ashore.events import DeviceSeen, decode, open_event
from benchmarks.ports import free_port

START_SECONDS = 20.0
Configuration = dict[str, Any]
_TOKEN = re.compile("a5b0[0-9]{8}")


def token(number: int) -> str:
    """What our devices are known by, as a name of an interface or the end of a UUID."""
    return f"a5b0{number:08}"


def end_in_order() -> None:
    """Have SIGTERM end this as Ctrl-C does, so that processes, devices and networks go, too."""
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)


class AgentTarget:
    """An agent with its subscriber; `running` makes one."""

    def __init__(self, process: "subprocess.Popen[bytes]", client: DiscoveryClient) -> None:
        self._process = process
        self._client = client
        self._waiting: dict[tuple[bool, str, str], asyncio.Future[float]] = {}
        """By whether it is read from the stream, by the kind of change, and by the token of the device."""

    @property
    def pid(self) -> int:
        return self._process.pid

    def expect(self, change: str, number: int, *, stored: bool = False) -> "asyncio.Future[float]":
        """When the subscriber, or the reader, has this change of our device of this number, by time.time()."""
        future: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        self._waiting[stored, change, token(number)] = future
        return future

    def hear(self, event: DeviceSeen, *, stored: bool = False) -> None:
        """Somebody waits for it, perhaps."""
        now = time.time()
        found = _TOKEN.search(" ".join(event.facets))
        future = self._waiting.pop((stored, event.change, found[0]), None) if found else None
        if future is not None and not future.done():
            future.set_result(now)

    async def ready(self) -> None:
        """Wait until it has looked around."""
        if await self._client.soonest(START_SECONDS) is None:
            raise RuntimeError("the agent has not looked around")


@asynccontextmanager
async def running(
    configurations: Sequence[Configuration], handlers: Configuration | None = None, **settings: str
) -> AsyncIterator[AgentTarget]:
    """NATS, an agent with these configurations, and a subscriber to all devices."""
    with tempfile.TemporaryDirectory(prefix="ashore-bench-") as name:
        folder = Path(name)
        server = EmbeddedServer(folder / "nats", port=0, monitor_port=0)
        await asyncio.to_thread(server.start)
        try:
            admin = await connect(server.url, name="admin", seed_file=str(server.seed_file("admin")))
            await admin.declare()
            await admin.close()
            file = {"configurations": list(configurations), "handlers": handlers or {}}
            process = _launch(folder, server, file, settings)
            try:
                async with _subscribed(server, process) as target:
                    await target.ready()
                    yield target
            finally:
                process.terminate()
                await asyncio.to_thread(process.wait)
        finally:
            await asyncio.to_thread(server.stop)


@asynccontextmanager
async def _subscribed(server: EmbeddedServer, process: "subprocess.Popen[bytes]") -> AsyncIterator[AgentTarget]:
    bus = await connect(server.url, name="cli", seed_file=str(server.seed_file("cli")))
    target = AgentTarget(process, DiscoveryClient(bus))

    async def listen() -> None:
        async with aclosing(bus.follow([f"{DeviceSeen.name}.>"])) as found:
            async for _, envelope in found:
                event = open_event(envelope)
                if isinstance(event, DeviceSeen):
                    target.hear(event, stored=True)

    async def hear(message: Msg) -> None:
        event = open_event(decode(message.data))
        if isinstance(event, DeviceSeen):
            target.hear(event)

    plain = await nats.connect(server.url, nkeys_seed=str(server.seed_file("admin")))
    await plain.subscribe(f"{DeviceSeen.name}.>", cb=hear)
    listening = asyncio.create_task(listen())
    try:
        yield target
    finally:
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
        await plain.close()
        await bus.close()


def _launch(
    folder: Path, server: EmbeddedServer, content: Configuration, settings: dict[str, str]
) -> "subprocess.Popen[bytes]":
    file = folder / "look-for.yaml"
    # JSON is YAML as well.
    file.write_text(json.dumps(content))
    port = free_port()
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("ASHORE_")}
    environment = inherited | {
        "ASHORE_DATA_DIR": str(folder / "agent"),
        "ASHORE_HOST": "127.0.0.1",
        "ASHORE_PORT": str(port),
        "ASHORE_NATS_URL": server.url,
        "ASHORE_NATS_SEED_FILE": str(server.seed_file("discovery")),
        "ASHORE_CONFIGURATIONS": str(file),
        "ASHORE_NODE": "bench",
        "ASHORE_LOG_FORMAT": "json",
        "PYTHONOPTIMIZE": "2",
        **settings,
    }
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    with (folder / "agent.log").open("wb") as log:
        process = subprocess.Popen([sys.executable, "-m", "ashore_discovery"], env=environment, stdout=log, stderr=log)
    began = time.perf_counter()
    while time.perf_counter() - began < START_SECONDS and process.poll() is None:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=2)
        except OSError:
            time.sleep(0.02)
        else:
            return process
    process.kill()
    process.wait()
    raise RuntimeError(f"the agent did not start:\n{(folder / 'agent.log').read_text()[-2000:]}")
