"""Which units of work share a COMMIT, so that one fsync serves many.

Units leave in the order in which they came, one batch at a time. A batch leaves when somebody waits for one of its
units; those that nobody waits for go along with the next that is waited for, or after 50 ms. Where independent callers
come one upon another, a batch lingers for those just behind; that of a lone caller never does, nor that of callers who
wait for each other.
"""

import asyncio
from collections.abc import Callable
from typing import TypeVar

from sqlalchemy import Connection

from ashore.sql.lane import Job, Outcome

T = TypeVar("T")

MAX_BATCH = 64  # Bounds how long the event loop stands still for one batch: about 4 ms.
SOON_SECONDS = 0.05
COMPANY = 8  # So many units that nobody waits for share a COMMIT well enough.
LINGER_SECONDS = 0.005  # At 200 units a second, twice as many share a COMMIT, which costs 0.2 ms of CPU and more.
VAIN_BATCHES = 8  # Lingering ends when so many batches on end have met nobody by it.


class Batches:
    """Gathers units and hands them to `leave`, a batch at a time; `came_back` must follow each. For the event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, leave: Callable[[list[Job]], None]) -> None:
        self._loop = loop
        self._leave = leave
        self._gathered: list[Job] = []
        self._urgent = 0
        self._away = 0
        self._timer: asyncio.Handle | None = None
        self._leaving_at = 0.0
        self._patience = 0
        self._together = 0

    def add(self, unit: Callable[[Connection], T], *, soon: bool) -> asyncio.Future[T]:
        """Queue a unit; its future is resolved after the COMMIT."""
        future: asyncio.Future[T] = self._loop.create_future()
        self._gathered.append(Job(unit, future))
        self._urgent += not soon
        self._plan()
        return future

    def came_back(self, outcomes: list[Outcome]) -> None:
        """Tell the callers, and plan the next batch."""
        self._away -= 1
        if self._urgent:
            # Who comes while others are served does not depend on them, and more like him may follow.
            self._patience = VAIN_BATCHES
        for outcome in outcomes:
            outcome.tell()
        self._plan()

    def flush(self) -> None:
        """Let everything leave now."""
        while self._gathered:
            self._go()

    def _plan(self) -> None:
        if self._away or not self._gathered:
            return
        if not self._urgent and len(self._gathered) < COMPANY:
            self._leave_in(SOON_SECONDS)
        elif self._patience:
            self._leave_in(LINGER_SECONDS)
        else:
            # Not at once: units from the same turn of the loop leave together.
            self._leave_in(0)

    def _leave_in(self, delay: float) -> None:
        leaving_at = self._loop.time() + delay
        if self._timer is not None:
            if self._leaving_at <= leaving_at:
                return
            self._timer.cancel()
        self._leaving_at = leaving_at
        self._timer = self._loop.call_later(delay, self._go)
        if self._patience:
            self._loop.call_soon(self._count)

    def _count(self) -> None:
        # Who came in one turn of the loop would have left together anyway.
        self._together = self._urgent

    def _go(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._patience:
            self._patience = VAIN_BATCHES if self._urgent > self._together else self._patience - 1
        batch, self._gathered = self._gathered[:MAX_BATCH], self._gathered[MAX_BATCH:]
        self._urgent = len(self._gathered)
        self._away += 1
        self._leave(batch)
