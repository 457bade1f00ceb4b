"""The device plugin, put together, from its start to its end (`ashore.edge`)."""

import asyncio
import gc
import logging
import resource
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final

import msgspec
import structlog

from ashore import edge
from ashore.bus import Bus
from ashore.memory import settle
from ashore.responder import Answer, Responder, Responses
from ashore.supervise import Supervisor
from ashore.telemetry import METRICS_TYPE, Metrics
from ashore_device_plugin.config import DevicePluginSettings
from ashore_device_plugin.health import Health
from ashore_device_plugin.kubelet.sockets import AnotherPluginError
from ashore_device_plugin.plugin import DevicePlugin

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
        reasons = [*plugin.waits_for(), *await edge.unready(bus.check, supervisor.check)]
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
    _collect_seldom()
    return edge.run("device-plugin", DevicePluginSettings, running, told=(AnotherPluginError, OSError))
