"""What was told last of each instance and each workload: the bus itself is the memory.

A pass compares what is with what was told, and tells the difference. So nothing is told twice and nothing is forgotten,
whenever the launcher was killed: the identity of an event is made from what it says and from what was told before it,
and the bus takes the same one only once.
"""

import asyncio
from collections.abc import Callable
from contextlib import aclosing
from typing import Final, NamedTuple

import structlog

from ashore.bus import Bus
from ashore.bus.telling import tell
from ashore.events import (
    Event,
    EventError,
    InstanceAdded,
    InstanceChanged,
    InstanceRemoved,
    WorkloadFailed,
    WorkloadFinished,
    WorkloadLaunched,
    WorkloadStopped,
    open_event,
)
from ashore_broker_launcher.cluster import Key
from ashore_broker_launcher.objects import hash_of

KINDS: Final = (
    InstanceAdded,
    InstanceChanged,
    InstanceRemoved,
    WorkloadLaunched,
    WorkloadFailed,
    WorkloadFinished,
    WorkloadStopped,
)
SOURCE: Final = "/broker-launcher"
AGAIN_SECONDS: Final = 30 * 24 * 3600.0
"""The stream keeps what was told three times as long, and who comes later must find it there."""

log: structlog.typing.FilteringBoundLogger = structlog.get_logger()


class Told(NamedTuple):
    """An event, its place in the stream, and when it was told, in seconds since 1970."""

    sequence: int
    event: InstanceAdded | InstanceRemoved
    at: float


class ToldWorkload(NamedTuple):
    """As `Told`, of a workload."""

    sequence: int
    event: WorkloadLaunched


class Ledger:
    """Reads what was told, and tells what is new."""

    def __init__(self, site: str, bus: Bus, clock: Callable[[], float]) -> None:
        self.synced = asyncio.Event()
        """Set once all that was told has been read."""
        self._site = site
        self._bus = bus
        self._clock = clock
        self._instances: dict[Key, Told] = {}
        self._workloads: dict[Key, dict[str, ToldWorkload]] = {}

    def instances(self) -> list[Key]:
        """All that were told and not taken back."""
        return [key for key, told in self._instances.items() if not isinstance(told.event, InstanceRemoved)]

    def instance(self, key: Key) -> InstanceAdded | None:
        """What was told last of the instance, if it is there at all."""
        told = self._instances.get(key)
        return told.event if told is not None and isinstance(told.event, InstanceAdded) else None

    def is_old(self, key: Key) -> bool:
        """Whether the stream will forget before long what was told last of the instance."""
        told = self._instances.get(key)
        return told is not None and self._clock() - told.at > AGAIN_SECONDS

    def workloads(self, key: Key) -> dict[str, WorkloadLaunched]:
        """What was told last of each workload of an instance, by kind and name."""
        return {name: told.event for name, told in self._workloads.get(key, {}).items()}

    async def follow(self) -> None:
        """Read what was told, also by other replicas, until cancelled."""
        subjects = [f"{kind.name}.{self._site}.>" for kind in KINDS]
        async with aclosing(self._bus.state(subjects)) as steps:
            async for step in steps:
                if step is None:
                    self.synced.set()
                    continue
                try:
                    self._note(step[0], open_event(step[1]), step[1].time.timestamp())
                except EventError as error:
                    log.warning("event left out", sequence=step[0], reason=str(error))

    async def tell(self, event: InstanceAdded | InstanceRemoved | WorkloadLaunched) -> None:
        """Tell this; raise BusError."""
        identity = f"{event.uid}/{event.name}/{hash_of(event)}/{self._before(event)}"
        at = self._clock()
        self._note(await tell(self._bus, event, source=SOURCE, identity=identity, at=at), event, at)

    def _before(self, event: Event) -> int:
        if isinstance(event, WorkloadLaunched):
            told = self._workloads.get((event.namespace, event.instance), {}).get(name_of(event))
            return told.sequence if told else 0
        if isinstance(event, (InstanceAdded, InstanceRemoved)):
            found = self._instances.get((event.namespace, event.instance))
            return found.sequence if found else 0
        return 0

    def _note(self, sequence: int, event: Event, at: float) -> None:
        if self._before(event) >= sequence:
            return
        if isinstance(event, WorkloadLaunched):
            self._note_workload(sequence, event)
        elif isinstance(event, (InstanceAdded, InstanceRemoved)):
            self._instances[event.namespace, event.instance] = Told(sequence, event, at)

    def _note_workload(self, sequence: int, event: WorkloadLaunched) -> None:
        key = event.namespace, event.instance
        self._workloads.setdefault(key, {})[name_of(event)] = ToldWorkload(sequence, event)


def name_of(event: WorkloadLaunched) -> str:
    """Kind and name of a workload."""
    return f"{event.kind}/{event.workload}"
