"""`async with watching(host, "ssdp", details=[{}])`: a handler alone on a host of the test, and what it says."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from tests.discovery.namespaces import Host, running

Line = dict[str, Any]


class Watched:
    """What `tests.discovery.watch` has printed so far."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.said: list[Line] = []
        self._process = process
        self._more = asyncio.Event()

    async def listen(self) -> None:
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            self.said.append(json.loads(line))
            self._more.set()
        self.said.append({"what": "end"})
        self._more.set()

    async def until(
        self,
        what: str,
        holds: Callable[[Line], bool] = lambda _: True,
        *,
        after: int = 0,
        seconds: float = 20,
        **fields: object,
    ) -> Line:
        """The first line of that kind, with these fields, from the `after`th on."""
        try:
            async with asyncio.timeout(seconds):
                while True:
                    for one in self.said[after:]:
                        if one["what"] == what and fields.items() <= one.items() and holds(one):
                            return one
                    assert self.said[-1:] != [{"what": "end"}], "the handler has ended"
                    self._more.clear()
                    await self._more.wait()
        except TimeoutError:
            raise AssertionError(f"no {what} with {fields}; it said: {self.said}") from None

    def all(self, what: str) -> list[Line]:
        return [one for one in self.said if one["what"] == what]

    async def scan(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(b"scan\n")
        await self._process.stdin.drain()


@asynccontextmanager
async def watching(host: Host, handler: str, **order: object) -> AsyncIterator[Watched]:
    """Run the handler there, until the end of the block."""
    pipe = asyncio.subprocess.PIPE
    started = await host.python("tests.discovery.watch", handler, json.dumps(order), stdin=pipe, stdout=pipe)
    async with running(started) as process:
        watched = Watched(process)
        listening = asyncio.create_task(watched.listen())
        try:
            # Whoever tests departures needs an arrival, so the handler must be there first.
            await watched.until("health")
            yield watched
        finally:
            listening.cancel()
