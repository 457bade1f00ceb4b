"""One device's way ashore, drawn while its events come."""

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from datetime import UTC, datetime, timedelta

from rich.text import Text

from ashore.bus.nats import NatsBus
from ashore.client import Context
from ashore.events import Event, EventError, VoucherIssued, open_event
from ashore_cli.errors import CommandError, printable
from ashore_cli.joining import checked
from ashore_cli.local.screen import Screen
from ashore_cli.telling import tell
from ashore_device.progress import Progress


class Timeline:
    """Knows the device by its serial number, and by its GUID as soon as there is one."""

    def __init__(self, screen: Screen, serial: str) -> None:
        self._screen = screen
        self._serial = serial
        self._guid = ""
        self._began = time.time()
        self._seen: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)

    @asynccontextmanager
    async def following(self, bus: NatsBus, context: Context) -> AsyncIterator[None]:
        """Draw what comes for the length of a block."""
        await checked(bus, context)
        task = asyncio.create_task(self._follow(bus), name="timeline")
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def reached(self, name: str, seconds: float) -> None:
        """Wait for an event; raise CommandError where it does not come."""
        try:
            async with asyncio.timeout(seconds):
                await self._seen[name].wait()
        except TimeoutError as error:
            raise CommandError(
                f"device {self._serial}: the event {name} has not come in {seconds:.0f} seconds",
                remedy="run `ashore doctor`, and read the services' logs",
            ) from error

    def device(self, progress: Progress) -> None:
        """Draw what the device itself tells, where no event says it: that it was refused, or waits."""
        if progress.kind in ("failed", "waiting"):
            self._draw(time.time(), progress.kind, printable(progress.text), "dim")

    async def _follow(self, bus: NatsBus) -> None:
        # A little earlier than now, since the clock of the bus need not be ours to the millisecond.
        since = datetime.now(UTC) - timedelta(seconds=5)
        async with aclosing(bus.follow([">"], since=since)) as found:
            async for _, envelope in found:
                try:
                    event = open_event(envelope)
                except EventError:
                    # A newer service may tell what we do not know.
                    continue
                if self._is_ours(event):
                    telling = tell(event)
                    self._draw(envelope.time.timestamp(), telling.word, printable(telling.text), telling.style)
                    self._seen[event.name].set()

    def _is_ours(self, event: Event) -> bool:
        if isinstance(event, VoucherIssued) and event.serial == self._serial:
            self._guid = event.guid
        return bool(self._guid) and getattr(event, "guid", "") == self._guid

    def _draw(self, moment: float, word: str, text: str, style: str) -> None:
        elapsed = f"{max(0.0, moment - self._began):6.2f} s  "
        self._screen.out.print(Text.assemble((elapsed, "dim"), (f"{word:<13}", style), text))
