"""The device plugin, put together, from its start to its end.

It does not use `ashore.service`, which brings a web server and FDO's limits along: an edge image has neither. The order
of things is the same: settings, logs, bus, tasks, signals; exit code 2 for settings that cannot be used, 1 for whatever
else keeps it from running.
"""

import asyncio
import gc
import logging
import os
import resource
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final

import msgspec
import structlog

from ashore import telemetry
from ashore.bus import Bus, BusError
from ashore.config import SettingsError
from ashore.memory import settle
from ashore.responder import Answer, Responder, Responses
from ashore.supervise import Supervisor, TaskCrashedError
from ashore.telemetry import METRICS_TYPE, Metrics
from ashore.tls import TlsError, client_context
from ashore_device_plugin.config import DevicePluginSettings
from ashore_device_plugin.health import Health
from ashore_device_plugin.kubelet.sockets import AnotherPluginError
from ashore_device_plugin.plugin import DevicePlugin

EXIT_SETTINGS: Final = 2
EXIT_FAILED: Final = 1
_SETTLE_SECONDS: Final = 3.0

log: structlog.typing.FilteringBoundLogger = structlog.get_logger()


@asynccontextmanager
async def running(settings: DevicePluginSettings, bus: Bus, metrics: Metrics) -> AsyncIterator[DevicePlugin]:
    """A device plugin at work, until the block ends; raise AnotherPluginError, OSError."""
    _open_many_files()
    # It logs with a traceback whatever strangers send.
    logging.getLogger("grpclib").setLevel(logging.CRITICAL + 1)
    plugin = DevicePlugin(settings, bus, Health(metrics.registry))
    plugin.sockets.clean()
    supervisor = Supervisor(metrics)
    responder = Responder(_responses(plugin, bus, supervisor, metrics))
    port = await responder.start(settings.host, settings.port)
    log.info("listening", url=f"http://{settings.host}:{port}", node=settings.node)
    try:
        for task in (plugin.kubelet.watch, plugin.follow, plugin.arrange, plugin.keep_slots, _settle):
            supervisor.start(task)
        yield plugin
    finally:
        await responder.stop()
        await supervisor.stop()
        await plugin.close()


async def _settle() -> None:
    """Give back the memory that only starting took."""
    await asyncio.sleep(_SETTLE_SECONDS)
    settle()


def _open_many_files() -> None:
    """Each resource is a socket and a connection, and 1,024 files are soon too few."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _responses(plugin: DevicePlugin, bus: Bus, supervisor: Supervisor, metrics: Metrics) -> Responses:
    async def healthz() -> Answer:
        return Answer(200, msgspec.json.encode({"alive": True}))

    async def readyz() -> Answer:
        reasons = plugin.waits_for()
        for check in (bus.check, supervisor.check):
            try:
                await check()
            except (BusError, TaskCrashedError) as error:
                reasons.append(str(error))
        told = {"ready": not reasons, "reasons": reasons, "problems": plugin.health.problems()}
        return Answer(503 if reasons else 200, msgspec.json.encode(told))

    async def numbers() -> Answer:
        plugin.measure()
        return Answer(200, metrics.render(), METRICS_TYPE)

    return {"/healthz": healthz, "/readyz": readyz, "/metrics": numbers}


def _collect_seldom() -> None:
    """A burst of instances makes many objects that live for long: looking through them takes a tenth of its time."""
    gc.set_threshold(20_000, 20, 20)


def run() -> int:
    """Run the device plugin until it is told to stop; the answer is the process's exit code."""
    try:
        settings = DevicePluginSettings.load(os.environ)
    except SettingsError as error:
        sys.stderr.write("".join(f"device-plugin: {problem}\n" for problem in error.problems))
        return EXIT_SETTINGS
    telemetry.configure(settings.log_level, settings.log_format)
    structlog.contextvars.bind_contextvars(service="device-plugin")
    for warning in DevicePluginSettings.warnings(os.environ):
        log.warning(warning)
    _collect_seldom()
    try:
        asyncio.run(_main(settings))
    except TlsError as error:
        log.error("ASHORE_NATS_CA cannot be used", reason=str(error))  # noqa: TRY400 - as below
        return EXIT_FAILED
    except (AnotherPluginError, OSError) as error:
        log.error(str(error))  # noqa: TRY400 - a traceback would hide the sentence that says what to do
        return EXIT_FAILED
    except Exception:
        log.exception("the service failed")
        return EXIT_FAILED
    return 0


async def _main(settings: DevicePluginSettings) -> None:
    from ashore.bus.nats import connect  # noqa: PLC0415 - settings that are wrong are told before NATS is loaded

    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    if settings.plain_buses():
        log.warning("NATS is asked in plain text, which others on the way can read: begin ASHORE_NATS_URL with tls://")
    seed = settings.nats_seed.reveal() if settings.nats_seed else None
    tls = client_context(settings.nats_ca) if settings.nats_ca else None
    bus = await connect(settings.nats_url, name="device-plugin", seed=seed, tls=tls)
    try:
        async with running(settings, bus, Metrics()):
            await stop.wait()
    finally:
        await bus.close()
    log.info("stopped")
