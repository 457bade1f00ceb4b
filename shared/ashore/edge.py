"""How the programs of an edge node run.

They do not use `ashore.service`, which brings a web server and FDO's limits along: an edge image has neither. The order
of things is the same: settings, logs, bus, tasks, signals; exit code 2 for settings that cannot be used, 1 for whatever
else keeps a program from running.
"""

import asyncio
import signal
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import TypeVar

import structlog

from ashore.bus import Bus, BusError
from ashore.config import Settings
from ashore.starting import EXIT_FAILED, EXIT_SETTINGS, begin
from ashore.supervise import TaskCrashedError
from ashore.telemetry import Metrics
from ashore.tls import TlsError, client_context

S = TypeVar("S", bound=Settings)
Running = Callable[[S, Bus, Metrics], AbstractAsyncContextManager[object]]
"""A program at work, until the block ends."""

log: structlog.typing.FilteringBoundLogger = structlog.get_logger()


def run(name: str, settings_type: type[S], running: Running[S], *, told: tuple[type[Exception], ...]) -> int:
    """Run a program until it is told to stop; the answer is the process's exit code.

    `told` are errors whose one sentence says what to do.
    """
    settings = begin(name, settings_type)
    if settings is None:
        return EXIT_SETTINGS
    try:
        asyncio.run(_main(name, settings, running))
    except TlsError as error:
        log.error("ASHORE_NATS_CA cannot be used", reason=str(error))  # noqa: TRY400 - as below
        return EXIT_FAILED
    except told as error:
        log.error(str(error))  # noqa: TRY400 - a traceback would hide the sentence that says what to do
        return EXIT_FAILED
    except Exception:
        log.exception("the service failed")
        return EXIT_FAILED
    return 0


async def unready(*checks: Callable[[], Awaitable[None]]) -> list[str]:
    """Why a program is not ready, a sentence for each check that fails."""
    reasons = []
    for check in checks:
        try:
            await check()
        except (BusError, TaskCrashedError) as error:
            reasons.append(str(error))
    return reasons


async def _main(name: str, settings: S, running: Running[S]) -> None:
    from ashore.bus.nats import connect  # noqa: PLC0415 - settings that are wrong are told before NATS is loaded

    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    if settings.plain_buses():
        log.warning("NATS is asked in plain text, which others on the way can read: begin ASHORE_NATS_URL with tls://")
    seed = settings.nats_seed.reveal() if settings.nats_seed else None
    tls = client_context(settings.nats_ca) if settings.nats_ca else None
    bus = await connect(settings.nats_url, name=name, seed=seed, tls=tls)
    try:
        async with running(settings, bus, Metrics()):
            await stop.wait()
    finally:
        await bus.close()
    log.info("stopped")
