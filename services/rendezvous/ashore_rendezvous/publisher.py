"""Facts that no device shall wait for: they reach the bus a moment later, and survive its short absences.

What is told here is kept in memory only, and the oldest is given up when too much piles up: `device-redirected` is good
to know, but nothing depends on it.
"""

import asyncio
from collections import deque
from typing import Final

import structlog

from ashore.bus import Bus, BusError, BusUnavailable
from ashore.events import Envelope, encode

CAPACITY: Final = 10_000
DRAIN_SECONDS: Final = 3.0
_AT_ONCE: Final = 64
_BACKOFF: Final = (0.1, 10.0)

log: structlog.typing.FilteringBoundLogger = structlog.get_logger()


class Publisher:
    """Publishes in the background; `run` is the task, `drain` what is done at the end."""

    def __init__(self, bus: Bus, capacity: int = CAPACITY) -> None:
        self._bus = bus
        self._waiting: deque[Envelope] = deque(maxlen=capacity)
        self._leaving: list[Envelope] = []
        self._woken = asyncio.Event()
        self._lost = 0

    def __len__(self) -> int:
        return len(self._leaving) + len(self._waiting)

    def oldest_seconds(self, now: float) -> float:
        """For how long the oldest has waited, by the time at which its fact happened; 0 where none waits."""
        oldest = next(iter(self._leaving or self._waiting), None)
        return max(0.0, now - oldest.time.timestamp()) if oldest else 0.0

    def tell(self, envelope: Envelope) -> None:
        """Publish this soon."""
        if len(self._waiting) == self._waiting.maxlen:
            self._lost += 1
        self._waiting.append(envelope)
        self._woken.set()

    async def run(self) -> None:
        """Publish until cancelled."""
        failures = 0
        while True:
            await self._woken.wait()
            try:
                await self.flush()
                failures = 0
            except BusUnavailable as error:
                if not failures:
                    log.warning("facts wait in memory", waiting=len(self), reason=str(error))
                await asyncio.sleep(min(_BACKOFF[1], _BACKOFF[0] * 2 ** min(failures, 16)))
                failures += 1

    async def drain(self) -> None:
        """Publish what is left, if the bus takes it quickly."""
        try:
            async with asyncio.timeout(DRAIN_SECONDS):
                await self.flush()
        except (TimeoutError, BusUnavailable):
            log.warning("facts were lost at the end: the bus does not answer", lost=len(self))

    async def flush(self) -> None:
        """Publish all that waits; raise BusUnavailable, and keep what is not published."""
        if self._lost:
            log.warning("facts were lost: too many waited for the bus", lost=self._lost)
            self._lost = 0
        while self._waiting:
            self._leaving = [self._waiting.popleft() for _ in range(min(_AT_ONCE, len(self._waiting)))]
            left, results = self._leaving, list[BusUnavailable | None]()
            try:
                results = await asyncio.gather(*map(self._publish, self._leaving))
                left = [envelope for envelope, result in zip(self._leaving, results, strict=True) if result is not None]
            finally:
                self._put_back(left)
                self._leaving = []
            if error := next(filter(None, results), None):
                raise error
        self._woken.clear()

    def _put_back(self, left: list[Envelope]) -> None:
        """Have the oldest wait again, as far as there is room: others have come meanwhile, and those are newer."""
        room = (self._waiting.maxlen or 0) - len(self._waiting)
        kept = left[max(0, len(left) - room) :]
        self._lost += len(left) - len(kept)
        self._waiting.extendleft(reversed(kept))

    async def _publish(self, envelope: Envelope) -> BusUnavailable | None:
        """Publish one; repeated under the same id it is the same fact."""
        try:
            await self._bus.publish(envelope.subject, encode(envelope), id=envelope.id)
        except BusUnavailable as error:
            return error
        except BusError as error:
            log.error("a fact is refused by the bus", subject=envelope.subject, reason=str(error))  # noqa: TRY400 - the sentence suffices
        return None
