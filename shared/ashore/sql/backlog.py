"""How far the bus lags behind the database: what waits in the outbox, counted when somebody looks at the metrics.

Counting costs nothing while events leave at once, which is nearly always. When the bus has been away for long it costs
half a microsecond for each row, so it ends at `MOST`: beyond that the number says no more than the age does. All
replicas of a service see the same table, so their numbers are equal and not to be added.
"""

import asyncio
import math
import time
from typing import Final, NamedTuple

from sqlalchemy import Connection, Table, func, select

from ashore.sql.database import Database
from ashore.sql.errors import StorageUnavailable
from ashore.telemetry import Metrics

MOST: Final = 100_000
_KEPT_SECONDS: Final = 1.0
_TIMEOUT: Final = 2.0


class Depth(NamedTuple):
    """What waits."""

    events: float
    oldest_seconds: float


_UNKNOWN: Final = Depth(math.nan, math.nan)


class Backlog:
    """Measures an outbox for the metrics of its service."""

    def __init__(self, database: Database, table: Table, metrics: Metrics) -> None:
        self._database = database
        self._metrics = metrics
        self._asked_until = 0.0
        self._count = select(func.count()).select_from(select(table.c.seq).limit(MOST).subquery())
        self._oldest = select(table.c.created_at).order_by(table.c.seq).limit(1)

    async def measure(self) -> None:
        """Set the gauges, to NaN where the database does not answer: a number that is not known is not zero."""
        if time.monotonic() < self._asked_until:
            return
        self._asked_until = time.monotonic() + _KEPT_SECONDS
        try:
            async with asyncio.timeout(_TIMEOUT):
                depth = await self._database.read(self._depth)
        except (TimeoutError, StorageUnavailable):
            depth = _UNKNOWN
        self._metrics.outbox.set(depth.events)
        self._metrics.outbox_age.set(depth.oldest_seconds)

    def _depth(self, connection: Connection) -> Depth:
        oldest = connection.execute(self._oldest).scalar()
        if oldest is None:
            return Depth(0, 0)
        return Depth(connection.execute(self._count).scalar_one(), max(0.0, time.time() - oldest / 1000))
