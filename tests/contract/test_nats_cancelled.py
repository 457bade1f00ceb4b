"""Joining a bus that is not there, and being told to stop meanwhile."""

import asyncio

from ashore.bus.nats import connect
from benchmarks.ports import free_port


async def test_nothing_is_left_behind_when_joining_is_cancelled() -> None:
    before = asyncio.all_tasks()
    joining = asyncio.create_task(connect(f"nats://127.0.0.1:{free_port()}", name="owner"))
    await asyncio.sleep(0.2)
    joining.cancel()
    await asyncio.gather(joining, return_exceptions=True)
    assert asyncio.all_tasks() == before
