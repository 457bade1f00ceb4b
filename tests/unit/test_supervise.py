import asyncio

import pytest

from ashore.supervise import Supervisor, TaskCrashedError
from ashore.telemetry import Metrics


async def test_a_task_that_crashes_is_started_again() -> None:
    metrics, done, attempts = Metrics(), asyncio.Event(), 0

    async def work() -> None:
        nonlocal attempts
        attempts += 1
        if attempts < 3:
            raise RuntimeError("leak")
        done.set()
        await asyncio.Event().wait()

    supervisor = Supervisor(metrics, first_pause=0.001)
    supervisor.start(work, "pump")
    await done.wait()
    await supervisor.check()
    await supervisor.stop()
    assert attempts == 3
    assert b'ashore_task_restarts_total{task="pump"} 2.0' in metrics.render()


async def test_a_task_whose_library_cancels_what_it_waits_for_is_started_again() -> None:
    metrics, done, attempts = Metrics(), asyncio.Event(), 0

    async def work() -> None:
        nonlocal attempts
        attempts += 1
        if attempts == 1:
            raise asyncio.CancelledError
        done.set()

    supervisor = Supervisor(metrics, first_pause=0.001)
    supervisor.start(work, "pump")
    async with asyncio.timeout(5):
        await done.wait()
    await supervisor.stop()
    assert b'ashore_task_restarts_total{task="pump"} 1.0' in metrics.render()


async def test_a_task_that_waits_to_be_started_again_is_not_ready() -> None:
    async def work() -> None:
        raise RuntimeError("leak")

    supervisor = Supervisor(Metrics(), first_pause=60)
    supervisor.start(work, "pump")
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    with pytest.raises(TaskCrashedError, match="pump crashed: leak"):
        await supervisor.check()
    await supervisor.stop()


async def test_a_task_that_returns_is_done() -> None:
    attempts = 0

    async def work() -> None:
        nonlocal attempts
        attempts += 1

    supervisor = Supervisor(Metrics(), first_pause=0.001)
    supervisor.start(work)
    await asyncio.sleep(0.01)
    await supervisor.check()
    await supervisor.stop()
    assert attempts == 1


async def test_stopping_waits_for_what_tasks_still_do() -> None:
    finished = []

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            finished.append(True)

    supervisor = Supervisor(Metrics())
    supervisor.start(work)
    await asyncio.sleep(0)
    await supervisor.stop()
    assert finished == [True]
