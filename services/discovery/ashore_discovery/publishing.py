"""Events on the bus: at once while it is there, and nothing lost while it is away.

For each device at most the last two events wait: what it was told last, and what it is now. When the bus is back, or
the agent has been started again, everything that is there is told once more under a new epoch; whatever has an older
one when the snapshot is complete is no longer there.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

import structlog

from ashore.bus import Bus, BusError, BusUnavailable
from ashore.bus.telling import tell
from ashore.events import DeviceSeen, Event, EventError

AT_ONCE: Final = 64
"""So many events are on their way at once: a server that syncs its disk takes them together."""
RETRY_SECONDS: Final = 0.5
_MOST_WAITING: Final = 2

log: structlog.typing.FilteringBoundLogger = structlog.get_logger()


class Waiting(NamedTuple):
    """An event that the bus does not have yet."""

    event: DeviceSeen
    told: Callable[[], None]


class Publisher:
    """Publishes what is put in: in order for each device, several devices at once."""

    def __init__(
        self, bus: Bus, source: str, clock: Callable[[], float], today: Callable[[], float] = time.time
    ) -> None:
        """`clock` is the agent's own, which nobody sets; `today` is the machine's, by which others compare."""
        self.epoch = 0
        """The snapshot under which everything is told now."""
        self.complete = 0
        """The last snapshot that is on the bus as a whole."""
        self.away = False
        """Whether something could not be published, so that a new snapshot is due as soon as it can."""
        self._bus = bus
        self._source = source
        self._clock = clock
        self._today = today
        self._waiting: dict[str, deque[Waiting]] = {}
        self._busy: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._idle = asyncio.Event()
        self._idle.set()
        self._said = ""

    def __len__(self) -> int:
        return len(self._waiting)

    def begin_epoch(self) -> int:
        """A new epoch, larger than all before it."""
        self.epoch = max(moment(self._clock()), self.epoch + 1)
        return self.epoch

    def put(self, event: DeviceSeen, told: Callable[[], None] = lambda: None) -> None:
        """Tell this as soon as possible, and call `told` when the bus has it."""
        queue = self._waiting.setdefault(event.subject, deque(maxlen=_MOST_WAITING))
        queue.append(Waiting(event, told))
        self._idle.clear()
        if len(self._tasks) < AT_ONCE and len(self._busy) < len(self._waiting):
            task = asyncio.create_task(self._work(), name="publish")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def tell_all(self, events: Iterable[DeviceSeen]) -> None:
        """Tell everything once more, and wait until it is told: then the epoch is complete."""
        epoch = self.epoch
        for count, event in enumerate(events):
            # What waits may carry an older epoch, so this goes behind it.
            self.put(event)
            if not count % AT_ONCE:
                await asyncio.sleep(0)
        await self._idle.wait()
        self.complete = max(self.complete, epoch)

    async def send(self, event: Event, identity: str) -> None:
        """Publish one event now; raise BusError."""
        await tell(self._bus, event, source=self._source, identity=identity, at=self._today())

    async def close(self, seconds: float) -> None:
        """Tell what waits, but not for longer than this, and end."""
        try:
            async with asyncio.timeout(seconds):
                await self._idle.wait()
        except TimeoutError:
            log.warning("not told any more", devices=len(self._waiting))
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _work(self) -> None:
        while (subject := self._next()) is not None:
            self._busy.add(subject)
            try:
                await self._tell(self._waiting[subject])
                del self._waiting[subject]
            finally:
                self._busy.discard(subject)
        if not self._waiting:
            self._idle.set()

    def _next(self) -> str | None:
        return next((subject for subject in self._waiting if subject not in self._busy), None)

    async def _tell(self, queue: "deque[Waiting]") -> None:
        while queue:
            first = queue[0]
            event = first.event
            try:
                await self.send(event, f"{event.node}/{event.key}/{event.epoch}/{event.revision}")
                self._said = ""
                first.told()
            except BusUnavailable as error:
                self.trouble(error)
                await asyncio.sleep(RETRY_SECONDS)
                continue
            except (BusError, EventError) as error:
                # It would be refused again, and must not stand in the way of the next.
                self.trouble(error)
            if queue and queue[0] is first:
                queue.popleft()

    def trouble(self, error: Exception) -> None:
        """The bus did not take something; one line of each kind is enough."""
        self.away = self.away or isinstance(error, BusUnavailable)
        if str(error) != self._said:
            self._said = str(error)
            log.warning("not told yet" if isinstance(error, BusUnavailable) else "cannot be told", reason=str(error))


def moment(seconds: float) -> int:
    """Milliseconds since 1970, as events have them."""
    return max(0, round(seconds * 1000))
