"""What the agent has told the bus, in a file, so that a restart of the agent is no event for any device.

The file is small and is replaced as a whole. A file that is lost or broken costs nothing but new epochs and revisions:
keys are made from what devices are, and not from when they came.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import msgspec
import structlog

from ashore_discovery.configurations.document import Configuration
from ashore_discovery.model import Facet
from ashore_discovery.tracking.device import Device, View
from ashore_discovery.tracking.presence import Manners, Presence
from ashore_discovery.tracking.rulings import Ruling

FILE: Final = "discovery-state.json"
WRITE_SECONDS: Final = 0.1
_PAUSES: Final = 20
"""So many times longer than writing takes is the pause before the next time."""

log: structlog.typing.FilteringBoundLogger = structlog.get_logger()


class KeptFacet(msgspec.Struct, frozen=True, kw_only=True):
    """A facet, without what its handler keeps to itself."""

    facet: Facet
    manners: Manners
    heard_at: float


class KeptDevice(msgspec.Struct, frozen=True, kw_only=True):
    """A device that the bus believes to be there."""

    told: View
    facets: list[KeptFacet]
    departures: list[float] = []


class State(msgspec.Struct, frozen=True, kw_only=True):
    """The file."""

    format: int = 1
    epoch: int = 0
    devices: list[KeptDevice] = []
    configurations: list[Configuration] = []
    """Those from the bus, so that the agent can begin while the bus is away."""
    rulings: dict[str, Ruling] = {}
    """Likewise, by their tokens."""


class Store:
    """Reads the file once, and writes it a moment after something has changed."""

    def __init__(self, folder: Path, capture: Callable[[], State]) -> None:
        self._path = folder / FILE
        self._capture = capture
        self._changed = asyncio.Event()
        # The usual pool makes several threads, and each of them takes memory of its own.
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="state")

    def read(self) -> State:
        """What was told before; nothing where there is no file that can be read."""
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=State)
        except FileNotFoundError:
            return State()
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
            log.warning("the state of the last run cannot be read", file=str(self._path), reason=str(error))
            return State()

    def changed(self) -> None:
        """There is something to write."""
        self._changed.set()

    async def run(self) -> None:
        """Write, for ever."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            began = time.monotonic()
            state = self._capture()
            try:
                await asyncio.get_running_loop().run_in_executor(self._thread, self._write, state)
            except OSError as error:
                log.warning("the state cannot be written", file=str(self._path), reason=str(error))
            # A thousand devices that come at once are written a few times, and not a hundred.
            await asyncio.sleep(max(WRITE_SECONDS, _PAUSES * (time.monotonic() - began)))

    def write(self) -> None:
        """Write for the last time: the agent ends."""
        self._thread.shutdown()
        with contextlib.suppress(OSError):
            self._write(self._capture())

    def _write(self, state: State) -> None:
        draft = self._path.with_suffix(".new")
        draft.touch(mode=0o600)
        draft.write_bytes(msgspec.json.encode(state))
        draft.replace(self._path)


def keep(
    devices: Iterable[Device],
    epoch: int,
    configurations: list[Configuration],
    rulings: dict[str, Ruling],
) -> State:
    """What the bus believes, as it is written."""
    kept = [
        KeptDevice(told=device.told, departures=device.departures, facets=[_keep(one) for one in device.presences])
        for device in devices
        if device.told is not None
    ]
    # It is written by another thread, while the bus may say more.
    return State(epoch=epoch, devices=kept, configurations=configurations, rulings=dict(rulings))


def restore(kept: KeptDevice) -> Device:
    """A device as it was; who may still see it is the tracker's affair."""
    told = kept.told
    presences = [Presence(facet=one.facet, manners=one.manners, heard_at=one.heard_at) for one in kept.facets]
    return Device(
        key=told.key,
        handler=told.handler,
        shared=told.shared,
        presences=presences,
        state=told.state,
        revision=told.revision,
        matches={match.configuration: match for match in told.matches},
        told=told,
        departures=kept.departures,
        aliases=list(told.aliases),
        appeared_at=told.appeared_at,
        changed_at=told.changed_at,
    )


def _keep(presence: Presence) -> KeptFacet:
    # What has been learnt by asking is asked again; until then the facet says it.
    facet, learnt = presence.facet, presence.learnt
    plain = Facet(
        source=facet.source,
        handler=facet.handler,
        id=facet.id,
        facts={**learnt.facts, **facet.facts},
        identity={**learnt.identity, **facet.identity},
        endpoints=list(dict.fromkeys([*facet.endpoints, *learnt.endpoints])),
    )
    return KeptFacet(facet=plain, manners=presence.manners, heard_at=presence.heard_at)
