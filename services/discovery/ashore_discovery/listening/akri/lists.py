"""Full lists turned into what is different: pure, without a clock and without gRPC.

Each stream says, each time, everything that it sees. A device is there while a living stream lists it; where the only
stream that lists it was lost, nobody knows; where a new list leaves it out and no other has it, it is gone.
"""

from typing import Final, NamedTuple

import msgspec

from ashore.events import DeviceNode, Mount
from ashore_discovery.listening.akri.details import Query

MOST_BYTES: Final = 16 * 1024 * 1024
"""So much do all lists of one handler hold together."""


class ListError(Exception):
    """A list cannot be used; the text says why."""


class Listed(msgspec.Struct, frozen=True, kw_only=True):
    """A device, as a list has it."""

    id: str
    properties: dict[str, str] = {}
    mounts: list[Mount] = []
    device_nodes: list[DeviceNode] = []


class Whole(msgspec.Struct, frozen=True, kw_only=True):
    """One message: everything that its stream sees."""

    devices: dict[str, Listed] = {}
    unusable: dict[str, str] = {}
    """By id: devices that are listed, and why they cannot be used."""
    size: int = 0
    at: float = 0.0
    """When its first byte was there."""


class Listing(msgspec.Struct, frozen=True):
    """A device, as all lists have it: by what was asked."""

    by_query: dict[Query, Listed]


class Stream(NamedTuple):
    """Which endpoint was asked what."""

    endpoint: str
    query: Query


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """What follows from a list, or from the loss of one."""

    seen: list[str] = []
    """New, changed, or known again."""
    gone: list[str] = []
    doubted: list[str] = []
    """Only lost streams have listed them."""


class Lists:
    """All lists of one handler."""

    def __init__(self) -> None:
        self._lists: dict[Stream, Whole] = {}
        self._lost: set[Stream] = set()
        self._on: dict[str, set[Stream]] = {}
        """By id: whose lists it is on."""
        self._doubted: set[str] = set()

    def take(self, stream: Stream, whole: Whole) -> Difference:
        """A new list; raise ListError where it is too much."""
        before = self._lists.get(stream, Whole())
        if sum(one.size for one in self._lists.values()) - before.size + whole.size > MOST_BYTES:
            raise ListError(f"all lists together are larger than {MOST_BYTES} bytes")
        kept = {id_: before.devices[id_] for id_ in whole.unusable if id_ in before.devices}
        whole = msgspec.structs.replace(whole, devices={**kept, **whole.devices})
        self._lists[stream] = whole
        self._lost.discard(stream)
        for id_ in whole.devices:
            self._on.setdefault(id_, set()).add(stream)
        missing = self._leave(stream, [id_ for id_ in before.devices if id_ not in whole.devices])
        fresh = [id_ for id_, one in whole.devices.items() if id_ in self._doubted or before.devices.get(id_) != one]
        self._doubted.difference_update(fresh)
        return msgspec.structs.replace(missing, seen=[*missing.seen, *fresh])

    def lose(self, stream: Stream) -> Difference:
        """A stream has ended: what only it has listed may be there or not."""
        if stream not in self._lists or stream in self._lost:
            return Difference()
        self._lost.add(stream)
        return Difference(doubted=self._doubt(list(self._lists[stream].devices)))

    def drop(self, stream: Stream) -> Difference:
        """Nobody asks this any more: what only it has listed is not looked for."""
        before = self._lists.pop(stream, None)
        self._lost.discard(stream)
        return self._leave(stream, list(before.devices)) if before else Difference()

    def listing(self, id_: str) -> Listing:
        """The device, by what was asked. Where two endpoints answer the same, the living one goes before."""
        streams = sorted(self._on.get(id_, ()), key=lambda one: (one not in self._lost, one))
        return Listing({one.query: self._lists[one].devices[id_] for one in streams})

    def lives(self, id_: str) -> bool:
        """Whether a living stream lists it."""
        return any(one not in self._lost for one in self._on.get(id_, ()))

    def knows(self, id_: str) -> bool:
        """Whether any stream does."""
        return id_ in self._on

    def count(self, stream: Stream) -> int:
        """How many devices its last list has."""
        return len(self._lists[stream].devices) if stream in self._lists else 0

    def _leave(self, stream: Stream, ids: list[str]) -> Difference:
        """These are on its list no longer: they are gone, or doubted, or others list them differently."""
        gone, others = [], []
        for id_ in ids:
            self._on[id_].discard(stream)
            if self._on[id_]:
                others.append(id_)
            else:
                del self._on[id_]
                self._doubted.discard(id_)
                gone.append(id_)
        living = [id_ for id_ in others if self.lives(id_)]
        return Difference(seen=living, gone=gone, doubted=self._doubt(others))

    def _doubt(self, ids: list[str]) -> list[str]:
        fresh = [id_ for id_ in ids if not self.lives(id_) and id_ not in self._doubted]
        self._doubted.update(fresh)
        return fresh
