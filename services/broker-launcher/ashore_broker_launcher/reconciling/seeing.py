"""Follows what agents say, and puts what may be different now into the queue."""

import asyncio
from collections.abc import Iterable
from contextlib import aclosing
from typing import Final

import structlog

from ashore.events import AgentAlive, DeviceSeen, Envelope, EventError, open_event
from ashore_broker_launcher import names
from ashore_broker_launcher.reconciling.parts import Parts
from ashore_broker_launcher.reconciling.queue import Item

CHECK_SECONDS: Final = 1.0

log: structlog.typing.FilteringBoundLogger = structlog.get_logger()


class Seeing:
    """Keeps the table of what is there."""

    def __init__(self, parts: Parts) -> None:
        self.synced = asyncio.Event()
        """Set once all that agents have said has been read."""
        self._parts = parts
        self._lost: frozenset[str] = frozenset()

    async def follow(self) -> None:
        """Read what agents say, until cancelled."""
        site = self._parts.site
        subjects = [f"{AgentAlive.name}.{site}.*", f"{DeviceSeen.name}.{site}.>"]
        async with aclosing(self._parts.bus.state(subjects)) as steps:
            async for step in steps:
                if step is None:
                    self.synced.set()
                else:
                    self._hear(step[1])

    async def watch_agents(self) -> None:
        """Notice agents that fall silent, and those that are back."""
        while True:
            await asyncio.sleep(CHECK_SECONDS)
            lost = self._parts.presence.lost(self._parts.clock())
            for node in lost ^ self._lost:
                log.warning("agent is silent" if node in lost else "agent is back", node=node)
                self._put(self._parts.presence.seen_by(node))
            self._lost = lost

    def _hear(self, envelope: Envelope) -> None:
        try:
            event = open_event(envelope)
        except EventError as error:
            log.warning("event left out", subject=envelope.subject, reason=str(error))
            return
        if isinstance(event, DeviceSeen):
            self._put(self._parts.presence.hear(event))
        elif isinstance(event, AgentAlive):
            # What was said long ago and is only read now is no sign of life. Later our clock counts: theirs may be off.
            at = self._parts.clock()
            heard_at = at if self.synced.is_set() else min(at, envelope.time.timestamp())
            self._put(self._parts.presence.alive(event, heard_at))

    def _put(self, touched: Iterable[tuple[str, str]]) -> None:
        parts = self._parts
        for name, device in touched:
            key = names.from_bus_name(name)
            if not all(key):
                # A configuration of a node's own file: no concern of the cluster's.
                continue
            parts.queue.add(Item("device", key, device))
            instance = parts.index.instance_of(key, device)
            if instance:
                parts.queue.add(Item("instance", (key[0], instance)))
