"""`python -m tests.discovery.watch HANDLER JSON`: one handler alone, in whatever network namespace this runs.

What it yields is printed, a line of JSON each: `{"at": ..., "what": "Sighting", "id": ..., "kind": ..., ...}`. JSON is
`{"details": [...], "settings": {...}, "interface": "eth0", "probe": 0.5, "enrich": true}`; all but `details` may be
left out. With `probe`, everything seen is probed so often (seconds), and answers are `{"what": "probe", "id": ...,
"answer": ...}`; with `enrich` it is asked once. A line `scan` on standard input is what `ashore discovery rescan` does.
"""

import asyncio
import sys
import time
from collections.abc import Coroutine
from contextlib import aclosing

import msgspec
import structlog

from ashore_discovery.handler import Context, Handler
from ashore_discovery.listening.catalogue import Catalogue
from ashore_discovery.listening.tools import Tools
from ashore_discovery.model import Facet, Lost, Sighting, Swept


class Order(msgspec.Struct, forbid_unknown_fields=True):
    details: list[dict[str, object]]
    settings: dict[str, object] = {}
    interface: str | None = None
    probe: float | None = None
    enrich: bool = False


def tell(what: str, **more: object) -> None:
    line = msgspec.json.encode({"at": time.time(), "what": what, **more}, enc_hook=repr)
    sys.stdout.write(line.decode() + "\n")
    sys.stdout.flush()


class Watch:
    """A handler and what it is given, without the layers above it."""

    def __init__(self, name: str, order: Order) -> None:
        kind = Catalogue().load(name)
        tools = Tools(clock=time.time)
        self.order = order
        self.tasks: set[asyncio.Task[None]] = set()
        self.facets: dict[str, Facet] = {}
        self.plan = kind.plan([msgspec.convert(one, kind.details_type) for one in order.details])
        self.handler: Handler = kind(
            Context(
                settings=msgspec.convert(order.settings, kind.settings_type),
                interface=order.interface,
                clock=time.time,
                report=lambda mode, why: tell("health", mode=mode, why=why),
                spawn=self.spawn,
                secret=tools.secret,
                network=tools.network(),
                pace=tools.pace(),
                log=structlog.get_logger(),
            )
        )

    def spawn(self, work: Coroutine[object, object, None]) -> asyncio.Task[None]:
        task = asyncio.ensure_future(work)
        self.tasks.add(task)
        return task

    async def run(self) -> None:
        self.spawn(self._scan_when_told())
        if self.order.probe is not None:
            self.spawn(self._probe())
        async with aclosing(self.handler.run(self.plan)) as seen:
            async for item in seen:
                self._take(item)

    def _take(self, item: Sighting | Swept | Lost) -> None:
        if isinstance(item, Swept):
            tell("Swept")
            return
        if isinstance(item, Lost):
            tell("Lost", within=item.within)
            return
        item.check()
        said = msgspec.to_builtins(msgspec.structs.replace(item, record=None))
        tell("Sighting", **said)
        if item.kind == "seen":
            facet = Facet(source="watch", handler=self.handler.name, id=item.id, record=item.record)
            facet.facts, facet.identity, facet.endpoints = item.facts, item.identity, item.endpoints
            is_new = item.id not in self.facets
            self.facets[item.id] = facet
            if is_new and self.order.enrich:
                self.spawn(self._enrich(facet))

    async def _enrich(self, facet: Facet) -> None:
        learnt = await self.handler.enrich(facet)
        tell("Learnt", id=facet.id, learnt=None if learnt is None else msgspec.to_builtins(learnt))

    async def _probe(self) -> None:
        assert self.order.probe is not None
        while True:
            await asyncio.sleep(self.order.probe)
            for facet in list(self.facets.values()):
                try:
                    async with asyncio.timeout(self.handler.probe_timeout):
                        answer = await self.handler.probe(facet)
                except TimeoutError:
                    answer = False
                tell("probe", id=facet.id, answer=answer)

    async def _scan_when_told(self) -> None:
        reader = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        while line := await reader.readline():
            if line.strip() == b"scan":
                await self.handler.scan()


if __name__ == "__main__":
    name, order = sys.argv[1:]
    # Standard output is for what is seen.
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    asyncio.run(Watch(name, msgspec.json.decode(order, type=Order)).run())
