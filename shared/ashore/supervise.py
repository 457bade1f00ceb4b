"""Background tasks that outlive their crashes.

A relay, a scheduler or a consumer that raises is started again after a pause that grows; the crash is logged once, is
counted, and shows in the readiness until the task is started again. Tasks that return are done and stay so.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from ashore.telemetry import Metrics

FIRST_PAUSE: Final = 1.0
LONGEST_PAUSE: Final = 60.0
HEALTHY_SECONDS: Final = 60.0

log: structlog.typing.FilteringBoundLogger = structlog.get_logger()


class TaskCrashedError(Exception):
    """A background task waits to be started again."""


class Supervisor:
    """Starts tasks, starts them again, and stops them all."""

    def __init__(self, metrics: Metrics, first_pause: float = FIRST_PAUSE) -> None:
        self._metrics = metrics
        self._first_pause = first_pause
        self._tasks: list[asyncio.Task[None]] = []
        self._waiting: dict[str, str] = {}

    def start(self, work: Callable[[], Awaitable[None]], name: str = "") -> None:
        """Run `work` until it returns, however often it crashes."""
        name = name or getattr(work, "__qualname__", "") or type(work).__name__
        self._tasks.append(asyncio.create_task(self._keep_running(work, name), name=name))

    async def stop(self) -> None:
        """Cancel all tasks and wait for them."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()

    async def check(self) -> None:
        """Raise TaskCrashedError while a task waits to be started again: for readiness."""
        if self._waiting:
            raise TaskCrashedError("; ".join(f"{name} crashed: {reason}" for name, reason in self._waiting.items()))

    async def _keep_running(self, work: Callable[[], Awaitable[None]], name: str) -> None:
        pause = self._first_pause
        while True:
            started = time.monotonic()
            try:
                self._waiting.pop(name, None)
                await work()
            except BaseException as error:
                if ends_us(error):
                    raise
                if time.monotonic() - started > HEALTHY_SECONDS:
                    pause = self._first_pause
                log.exception("background task crashed", task=name, again_in_seconds=pause)
                self._metrics.restarts.labels(name).inc()
                self._waiting[name] = str(error) or type(error).__name__
            else:
                return
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)


def ends_us(error: BaseException) -> bool:
    """Whether all ends here. A library may cancel what a task waits for, which is a failure like any other."""
    if isinstance(error, asyncio.CancelledError):
        task = asyncio.current_task()
        return task is not None and task.cancelling() > 0
    return isinstance(error, (KeyboardInterrupt, SystemExit))
