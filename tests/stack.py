"""A whole stack for tests and benchmarks: NATS, four services and the agent as processes on free ports.

It is the same code as `ashore up`, and gone afterwards.
"""

import asyncio
import os
import random
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import NamedTuple

from ashore.bus.nats import NatsBus
from ashore.client import Client, Context
from ashore_cli.joining import joined
from ashore_cli.local.devices import Virtual
from ashore_cli.stack import Happening, Ports, Stack


class Running(NamedTuple):
    """What a test may want of a stack."""

    stack: Stack
    client: Client
    happenings: list[Happening]

    @property
    def folder(self) -> Path:
        """The data folder."""
        return self.stack.layout.path

    @property
    def context(self) -> Context:
        """Where everything is."""
        return self.client.context

    @property
    def token(self) -> str:
        """The admin token."""
        return self.stack.layout.token.read_text().strip()

    def url(self, service: str) -> str:
        """Where a service listens."""
        return self.context.services[service].url

    def pid(self, name: str) -> int:
        """The process of `nats` or of a service; 0 while it is away."""
        return self.stack.pid(name)

    def virtual(self) -> AbstractAsyncContextManager[Virtual]:
        """Virtual devices that come ashore here."""
        return Virtual.folder(self.context)

    def bus(self) -> AbstractAsyncContextManager[NatsBus]:
        """The bus, as the command line's user."""
        return joined(self.context)


@asynccontextmanager
async def running(
    folder: Path,
    settings: Mapping[str, Mapping[str, str]] | None = None,
    *,
    tls: bool = False,
    kubernetes: bool = False,
) -> AsyncIterator[Running]:
    """Everything, for the length of a block; `settings` are environment variables by service, `*` for all."""
    happenings: list[Happening] = []
    async with (
        Stack(
            folder, ports=Ports.free, tls=tls, kubernetes=kubernetes, settings=settings, tell=happenings.append
        ) as stack,
        Client(stack.context) as client,
    ):
        yield Running(stack, client, happenings)


class Done(NamedTuple):
    """A command that has ended."""

    code: int
    out: str
    error: str


async def ashore(*words: str | Path, data: Path, environment: Mapping[str, str] | None = None) -> Done:
    """Run the command line as a process, as its user would, in a folder of its own."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("ASHORE_")}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "ashore_cli",
        *map(str, words),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=data.parent,
        env={**inherited, "ASHORE_DATA_DIR": str(data), **(environment or {})},
    )
    try:
        out, error = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return Done(process.returncode or 0, out.decode(), error.decode())


def free_offset() -> int:
    """Something to add to all usual ports, so that none of them is taken."""
    while True:
        offset = random.randrange(11_000, 23_000)
        if not Ports.moved(offset).taken("127.0.0.1"):
            return offset


async def until(condition: Callable[[], Awaitable[bool]], seconds: float = 30.0) -> None:
    """Wait for something that another process does; raise TimeoutError."""
    async with asyncio.timeout(seconds):
        while not await condition():  # noqa: ASYNC110 - it happens in another process
            await asyncio.sleep(0.1)
