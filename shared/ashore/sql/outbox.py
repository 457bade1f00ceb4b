"""The outbox: an event is written in the transaction of what it tells, and reaches the bus afterwards.

`append` adds the event to a unit of work, `Relay` publishes what is committed and deletes what the bus acknowledged. So
an event is told if and only if its fact is in the database, at least once; its id is the message id on the bus, which
drops the repetition. While the bus is away events wait here, and nothing is lost.
"""

import asyncio
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache, partial
from secrets import token_hex
from typing import NamedTuple

import structlog
from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    bindparam,
    func,
    select,
)

from ashore.bus import Bus, BusError, BusUnavailable
from ashore.events import Event, encode, envelope
from ashore.sql.database import Database
from ashore.sql.errors import StorageUnavailable
from ashore.sql.prepared import Prepared, insertion

WINDOW = 64  # Publications on their way at once, and rows deleted together.
PACE_SECONDS = 0.05  # Between sweeps under load, which so take many events each; after a quiet time one leaves at once.
POLL_SECONDS = 5.0
BACKOFF_SECONDS = (0.1, 10.0)

_log = structlog.get_logger()


class Waiting(NamedTuple):
    """A row of the outbox."""

    seq: int
    id: str
    subject: str
    body: bytes

    @property
    def about(self) -> str:
        """Whom the event is about: events of one device stay in order, whatever their names."""
        return self.subject.partition(".")[2]


class Refusal(NamedTuple):
    """Where the events of a device come to a halt, and why."""

    row: Waiting
    error: BusError


def outbox(metadata: MetaData, name: str = "outbox") -> Table:
    """Declare the table; its migration creates the same columns."""
    return Table(
        name,
        metadata,
        # SQLite numbers by itself only what is called INTEGER.
        Column("seq", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
        Column("id", String(32), nullable=False),
        Column("subject", Text, nullable=False),
        Column("body", LargeBinary, nullable=False),
        Column("created_at", BigInteger, nullable=False),  # Milliseconds since 1970: how far the relay lags behind.
    )


def append(connection: Connection, table: Table, event: Event, *, source: str, traceparent: str | None = None) -> None:
    """Tell the event if this unit of work is committed; raises EventError if it breaks the contract."""
    now = datetime.now(UTC)
    name = token_hex(16)
    wrapped = envelope(event, source=source, id=name, time=now, traceparent=traceparent)
    _insertion(table).change(
        connection,
        {"id": name, "subject": wrapped.subject, "body": encode(wrapped), "created_at": int(now.timestamp() * 1000)},
    )


@lru_cache
def _insertion(table: Table) -> Prepared:
    return insertion(table, "id", "subject", "body", "created_at")


class Relay:
    """Publishes what is committed. Run one in each replica; only one of them works at a time, so order is kept."""

    def __init__(
        self,
        database: Database,
        bus: Bus,
        table: Table,
        *,
        poll: float = POLL_SECONDS,
        backoff: tuple[float, float] = BACKOFF_SECONDS,
    ) -> None:
        self._database = database
        self._bus = bus
        self._table = table
        self._poll = poll
        self._backoff = backoff
        self._woken = asyncio.Event()
        self._failures = 0
        self._held: set[int] = set()
        seq, *others = table.c.seq, table.c.id, table.c.subject, table.c.body
        self._newest = select(func.max(seq))
        self._oldest = select(seq, *others).order_by(seq).limit(WINDOW)
        self._between = self._oldest.where(seq > bindparam("after"), seq <= bindparam("newest"))
        self._delete = table.delete().where(seq.in_(bindparam("done", expanding=True)))

    def wake(self) -> None:
        """Look into the outbox now; called by itself after each commit of this process."""
        self._woken.set()

    async def run(self) -> None:
        """Publish until cancelled, whether or not the bus and the database are there."""
        with self._database.listening(self.wake):
            while True:
                self._woken.clear()
                begun = time.monotonic()
                try:
                    alone = await self._sweep()
                except (BusUnavailable, StorageUnavailable) as error:
                    await self._wait_for_better(error)
                    continue
                self._recover()
                if alone:
                    await self._rest()
                    await asyncio.sleep(max(0.0, begun + PACE_SECONDS - time.monotonic()))
                else:
                    # Another replica is at work. What it may just have missed is looked for when it has finished.
                    await asyncio.sleep(self._backoff[0])

    async def _sweep(self) -> bool:
        """Publish all that waits now, oldest first; False if another replica is doing it."""
        async with self._database.alone(self._table.name) as chosen:
            if not chosen:
                return False
            # On PostgreSQL a row can appear below those already seen, since numbers are given before the COMMIT. What
            # is told of the same device after it has a number above `newest`, so it is left for the next sweep.
            newest, rows = await self._database.read(self._first)
            refused: dict[str, Refusal] = {}
            while rows:
                await self._publish([row for row in rows if row.about not in refused], refused)
                if len(rows) < WINDOW:
                    break
                rows = await self._database.read(partial(self._next, rows[-1].seq, newest))
            self._report(refused)
            return True

    def _first(self, connection: Connection) -> tuple[int, list[Waiting]]:
        rows = [Waiting(*row) for row in connection.execute(self._oldest)]
        return (0 if len(rows) < WINDOW else connection.execute(self._newest).scalar_one()), rows

    def _next(self, after: int, newest: int, connection: Connection) -> list[Waiting]:
        return [Waiting(*row) for row in connection.execute(self._between, {"after": after, "newest": newest})]

    async def _publish(self, rows: Sequence[Waiting], refused: dict[str, Refusal]) -> None:
        """Publish rows, those of different devices at once; delete what the bus took, whatever became of the others."""
        chains: dict[str, list[Waiting]] = {}
        for row in rows:
            chains.setdefault(row.about, []).append(row)
        taken: list[int] = []
        ends = await asyncio.gather(*(self._publish_in_order(chain, taken) for chain in chains.values()))
        if taken:
            # A full window has others behind it, which should not wait.
            write = self._database.write if len(rows) == WINDOW else self._database.write_soon
            # Shielded, so that a service which stops now does not tell them again when it is back.
            await asyncio.shield(write(partial(self._remove, taken)))
        refusals = [end for end in ends if end is not None]
        for refusal in refusals:
            if isinstance(refusal.error, BusUnavailable):
                raise refusal.error
        refused.update((refusal.row.about, refusal) for refusal in refusals)

    async def _publish_in_order(self, chain: Sequence[Waiting], taken: list[int]) -> Refusal | None:
        for row in chain:
            try:
                await self._bus.publish(row.subject, row.body, id=row.id)
            except BusError as error:
                return Refusal(row, error)
            taken.append(row.seq)
        return None

    def _remove(self, taken: list[int], connection: Connection) -> None:
        connection.execute(self._delete, {"done": taken})

    async def _wait_for_better(self, error: Exception) -> None:
        if not self._failures:
            _log.warning("events wait in the outbox", outbox=self._table.name, reason=str(error))
        first, longest = self._backoff
        delay = min(longest, first * 2 ** min(self._failures, 16))
        self._failures += 1
        # Not cut short by commits: under load they would turn the waiting into a storm.
        await asyncio.sleep(delay)

    def _recover(self) -> None:
        if self._failures:
            self._failures = 0
            _log.info("events leave the outbox again", outbox=self._table.name)

    def _report(self, refused: dict[str, Refusal]) -> None:
        """Tell of each event once that the bus does not want it; it is offered again with every sweep."""
        for row, error in refused.values():
            if row.seq not in self._held:
                message = "event refused by the bus, the later ones of its device wait"
                _log.error(message, subject=row.subject, id=row.id, reason=str(error))
        self._held = {refusal.row.seq for refusal in refused.values()}

    async def _rest(self) -> None:
        try:
            async with asyncio.timeout(self._poll):
                await self._woken.wait()
        except TimeoutError:
            return
