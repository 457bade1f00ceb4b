"""One MQTT connection on aiomqtt, with all that is bounded about it."""

import asyncio
import logging
import secrets
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final, cast

import aiomqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from ashore_discovery.handler import Context
from ashore_discovery.handlers.mqtt.details import Broker
from ashore_discovery.handlers.mqtt.tls import tls_context

_MOST_IN_FLIGHT: Final = 64
_quiet: Final = logging.getLogger("ashore.discovery.mqtt")
# What is worth telling stands in health.
_quiet.setLevel(logging.CRITICAL)


class Incoming(asyncio.Queue[aiomqtt.Message]):
    """A queue that is bounded, knows when each message came, and whether one was lost."""

    def __init__(self, clock: Callable[[], float], largest: int, size: int) -> None:
        super().__init__(size)
        self._clock, self._largest = clock, largest
        self.times: deque[float] = deque()
        self.overflowed = False
        self.too_large = 0

    def put_nowait(self, item: aiomqtt.Message) -> None:
        """Take it, if it is small enough and there is room."""
        if isinstance(item.payload, bytes) and len(item.payload) > self._largest:
            self.too_large += 1
            return
        if self.full():
            self.overflowed = True
            return
        super().put_nowait(item)
        self.times.append(self._clock())


@asynccontextmanager
async def opened(form: Broker, context: Context) -> AsyncIterator[tuple[aiomqtt.Client, Incoming]]:
    """A connection, which ends with the block; raise MqttError, HandlerError or OSError."""
    incoming = Incoming(context.clock, form.largest, form.queue)
    five = form.protocol == "5"
    client = aiomqtt.Client(
        form.host,
        form.address_port,
        username=form.username or None,
        password=context.secret(form.password) if form.password else None,
        identifier=form.client_id or f"ashore-{secrets.token_hex(8)}",
        keepalive=form.keepalive,
        protocol=aiomqtt.ProtocolVersion.V5 if five else aiomqtt.ProtocolVersion.V311,
        clean_session=None if five else True,
        properties=_limits(form.largest) if five else None,
        tls_context=await asyncio.to_thread(tls_context, form.tls, context.secret) if form.tls else None,
        tls_insecure=not form.tls.server_name if form.tls else None,
        queue_type=cast(type[asyncio.Queue[aiomqtt.Message]], lambda maxsize: incoming),  # noqa: ARG005
        max_queued_incoming_messages=form.queue,
        max_queued_outgoing_messages=1000,
        max_inflight_messages=_MOST_IN_FLIGHT,
        max_concurrent_outgoing_calls=8,
        timeout=10,
        logger=_quiet,
    )
    async with client:
        yield client, incoming


def _limits(largest: int) -> Properties:
    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
    # Topic and properties of a message count as well.
    properties.MaximumPacketSize = largest + 4096
    return properties
