"""A discovery handler of Akri's kind in a process and an environment of its own, for the tests of the bridge."""

import asyncio
import json
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

from tests.bus_kit import until
from tests.discovery.namespaces import running
from tests.discovery.peers import python_with

PROGRAM = Path(__file__).with_name("akri_handler.py")
SOCKET = "agent-registration.sock"


@contextmanager
def short_folder() -> Iterator[Path]:
    """A folder for sockets, whose paths may have 107 characters: fewer than a folder of pytest's has."""
    path = Path(tempfile.mkdtemp(prefix="akri-"))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


class Foreign:
    """The handler, seen from outside."""

    def __init__(self, process: asyncio.subprocess.Process, endpoint: str) -> None:
        self.process = process
        self.endpoint = endpoint
        self.said: list[dict[str, Any]] = []

    async def listen(self) -> None:
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            self.said.append(json.loads(line))

    def all(self, key: str) -> list[Any]:
        return [one[key] for one in self.said if key in one]

    async def until(self, key: str, count: int = 1) -> list[Any]:
        await until(lambda: len(self.all(key)) >= count, seconds=30)
        return self.all(key)

    async def send(self, command: object) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(command).encode() + b"\n")
        await self.process.stdin.drain()

    async def kill(self) -> None:
        self.process.kill()
        await self.process.wait()


@asynccontextmanager
async def foreign(
    folder: Path, name: str, *flags: str, endpoint: str = "", registered: bool = True
) -> AsyncIterator[Foreign]:
    endpoint = endpoint or str(folder / f"{name}.sock")
    process = await asyncio.create_subprocess_exec(
        str(python_with("grpcio")), str(PROGRAM), name, endpoint, str(folder / SOCKET), *flags,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    found = Foreign(process, endpoint)
    listening = asyncio.create_task(found.listen())
    try:
        async with running(process):
            if registered:
                assert await found.until("registered") == [True], found.said
            yield found
    finally:
        with suppress(asyncio.CancelledError):
            listening.cancel()
            await listening


def reads(health: dict[str, Any], source: str) -> tuple[str, str]:
    """Mode and reason of a listener, as health tells them."""
    return next(((one["mode"], one["reason"]) for one in health["sources"] if one["source"] == source), ("", ""))


async def until_reads(asked: Callable[[], Any], source: str, *texts: str) -> str:
    """Wait until the reason of a listener has all these texts."""
    async with asyncio.timeout(30):
        while True:
            mode, reason = reads(await asked(), source)
            if all(text in f"{mode}: {reason}" for text in texts):
                return f"{mode}: {reason}"
            await asyncio.sleep(0.05)
