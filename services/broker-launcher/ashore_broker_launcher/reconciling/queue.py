"""The queue of things to look at: each once, however often it is mentioned, and never two workers at the same one.

Level-triggered: an item says what to look at, not what has happened, so that events may come twice, late or together. A
pass that fails is tried again after a pause that doubles, of that item alone; one that says when something is due is
looked at again then.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple

import structlog

from ashore_broker_launcher.cluster import ClusterError, Key, Unreachable

FIRST_PAUSE: Final = 0.05
LONGEST_PAUSE: Final = 60.0

log: structlog.typing.FilteringBoundLogger = structlog.get_logger()


class Item(NamedTuple):
    """Something to look at: a configuration or an instance by its key, or a device of a configuration."""

    what: str
    key: Key
    device: str = ""

    def __str__(self) -> str:
        place = "/".join(part for part in (*self.key, self.device) if part)
        return f"{self.what} {place}"


Pass = Callable[[Item], Awaitable[float | None]]
"""Looks at an item; the answer is in how many seconds it must be looked at again, if nothing happens before."""


class WorkQueue:
    """Items that wait, and the workers that look at them."""

    def __init__(self, look: Pass, *, workers: int = 24) -> None:
        self._look = look
        self._workers = workers
        self._ready: deque[Item] = deque()
        self._waiting: set[Item] = set()
        self._busy: set[Item] = set()
        self._again: set[Item] = set()
        self._timers: dict[Item, asyncio.TimerHandle] = {}
        self._failures: dict[Item, int] = {}
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._rests = False

    def __len__(self) -> int:
        return len(self._waiting) + len(self._busy)

    def add(self, item: Item, delay: float = 0.0) -> None:
        """Look at this, at once or after so many seconds; an earlier time that is set already holds."""
        if self._rests:
            return
        if delay > 0:
            self._later(item, delay)
            return
        if (timer := self._timers.pop(item, None)) is not None:
            timer.cancel()
        if item in self._busy:
            self._again.add(item)
        elif item not in self._waiting:
            self._waiting.add(item)
            self._ready.append(item)
            self._idle.clear()
            self._wake.set()

    async def idle(self) -> None:
        """Wait until nothing is left to look at; what is due later does not count. While it rests nobody knows."""
        while not self._idle.is_set():
            await self._idle.wait()

    def rest(self) -> None:
        """Take nothing until `run`: who begins to work looks at everything anyway, and until then it would pile up."""
        self._rests = True
        for timer in self._timers.values():
            timer.cancel()
        for kept in (self._timers, self._ready, self._waiting, self._again, self._failures):
            kept.clear()
        self._idle.clear()

    async def run(self) -> None:
        """Work until cancelled."""
        self._rests = False
        if not self._ready:
            self._idle.set()
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(self._workers):
                    group.create_task(self._work())
        finally:
            self.rest()

    async def _work(self) -> None:
        while True:
            while not self._ready:
                self._wake.clear()
                await self._wake.wait()
            item = self._ready.popleft()
            self._waiting.discard(item)
            self._busy.add(item)
            try:
                await self._pass(item)
            finally:
                self._done(item)

    async def _pass(self, item: Item) -> None:
        try:
            again = await self._look(item)
        except Exception as error:  # noqa: BLE001 - whatever one item does, the others must go on
            pause = self._failed(item, error)
            self._later(item, pause)
        else:
            self._failures.pop(item, None)
            if again is not None:
                self._later(item, max(again, FIRST_PAUSE))

    def _failed(self, item: Item, error: Exception) -> float:
        count = self._failures[item] = self._failures.get(item, 0) + 1
        pause: float = min(FIRST_PAUSE * 2 ** min(count - 1, 16), LONGEST_PAUSE)
        if isinstance(error, Unreachable):
            pause = max(pause, error.retry_seconds or 0.0)
        expected = isinstance(error, ClusterError)
        # A conflict is a matter of course, and the first try after it reads anew.
        if count > 1 or not expected:
            tell = log.warning if expected else log.exception
            tell("not done yet", item=str(item), reason=str(error), again_in_seconds=round(pause, 2))
        return pause

    def _done(self, item: Item) -> None:
        self._busy.discard(item)
        if item in self._again:
            self._again.discard(item)
            self.add(item)
        if not self._waiting and not self._busy:
            self._idle.set()

    def _later(self, item: Item, delay: float) -> None:
        loop = asyncio.get_running_loop()
        timer = self._timers.get(item)
        if timer is not None:
            if timer.when() <= loop.time() + delay:
                return
            timer.cancel()
        self._timers[item] = loop.call_later(delay, self._due, item)

    def _due(self, item: Item) -> None:
        del self._timers[item]
        self.add(item)
