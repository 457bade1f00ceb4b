"""Looking things up among a million vouchers, through the services' own stores.

usage: python benchmarks/vouchers.py [--count N]

The rows are written straight into the tables, with vouchers of the usual size; look-ups then go the way of the REST
API: thread, SQLAlchemy, SQLite. Figures are medians and the 99th percentile, in milliseconds.
"""

import argparse
import asyncio
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from sqlalchemy import Connection, Table, insert

sys.path.insert(0, str(Path(__file__).parent.parent))

from ashore.sql import Database
from ashore_manufacturer import store as manufacturer
from ashore_owner import tables as owner
from ashore_owner.queries import Queries

VOUCHER = bytes(1100)
BATCH = 20_000
LOOKS = 500


def guid(number: int) -> str:
    """Spread over the whole range, as real GUIDs are."""
    return random.Random(number).randbytes(16).hex()


def made(number: int) -> dict[str, object]:
    """A row of the manufacturer."""
    return {
        "guid": guid(number),
        "serial": f"SN-{number:09d}",
        "device_info": "camera",
        "state": "extended" if number % 3 else "issued",
        "key_type": "SECP256R1",
        "owner_key": "0" * 64,
        "created_at": 1_700_000_000_000 + number,
        "extended_at": None,
        "voucher": VOUCHER,
    }


def owned(number: int) -> dict[str, object]:
    """A row of the owner."""
    return {
        "guid": guid(number),
        "serial": f"SN-{number:09d}",
        "device_info": "camera",
        "owner_key": "0" * 64,
        "origin": "upload",
        "voucher": VOUCHER,
        "received_at": 1_700_000_000_000 + number,
        "state": "registered" if number % 3 else "onboarded",
        "attempts": 0,
        "to0_attempts": 0,
    }


async def fill(database: Database, table: Table, row: Callable[[int], dict[str, object]], count: int) -> None:
    """Write the rows in large batches."""
    for start in range(0, count, BATCH):
        rows = [row(number) for number in range(start, min(start + BATCH, count))]

        def write(connection: Connection, rows: list[dict[str, object]] = rows) -> None:
            connection.execute(insert(table), rows)

        await database.write(write)


async def look(name: str, ask: Callable[[int], Awaitable[object]], count: int) -> None:
    """Time one kind of look-up."""
    times = []
    for _ in range(LOOKS):
        number = random.randrange(count)
        started = time.perf_counter()
        await ask(number)
        times.append((time.perf_counter() - started) * 1000)
    times.sort()
    print(f"  {name:34} median {statistics.median(times):7.3f} ms   p99 {times[int(len(times) * 0.99)]:7.3f} ms")


async def main() -> None:
    """Fill and look."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--count", type=int, default=1_000_000)
    count = parser.parse_args().count
    with tempfile.TemporaryDirectory(prefix="ashore-vouchers-") as folder:
        database = await Database.open(f"sqlite:///{folder}/m.db", "ashore_manufacturer:migrations")
        await fill(database, manufacturer.VOUCHERS, made, count)
        store = manufacturer.Store(database)
        print(f"manufacturer, {count} vouchers, {Path(folder, 'm.db').stat().st_size >> 20} MB")
        await look("by GUID", lambda number: store.find(guid(number)), count)
        await look("by serial", lambda n: store.newest(None, f"SN-{n:09d}", after=None, limit=50), count)
        await look("page of 50", lambda _: store.newest(None, None, after=None, limit=50), count)
        await look("page of 50 of one state", lambda _: store.newest("issued", None, after=None, limit=50), count)
        await database.close()

        database = await Database.open(f"sqlite:///{folder}/o.db", "ashore_owner:migrations")
        await fill(database, owner.devices, owned, count)
        queries = Queries(database)

        async def page(**wanted: str | None) -> object:
            return await queries.devices(**{"state": None, "search": None, "limit": 50, "cursor": None} | wanted)

        print(f"owner, {count} devices, {Path(folder, 'o.db').stat().st_size >> 20} MB")
        await look("by GUID", lambda number: queries.device(guid(number)), count)
        await look("by serial", lambda number: page(search=f"SN-{number:09d}"), count)
        await look("page of 50", lambda _: page(), count)
        await look("page of 50 of one state", lambda _: page(state="onboarded"), count)
        await database.close()


if __name__ == "__main__":
    asyncio.run(main())
