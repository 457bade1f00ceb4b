"""What a unit of work costs: rows per second, and CPU per unit of two rows (a voucher and its event).

`python benchmarks/sql_units.py [URL] [--tasks 64] [--units 20000] [--pause 0]`; without a URL on a new SQLite file. The
CPU is that of this whole process, threads and event loop included; a PostgreSQL server's own is not in it. With a pause
each task thinks so many milliseconds on average between its units, as devices do: `--tasks 16 --pause 50 --units 2000`.
"""

import argparse
import asyncio
import itertools
import random
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import sqlalchemy as sa
import uvloop

from ashore.events import VoucherIssued
from ashore.sql import Database
from ashore.sql.outbox import append, outbox

METADATA = sa.MetaData()
VOUCHERS = sa.Table(
    "vouchers",
    METADATA,
    sa.Column("guid", sa.String(32), primary_key=True),
    sa.Column("serial", sa.Text, nullable=False, index=True),
    sa.Column("body", sa.LargeBinary, nullable=False),
)
OUTBOX = outbox(METADATA)
INSERT = VOUCHERS.insert().inline()
INSERT_OUTBOX = OUTBOX.insert().inline()
BODY = bytes(300)
ROUNDS = 3


def two_rows(guid: str) -> Callable[[sa.Connection], None]:
    """The bare cost of two inserts."""

    def unit(connection: sa.Connection) -> None:
        connection.execute(INSERT, {"guid": guid, "serial": f"serial-{guid}", "body": BODY})
        connection.execute(
            INSERT_OUTBOX, {"id": guid, "subject": f"voucher-issued.{guid}", "body": BODY, "created_at": 0}
        )

    return unit


def row_and_event(guid: str) -> Callable[[sa.Connection], None]:
    """The same through `append`, which makes and checks the envelope."""

    def unit(connection: sa.Connection) -> None:
        connection.execute(INSERT, {"guid": guid, "serial": f"serial-{guid}", "body": BODY})
        event = VoucherIssued(guid=guid, serial=f"serial-{guid}", device_info="bench", key_type="SECP256R1")
        append(connection, OUTBOX, event, source="/bench/1")

    return unit


def empty(connection: sa.Connection) -> None:
    """Each round begins with nothing."""
    connection.execute(VOUCHERS.delete())
    connection.execute(OUTBOX.delete())


async def measure(
    database: Database, make: Callable[[str], Callable[[sa.Connection], None]], arguments: argparse.Namespace
) -> None:
    """Print the median of some rounds."""
    figures = [await one_round(database, make, arguments) for _ in range(ROUNDS)]
    rate = statistics.median(figure[0] for figure in figures)
    cpu = statistics.median(figure[1] for figure in figures)
    p50 = statistics.median(figure[2] for figure in figures)
    p99 = statistics.median(figure[3] for figure in figures)
    commits = statistics.median(figure[4] for figure in figures)
    print(
        f"{make.__name__:>14}: {rate:8,.0f} units/s  {cpu:6.1f} us CPU/unit  "
        f"p50 {p50:5.2f} ms  p99 {p99:5.2f} ms  {commits:5.1f} units/commit"
    )


async def one_round(
    database: Database, make: Callable[[str], Callable[[sa.Connection], None]], arguments: argparse.Namespace
) -> tuple[float, float, float, float, float]:
    """Run the units; (units/s, us CPU per unit, p50 ms, p99 ms, units per commit)."""
    await database.write(empty)
    numbers = iter(range(arguments.units))
    waits: list[float] = []

    async def work() -> None:
        for number in numbers:
            guid = f"{(number * 0x9E3779B97F4A7C15F39CC0605CEDC835) % 2**128:032x}"  # As scattered as random ones.
            if arguments.pause:
                await asyncio.sleep(random.expovariate(1000 / arguments.pause))
            begun = time.perf_counter()
            await database.write(make(guid))
            waits.append(time.perf_counter() - begun)

    writer = getattr(database, "writer", None)
    commits = writer.commits if writer else 0
    cpu, wall = time.process_time(), time.perf_counter()
    await asyncio.gather(*(work() for _ in range(arguments.tasks)))
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    per_commit = arguments.units / (writer.commits - commits) if writer else 1.0
    waits.sort()
    percentiles = (waits[len(waits) // 2] * 1000, waits[len(waits) * 99 // 100] * 1000)
    return arguments.units / wall, cpu / arguments.units * 1e6, *percentiles, per_commit


async def measure_reads(database: Database, arguments: argparse.Namespace) -> None:
    """Print the cost of looking one voucher up."""
    await database.write(empty)
    await database.write(two_rows("0" * 32))
    query = sa.select(VOUCHERS.c.body).where(VOUCHERS.c.guid == sa.bindparam("guid"))
    numbers = itertools.repeat("0" * 32, arguments.units)

    def look_up(guid: str, connection: sa.Connection) -> bytes:
        return bytes(connection.execute(query, {"guid": guid}).scalar_one())

    async def work() -> None:
        for guid in numbers:
            await database.read(partial(look_up, guid))

    cpu, wall = time.process_time(), time.perf_counter()
    await asyncio.gather(*(work() for _ in range(arguments.tasks)))
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    print(f"{'reads':>14}: {arguments.units / wall:8,.0f} reads/s  {cpu / arguments.units * 1e6:6.1f} us CPU/read")


async def main(arguments: argparse.Namespace) -> None:
    """Measure on the given database, or on a file of its own."""
    with tempfile.TemporaryDirectory() as folder:
        migrations = Path(folder) / "migrations"
        migrations.mkdir()
        database = await Database.open(arguments.url or f"sqlite:///{folder}/bench.db", migrations)
        await database.write(METADATA.create_all)
        try:
            await measure(database, two_rows, arguments)
            await measure(database, row_and_event, arguments)
            await measure_reads(database, arguments)
        finally:
            await database.write(METADATA.drop_all)
            await database.close()
    print(f"{'peak RSS':>14}: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:,.0f} MB")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url", nargs="?")
    parser.add_argument("--tasks", type=int, default=64)
    parser.add_argument("--units", type=int, default=20_000)
    parser.add_argument("--pause", type=float, default=0.0)
    uvloop.run(main(parser.parse_args()))
