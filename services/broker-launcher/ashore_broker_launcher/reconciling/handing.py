"""Hands configurations to the agents of the site, over the bus; the bus remembers what they have."""

import asyncio
from collections.abc import Callable
from contextlib import aclosing
from secrets import token_hex

import msgspec
import structlog

from ashore.bus import Bus
from ashore.bus.telling import tell
from ashore.events import ConfigurationSet, EventError, open_event
from ashore_broker_launcher import names
from ashore_broker_launcher.cluster import JsonObject, Key
from ashore_broker_launcher.reconciling.ledger import SOURCE

log: structlog.typing.FilteringBoundLogger = structlog.get_logger()


class Handing:
    """What agents have been given, and giving them something else."""

    def __init__(self, site: str, bus: Bus, clock: Callable[[], float]) -> None:
        self.synced = asyncio.Event()
        """Set once all that agents have has been read."""
        self._site = site
        self._bus = bus
        self._clock = clock
        self._given: dict[str, JsonObject] = {}

    async def follow(self) -> None:
        """Read what agents are given, by whomever, until cancelled."""
        async with aclosing(self._bus.state([f"{ConfigurationSet.name}.{self._site}.*"])) as steps:
            async for step in steps:
                if step is None:
                    self.synced.set()
                    continue
                try:
                    event = open_event(step[1])
                except EventError as error:
                    log.warning("configuration left out", reason=str(error))
                    continue
                if isinstance(event, ConfigurationSet):
                    self._note(event.token, _read(event))

    def given(self) -> list[Key]:
        """All configurations of a cluster that agents have."""
        found = (names.from_bus_name(str(document.get("name", ""))) for document in self._given.values())
        return [key for key in found if all(key)]

    async def give(self, key: Key, document: JsonObject | None) -> bool:
        """Let agents look for this; None takes it away. Whether that was news; raise BusError."""
        token = names.bus_token(*key)
        if self._given.get(token) == document:
            return False
        raw = msgspec.Raw(msgspec.json.encode(document))
        event, identity = ConfigurationSet(site=self._site, token=token, configuration=raw), token_hex(16)
        await tell(self._bus, event, source=SOURCE, identity=identity, at=self._clock())
        self._note(token, document)
        return True

    def _note(self, token: str, document: object) -> None:
        if isinstance(document, dict):
            self._given[token] = document
        else:
            self._given.pop(token, None)


def _read(event: ConfigurationSet) -> object:
    """The configuration; None where it cannot be read, as agents cannot read it either."""
    try:
        return msgspec.json.decode(event.configuration)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        # ValueError: a text in it is no UTF-8, which nobody has looked at before.
        log.warning("configuration left out", token=event.token, reason=str(error))
        return None
