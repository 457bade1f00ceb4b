"""Streams and durable consumers in memory, as JetStream has them."""

import asyncio
import heapq
from collections.abc import Callable
from contextlib import suppress

import msgspec

from ashore import events
from ashore.bus import Conflict, StoreFull


class Stored(msgspec.Struct, frozen=True, kw_only=True):
    """A message in a stream."""

    sequence: int
    subject: str
    body: bytes
    at: float
    expires: float | None


class MemoryStream:
    """One stream: what JetStream does with the same declaration."""

    def __init__(self, declared: events.Stream, clock: Callable[[], float]) -> None:
        self._declared = declared
        self._clock = clock
        self._messages: dict[int, Stored] = {}
        self._seen: dict[str, tuple[int, float]] = {}
        self.last = 0
        self._changed = asyncio.Event()

    def live(self) -> list[Stored]:
        """What has not expired, oldest first."""
        now = self._clock()
        gone = [one.sequence for one in self._messages.values() if one.expires is not None and one.expires <= now]
        for sequence in gone:
            del self._messages[sequence]
        return list(self._messages.values())

    def find(self, subject: str) -> Stored | None:
        """The last message on the subject."""
        return next((one for one in reversed(self.live()) if one.subject == subject), None)

    def add(
        self, subject: str, body: bytes, identity: str, *, ttl: int | None = None, expected: int | None = None
    ) -> int:
        """Store it, unless it is there already by its identity."""
        now = self._clock()
        seen = self._seen.get(identity)
        if seen is not None and now - seen[1] < self._declared.duplicate_window_seconds:
            return seen[0]
        self._check_room(subject, body, expected)
        self.last += 1
        life = ttl or self._declared.max_age_seconds or None
        expires = now + life if life else None
        self._messages[self.last] = Stored(sequence=self.last, subject=subject, body=body, at=now, expires=expires)
        self._seen[identity] = (self.last, now)
        self._limit(subject)
        self.wake()
        return self.last

    def wake(self) -> None:
        """Let all who wait look again."""
        self._changed.set()
        self._changed = asyncio.Event()

    async def wait(self, seconds: float | None) -> None:
        """Wait for a change, this long at most. What changes after the caller has looked is not missed."""
        changed = self._changed
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await changed.wait()

    def remove(self, subject: str) -> None:
        """Remove every message on the subject."""
        self._messages = {one.sequence: one for one in self.live() if one.subject != subject}

    def discard(self, sequence: int) -> bool:
        """Remove one message; False where there is none."""
        return self._messages.pop(sequence, None) is not None

    def _check_room(self, subject: str, body: bytes, expected: int | None) -> None:
        found = self.find(subject)
        revision = found.sequence if found else 0
        if expected is not None and expected != revision:
            raise Conflict(f"{subject}: revision {revision} is not the expected {expected}")
        if self._declared.max_bytes and self._declared.discard == "new":
            freed = len(found.body) if found else 0
            if sum(len(one.body) for one in self.live()) - freed + len(body) > self._declared.max_bytes:
                raise StoreFull(f"{subject}: {self._declared.name} is full")

    def _limit(self, subject: str) -> None:
        most = self._declared.max_msgs_per_subject
        same = [one.sequence for one in self.live() if one.subject == subject] if most else []
        for sequence in same[: len(same) - most]:
            del self._messages[sequence]


class MemoryConsumer:
    """Where a durable consumer stands. Replicas that share its name share this."""

    def __init__(self, name: str) -> None:
        self._name = name
        self.next = 1
        self.again: list[tuple[float, int, int]] = []

    def take(self, stream: MemoryStream) -> tuple[Stored, int] | None:
        """Take what is due: (message, attempt)."""
        live = {one.sequence: one for one in stream.live()}
        while self.again and self.again[0][0] <= asyncio.get_running_loop().time():
            _, sequence, attempts = heapq.heappop(self.again)
            if sequence in live:
                return live[sequence], attempts + 1
        for sequence, one in live.items():
            if sequence >= self.next and one.subject.startswith(f"{self._name}."):
                self.next = sequence + 1
                return one, 1
        return None

    def give_back(self, sequence: int, attempts: int, delay: float) -> None:
        """Deliver it again, after the delay."""
        heapq.heappush(self.again, (asyncio.get_running_loop().time() + delay, sequence, attempts))

    def due_in(self) -> float | None:
        """When the next one that is waiting is due."""
        return max(self.again[0][0] - asyncio.get_running_loop().time(), 0) if self.again else None
